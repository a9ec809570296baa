# SPDX-License-Identifier: MIT
"""Programs that a test runs beside itself: started, talked to, and always stopped and waited for."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import trio

from tests import aio

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PATIENCE = 20.0  # seconds; a program that needs more is stuck
LONGEST_LINE = 4 * 2**20  # bytes that `Program.line` reads as one


class Program:
    """A running program with pipes to its standard input and output. What it says on standard error is pytest's."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._killed = False

    async def line(self) -> str:
        """Return the next line that it prints, without the line end.

        Raises:
            EOFError: It prints no more.
        """
        async with aio.timeout(PATIENCE):
            assert self._process.stdout is not None
            line: bytes = await self._process.stdout.readline()
        if not line:
            raise EOFError("the program prints no more")
        return line.decode().rstrip("\r\n")

    async def rest(self) -> list[str]:
        """Return the lines that it prints until it ends."""
        async with aio.timeout(PATIENCE):
            assert self._process.stdout is not None
            data: bytes = await self._process.stdout.read()
        return data.decode().splitlines()

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
        async with aio.timeout(PATIENCE):
            code: int = await self._process.wait()
        return code

    def pause(self) -> None:
        """Stop it where it stands, alive and silent, until it is killed."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it without a chance to say goodbye, its children too."""
        if self._process.returncode is None and not self._killed:
            self._killed = True
            with suppress(ProcessLookupError):  # it has just ended, and the loop is about to say so
                os.killpg(self._process.pid, signal.SIGKILL)


class TrioInput:
    """A program's standard input on trio: written to as asyncio's is."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._unsent = bytearray()
        self._is_busy = self._is_closed = False
        self._nursery = aio.tasks_of_test.get().nursery

    def write(self, data: bytes) -> None:
        self._unsent += data
        self._go_on()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._go_on()

    def _go_on(self) -> None:
        if not self._is_busy:
            self._is_busy = True
            self._nursery.start_soon(self._flush)

    async def _flush(self) -> None:
        with suppress(trio.BrokenResourceError):  # it reads no more
            while self._unsent:
                data = bytes(self._unsent)
                self._unsent.clear()
                await self._stream.send_all(data)
        self._is_busy = False
        if self._is_closed:
            await self._stream.aclose()


class TrioOutput:
    """What a program prints, on trio, read as on asyncio."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._searched = 0

    async def _fill(self) -> bool:
        data = await self._stream.receive_some(65536)
        self._buffer += data
        return bool(data)

    async def readline(self) -> bytes:
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if not await self._fill():
                break
        self._searched = 0
        return self._taken(len(self._buffer) if end < 0 else end + 1)

    async def read(self) -> bytes:
        while await self._fill():
            pass
        self._searched = 0
        return self._taken(len(self._buffer))

    def _taken(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data


class TrioProcess:
    """A process of trio's with the members of asyncio's that `Program` uses."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.stdin = TrioInput(process.stdin)
        self.stdout = TrioOutput(process.stdout)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    async def communicate(self) -> None:
        """Read what comes until it ends."""
        assert self._process.stdout is not None
        await self.stdout.read()
        await self._process.wait()
        await self._process.stdout.aclose()


@asynccontextmanager
async def running(
    *command: str | Path, errors_too: bool = False, pass_fds: Iterable[int] = ()
) -> AsyncIterator[Program]:
    """Start a program in a process group of its own; kill that and wait for it at the end, whatever happens.

    With *errors_too* its lines are those of its standard error as well.
    """
    settings: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT if errors_too else None,
        "cwd": ROOT,
        "env": {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
        "start_new_session": True,
        "pass_fds": tuple(pass_fds),
    }
    process: Any
    if aio.on_trio():
        process = TrioProcess(await trio.lowlevel.open_process(list(map(str, command)), **settings))
    else:
        process = await asyncio.create_subprocess_exec(*map(str, command), limit=LONGEST_LINE, **settings)
    program = Program(process)
    try:
        yield program
    finally:
        program.kill()
        assert process.stdin is not None
        process.stdin.close()
        with trio.CancelScope(shield=True) if aio.on_trio() else nullcontext():
            await process.communicate()  # to the end of the pipe, so that it is closed too


def python(script: str) -> tuple[Path, Path]:
    """Return the command that runs a script of this folder with the interpreter of the tests."""
    return Path(sys.executable), HERE / script


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free just now, for programs that do not tell which one they got."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
