# SPDX-License-Identifier: MIT
"""The kit for transports of child processes: row T6. The children are small programs of Python."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from tieline.testing.contracts import ContractBroken, checked, expect, numbered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

__all__ = ["SUBPROCESS_CASES", "SubprocessRig"]

ECHO: Final = "import sys; sys.stdout.write(sys.stdin.read()); sys.stdout.flush(); sys.stderr.write('done')"
WAIT: Final = "import sys; sys.stdout.write('up'); sys.stdout.flush(); sys.stdin.read()"
STAY: Final = f"{WAIT}; import signal; signal.pause()"
STDIN, STDOUT, STDERR = 0, 1, 2


class SubprocessRig(ABC):
    """How the kit starts a child process with three pipes. Derive from it; each case gets a new one.

    Attributes:
        implementation: The name of the transport in `KNOWN_FAULTS`; "" = no known faults.
        patience: How many seconds the kit waits for something to happen.
    """

    implementation: str = ""
    patience: float = 20.0

    def __repr__(self) -> str:
        return type(self).__name__

    @abstractmethod
    async def spawn(self, protocol: Any, argv: Sequence[str]) -> None:
        """Start the program *argv*; `connection_made` has been called by then."""

    @abstractmethod
    async def turn(self) -> None:
        """Let happen what is ready to happen, once."""

    def do(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call a method of the transport from outside of its callbacks."""
        return fn(*args)

    async def end(self) -> None:  # noqa: B027  # most have nothing to let go of
        """Let go of whatever the rig holds, when a case is over."""


class _Story(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        self.told: list[str] = []
        self.faults: list[str] = []
        self.data = {STDOUT: b"", STDERR: b""}
        self.errors: list[Exception | None] = []
        self.transport: Any = None

    def _hear(self, what: str) -> None:
        if "lost" in self.told:
            self.faults.append(f"{what} behind connection_lost")
        if not what.startswith("data") and what in self.told:
            self.faults.append(f"{what} twice")
        self.told.append(what)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._hear("made")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if not data:
            self.faults.append("pipe_data_received(b'')")
        if f"pipe {fd} lost" in self.told:
            self.faults.append(f"data of pipe {fd} behind its end")
        self.data[fd] += data
        self._hear(f"data {fd}")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._hear(f"pipe {fd} lost")

    def process_exited(self) -> None:
        self._hear("exited")

    def connection_lost(self, exc: Exception | None) -> None:
        self._hear("lost")
        self.errors.append(exc)


class _Scene:
    def __init__(self, rig: SubprocessRig, story: _Story) -> None:
        self.rig, self.story = rig, story

    @property
    def transport(self) -> Any:
        return self.story.transport

    async def until(self, condition: Callable[[], object], expected: str) -> None:
        patience = time.monotonic() + self.rig.patience
        while not condition():
            if time.monotonic() > patience:
                raise ContractBroken(f"seen after {self.rig.patience:g} s: {self.story.told}; expected: {expected}")
            await self.rig.turn()

    async def over(self) -> None:
        await self.until(lambda: "lost" in self.story.told, "connection_lost")

    def write(self, data: bytes) -> None:
        pipe = self.transport.get_pipe_transport(STDIN)
        self.rig.do(pipe.write, data)

    def end_input(self) -> None:
        self.rig.do(self.transport.get_pipe_transport(STDIN).close)


@contextlib.asynccontextmanager
async def _scene(rig: SubprocessRig, code: str) -> AsyncGenerator[_Scene]:
    story = _Story()
    await rig.spawn(story, [sys.executable, "-I", "-S", "-c", code])
    stage = _Scene(rig, story)
    try:
        expect(story.told[:1] == ["made"], story.told, "connection_made before anything else")
        yield stage
        await stage.over()
        expect(story.told.count("exited") == 1, story.told, "process_exited once")
        expect(story.told[-1] == "lost", story.told, "connection_lost last")
        lost = {what for what in story.told if what.startswith("pipe")}
        expect(lost == {f"pipe {fd} lost" for fd in range(3)}, lost, "pipe_connection_lost of each pipe")
        expect(not story.faults, "; ".join(story.faults), "callbacks as the contract has them")
        expect(story.errors == [None], story.errors, "connection_lost(None)")
    finally:
        if story.transport is not None:
            rig.do(story.transport.close)
        if "lost" not in story.told:
            with contextlib.suppress(ContractBroken):
                await stage.over()
        await rig.end()


@checked("T6", "what the child writes comes with its descriptor, what is written to its pipe arrives, then all ends")
async def a_conversation(rig: SubprocessRig) -> None:
    async with _scene(rig, ECHO) as s:
        big = b"x" * 300_000
        s.write(big)
        s.end_input()
        await s.over()
        expect(s.story.data[STDOUT] == big, f"{len(s.story.data[STDOUT])} bytes", f"the {len(big)} that were written")
        expect(s.story.data[STDERR] == b"done", s.story.data[STDERR], "b'done' of descriptor 2")
        code = s.transport.get_returncode()
        expect(code == 0, code, "0")


@checked("T6", "facts about a child: its number, no code while it runs, pipes by descriptor and None for others")
async def facts(rig: SubprocessRig) -> None:
    async with _scene(rig, WAIT) as s:
        pid = s.transport.get_pid()
        expect(isinstance(pid, int) and pid > 0, pid, "a process number")
        code = s.transport.get_returncode()
        expect(code is None, code, "None while it runs")
        for fd in range(3):
            expect(s.transport.get_pipe_transport(fd) is not None, None, f"the transport of pipe {fd}")
        expect(s.transport.get_pipe_transport(7) is None, "a transport", "None for a descriptor that is no pipe")
        expect(not s.transport.is_closing(), "is_closing() is True", "False")
        s.end_input()
        await s.over()
        expect(s.transport.get_pid() == pid, s.transport.get_pid(), f"{pid} to the end")


@checked("T6", "a child that is sent a signal ends with its negative number; behind that, ProcessLookupError",
         how=["terminate", "kill", "send_signal"])  # fmt: skip
async def signals(rig: SubprocessRig, how: str) -> None:
    number = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL, "send_signal": signal.SIGINT}[how]
    async with _scene(rig, f"import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); {WAIT}") as s:
        await s.until(lambda: s.story.data[STDOUT] == b"up", "what the child writes first")
        args = (number,) if how == "send_signal" else ()
        s.rig.do(getattr(s.transport, how), *args)
        await s.over()
        code = s.transport.get_returncode()
        expect(code == -number, code, f"{-number}")
        try:
            s.rig.do(getattr(s.transport, how), *args)
        except ProcessLookupError:
            return
        raise ContractBroken(f"seen: {how} raised nothing; expected: ProcessLookupError when the child has ended")


@checked("T6 T1", "close ends a child that runs, and closes its pipes; to close again is nothing")
async def closing(rig: SubprocessRig) -> None:
    async with _scene(rig, STAY) as s:
        await s.until(lambda: s.story.data[STDOUT] == b"up", "what the child writes first")
        for _ in range(2):
            s.rig.do(s.transport.close)
        expect(s.transport.is_closing(), "is_closing() is False", "True")
        await s.over()
        code = s.transport.get_returncode()
        expect(code == -signal.SIGKILL, code, f"{-signal.SIGKILL}: it was killed")


@checked("T6", "a child that closes its pipes and goes on is heard to the end")
async def a_child_that_closes_its_output(rig: SubprocessRig) -> None:
    code = "import os, sys; os.write(1, b'last'); os.close(1); os.close(2); sys.stdin.read()"
    async with _scene(rig, code) as s:
        await s.until(lambda: {"pipe 1 lost", "pipe 2 lost"} <= set(s.story.told), "the end of both pipes")
        expect(s.story.data[STDOUT] == b"last", s.story.data[STDOUT], "what it wrote before")
        expect("exited" not in s.story.told, s.story.told, "a child that runs")
        s.end_input()


SUBPROCESS_CASES: Final = numbered(a_conversation, facts, signals, closing, a_child_that_closes_its_output)
