# SPDX-License-Identifier: MIT
"""Commands that start what they talk to, and servers that were started by whoever talks to them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.programs import argv

SERVICE = """
import tieline

methods = tieline.Methods()


@methods.method
def add(a: int, b: int) -> int:
    print("printed, and in nobody's way")
    return a + b
"""


@pytest.fixture
def service(tmp_path: Path) -> str:
    """Give the URL that starts a service."""
    path = tmp_path / "service.py"
    path.write_text(SERVICE)
    return f"cmd:{shlex.join(argv('serve', str(path), '--listen', 'stdio:'))}"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv(*words), capture_output=True, text=True, timeout=60, check=False)


def test_a_service_is_started_called_and_ended(service: str) -> None:
    done = run("call", service, "add", "1", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
    done = run("methods", service)
    assert "add" in done.stdout
    done = run("call", service, "ad", "1", "2")
    assert done.returncode == 7
    assert "did you mean 'add'?" in done.stderr


@pytest.mark.parametrize(
    ("url", "code", "text"),
    [
        ("cmd:tieline-has-no-such-program x", 3, "cannot start cmd:tieline-has-no-such-program ...: No such file"),
        (
            f"cmd:{sys.executable} -c 'import sys; sys.exit(\"no luck\")'",
            6,
            "ended with exit code 1; its standard error",
        ),
        ("cmd:", 2, "a cmd: URL needs a program"),
        ("stdio:", 2, "stdio: is for serving"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(url: str, code: int, text: str) -> None:
    done = run("call", url, "add", "1", "2")
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("more", [("--workers", "2"), ("--listen", "tcp://127.0.0.1:0")])
def test_standard_streams_are_for_one_process_alone(more: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    done = run("serve", str(tmp_path / "service.py"), "--listen", "stdio:", *more)
    assert done.returncode == 2
    assert "stdio: is one connection, for one process" in done.stderr
