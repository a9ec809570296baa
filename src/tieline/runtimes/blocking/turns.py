# SPDX-License-Identifier: MIT
"""The lock of one connection, and what is done with it held: moves, what is planned for soon, and timers.

It is held for moves in memory and for system calls that do not wait, never while somebody's code runs. How the thread
that reads for all is called back is here too: whoever changes what it waits for has to.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.blocking.readiness import Readiness
    from tieline.runtimes.blocking.transport import SocketTransport

__all__ = ["PumpTimer", "Turns"]

# Timers wait for so many reads that find something: the answer that comes too late may be among it.
READS_BEFORE_TIMERS: Final = 16


class PumpTimer:
    """A call that was planned."""

    __slots__ = ("_pump", "fn", "when")

    def __init__(self, pump: Turns, when: float, fn: Callable[[], object]) -> None:
        self._pump = pump
        self.when = when
        self.fn = fn

    def cancel(self) -> None:
        self._pump.cancel_timer(self)


class Turns:
    """The state of one connection, one move at a time.

    Attributes:
        lock: Guards all state of the connection.
        transport: The transport; None before the connection is made.
        soon: What is to be called before the lock is given up; see `call_soon`.
        behind: What is to be called once the jobs are done that there are; see `call_behind`.
        is_inside: The lock is held, and whoever holds it calls what is in `soon`.
    """

    __slots__ = (
        "_first_timer",
        "_is_called",
        "_late_reads",
        "_owns_lock",
        "_readiness",
        "_timers",
        "_waits_until",
        "behind",
        "is_inside",
        "lock",
        "soon",
        "transport",
    )

    now = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.transport: SocketTransport | None = None
        self.soon: deque[Callable[[], object]] = deque()
        self.behind: deque[Callable[[], object]] = deque()
        self._timers: list[PumpTimer] = []
        self._first_timer = inf
        self._late_reads = 0
        self._readiness: Readiness | None = None
        self._new_locks()

    def _new_locks(self) -> None:
        self.lock = threading.RLock()
        self._owns_lock: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]  # as Condition does
        self.is_inside = False
        self._waits_until = -inf  # until when the leader waits, if it can be called; -inf = it does not, or cannot
        self._is_called = False

    # --- moves ---------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Call what was planned for soon. What is interrupted in there stays planned."""
        soon = self.soon
        while soon:
            try:
                soon[0]()
            except Exception:
                soon.popleft()
                raise
            soon.popleft()

    def do(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call *fn* with the lock held, and return what it returns.

        What interrupts the program in there (Ctrl-C) may have come between any two steps: the connection is given up.
        """
        with self.lock:
            was_inside, self.is_inside = self.is_inside, True
            try:
                return fn(*args, **kwargs)
            except Exception:
                raise
            except BaseException as exc:
                self.give_up(exc)
                raise
            finally:
                try:
                    if self.soon and not was_inside:
                        self.drain()
                finally:
                    self.is_inside = was_inside

    def give_up(self, error: BaseException) -> None:
        """Cut a connection whose state is unknown: something has failed or was interrupted in the middle of a move."""
        if self.transport is not None:
            self.transport.fail(error)

    def is_moving(self) -> bool:
        """Return whether this is called from within a move of this thread's."""
        return self._owns_lock()

    @property
    def has_timers(self) -> bool:
        """Whether anything is planned for later."""
        return bool(self._timers)

    # --- time and turns, for links -------------------------------------------------------------------------------

    def call_at(self, when: float, fn: Callable[[], object]) -> PumpTimer:
        """Have *fn* called at *when* by whoever leads then, or when somebody next does."""
        timer = PumpTimer(self, when, fn)
        self._timers.append(timer)
        if when < self._first_timer:
            self._first_timer = when
            if when < self._waits_until:
                self._call_leader()
        return timer

    def cancel_timer(self, timer: PumpTimer) -> None:
        if timer in self._timers:
            self._timers.remove(timer)
            self._first_timer = min([one.when for one in self._timers], default=inf)

    def call_soon(self, fn: Callable[[], object]) -> None:
        """Have *fn* called by this thread, before it gives up the lock."""
        self.soon.append(fn)

    def _run_timers(self, *, has_read: bool) -> None:
        """Run the timers that are due, once nothing is left to be read; what has come before is not to be too late."""
        self._late_reads += 1
        if has_read and self._late_reads < READS_BEFORE_TIMERS:
            return
        self._late_reads = 0
        now = self.now()
        for timer in sorted([one for one in self._timers if one.when <= now], key=lambda one: one.when):
            if timer in self._timers:
                self.cancel_timer(timer)
                timer.fn()

    # --- the thread that waits for the socket --------------------------------------------------------------------

    def has_changed(self) -> None:
        """What the leader waits for has changed: it is to look again."""
        if self._waits_until > -inf:
            self._call_leader()

    def _call_leader(self) -> None:
        if not self._is_called and self._readiness is not None:
            self._is_called = True
            self._readiness.wake()
