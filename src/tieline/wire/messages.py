# SPDX-License-Identifier: MIT
"""The machine of a connection whose messages have no replies: bytes and time in; messages and bytes out.

Framing, limits, when to stop reading, and how a connection ends. What a message means is the user's affair. It keeps
the contract of `tieline.wire.jsonrpc.connection`, so that one link drives both.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tieline.errors import (
    ClosedError,
    RemoteProtocolError,
)
from tieline.wire.life import ends_stream, lost
from tieline.wire.message_output import MessageSending, size_of
from tieline.wire.one_way import ConnectionEnded
from tieline.wire.states import Cause, State
from tieline.wire.strangers import foreign_start
from tieline.wire.timers import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.limits import Limits

__all__ = ["MessageConnection", "MessageReceived"]

# After so many messages a driver gets the chance to look at the clock and to let others run.
MESSAGES_PER_TURN: Final = 64


class MessageReceived(msgspec.Struct, eq=False):
    """The peer sent a message. It counts as work at hand until the driver says `MessageConnection.done`.

    Attributes:
        message: What the framer made of it.
        size: How many bytes it is counted with.
    """

    message: Any
    size: int


class MessageConnection(MessageSending):
    """One connection of messages, either end.

    Args:
        framer: The framer of this connection alone.
        limits: The limits, resolved.
        accepted: Whether the peer connected to us.

    Attributes:
        messages_received: How many messages came in, damaged ones not counted.
        faults: How many messages were damaged, and whether the framing broke.
        unanswered: How many messages are being handled.
        peer_has_ended: The peer has ended its stream before the connection ended otherwise: what it has said is worth
            its work, whatever becomes of the transport.
    """

    __slots__ = ("_at", "_damaged", "_fault", "_held", "messages_received", "unanswered")

    def __init__(self, framer: FramerBase[Any], limits: Limits, *, accepted: bool) -> None:
        super().__init__(framer, limits, accepted=accepted)
        self.messages_received: int = 0
        self.unanswered: int = 0
        self._held: Sequence[Any] = ()  # messages that are framed and not yet given out, from _at on
        self._at = 0
        self._fault: Exception | None = None  # what came after the held messages
        self._damaged = 0  # of the framer's count, how many have been counted here

    # --- bytes in ------------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        super().start(now)
        self._counted_since = now

    def receive_data(self, data: bytes, now: float) -> Sequence[MessageReceived | ConnectionEnded]:
        """Take in bytes of the peer's and return the first messages that they complete; see `has_more`."""
        self.bytes_received += len(data)
        is_first = self.last_received is None
        self.last_received = now
        if self.refuses or self.state > State.DRAINING or self._fault is not None:
            return ()  # so is what comes behind a fault
        if is_first and self._framer.is_text and (name := foreign_start(data)) is not None:
            events: list[MessageReceived | ConnectionEnded] = []
            self.faults += 1
            self.charge_error(is_parse_error=True)
            self._end(RemoteProtocolError(f"the peer speaks {name}"), events)
            return events
        if (not self.is_smooth or self.bytes_received > self._look_received) and self._is_look_due:
            events = []
            self._look_at_cost(events, now)
            if events:
                return events
        messages, self._fault = self._framer.take(data)
        self.messages_received += len(messages)
        self._time_message(bool(messages), now)
        self._held = [*self._held[self._at :], *messages] if self._held else messages
        self._at = 0
        return self.next_events(now)

    def _time_message(self, is_new: bool, now: float) -> None:
        """Give the unfinished message its time; one timer a message, however many pieces it comes in."""
        if not self._framer.pending:
            if self.timers.message != inf:
                self._set_timer("message")
        elif is_new or self.timers.message == inf:
            self._set_timer("message", now + self._message_timeout)

    def reading_resumed(self, now: float) -> None:
        """The driver reads on after it had stopped: the message that has come in part gets its time anew."""
        if self.timers.message != inf:
            self._set_timer("message", now + self._message_timeout)

    def next_events(self, now: float) -> Sequence[MessageReceived | ConnectionEnded]:
        """Return the next `MESSAGES_PER_TURN` messages at most."""
        events: list[MessageReceived | ConnectionEnded] = []
        if self._may_be_excessive:
            self._look_at_cost(events, now)
            if events:
                return events
        stop = min(len(self._held), self._at + MESSAGES_PER_TURN)
        while self._at < stop and not self._is_parked():
            events.append(self._accept_next())
        if events and self.is_stranger:
            self.is_stranger = False
            self._set_timer("idle")
        if self._at >= len(self._held):
            self._held = ()
            self._at = 0
            self._look_for_faults(events, now)
            self._after_message()
        self.is_smooth = (
            self.state is State.OPEN
            and not (self._held or self.is_stranger or self.flow.paused)
            and self._fault is None
            and self.timers.message == inf
            and self.unanswered < self.flow.parks_at
            and not self.is_strained
        )
        return events

    def _accept_next(self) -> MessageReceived:
        message = self._held[self._at]
        self._at += 1
        size = size_of(message)
        self.unanswered += 1
        self.flow.accepted(size)
        return MessageReceived(message, size)

    def _look_for_faults(self, events: list[MessageReceived | ConnectionEnded], now: float) -> None:
        """End the connection when the framing is broken, or too many messages were damaged."""
        damaged = self._framer.damaged
        while self._damaged < damaged and self.state <= State.DRAINING:
            self._damaged += 1
            self.faults += 1
            self.charge_error()
            if self._is_one_too_many(now):
                self._end(RemoteProtocolError(f"more than {self.limits.max_errors} damaged messages"), events)
        # What came before it is handled first: where bytes were cut must not matter.
        if self._fault is not None and not events and self.state <= State.DRAINING:
            fault, self._fault = self._fault, None
            self.faults += 1
            self.charge_error(is_parse_error=True)
            if not isinstance(fault, RemoteProtocolError):
                broken = RemoteProtocolError(f"the framing is broken: {type(fault).__name__}")
                broken.__cause__ = fault
                fault = broken
            self._end(fault, events)

    def done(self, event: MessageReceived) -> None:
        """Take note that a message has been handled; that makes room for another.

        Call it once for each event; what happens when the connection is broken does not matter any more.
        """
        if self.state is State.CLOSED and not self.peer_has_ended:
            return
        self.unanswered -= 1
        self.flow.released(event.size)
        self._after_message()

    @property
    def taken_up(self) -> int:
        """How many messages of the peer's were taken up."""
        return self.messages_received

    @property
    def has_more(self) -> bool:
        """Whether `next_events` has anything to do."""
        if self.is_smooth or self.state >= State.LINGERING:
            return False
        if self._may_be_excessive:
            return True
        return (self._at < len(self._held) and not self._is_parked()) or (self._fault is not None and not self._held)

    @property
    def has_unread(self) -> bool:
        """Whether bytes have come that no event has told yet, a message that is not complete included."""
        return self._at < len(self._held) or self._fault is not None or self._framer.pending > 0

    @property
    def wants_data(self) -> bool:
        """Whether the driver is to read on."""
        if self.state >= State.LINGERING:
            return True
        return self._fault is None and self._at >= len(self._held) and not self._is_parked()

    def _is_parked(self) -> bool:
        return self.flow.is_parked(self.unanswered, 0)

    # --- time ----------------------------------------------------------------------------------------------------

    def handle_deadline(self, now: float) -> Sequence[MessageReceived | ConnectionEnded]:
        """Let time do its work; harmless when called early. While writing is paused, report progress before."""
        events: list[MessageReceived | ConnectionEnded] = []
        if now >= self.timers.linger:
            self._linger(now)
        if now >= self.timers.message:
            self._message_is_late(events, now)
        if now >= self.timers.idle:
            self._set_timer("idle")
            if self.state is State.OPEN:
                self.close_reason = TimeoutError(f"no message came within {self.limits.idle_timeout} s")
                self.close()
        self._check_writing(now)
        return events

    def _message_is_late(self, events: list[MessageReceived | ConnectionEnded], now: float) -> None:
        """The time for the message that has begun is over: end the connection, unless it is us who do not read."""
        if not self.wants_data:
            self._set_timer("message", now + self._message_timeout)
            return
        self.faults += 1
        self._end(RemoteProtocolError(f"message not complete after {self.limits.message_timeout} s"), events)

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Begin to close: nothing more is accepted, what is being handled may still send."""
        self.refuses = True
        self._closed_by_user()
        self._fault = None
        self._held = ()
        self._at = 0
        self._set_timer("message")  # nobody waits for the rest of it
        self._move(Cause.CLOSE_CALLED)
        self._after_message()

    def abort(self) -> None:
        """Take note that this side cuts the connection: nothing is sent any more, and nobody waits for handlers."""
        self.close()
        self.peer_has_ended = False
        if self.state is State.DRAINING:
            self._move(Cause.LAST_REPLY)
        elif self.state is State.LINGERING:
            self._set_timer("linger")
            self._move(Cause.LINGERED)
        self._drop_output()
        if self.state is State.CLOSED:
            self.unanswered = 0

    def turn_away(self, text: str, now: float, *, is_excessive: bool = False) -> None:
        """Refuse a connection that has just been made. There is no way to tell the peer why."""
        self._end(ClosedError(text), [])

    def check_cost(self, now: float) -> Sequence[ConnectionEnded]:
        """Have the peer pay for all that has come up; when that is too much the connection ends."""
        events: list[Any] = []
        if self.state <= State.DRAINING:
            self._look_at_cost(events, now)
        return events

    def _look_at_cost(self, events: list[Any], now: float) -> None:
        error = self.settle_account(now)
        if error is not None:
            self._end(error, events)

    def peer_violated(self, text: str, now: float) -> Sequence[ConnectionEnded]:
        """End the connection because the peer broke a rule that is not this machine's to watch."""
        events: list[Any] = []
        if self.state <= State.DRAINING:
            self._end(RemoteProtocolError(text), events)
        return events

    def _end(self, reason: Exception, events: list[Any]) -> None:
        """End the connection for *reason*: what is queued goes out, nothing more is read."""
        self._held = ()
        self._at = 0
        self._fault = None
        self.peer_has_ended = False
        self.timers = NEVER
        self.close_reason = reason
        self._move(Cause.VIOLATION)
        self._move(Cause.LINGERED)  # nothing was said that the peer would have to be given time for
        events.append(ConnectionEnded(reason))

    def receive_eof(self, now: float) -> Sequence[MessageReceived | ConnectionEnded]:
        """The peer will send nothing more: what it has sent is still handled."""
        if self.state >= State.FINISHED:
            return ()
        self.last_received = now
        self.peer_has_ended = True
        if self.close_reason is None and not self.refuses:
            self.close_reason = self._end_of_stream(self._framer.pending)
        for name in ("message", "idle", "linger"):
            self._set_timer(name)
        self._move(Cause.PEER_EOF)
        self._after_message()
        return ()

    def connection_lost(
        self, error: BaseException | None, undelivered: Sequence[MessageReceived | ConnectionEnded] = ()
    ) -> Sequence[MessageReceived | ConnectionEnded]:
        """The transport is gone, by *error* or (None) in order.

        What has come before is still given out when the peer had ended its stream. Else it is lost, as what is on its
        way is: its handlers would only start to be cancelled.
        """
        if ends_stream(error) and self.state <= State.DRAINING:
            self.peer_has_ended = True
        events = [event for event in undelivered if self.peer_has_ended or isinstance(event, ConnectionEnded)]
        while self.peer_has_ended and self._at < len(self._held):
            events.append(self._accept_next())
        self.timers = NEVER
        if self._stalled is not None:
            self._stalled = None
        self.charge_fault(error)
        if error is not None and self.close_reason is None and not (self.refuses and self.state > State.DRAINING):
            self.close_reason = lost(error)
        self._move(Cause.LOST)
        self._held = ()
        self._at = 0
        self._fault = None
        self._drop_output()
        if not self.peer_has_ended:
            self.unanswered = 0
        return events

    def _after_message(self) -> None:
        """Finish a connection that is draining, once nothing is left to handle.

        When it is this side that closes, the peer does not know yet and may be saying something. To close then resets
        the connection, and the peer loses what it has not read of ours. So it is told that nothing follows, and given
        time to end its stream as well.
        """
        if self.state is not State.DRAINING or self.unanswered or self._held or self._fault is not None:
            return
        if self.refuses and not self.peer_has_ended and (self.bytes_sent or self.queued):
            self._move(Cause.LAST_WORD)
            self._set_timer("linger", 0.0)  # at once: the driver is to tell the time
        else:
            self._move(Cause.LAST_REPLY)
