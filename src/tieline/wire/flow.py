# SPDX-License-Identifier: MIT
"""When to stop reading: the one rule that lets two ends flood each other and never stand still.

Reading stops only for the sake of what we OWE: while `max_pending` requests are unanswered, or such that take more
memory than `max_pending_size`, or while more bytes of replies than the high-water mark wait to be written. It never
stops while this side itself waits for the peer (calls are open, or senders wait for room): both ends would wait for
each other for ever. Then requests beyond the bound, replies that wait to be written counted in, are refused instead;
notifications, which nobody could refuse, are accepted. A peer that takes nothing and goes on sending does not go on
without end either: after `MAX_EXCESS` refusals, with as many notifications over the bound, or with notifications of
twice the size, reading stops all the same, and the write timeout ends the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tieline.wire.limits import ceiling

if TYPE_CHECKING:
    from tieline.wire.limits import Limits

__all__ = ["MAX_EXCESS", "MUCH_OUTPUT", "Flow"]

MAX_EXCESS: Final = 1024
# More bytes than this do not wait for the end of a turn to leave with what others have to say in it.
MUCH_OUTPUT: Final = 64 * 1024


class Flow:
    """How much is owed to the peer, and how much more may be accepted.

    Args:
        limits: `Limits.max_pending`, `Limits.max_pending_size` and `Limits.write_high_water`, resolved.

    Attributes:
        bound: How many requests may be unanswered right now; further ones are refused.
        parks_at: With how many unanswered requests reading stops, unless this side waits for the peer itself.
        paused: The transport wants no more output for the time being.
        senders_waiting: How many senders of ours wait for room.
    """

    __slots__ = ("__dict__", "_limits", "bound", "parks_at", "paused", "senders_waiting")

    # What nearly no connection has is the class's, until one has it.
    _size: int = 0  # of the large requests that are unanswered
    _replies: int = 0  # those that wait while output is paused; so the next two
    _reply_bytes: int = 0
    _refusals: int = 0

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.bound = self.parks_at = limits.max_pending
        self.paused = False
        self.senders_waiting = 0

    def replies_queued(self, count: int, size: int) -> None:
        """Count replies of *size* bytes together while output is paused: still owed, they narrow the bound."""
        self._reply_bytes += size
        self._replies += count
        self._rebound()

    def refusal_queued(self) -> None:
        """Count a refusal while output is paused."""
        self._refusals += 1

    def pause(self) -> None:
        """Take note that the transport wants no more output."""
        self.paused = True

    def resume(self) -> None:
        """Take note that the transport has room again: what was owed is on its way."""
        self.paused = False
        self._replies = self._reply_bytes = self._refusals = 0
        self._rebound()

    def accepted(self, size: int) -> None:
        """Count a large request of so many bytes of memory."""
        self._size += size
        self._rebound()

    def released(self, size: int) -> None:
        """Take note that requests of so many bytes together are answered."""
        self._size -= size
        self._rebound()

    def _rebound(self) -> None:
        limits = self._limits
        self.bound = 0 if self._size > ceiling(limits.max_pending_size) else max(0, limits.max_pending - self._replies)
        self.parks_at = 0 if self._reply_bytes > limits.write_high_water else self.bound

    def is_parked(self, unanswered: int, open_calls: int) -> bool:
        """Return whether reading stops, with so many requests of the peer and calls of ours unanswered."""
        if unanswered < self.parks_at:
            return False
        if not open_calls and not self.senders_waiting:
            return True
        if self._size > 2 * ceiling(self._limits.max_pending_size):
            return True
        return self._refusals >= MAX_EXCESS or unanswered >= self._limits.max_pending + MAX_EXCESS
