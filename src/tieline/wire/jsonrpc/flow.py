# SPDX-License-Identifier: MIT
"""When to stop reading: the one rule that lets two ends flood each other and never stand still.

Reading stops only for the sake of what we OWE: while `max_pending` requests are unanswered, or more bytes of replies
than the high-water mark wait to be written. It never stops while this side itself waits for the peer (calls are open,
or senders wait for room): both ends would wait for each other for ever. Then it is the excess requests that are
refused instead. A peer that takes nothing and goes on asking is not refused without end either: after `MAX_REFUSALS`
reading stops all the same, and the write timeout ends the connection.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_REFUSALS", "Flow"]

MAX_REFUSALS: Final = 1024


class Flow:
    """How much is owed to the peer, and how much more may be accepted.

    Attributes:
        bound: How many requests may be unanswered right now.
        paused: The transport wants no more output for the time being.
        senders_waiting: How many senders of ours wait for room.
    """

    __slots__ = ("_high_water", "_max_pending", "_refusals", "_reply_bytes", "bound", "paused", "senders_waiting")

    def __init__(self, max_pending: int, high_water: int) -> None:
        self._max_pending = max_pending
        self._high_water = high_water
        self.bound = max_pending
        self.paused = False
        self.senders_waiting = 0
        self._reply_bytes = 0
        self._refusals = 0

    def reply_queued(self, size: int) -> None:
        """Count a reply while output is paused: it is still owed, so it narrows the bound."""
        self._reply_bytes += size
        self.bound = 0 if self._reply_bytes > self._high_water else max(0, self.bound - 1)

    def refusal_queued(self) -> None:
        """Count a refusal while output is paused."""
        self._refusals += 1

    def pause(self) -> None:
        """Take note that the transport wants no more output."""
        self.paused = True

    def resume(self) -> None:
        """Take note that the transport has room again: what was owed is on its way."""
        self.paused = False
        self._reply_bytes = self._refusals = 0
        self.bound = self._max_pending

    def reads_on(self, open_calls: int) -> bool:
        """Return whether reading goes on although the bound is reached."""
        return bool(open_calls or self.senders_waiting) and self._refusals < MAX_REFUSALS
