# SPDX-License-Identifier: MIT
"""The machine of one JSON-RPC connection: bytes and time in; events and bytes out.

All rules of a connection live in it and in the five layers below (`answering.py`, `judging.py`, `plain.py`,
`receiving.py`, `ahead.py`): framing, dialects, ids in flight, batches, limits, deadlines, when to stop reading, and
how a connection ends. It knows no socket, no clock and no runtime. What the peer does wrong is answered and counted, or
ends the connection with a `ProtocolViolation`; what the caller does wrong is an exception at once.

A driver calls `start` once; feeds `receive_data` and then, while `has_more`, `next_events`; writes what `data_to_send`
gives; reads on while `wants_data`; calls `handle_deadline` at `deadline`; and closes the transport once `state` is
FINISHED. Orders may be given between any two of these calls. Not thread-safe: one driver at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tieline.errors import (
    ClosedError,
    LocalProtocolError,
    OutgoingMessageTooLarge,
    RemoteProtocolError,
    RPCError,
    SessionBusy,
)
from tieline.wire.governance import next_window
from tieline.wire.jsonrpc.ahead import ReadingAhead
from tieline.wire.jsonrpc.calls import NO_CALLS, CallTable
from tieline.wire.jsonrpc.events import Event, ProtocolViolation
from tieline.wire.jsonrpc.reading import Request
from tieline.wire.life import ends_stream, lost
from tieline.wire.limits import DEFAULT, ceiling
from tieline.wire.states import DRAINING, FINISHED, LINGERING, OPEN, Cause
from tieline.wire.timers import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Default, Limits

__all__ = ["Connection"]


class Connection(ReadingAhead):
    """One JSON-RPC connection, both roles.

    Args:
        protocol: The protocol class to speak.
        framer: The framer of this connection alone.
        limits: The limits, resolved.
        accepted: Whether the peer connected to us.

    Attributes:
        abandoned: How many calls of the peer's were unanswered when it went away.
        peer_has_ended: The peer has ended its stream before the connection ended otherwise: what it has said is worth
            to be handled, as far as it waits for no answer.
        taken_up: How many messages of the peer's, each member of a batch included, had been taken up by then.
        max_calls: How many calls of ours may be open at once, as things are.
    """

    __slots__ = (
        "_max_message",
        "max_calls",
        "peer_has_ended",
        "taken_up",
    )

    abandoned: int = 0

    def __init__(self, protocol: type[JSONRPC], framer: FramerBase, limits: Limits, *, accepted: bool) -> None:
        super().__init__(protocol, framer, limits, accepted=accepted)
        self.taken_up = 0
        self.peer_has_ended = False
        self._max_message = self._ways.max_message
        self.max_calls = limits.max_calls

    # --- orders: calls -------------------------------------------------------------------------------------------

    @property
    def open_calls(self) -> int:
        """How many calls of ours are unanswered."""
        return self.calls.count

    @property
    def expects_more_output(self) -> bool:
        """Whether more is likely to be sent in this turn: others wait for answers as well, or work on some."""
        return len(self.calls.open) > 1 or self.requests.count > 0

    @property
    def has_room(self) -> bool:
        """Whether the peer and the transport take one more call."""
        return not self.flow.paused and self.calls.count < self.max_calls

    @property
    def has_free_room(self) -> bool:
        """Whether there is room that nobody else waits for."""
        flow = self.flow
        return not flow.senders_waiting and not flow.paused and len(self.calls.open) < self.max_calls

    @property
    def takes_notifications(self) -> bool:
        """Whether notifications may be sent: also while a connection drains, for the handlers that it waits for."""
        return self.state <= DRAINING

    def send_request(
        self, method: str, params: object, token: object, now: float, timeout: float | Default | None = DEFAULT
    ) -> int:
        """Queue a call and return its id; *token* comes back in the event that ends it.

        Args:
            method: The method's name.
            params: A list, tuple, dict, dataclass or Struct; None = no arguments. Encoded at once.
            token: Anything but None.
            now: The time in seconds.
            timeout: Seconds until the call ends with a TimeoutError; None = never; DEFAULT = by the limits.

        Raises:
            ClosedError, ConnectionLost: The connection is not open any more.
            SessionBusy: `Limits.max_calls` calls are unanswered.
            OutgoingMessageTooLarge: The encoded call is over `Limits.max_message`, or longer than the framing can tell.
            LocalProtocolError: The dialect cannot express it.
            TypeError, ValueError: The arguments cannot be encoded, or the framer refuses the call.
        """
        if self.state is not OPEN:
            self.check_open()
        calls = self.calls
        if calls is NO_CALLS:
            calls = self._begin_calls()
        if len(calls.open) >= self.max_calls:
            raise SessionBusy(self.max_calls)
        encoded = self._writer.request(method, params, calls.next_id)
        size = len(encoded)
        if size > self._max_message:
            raise OutgoingMessageTooLarge(int(self._max_message), size)
        if not self._frames_lines:
            encoded = self._framed(encoded)
            size = len(encoded)
        call_id = calls.add(token, now) if timeout is DEFAULT else calls.add_with_timeout(token, now, timeout)
        if calls.deadline < self.timers.calls:
            self._set_timer("calls", calls.deadline)
        if self.replies:
            self._settle_replies()
        if self.queued is None:
            self.queued = [encoded]
        else:
            self.queued.append(encoded)
        self.output_size += size
        return call_id

    def _begin_calls(self) -> CallTable:
        """Make the table of calls: there is about to be the first one."""
        self.calls = CallTable(self.limits.call_timeout, self.protocol.dialect.first_id)
        return self.calls

    def send_notification(self, method: str, params: object) -> None:
        """Queue a notification. Raises what `send_request` raises, except for SessionBusy."""
        if not self.takes_notifications:
            self.check_open()
        encoded = self._writer.notification(method, params)
        if len(encoded) > self._max_message:
            raise OutgoingMessageTooLarge(int(self._max_message), len(encoded))
        self._put(self._framed(encoded))

    def send_batch(
        self,
        methods: Sequence[str],
        params: Sequence[object],
        tokens: Sequence[object],
        now: float,
        timeout: float | Default | None = DEFAULT,
    ) -> range:
        """Queue a batch and return the ids of its calls, in order.

        Args:
            methods: The method of each member.
            params: The params of each, as `send_request` takes them.
            tokens: The token of each call; None makes a notification.
            now: The time in seconds.
            timeout: As for `send_request`, for each call of the batch.

        Raises:
            LocalProtocolError: The batch is empty, or the dialect has no batches.
            ValueError: *methods*, *params* and *tokens* are not of one length.
            Exception: What `send_request` raises. Nothing is queued then.
        """
        if not len(methods) == len(params) == len(tokens):
            raise ValueError(f"{len(methods)} methods, {len(params)} params and {len(tokens)} tokens make no batch")
        self.check_open()
        if not self.protocol.dialect.batches:
            raise LocalProtocolError(f"{self.protocol.dialect.name} has no batches")
        if not methods:
            raise LocalProtocolError("a batch must not be empty")
        calls = self.calls
        if calls is NO_CALLS:
            calls = self._begin_calls()
        asked = tokens if all(tokens) else [token for token in tokens if token is not None]
        if len(calls.open) + len(asked) > self.max_calls:
            raise SessionBusy(self.max_calls)
        encoded = self._encoded_batch(methods, params, tokens if len(asked) < len(methods) else None)
        if len(encoded) > self._max_message:
            raise OutgoingMessageTooLarge(int(self._max_message), len(encoded))
        framed = self._framed(encoded)
        if timeout is DEFAULT:
            ids = calls.add_all(asked, now)
        else:
            ids = range(calls.next_id, calls.next_id + len(asked))
            for token in asked:
                calls.add_with_timeout(token, now, timeout)
        if calls.deadline < self.timers.calls:
            self._set_timer("calls", calls.deadline)
        if asked:
            calls.note_batch(ids)
        self._put(framed)
        return ids

    def _encoded_batch(
        self, methods: Sequence[str], params: Sequence[object], tokens: Sequence[object] | None
    ) -> bytes:
        """Return a batch; without *tokens* all of it are calls."""
        call_id = self.calls.next_id
        if self._writer.is_plain:
            encoded = self._writer.plain_batch(methods, params, tokens, call_id)
            if encoded is not None:
                return encoded
        parts: list[bytes] = []
        are_calls = [True] * len(methods) if tokens is None else [token is not None for token in tokens]
        for method, its_params, is_call in zip(methods, params, are_calls, strict=True):
            if is_call:
                parts.append(self._writer.request(method, its_params, call_id))
                call_id += 1
            else:
                parts.append(self._writer.notification(method, its_params))
        return self.protocol.join_batch(parts)

    def forget(self, call_id: int) -> None:
        """Take a call back: its answer will be dropped. Where the dialect has a message for that, it is queued."""
        if self.calls.give_up(call_id) is not None:
            self._tell_cancelled(call_id)

    def _tell_cancelled(self, call_id: int) -> None:
        rule = self.protocol.dialect.cancel
        if rule is not None and self.state is OPEN:
            params: object = [call_id] if rule.id_name is None else {rule.id_name: call_id}
            try:
                self._put(self._framed(self._writer.notification(rule.method, params)))
            except Exception:
                return  # the framer refuses it: the peer works on, and what it answers is dropped in any case

    # --- time ----------------------------------------------------------------------------------------------------

    def handle_deadline(self, now: float) -> Sequence[Event]:
        """Let time do its work; harmless when called early. While writing is paused, report progress before."""
        open_calls = self.calls.open
        to_tell = list(open_calls) if self.protocol.dialect.cancel is not None else ()
        events: list[Event] = [(token, None, self._timed_out(now)) for token in self.calls.expire(now)]
        if now >= self.timers.calls:
            self._adapt_window(now)
        self._set_timer("calls", self.calls.deadline)
        for call_id in to_tell:
            if call_id not in open_calls:
                self._tell_cancelled(call_id)
        if now >= self.timers.first:
            if now >= self.timers.linger:
                self._set_timer("linger")
                self._move(Cause.LINGERED)
            if now >= self.timers.message:
                self._message_is_late(events, now)
            if now >= self.timers.idle:
                self._set_timer("idle")
                self._hang_up(TimeoutError(f"no valid message came within {self.limits.idle_timeout} s"))
            self._check_writing(now)
        return events

    def _adapt_window(self, now: float) -> None:
        """See whether the peer answers in time, and have fewer calls open at once if it does not."""
        target = self.limits.governance.target_response_time
        if target is not None:
            judged, late = self.calls.count_late(now - target)
            self.max_calls = next_window(self.max_calls, self.limits.max_calls, len(self.calls.open), judged, late)

    def _message_is_late(self, events: list[Event], now: float) -> None:
        """The time for the message that has begun is over: end the connection, unless it is us who do not read."""
        self._set_timer("message")
        if self.state > DRAINING:
            return  # nobody waits for the message any more
        if not self.wants_data:
            self._set_timer("message", now + ceiling(self.limits.message_timeout))
            return
        text = f"message not complete after {self.limits.message_timeout} s"
        self.faults += 1
        self._answer(self.protocol.invalid_request(text), None, None)
        self._end(RemoteProtocolError(text), events, now)

    def _hang_up(self, reason: Exception) -> None:
        """Close in order, without a word, for *reason*."""
        if self.state is OPEN:
            self.close_reason = reason
            self.close()

    def _timed_out(self, now: float) -> TimeoutError:
        """Return the end of a call that was not answered, with what came without an id and may have meant it."""
        error = TimeoutError("no reply in time")
        if self._last_error is not None and now - self._last_error[1] <= 2 * ceiling(self.limits.call_timeout):
            error.__cause__ = self._last_error[0]
        return error

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Begin to close: nothing more is sent or accepted, what is being handled is still answered."""
        self._refuses = True
        self._closed_by_user()
        self.is_smooth = False
        self._move(Cause.CLOSE_CALLED)
        self._after_reply()

    def abort(self) -> None:
        """Take note that this side cuts the connection: nothing is sent any more. Open calls end with it."""
        self.close()
        if self.state is DRAINING:
            self._move(Cause.LAST_REPLY)
        elif self.state is LINGERING:
            self._set_timer("linger")
            self._move(Cause.LINGERED)
        self.queued = None
        self.output_size = 0

    def turn_away(self, text: str, now: float, *, is_excessive: bool = False) -> Sequence[Event]:
        """Refuse a connection that has just been made: the peer is told *text*, then it ends.

        The code is SERVER_BUSY, or EXCESSIVE_RESOURCE_USAGE for a peer that has cost too much before.
        """
        events: list[Event] = []
        protocol = self.protocol
        code = protocol.EXCESSIVE_RESOURCE_USAGE if is_excessive else protocol.SERVER_BUSY
        self._answer(RPCError(code, text), None, None)
        self._stop(ClosedError(text), events, now)
        return events

    def check_cost(self, now: float) -> Sequence[Event]:
        """Have the peer pay for all that has come up; when that is too much the connection ends, at once.

        What was read and is not handled is thrown away then.
        """
        if self.state > DRAINING:
            return ()
        error = self.settle_account(now)
        if error is None:
            return ()
        code = self.protocol.EXCESSIVE_RESOURCE_USAGE
        return self._break_off(error, RPCError(code, f"excessive resource usage (limit {error.limit:g})"), now)

    def peer_violated(self, text: str, now: float) -> Sequence[Event]:
        """End the connection because the peer broke a rule that is not this machine's to watch; it is told *text*."""
        if self.state > DRAINING:
            return ()
        return self._break_off(RemoteProtocolError(text), self.protocol.invalid_request(text), now)

    def _break_off(self, error: RemoteProtocolError, last_word: RPCError, now: float) -> Sequence[Event]:
        """End the connection at once, between two turns or in the middle of one."""
        events: list[Event] = []
        self._answer(last_word, None, None)
        self._held = ()
        self._at = 0
        self._fault = self._violation = None
        self.peer_has_ended = False
        self._stop(error, events, now)
        events.append(ProtocolViolation(error))
        return events

    def give_up_calls(self) -> Sequence[Event]:
        """End the open calls because nothing more will be read: for a driver that begins to close its transport."""
        if not self.calls.open:
            return ()
        events: list[Event] = []
        self._fail_calls(self.close_reason, events)
        return events

    @property
    def _last_word(self) -> RPCError | RemoteProtocolError | None:
        """What the peer said last, if it was an error without an id, or could not be read; else None."""
        if self._last_error is None or self._last_error[2] != self.messages_read:
            return None
        return self._last_error[0]

    def receive_eof(self, now: float) -> Sequence[Event]:
        """The peer will send nothing more: what it asked is still answered, what it owes has failed."""
        if self.state >= FINISHED:
            return ()
        self.last_received = now
        self.peer_has_ended = self.state is not LINGERING
        events: list[Event] = []
        if self.state is LINGERING:
            self._set_timer("linger")
        elif self.close_reason is None:
            if not self._refuses:
                reason = self._end_of_stream(self._framer.pending)
                if self._last_error is not None:
                    reason.__cause__ = self._last_word or reason.__cause__
                self.close_reason = reason
            if self.calls.open:
                self._fail_calls(self.close_reason, events)
        if self.timers is not NEVER:
            self._set_timer("message")
            self._set_timer("idle")
        self._move(Cause.PEER_EOF)
        self._after_reply()
        return events

    def answers_are_lost(self) -> None:
        """Take note that the peer's EOF has ended our direction too, as over TLS: nothing more can be said.

        Nobody waits for the calls any more. Notifications, of which nobody expects an answer, are still handled.
        """
        self._is_unheard = True
        self._after_reply()

    def connection_lost(self, error: BaseException | None, undelivered: Sequence[Event] = ()) -> Sequence[Event]:
        """The transport is gone, by *error* or (None) in order: fail every open call.

        Of events that are *undelivered* still, the ends of calls are given again. Nobody waits for the requests.
        """
        if self.replies:
            self._settle_replies()
        self.timers = NEVER
        if self._stalled is not None:
            self._stalled = None
        requests = self.requests
        if requests.in_flight and not self._refuses:
            self.abandoned += len(requests.in_flight)
        self.taken_up = self.messages_read + requests.in_batches
        if error is not None:
            self._note_break(error)
        self._move(Cause.LOST)
        if requests.count:
            requests.clear()
        self._held = ()
        self._at = 0
        self._fault = self.queued = None
        if self._violation is not None:
            self._violation = None
        self.output_size = 0
        if not undelivered and not self.calls.open:
            return []
        events: list[Event] = [event for event in undelivered if not isinstance(event, Request)]
        self._fail_calls(self.close_reason, events)
        return events

    def _note_break(self, error: BaseException) -> None:
        """Take note of the *error* that the transport ends with."""
        if ends_stream(error) and self.state <= DRAINING:
            self.peer_has_ended = True
        self.charge_fault(error)
        if self.close_reason is None:
            reason = lost(error)
            if reason.__cause__ is None and not self._refuses:  # as of a WebSocket, which has no end of stream
                reason.__cause__ = self._last_word
            self.close_reason = reason
