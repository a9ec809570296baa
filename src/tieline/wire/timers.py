# SPDX-License-Identifier: MIT
"""The times at which a connection has something to do."""

from __future__ import annotations

from math import inf
from typing import Final, Literal

__all__ = ["NEVER", "TimerName", "Timers"]

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

    __slots__ = ("calls", "first", "idle", "linger", "message", "write")

    def __init__(
        self, write: float = inf, linger: float = inf, message: float = inf, calls: float = inf, idle: float = inf
    ) -> None:
        self.write = write
        self.linger = linger
        self.message = message
        self.calls = calls
        self.idle = idle
        self.first = min(write, linger, message, calls, idle)

    def changed(self, name: TimerName, when: float) -> Timers:
        """Return the same times but for the one called *name*."""
        if self is NEVER:
            return self if when == inf else Timers(**{name: when})
        changed = Timers(self.write, self.linger, self.message, self.calls, self.idle)
        setattr(changed, name, when)
        changed.first = min(changed.write, changed.linger, changed.message, changed.calls, changed.idle)
        return NEVER if changed.first == inf else changed


NEVER: Final = Timers()
