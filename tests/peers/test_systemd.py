# SPDX-License-Identifier: MIT
"""`systemd-socket-activate` listens, starts a server of ours at the first connection, and hands the socket over."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.loops import Runtime, TrioRuntime
from tests.peers.programs import ROOT, Program, free_port, python, running

pytestmark = [pytest.mark.peers, pytest.mark.row("D5")]


@pytest.fixture
def activate(need: Callable[[str, str], Path]) -> Path:
    return need("systemd-socket-activate", "apt-get install systemd, or make test-peers")


@asynccontextmanager
async def activated(
    activate: Path, listen: list[str], loop: str, *args: str, fdname: str | None = None
) -> AsyncIterator[Program]:
    """Give the program, when it listens for a server of ours on that loop."""
    options = [part for one in listen for part in ("-l", one)]
    options += [] if fdname is None else [f"--fdname={fdname}"]
    command: list[str | Path] = [
        activate,
        *options,
        "-E",
        f"PYTHONPATH={ROOT}",
        *python("activated_server.py"),
        loop,
        *args,
    ]
    async with running(*command, errors_too=True) as program:
        for _ in listen:
            assert "Listening on" in await program.line()
        yield program


async def started(program: Program) -> str:
    """Return what our server says when it has been started, behind the lines of who started it."""
    while "://" not in (line := await program.line()) or "Communication attempt" in line:
        pass
    return line


async def test_the_socket_is_taken_over_and_the_first_connection_served(
    activate: Path, runtime: Runtime | TrioRuntime
) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    async with (
        activated(activate, [url.removeprefix("tcp://")], str(runtime)) as program,
        tieline.connect(url) as session,  # to a server that is not there yet
    ):
        assert await session.call("add", 1, 2, timeout=20) == 3
        assert await started(program) == f"{url} []"  # where it listens; and a second look finds none
        assert await aio.to_thread(called, url) == 7
        await session.notify("note", 1)
        assert await session.call("notes") == [1]


def called(url: str) -> int:
    """Call it from blocking code."""
    with tieline.blocking.connect(url) as session:
        found: int = session.call("add", 3, 4)
        return found


async def test_a_unix_socket_is_taken_over_by_its_name(
    activate: Path, runtime: Runtime | TrioRuntime, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    async with activated(activate, [str(path)], str(runtime), "calls", fdname="calls") as program:
        async with tieline.connect(f"unix://{path}") as session:
            assert await session.call("echo", "over there", timeout=20) == "over there"
        assert await started(program) == f"unix://{path} []"
        assert path.is_socket()  # it is who made it that removes it
