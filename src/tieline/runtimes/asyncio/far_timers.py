# SPDX-License-Identifier: MIT
"""Timers that are nearly always lifted long before they go off, as those of peers and answers that come in time.

To have a loop of asyncio's call something, and to take that back, takes a handle and a place in a heap. Here it is one
small object in a table, through which one timer of the loop's looks now and then: what goes off before the next look
becomes a timer of the loop by then, so nothing goes off later than by the loop itself.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.host import Timer

__all__ = ["FarTimers"]

# Seconds from one look to the next. There is none where nothing waits.
LOOK: Final = 2.0


class _FarTimer:
    """A call that is planned."""

    __slots__ = ("_waiting", "soon", "when")

    def __init__(self, when: float, waiting: dict[_FarTimer, Callable[[], object]]) -> None:
        self.when = when
        self.soon: Timer | None = None  # once it is one of the loop's
        self._waiting = waiting

    def cancel(self) -> None:
        self._waiting.pop(self, None)
        if self.soon is not None:
            self.soon.cancel()


class FarTimers:
    """The timers of one loop.

    Args:
        call_at: The loop's own way to have something called.
        now: The loop's clock.

    Attributes:
        waiting: What is to be called, by the timers that are none of the loop's yet.
    """

    __slots__ = ("_call_at", "_look_at", "_now", "waiting")

    def __init__(self, call_at: Callable[[float, Callable[[], object]], Timer], now: Callable[[], float]) -> None:
        self._call_at = call_at
        self._now = now
        self.waiting: dict[_FarTimer, Callable[[], object]] = {}
        self._look_at = inf  # when the next look is, if one is planned

    def call_at(self, when: float, fn: Callable[[], object], /) -> Timer:
        """Call *fn* at *when*."""
        if when < self._look_at and not self._begins_with(when):
            return self._call_at(when, fn)
        timer = _FarTimer(when, self.waiting)
        self.waiting[timer] = fn
        return timer

    def _begins_with(self, when: float) -> bool:
        """Plan a look for the sake of what goes off at *when*, if there is none and that is late enough."""
        if self._look_at != inf or when < self._now() + LOOK:
            return False
        self._plan_look()
        return True

    def _plan_look(self) -> None:
        self._look_at = self._now() + LOOK
        self._call_at(self._look_at, self._look)

    def _look(self) -> None:
        self._look_at = inf
        if not self.waiting:
            return
        self._plan_look()  # first: should what follows be interrupted, nothing is forgotten
        until = self._look_at + LOOK  # a good while after the next look
        for timer, fn in [*self.waiting.items()]:
            if timer.when < until:
                timer.soon = self._call_at(timer.when, fn)
                if self.waiting.pop(timer, None) is None:  # it has been lifted meanwhile, by a signal say
                    timer.soon.cancel()
