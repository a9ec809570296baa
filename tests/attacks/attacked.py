# SPDX-License-Identifier: MIT
"""The attacked server from outside: its process, its figures, a bystander, and what holds in every case."""

import json
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import tieline
from tests.attacks.framings import FRAMERS
from tests.attacks.raw import Peer, fresh, line
from tests.attacks.websocket_peer import WebSocketPeer
from tests.certificates import Certificates
from tests.promptness import is_slow_box

ROOT = Path(__file__).resolve().parents[2]
MEGA = 1 << 20
Figures = dict[str, float]


class AttackedServer:
    """A server in a process of its own; a context manager.

    Args:
        folder: Where its Unix sockets, its certificates and what it writes to stderr go.
        loop: asyncio, uvloop or trio.
        port: The TCP port of the plain server; 0 = the system chooses.
        has_bystander: Whether an honest client calls meanwhile.
        ends_itself: It need not end with code 0 and in silence.
        is_short: Attacks are to be small, since many other tests wait.
        files: How many files it may open once it listens; 0 = as usual.
        has_packets: Whether it serves packets as well.

    Attributes:
        urls: By kind and transport.
        certificates: Its own, and the authority that vouches for it.
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
        is_short: bool = False,
        files: int = 0,
        has_packets: bool = False,
    ) -> None:
        self._folder, self._loop, self._port = folder, loop, port
        self._has_bystander, self._ends_itself = has_bystander, ends_itself
        self._is_short, self._files, self._has_packets = is_short, files, has_packets
        self.urls: dict[str, dict[str, str]] = {}
        self.certificates = Certificates(folder)

    def __enter__(self) -> Self:
        self._stderr = self._folder / fresh("stderr")
        self._errors = self._stderr.open("w+b")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.attacks.server_process"),
                *("--folder", str(self._folder), "--loop", self._loop, "--port", str(self._port)),
                *("--certificate", self.certificates.server, "--files", str(self._files)),
                *(("--packets",) if self._has_packets else ()),
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
            self.process.communicate()
            self._errors.close()
            raise AssertionError(f"the server did not start: {self.stderr()}")
        self.urls = json.loads(first)
        self._control = self.peer("v2", "unix")
        self.bystander = Bystander(self.urls["v2"]["tcp"]) if self._has_bystander else None
        return self

    def __exit__(self, exc_type: object, *_: object) -> None:
        try:
            if self.bystander is not None:
                self.bystander.stop()
        finally:  # a server that hangs is not to outlive its test
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
        return self._stderr.read_text()

    @property
    def starts_later(self) -> bool:
        """Whether the handlers of a read are started in a turn behind it."""
        return self._loop == "trio"

    @contextmanager
    def another(
        self, *, files: int = 0, is_doomed: bool = False, has_packets: bool = False
    ) -> Iterator["AttackedServer"]:
        """Give a server like this one in one more process, for an attack that would spoil it for others, or end it."""
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as folder,
            AttackedServer(
                Path(folder),
                self._loop,
                has_bystander=not is_doomed,
                ends_itself=is_doomed,
                is_short=self._is_short,
                files=files,
                has_packets=has_packets,
            ) as server,
        ):
            yield server

    def again(self, *, has_port: bool) -> "AttackedServer":
        """Return one more server on the paths of this one, and on its port too if told so; to be entered."""
        port = int(self.urls["v2"]["tcp"].rsplit(":", 1)[1]) if has_port else 0
        return AttackedServer(self._folder, self._loop, port, has_bystander=False)

    def size(self, full: int, short: int) -> int:
        """Return how large an attack is to be."""
        return short if self._is_short else full

    def peer(self, kind: str = "v2", transport: str = "tcp", source: str | None = None) -> Peer:
        """Return a new connection to it, over TCP from the address *source*."""
        if transport in ("ws", "wss"):
            return WebSocketPeer(self.urls[kind][transport], source)
        framer = FRAMERS[kind]() if kind in FRAMERS else None
        return Peer(self.urls[kind][transport], None if transport == "unix" else source, framer=framer)

    def connect(self, kind: str, transport: str, *args: Any, **kwargs: Any) -> tieline.ClientSession:
        """Return a session to it, to be entered; all else goes to `tieline.connect`."""
        tls = tieline.TLS(ca=self.certificates.ca) if transport == "tls" else None
        session: tieline.ClientSession = tieline.connect(self.urls[kind][transport], *args, tls=tls, **kwargs)
        return session

    def ask(self, method: str, *params: object) -> Any:
        """Call a method over a connection that no case uses."""
        return self._control.call(method, *params)

    def figures(self) -> Figures:
        found: Figures = self.ask("figures")
        return found

    def settled_like(self, before: Figures, patience: float = 2.0) -> Figures:
        """Return the figures once nothing is left over in comparison with *before*, or after the patience.

        A slow box gets five times that: thousands of handshakes may still wait for their turn there.
        """
        until = time.monotonic() + (5 * patience if is_slow_box() else patience)
        while True:
            now = self.figures()
            left = left_over(before, now)
            if not left or time.monotonic() > until:
                return now
            select.select([], [], [], 0.005)

    # --- standing conditions -----------------------------------------------------------------------------------------

    @contextmanager
    def standing(
        self, *, growth: int = 24 * MEGA, records: int = 1, wait: float = 0.25, rests: bool = False
    ) -> Iterator[dict[str, float]]:
        """Check the conditions (a) to (d) of the spec around what happens in the body; yields what was measured.

        That has no "wait" when the attack was over before a bystander called.

        Args:
            growth: How far resident memory may grow at its peak.
            records: How many log records may be written.
            wait: How many seconds a bystander may wait; on a slow box four times that, and a second at most.
            rests: See that the process rests within a second, too.
        """
        before: Figures = self.ask("settle")
        start = time.monotonic()
        seen: dict[str, float] = {}
        yield seen
        waits = self.bystander.waits_since(start) if self.bystander is not None else []
        after = self.settled_like(before)
        left = left_over(before, after)
        assert not left, f"left behind (before, after): {left}"
        seen["growth"] = after["peak"] - before["rss"]
        if waits:
            seen["wait"] = max(waits)
        seen["records"] = after["records"] - before["records"]
        seen["tracebacks"] = after["tracebacks"] - before["tracebacks"]
        if rests:
            self.check_rest()
        assert seen["growth"] <= growth, f"memory grew by {seen['growth'] / MEGA:.1f} MiB"
        assert seen["records"] <= records, self.ask("records")[-10:]
        allowed = min(4 * wait, 1.0) if is_slow_box() else wait
        if waits and max(waits) > allowed:
            raise Waited(f"a bystander waited {max(waits) * 1000:.0f} ms")

    def check_rest(self) -> None:
        """See that within a second the process uses hardly any CPU; the bystander's calls take some."""
        until = time.monotonic() + (4.0 if is_slow_box() else 1.0)
        while True:
            start, spent = time.monotonic(), self.ask("cpu")
            select.select([], [], [], 0.05)
            share = (self.ask("cpu") - spent) / (time.monotonic() - start)
            if share < 0.2:
                return
            assert time.monotonic() < until, f"it still uses {share:.0%} of a core"


class Waited(AssertionError):
    """A bystander waited too long."""


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

    def usual_since(self, start: float) -> float:
        """Return the median of its waits since *start*. Fails when it lost a call, or made none."""
        return statistics.median(self.waits_since(start))

    def waits_since(self, start: float) -> list[float]:
        """Return its waits since *start*; a call that is under way is waited for. Fails when it lost a call."""
        with self._answered:
            self._answered.wait_for(lambda: self._fault is not None or self._asked is None, 15)
            assert self._fault is None, f"the bystander lost a call: {self._fault!r}"
            return [wait for when, wait in self._waits if when >= start]

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._peer.close()
        assert self._fault is None, f"the bystander lost a call: {self._fault!r}"
