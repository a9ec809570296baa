# SPDX-License-Identifier: MIT
"""`tieline serve --workers`: the parent. It starts processes, replaces those that die, and ends all of them in order.

Parent and worker share a pair of sockets. The worker says on it that it listens; the parent closes it to end the
worker. So a worker ends too when its parent is killed, and a signal that reached the whole group (Ctrl+C, systemd) is
not followed by a second one, which would mean: cut.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from tieline.cli.announcing import announcement
from tieline.cli.exits import Exit
from tieline.cli.reserving import reserve
from tieline.cli.serving import STOPPING, Plan
from tieline.cli.showing import say, warn

__all__ = ["supervise"]

# Seconds from one start to the next in the same place, doubled each time: a worker that cannot live must cost little.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_KILL_AFTER: Final = 5.0  # seconds beyond those of the handlers, for workers that do not end


def supervise(plan: Plan, count: int) -> int:
    """Keep *count* workers serving until SIGTERM or Ctrl+C; return the exit code of the parent.

    Raises:
        Failure: A URL cannot be listened on.
    """
    with ExitStack() as stack:
        return asyncio.run(_Parent(reserve(plan, stack), count).run())


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, our end of its sockets, and what it said when it began to listen."""

    process: asyncio.subprocess.Process
    writer: asyncio.StreamWriter
    told: dict[str, Any] | None = None

    def end(self) -> None:
        self.writer.close()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()


class _Parent:
    def __init__(self, plan: Plan, count: int) -> None:
        self._plan = plan
        self._count = count
        self._workers: set[_Worker] = set()
        self._stopping = asyncio.Event()
        self._is_announced = False
        self._code = 0

    async def run(self) -> int:
        """Run all workers, and return the exit code when the last of them has ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        await asyncio.gather(*(self._keep_one() for _ in range(self._count)))
        return self._code

    def _told_to_stop(self) -> None:
        if self._stopping.is_set():
            self._kill_all()
            return
        say(STOPPING.format(self._plan.grace))
        self._end_all()
        asyncio.get_running_loop().call_later(self._plan.grace + _KILL_AFTER, self._kill_all)

    def _end_all(self) -> None:
        self._stopping.set()
        for worker in self._workers:
            worker.end()

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.kill()

    async def _keep_one(self) -> None:
        """Keep a worker running until all are to stop."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            start = loop.time()
            try:
                code = await self._run_one()
            except OSError as exc:  # no memory, too many processes: the others serve on
                warn(f"a worker cannot be started: {exc}")
                code = 0
            lived = loop.time() - start
            if self._stopping.is_set():
                self._code = self._code or int(code != 0)
                return
            if not self._is_announced:
                # It did not get as far as serving, and the next one would not either. It has said why.
                self._code = code if code > 0 else Exit.ANSWERED_ERROR
                self._end_all()
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause - lived)):
                    await self._stopping.wait()
            pause = _FIRST_PAUSE if lived > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)

    async def _run_one(self) -> int:
        """Run one worker to its end, and return its exit code; the negative number of the signal that killed it."""
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            plan = json.dumps(asdict(self._plan))
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tieline.cli.worker", str(theirs.fileno()), plan),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *self._plan.descriptors.values()),
                )
            except BaseException:
                writer.close()
                raise
        worker = _Worker(process, writer)
        self._workers.add(worker)
        try:
            if self._stopping.is_set():  # meanwhile
                worker.end()
            if told := await _line_of(reader):
                worker.told = json.loads(told)
                self._listens(worker)
            code = await process.wait()
        finally:
            self._workers.discard(worker)
            worker.end()
        if self._is_announced and not self._stopping.is_set():
            say(f"worker {process.pid} ended ({_ending(code)}): another one takes its place")
        return code

    def _listens(self, worker: _Worker) -> None:
        """Take note that a worker listens; the first time that all do, tell the user."""
        if self._is_announced:
            say(f"worker {worker.process.pid} listens")
        elif worker.told is not None and sum(each.told is not None for each in self._workers) == self._count:
            self._is_announced = True
            pids = sorted(each.process.pid for each in self._workers)
            told = worker.told
            for text in announcement(self._plan, told["names"], told["urls"], told["example"], pids):
                say(text)


async def _line_of(reader: asyncio.StreamReader) -> bytes:
    """Return the line that a worker writes when it listens; b"" when it ended before."""
    try:
        return await reader.readline()
    except (OSError, ValueError):
        return b""


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
