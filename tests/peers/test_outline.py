# SPDX-License-Identifier: MIT
"""One program of 30 lines, unchanged but for URL and dialect, with language servers, a service, and one behind a proxy.

On asyncio, on trio, and its twin in blocking code: `examples/outline.py` and `examples/outline_blocking.py`.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.example_programs import output_of
from tests.peers.programs import ROOT, free_port

pytestmark = pytest.mark.peers

PROGRAMS = [("outline.py", "asyncio"), ("outline.py", "trio"), ("outline_blocking.py",)]
SERVICE = ROOT / "tests" / "outline_service.py"
PATIENCE = 30.0


@contextmanager
def running(*command: str | Path) -> Iterator[IO[str]]:
    """Run a program, killed at the end, and give its standard output."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        with process:
            assert process.stdout is not None
            try:
                yield process.stdout
            finally:
                process.kill()
    finally:
        process.wait()


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Give the URL of a service on TCP, one message a line."""
    with running(sys.executable, SERVICE, "tcp://127.0.0.1:0", "strict_v2") as output:
        yield output.readline().strip()


@pytest.fixture(scope="module")
def proxy(need) -> Iterator[str]:
    """Give the URL of a SOCKS proxy, microsocks."""
    program: Path = need("microsocks", "apt-get install microsocks, or make test-peers")
    port = free_port()
    with running(program, "-i", "127.0.0.1", "-p", str(port)):
        patience = time.monotonic() + PATIENCE
        while not is_open(port):  # nothing else tells
            assert time.monotonic() < patience, "microsocks does not listen"
        yield f"socks5://127.0.0.1:{port}"


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        # A socket may connect to itself where nobody listens.
        return probe.connect_ex(("127.0.0.1", port)) == 0 and probe.getsockname() != probe.getpeername()


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_clangd(program: tuple[str, ...], need) -> None:
    clangd = need("clangd", "apt-get install clangd, or make test-peers")
    assert output_of(*program, f"cmd:{clangd} --log=error", "lsp") == ["clangd finds answer"]


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_pylsp(program: tuple[str, ...], need) -> None:
    need("pylsp", "pip install python-lsp-server[pyflakes,pycodestyle], or make test-peers")
    assert output_of(*program, f"cmd:{sys.executable} -m pylsp", "lsp") == ["pylsp finds answer"]


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_a_service_on_tcp(program: tuple[str, ...], service: str) -> None:
    assert output_of(*program, service, "strict_v2") == ["service finds answer"]


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_a_service_on_tcp_behind_a_socks_proxy(program: tuple[str, ...], service: str, proxy: str) -> None:
    assert output_of(*program, service, "strict_v2", proxy) == ["service finds answer"]
