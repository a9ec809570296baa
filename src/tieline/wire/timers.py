# SPDX-License-Identifier: MIT
"""The times at which a connection has something to do."""

from __future__ import annotations

from math import inf
from typing import Literal

__all__ = ["Timers"]


class Timers:
    """Times by the driver's clock, in seconds; inf = never.

    Attributes:
        write: When to look whether the peer takes any output.
        linger: When to stop listening to a peer that was told to go.
        message: When the message that has begun must be complete.
        calls: When to look after the timeouts of our own calls.
        idle: When the first valid message must have come.
        first: The earliest of them.
    """

    __slots__ = ("calls", "first", "idle", "linger", "message", "write")

    def __init__(self) -> None:
        self.write = self.linger = self.message = self.idle = self.calls = self.first = inf

    def set(self, name: Literal["write", "linger", "message", "idle", "calls"], when: float = inf) -> None:
        """Set one of them; without a time it is lifted."""
        setattr(self, name, when)
        self.first = min(self.write, self.linger, self.message, self.idle, self.calls)

    def clear(self) -> None:
        """Lift all of them."""
        self.write = self.linger = self.message = self.idle = self.calls = self.first = inf
