# SPDX-License-Identifier: MIT
"""A clock that stands still until it is moved: for machines and transports in memory without any loop."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from tieline.finite import check_finite_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["VirtualClock", "VirtualTimer", "check_passing"]

# What goes on for so many turns without any time passing would go on for ever.
MOST_TURNS: Final = 100_000


class VirtualTimer:
    """A scheduled call.

    Attributes:
        when: The time at which it is due.
        fn: The function that is called.
        cancelled: Whether it has been cancelled.
    """

    __slots__ = ("cancelled", "fn", "when")

    def __init__(self, when: float, fn: Callable[[], object]) -> None:
        self.when = when
        self.fn = fn
        self.cancelled = False

    def cancel(self) -> None:
        """Do not make the call. Harmless when it has been made."""
        self.cancelled = True


class VirtualClock:
    """A clock and scheduler under the control of a test: nothing runs by itself, and all runs in a known order.

    It implements the part of a runtime's host that tells the time and schedules calls, so links, TLS layers and
    in-memory transports run on it. It is moved by `turn`, `run` and `advance`, by one thread.

    Args:
        time: The initial time in seconds.

    Attributes:
        time: The time in seconds.
        tick: How many seconds pass whenever the time is read; 0 at first.
    """

    def __init__(self, time: float = 100.0) -> None:
        self.time = time
        self.tick = 0.0
        self._timers: list[VirtualTimer] = []
        self._soon: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<VirtualClock at {self.time:g}, {len(self._soon)} calls soon, timers at {self.armed()}>"

    # --- for what runs on it -------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the time in seconds."""
        self.time += self.tick
        return self.time

    def call_at(self, when: float, fn: Callable[[], object], /) -> VirtualTimer:
        """Call *fn* at *when*; of several at one time the one that was planned first comes first."""
        timer = VirtualTimer(when, fn)
        self._timers.append(timer)
        return timer

    def call_soon(self, fn: Callable[[], object], /) -> None:
        """Call *fn* in the next turn, behind all that is planned for it already."""
        self._soon.append(fn)

    call_behind = call_soon

    # --- for whoever moves it ------------------------------------------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is to happen before time passes."""
        return not self._soon and not any(when <= self.time for when in self.armed())

    def armed(self) -> list[float]:
        """Return for when timers are planned, in the order in which that was done."""
        return [timer.when for timer in self._timers if not timer.cancelled]

    def turn(self) -> None:
        """Make the calls that are planned for the next turn, and those whose time has come.

        What one of them raises comes out; the rest stays planned.
        """
        planned, self._soon = self._soon, []
        for index, fn in enumerate(planned):
            try:
                fn()
            except BaseException:
                self._soon[:0] = planned[index + 1 :]
                raise
        self._fire(self.time)

    def step(self) -> bool:
        """Let the next thing happen: a turn, or where nothing is left to do, what the next timer is for.

        Return False when there is neither.
        """
        if not self.is_quiet:
            self.turn()
            return True
        return self._fire(inf)

    def run(self) -> None:
        """Let happen all that happens without time passing.

        Raises:
            RuntimeError: It does not come to rest.
        """
        for _ in range(MOST_TURNS):
            if self.is_quiet:
                return
            self.turn()
        raise RuntimeError(f"no rest after {MOST_TURNS} turns at time {self.time:g}: something plans itself again")

    def advance(self, seconds: float) -> None:
        """Let so much time pass; see `move_to`.

        Raises:
            ValueError: *seconds* is negative, or no finite number.
        """
        check_passing(seconds)
        self.move_to(self.time + seconds)

    def move_to(self, when: float) -> None:
        """Let time pass until *when*: timers go off in their order, each at its own time, with all that follows."""
        self.run()
        while self._fire(when):
            self.run()
        self.time = max(self.time, when)

    def run_until(self, condition: Callable[[], object], *, within: float = inf) -> None:
        """Let happen what happens, and time pass from timer to timer, until *condition* holds.

        Raises:
            TimeoutError: It does not within so many seconds of this clock, or nothing is left that could happen.
        """
        last = self.time + within
        for _ in range(MOST_TURNS):
            if condition():
                return
            if not self.is_quiet:
                self.turn()
            elif not self._fire(last):
                raise TimeoutError(f"it never came to that: nothing is left to happen before {last:g}; {self!r}")
        raise TimeoutError(f"it never came to that in {MOST_TURNS} turns; {self!r}")

    def _fire(self, until: float) -> bool:
        """Call the next timer that is due by *until*, at its time; return whether there was one."""
        due = [timer for timer in self._timers if not timer.cancelled and timer.when <= until]
        if not due:
            self._timers = [timer for timer in self._timers if not timer.cancelled]
            return False
        timer = min(due, key=lambda timer: timer.when)
        self._timers.remove(timer)
        self.time = max(self.time, timer.when)
        timer.fn()
        return True


def check_passing(seconds: float) -> None:
    """Refuse what cannot pass: time goes on, and comes to no end.

    Raises:
        ValueError: *seconds* is negative, or no finite number.
    """
    check_finite_seconds("seconds", seconds)
