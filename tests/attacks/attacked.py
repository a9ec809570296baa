# SPDX-License-Identifier: MIT
"""The attacked server from outside: its process, its figures, a bystander, and what holds in every case."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.attacks.raw import Peer, line

ROOT = Path(__file__).resolve().parents[2]
MEGA = 1 << 20
Figures = dict[str, float]


def is_slow_box() -> bool:
    """Return whether times are judged with the patience that the spec grants to a loaded box."""
    return bool(os.environ.get("CI")) or os.getloadavg()[0] > (os.cpu_count() or 1)


class AttackedServer:
    """A server in a process of its own; a context manager.

    Attributes:
        urls: By kind and transport.
        bystander: Who calls every 50 ms, meanwhile.
    """

    def __init__(
        self,
        folder: Path,
        loop: str = "asyncio",
        port: int = 0,
        *,
        has_bystander: bool = True,
        ends_itself: bool = False,
    ) -> None:
        self._folder, self._loop, self._port = folder, loop, port
        self._has_bystander, self._ends_itself = has_bystander, ends_itself
        self.urls: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        self._errors = (self._folder / "stderr").open("w+b")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.attacks.server_process"),
                *("--folder", str(self._folder), "--loop", self._loop, "--port", str(self._port)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        started, _, _ = select.select([self.process.stdout], [], [], 30)
        first = self.process.stdout.readline() if started else b""
        if not first:
            self.kill()
            raise AssertionError(f"the server did not start: {self.stderr()}")
        self.urls = json.loads(first)
        self._control = self.peer("v2", "unix")
        self.bystander = Bystander(self.urls["v2"]["tcp"]) if self._has_bystander else None
        return self

    def __exit__(self, exc_type: object, *_: object) -> None:
        if self.bystander is not None:
            self.bystander.stop()
        self._control.close()
        code = self._end()
        if exc_type is None and not self._ends_itself:
            assert code in (0, -signal.SIGKILL), f"the server ended with {code}: {self.stderr()}"
            assert not self.stderr(), f"the server wrote to stderr: {self.stderr()}"
        self._errors.close()

    def _end(self) -> int:
        """Ask the process to end, and see that it does."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server does not end: {self.stderr()}") from None
        finally:
            self.process.stdout.close()

    def kill(self) -> None:
        """Kill it with -9 and wait until the system knows."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stderr(self) -> str:
        return (self._folder / "stderr").read_text()

    def peer(self, kind: str = "v2", transport: str = "tcp") -> Peer:
        """Return a new connection to it."""
        return Peer(self.urls[kind][transport])

    def ask(self, method: str, *params: object) -> Any:
        """Call a method over a connection that no case uses."""
        return self._control.call(method, *params)

    def figures(self) -> Figures:
        found: Figures = self.ask("figures")
        return found

    def settled_like(self, before: Figures, patience: float = 2.0) -> Figures:
        """Return the figures once nothing is left over in comparison with *before*, or after the patience."""
        until = time.monotonic() + patience
        while True:
            now = self.figures()
            left = left_over(before, now)
            if not left or time.monotonic() > until:
                return now
            select.select([], [], [], 0.005)

    # --- standing conditions -----------------------------------------------------------------------------------------

    @contextmanager
    def standing(self, *, growth: int = 24 * MEGA, records: int = 1) -> Iterator[dict[str, float]]:
        """Check the conditions (a) to (d) of the spec around what happens in the body; yields what was measured.

        Args:
            growth: How far resident memory may grow at its peak.
            records: How many log records may be written.
        """
        before: Figures = self.ask("settle")
        start = time.monotonic()
        seen: dict[str, float] = {}
        yield seen
        worst = self.bystander.worst_since(start) if self.bystander is not None else 0.0
        after = self.settled_like(before)
        left = left_over(before, after)
        assert not left, f"left behind (before, after): {left}"
        seen["growth"] = after["peak"] - before["rss"]
        seen["wait"] = worst
        seen["records"] = after["records"] - before["records"]
        assert seen["growth"] <= growth, f"memory grew by {seen['growth'] / MEGA:.1f} MiB"
        assert worst <= (1.0 if is_slow_box() else 0.25), f"a bystander waited {worst * 1000:.0f} ms"
        assert seen["records"] <= records, self.ask("records")[-10:]


def left_over(before: Figures, now: Figures) -> dict[str, tuple[float, float]]:
    """Return what is held now and was not before."""
    names = ("fds", "tasks", "sessions", "running", "pending", "timers")
    return {name: (before[name], now[name]) for name in names if now[name] > before[name]}


class Bystander:
    """An honest client that calls every 50 ms in a thread of its own."""

    def __init__(self, url: str) -> None:
        self._peer = Peer(url)
        self._stop = threading.Event()
        self._waits: list[tuple[float, float]] = []  # (when the answer came, how long it took)
        self._asked: float | None = None
        self._fault: BaseException | None = None
        self._answered = threading.Condition()
        assert self._peer.call("add", 1, 2) == 3  # so it is accepted before anybody counts sessions
        self._thread = threading.Thread(target=self._run, name="bystander")
        self._thread.start()

    def _run(self) -> None:
        number = 0
        try:
            while not self._stop.wait(0.05):
                number += 1
                start = self._asked = time.monotonic()
                assert self._peer.send(line("add", number, 1, id=number))
                assert self._peer.answer() == {"jsonrpc": "2.0", "result": number + 1, "id": number}
                with self._answered:
                    self._asked = None
                    self._waits.append((time.monotonic(), time.monotonic() - start))
                    self._answered.notify_all()
        except BaseException as exc:
            with self._answered:
                self._fault = exc
                self._answered.notify_all()

    def worst_since(self, start: float) -> float:
        """Return its longest wait since *start*; a call that is under way is waited for. Fails when it lost a call."""
        with self._answered:
            self._answered.wait_for(lambda: self._fault is not None or self._asked is None, 15)
            assert self._fault is None, f"the bystander lost a call: {self._fault!r}"
            return max((wait for when, wait in self._waits if when >= start), default=0.0)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._peer.close()
        assert self._fault is None, f"the bystander lost a call: {self._fault!r}"
