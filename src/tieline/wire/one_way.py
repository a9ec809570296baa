# SPDX-License-Identifier: MIT
"""A connection whose messages have no replies: what the machines of messages and of packets share.

What a message is, and how it comes in, is theirs.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from tieline.wire.governed import Governed
from tieline.wire.limits import ceiling
from tieline.wire.states import Cause, State, next_state
from tieline.wire.timers import DecayingCount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.limits import Limits
    from tieline.wire.states import CauseName

__all__ = ["NO_OUTPUT", "ConnectionEnded", "OneWayConnection"]

# In place of a list, where nothing is queued: an idle connection has none.
NO_OUTPUT: Final[list[bytes]] = cast("list[bytes]", ())


class ConnectionEnded(msgspec.Struct, eq=False):
    """The peer broke the rules beyond repair, or there is no room for it: the connection ends."""

    error: Exception


class OneWayConnection(Governed):
    """One connection whose peers owe each other no answers, either end.

    Args:
        limits: The limits, resolved.
        accepted: Whether the peer connected to us.

    Attributes:
        accepted: Whether the peer connected to us: strangers get less patience.
        faults: How much of what came was faulty.
        last_received: When the last bytes came in, by the driver's clock; None before the first.
        is_stranger: Whether nothing valid has come yet on a connection that was accepted.
        refuses: This side closes or has cut the connection: nothing more is handed out, what comes is thrown away.
        peer_has_ended: The peer has ended its stream.
        queued: What is to be sent, framed and in order.
        output_size: Its size in bytes.
        replies: Empty: nothing waits to be encoded.
    """

    __slots__ = (
        "_errors",
        "_lingers",
        "_message_timeout",
        "accepted",
        "faults",
        "is_stranger",
        "last_received",
        "output_size",
        "peer_has_ended",
        "queued",
        "refuses",
        "replies",
        "unsent",
    )

    def __init__(self, limits: Limits, *, accepted: bool) -> None:
        super().__init__(limits)
        self.accepted = accepted
        self.is_stranger = accepted
        self.faults: int = 0
        self.last_received: float | None = None
        self.refuses = False
        self.peer_has_ended = False
        self.queued = NO_OUTPUT
        self.output_size: int = 0
        self.unsent: None = None
        self.replies: Final = ()
        self._message_timeout = ceiling(limits.message_timeout) if accepted else inf
        self._errors: DecayingCount | None = None
        self._lingers = False  # the time for that runs

    def start(self, now: float) -> None:
        """The connection stands: from here on the peer has its time to say something valid."""
        if self.is_stranger:
            self._set_timer("idle", now + ceiling(self.limits.idle_timeout))

    def _is_one_too_many(self, now: float) -> bool:
        """Take note of one more fault of the peer's, and return whether those are more than are borne."""
        if self._errors is None:
            self._errors = DecayingCount(self.limits.error_decay)
        return self._errors.add(now) > ceiling(self.limits.max_errors)

    # --- bytes out -----------------------------------------------------------------------------------------------

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything to do."""
        return bool(self.queued)

    def data_to_send(self) -> bytes:
        """Return, once, the bytes that are to be written now."""
        queued, self.queued = self.queued, NO_OUTPUT
        self.output_size = 0
        data = queued[0] if len(queued) == 1 else b"".join(queued)
        self.bytes_sent += len(data)
        return data

    def add_output(self, framed: bytes) -> None:
        """Queue what was framed."""
        if not self.queued:
            self.queued = []
        self.queued.append(framed)
        self.output_size += len(framed)

    def _drop_output(self) -> None:
        self.queued = NO_OUTPUT
        self.output_size = 0

    def _move(self, cause: CauseName) -> None:
        self.is_smooth = False
        self.state = next_state(self.state, cause)

    # --- the end -------------------------------------------------------------------------------------------------

    def _linger(self, now: float) -> None:
        """Begin to count the time in which the peer may read our last word, or end it."""
        if self._lingers:
            self._set_timer("linger")
            self._move(Cause.LINGERED)
        else:
            self._lingers = True
            self._set_timer("linger", now + self.limits.linger)

    def answers_are_lost(self) -> None:
        """Take note that the peer's EOF has ended our direction too, as over TLS: nothing more can be said."""
        if self.state is State.DRAINING:
            self._move(Cause.LAST_REPLY)

    # --- what it has not -----------------------------------------------------------------------------------------

    def give_up_calls(self) -> Sequence[Any]:
        """There are no calls."""
        return ()

    @property
    def has_read_behind_event(self) -> bool:
        """Whether a message has been read behind the one that caused the last event: each causes one."""
        return False

    @property
    def max_calls(self) -> int:
        """How many calls of ours may be open at once, if there were any."""
        return self.limits.max_calls

    @property
    def abandoned(self) -> int:
        """How many calls of the peer's were unanswered when it went away."""
        return 0

    @property
    def owes_answers(self) -> bool:
        """Whether the peer waits for an answer."""
        return False
