# SPDX-License-Identifier: MIT
"""Programs that a test runs beside itself: started, talked to, and always stopped and waited for."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PATIENCE = 20.0  # seconds; a program that needs more is stuck
LONGEST_LINE = 4 * 2**20  # bytes that `Program.line` reads as one


class Program:
    """A running program with pipes to its standard input and output. What it says on standard error is pytest's."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._killed = False

    async def line(self) -> str:
        """Return the next line that it prints, without the line end.

        Raises:
            EOFError: It prints no more.
        """
        async with asyncio.timeout(PATIENCE):
            assert self._process.stdout is not None
            line = await self._process.stdout.readline()
        if not line:
            raise EOFError("the program prints no more")
        return line.decode().rstrip("\r\n")

    async def rest(self) -> list[str]:
        """Return the lines that it prints until it ends."""
        async with asyncio.timeout(PATIENCE):
            assert self._process.stdout is not None
            return (await self._process.stdout.read()).decode().splitlines()

    def type(self, data: bytes) -> None:
        """Give it something to read."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def end_of_input(self) -> None:
        """Let it read the end of its input, behind all that was typed."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def ended(self) -> int:
        """Wait until it ends by itself, and return its exit code."""
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()

    def pause(self) -> None:
        """Stop it where it stands, alive and silent, until it is killed."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it without a chance to say goodbye, its children too."""
        if self._process.returncode is None and not self._killed:
            self._killed = True
            with suppress(ProcessLookupError):  # it has just ended, and the loop is about to say so
                os.killpg(self._process.pid, signal.SIGKILL)


@asynccontextmanager
async def running(*command: str | Path, errors_too: bool = False) -> AsyncIterator[Program]:
    """Start a program in a process group of its own; kill that and wait for it at the end, whatever happens.

    With *errors_too* its lines are those of its standard error as well.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if errors_too else None,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        limit=LONGEST_LINE,
        start_new_session=True,
    )
    program = Program(process)
    try:
        yield program
    finally:
        program.kill()
        assert process.stdin is not None
        process.stdin.close()
        await process.communicate()  # to the end of the pipe, so that it is closed too


def python(script: str) -> tuple[Path, Path]:
    """Return the command that runs a script of this folder with the interpreter of the tests."""
    return Path(sys.executable), HERE / script


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free just now, for programs that do not tell which one they got."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
