# SPDX-License-Identifier: MIT
"""The example that is the same for every peer, with services of ours; tests/peers/test_outline.py has real ones."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.example_programs import EXAMPLES, output_of, run

SERVICE = [sys.executable, str(Path(__file__).with_name("outline_service.py"))]
PROGRAMS = [("outline.py", "asyncio"), ("outline.py", "trio"), ("outline_blocking.py",)]

pytestmark = pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Give the URL of a service on TCP, one message a line."""
    with subprocess.Popen([*SERVICE, "tcp://127.0.0.1:0", "strict_v2"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def test_it_is_short(program: tuple[str, ...]) -> None:
    assert len((EXAMPLES / program[0]).read_text(encoding="utf-8").splitlines()) <= 30


def test_a_service_on_tcp(program: tuple[str, ...], service: str) -> None:
    assert output_of(*program, service, "strict_v2") == ["service finds answer"]


def test_a_service_on_standard_streams_in_another_dialect(program: tuple[str, ...]) -> None:
    child = f"cmd:{shlex.join([*SERVICE, 'stdio:', 'lsp'])}"
    assert output_of(*program, child, "lsp") == ["service finds answer"]


def test_who_is_not_there_is_named(program: tuple[str, ...]) -> None:
    """So that nothing above passes by accident."""
    done = run(*program, "cmd:tieline-has-no-such-program", "lsp")
    assert done.returncode == 1
    assert "tieline-has-no-such-program" in done.stderr
