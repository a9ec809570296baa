# SPDX-License-Identifier: MIT
"""Time in the life of a connection: when there is something to do, and what is forgiven as it goes by."""

from __future__ import annotations

from math import inf
from typing import Final, Literal

__all__ = ["NEVER", "DecayingCount", "TimerName", "Timers"]

TimerName = Literal["write", "linger", "message", "calls", "idle"]


class Timers:
    """Times by the driver's clock, in seconds; inf = never. They are not changed: all idle connections share `NEVER`.

    Attributes:
        write: When to look whether the peer takes any output.
        linger: When to stop listening to a peer that was told to go.
        message: When the message that has begun must be complete.
        calls: When to look after the timeouts of our own calls.
        idle: When the first valid message must have come.
        first: The earliest of them.
    """

    __slots__ = ("_only", "calls", "first", "idle", "linger", "message", "write")

    def __init__(self) -> None:
        self.write = self.linger = self.message = self.calls = self.idle = self.first = inf
        self._only: TimerName | None = None  # the one that is set, where it is known that there are no others

    def changed(self, name: TimerName, when: float) -> Timers:
        """Return the same times but for the one called *name*."""
        if when == inf and (self is NEVER or self._only == name):
            return NEVER
        changed = Timers()
        if self is NEVER:  # as for most connections, which have one timer or none
            setattr(changed, name, when)
            changed.first, changed._only = when, name
            return changed
        changed.write, changed.linger, changed.message = self.write, self.linger, self.message
        changed.calls, changed.idle = self.calls, self.idle
        setattr(changed, name, when)
        changed.first = min(changed.write, changed.linger, changed.message, changed.calls, changed.idle)
        return NEVER if changed.first == inf else changed


NEVER: Final = Timers()


class DecayingCount:
    """A count that goes down by itself at a steady rate, never below zero.

    A clock that stands still or goes back forgives nothing.
    """

    __slots__ = ("_at", "_rate", "_value")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._value = 0.0
        self._at = 0.0

    def add(self, now: float) -> float:
        """Count one more and return the count as it stands at *now* (seconds)."""
        forgiven = max(0.0, now - self._at) * self._rate
        self._value = max(0.0, self._value - forgiven) + 1.0
        self._at = now
        return self._value
