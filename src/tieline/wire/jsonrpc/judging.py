# SPDX-License-Identifier: MIT
"""What becomes of a message that has been read: accepted, refused and counted, or the end of a call of ours.

The second of the six layers of the machine. It sees messages, never bytes. A batch is taken in member by member, by
the same rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from tieline.errors import ClosedError, ConnectionLost, MessageTooLarge, RemoteProtocolError, RPCError
from tieline.wire.jsonrpc.answering import Answering
from tieline.wire.jsonrpc.calls import NO_CALLS
from tieline.wire.jsonrpc.events import Event, ProtocolViolation
from tieline.wire.jsonrpc.reading import PLAIN_IDS, BadResponse, Fault, Refusal, Request, Response
from tieline.wire.jsonrpc.requests import IncomingBatch
from tieline.wire.limits import ceiling
from tieline.wire.states import Cause, State
from tieline.wire.timers import NEVER, DecayingCount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits

__all__ = ["Judging"]


class Judging(Answering):
    """The judging side of a connection.

    Attributes:
        accepted: Whether the peer connected to us (and not we to it): strangers get less patience.
        messages_received: How many messages came in (a batch is one).
        faults: How many messages were faulty.
        bears_events: Whether an object that is no JSON-RPC at all is passed over, and not answered with an error: so it
            is where we dialled, since some servers send events of their own.
        calls: Our own unanswered calls.
    """

    __slots__ = (
        "_at",
        "_fault",
        "_held",
        "_refuses",
        "_share",
        "accepted",
        "bears_events",
        "calls",
        "messages_received",
    )

    faults: int = 0
    _again: bool = False  # the message just read is to be read again in the next turn
    _errors: DecayingCount | None = None  # from the first fault on
    # What came last of what may have been an answer: an error without an id, or what nobody could read. When, as which
    # message.
    _last_error: tuple[RPCError | RemoteProtocolError, float, int] | None = None
    _violation: RemoteProtocolError | None = None  # ends the connection once the turn's events are handled

    def __init__(self, protocol: type[JSONRPC], framer: FramerBase, limits: Limits, *, accepted: bool) -> None:
        super().__init__(protocol, framer, limits)
        self.accepted = accepted
        self.bears_events = not accepted
        self.messages_received: int = 0
        self.calls = NO_CALLS  # a table of its own is made for the first call
        self._held: Sequence[bytes] = ()  # messages that are framed and not yet read, from _at on
        self._at = 0
        self._share = 0  # what each request of the message at hand takes in memory, where that is worth counting
        self._refuses = False  # this side is closing: new requests are refused
        self._fault: Exception | None = None  # what came after the held messages

    @property
    def messages_read(self) -> int:
        """How many messages have been looked at; `messages_received` counts those too that wait for their turn."""
        return self.messages_received - len(self._held) + self._at

    def _is_ending(self) -> bool:
        return self._violation is not None or self.state > State.DRAINING

    # --- messages ------------------------------------------------------------------------------------------------

    def _take_in(
        self,
        read: Request | Response | Refusal | BadResponse,
        batch: IncomingBatch | None,
        events: list[Event],
        now: float,
    ) -> None:
        if isinstance(read, Refusal):
            answer = self._answer_in(read)
            if answer is None:
                self._refuse(read, batch, events, now)
            else:
                self._take_in(answer, None, events, now)
        elif isinstance(read, BadResponse):
            error: Exception = RemoteProtocolError(f"invalid response: {read.text}")
            if read.id is None and read.error is not None:
                error = read.error  # whatever its shape, it tells that something was refused
            self._end_call(read.id, None, error, events, now)
        elif isinstance(read, Response):
            self._end_call(read.id, read.result, None if read.error is UNSET else read.error, events, now)
        else:
            self._accept(read, batch, events, now)

    def _answer_in(self, refusal: Refusal) -> Response | BadResponse | None:
        """Return the answer to a call of ours that *refusal* is; None when it is none."""
        answer = refusal.answer
        if answer is None:
            return None
        if answer.id is None:
            is_ours = bool(self.calls.open)
        else:
            is_ours = self.calls.was_issued(answer.id)
            if refusal.is_foreign and self.accepted:  # it may as well be a request that lacks its method
                is_ours = is_ours and answer.id in self.calls.open
        return answer if is_ours else None

    def _accept(self, request: Request, batch: IncomingBatch | None, events: list[Event], now: float) -> None:
        """Accept a valid request, or say why not."""
        problem = self._id_problem(request.id)
        if problem is not None:
            self._refuse(Refusal(Fault.INVALID_REQUEST, problem), batch, events, now)
        elif len(request.method) > ceiling(self.limits.max_method):
            text = f"unknown method (its name is over {self.limits.max_method} characters)"
            self.charge_error()
            self._answer(self.protocol.method_not_found(text), request.id, batch)
        elif self._refuses:
            self._answer(RPCError(self.protocol.SERVER_BUSY, "shutting down"), request.id, batch)
        elif request.id is not UNSET and (batch.busy if batch is not None else self.requests.count >= self.flow.bound):
            self._refuse_busy(request, batch, events)
        elif self.requests.enter(request, batch):
            if self._share:
                self.requests.weigh(request, self._share)
            events.append(request)
        elif events and batch is None:
            # The first of the two may be one of this turn, and answered when the turn is over. So the second is read
            # again then: that both came in one read must make no difference.
            self._again = True
        else:
            # With the id the answer would end the first call.
            self._refuse(Refusal(Fault.INVALID_REQUEST, "a request with this id is in flight"), batch, events, now)

    def _refuse_busy(self, request: Request, batch: IncomingBatch | None, events: list[Event]) -> None:
        """Refuse a request that there is no room for."""
        if events and batch is None:
            self._again = True  # as for batches
            return
        text = f"server busy (limit {self.limits.max_pending})"  # short: it must not amplify
        self._answer(RPCError(self.protocol.SERVER_BUSY, text), request.id, batch)

    def _id_problem(self, request_id: object) -> str | None:
        """Return why an id cannot be sent back: it is too long, or cannot be encoded at all; None when it can."""
        if request_id is UNSET or request_id is None:
            return None
        try:
            size = len(self.protocol.codec.encode(request_id))
        except Exception:  # a user's codec may read what it does not write
            return "the id cannot be sent back"
        return None if size <= ceiling(self.limits.max_id) else f"id too long (limit {self.limits.max_id} bytes)"

    @property
    def _largest_batch(self) -> float:
        """How many members a batch may have. The answers to our own calls may come as one, however many there are."""
        return max(self._ways.max_batch, len(self.calls.open))

    def _take_in_batch(
        self, members: Sequence[Request | Response | Refusal | BadResponse], events: list[Event], now: float
    ) -> None:
        """Take in the members of a batch."""
        bad = sum(isinstance(member, Refusal) and self._answer_in(member) is None for member in members)
        if bad > self.limits.max_bad_items:
            for member in members:  # whoever waits for an answer has not sent the rest
                if isinstance(member, Refusal) and self._answer_in(member) is not None:
                    self._take_in(member, None, events, now)
            refusal = Refusal(Fault.INVALID_REQUEST, f"{bad} members of the batch are invalid")
            self._refuse(refusal, None, events, now)
            return
        # The bound holds for a batch as a whole: it is accepted if there was room when it came.
        busy = self.requests.count >= self.flow.bound
        if events and (busy or any(map(self._is_in_flight, members))):
            self._again = True  # those of this turn may be answered when it is over
            return
        batch = IncomingBatch(busy=busy)
        self._share //= max(1, len(members))
        for member in members:
            self._take_in(member, batch, events, now)
            if self._is_ending():
                break
        self._close_part(batch)

    def _is_in_flight(self, member: Request | Response | Refusal | BadResponse) -> bool:
        """Return whether *member* is a request whose id another one has that is not answered yet."""
        if not isinstance(member, Request) or member.id is UNSET:
            return False
        if member.id.__class__ in PLAIN_IDS:
            return member.id in self.requests.in_flight
        return self._id_problem(member.id) is None and self.requests.find(member.id) is not None

    # --- faults --------------------------------------------------------------------------------------------------

    def _answer(self, error: RPCError, request_id: object, batch: IncomingBatch | None) -> None:
        """Answer with an error what has not been accepted."""
        if request_id is UNSET:
            return
        if self.flow.paused:
            self.flow.refusal_queued()
        if batch is not None:
            batch.open += 1
        self._queue_reply(self._encoded_error(error, request_id), request_id, batch)

    def _refuse(self, refusal: Refusal, batch: IncomingBatch | None, events: list[Event], now: float) -> None:
        """Answer a message that is no valid request, and count it."""
        if refusal.is_foreign and self.bears_events:
            # A server has more to say than JSON-RPC. To answer could offend it; to end would be worse.
            self.faults += 1
            return
        if refusal.answered:
            request_id = None if self._id_problem(refusal.id) else refusal.id
            error = refusal.error or self.protocol.fault_error(refusal.fault, refusal.text, request_id)
            self._answer(error, request_id, batch)
        self.charge_error(is_parse_error=refusal.fault is Fault.PARSE_ERROR)
        if refusal.fault is Fault.INVALID_ARGS:
            return  # the envelope is sound: no sign of a peer that speaks something else
        fatal = self.protocol.dialect.faults_are_fatal
        self._count_fault(refusal.text, events, now, fatal=fatal)

    def _note_unread(self, text: str, now: float) -> None:
        """Remember that a message could not be read, whose calls can not be told: one of ours may time out for it."""
        if self.calls.open:
            error = RemoteProtocolError(f"the peer sent what could not be read: {text}")
            self._last_error = error, now, self.messages_read

    def _count_fault(
        self, text: str, events: list[Event], now: float, *, fatal: bool = False, answered: bool = True
    ) -> None:
        """Count a fault; end the connection when it is *fatal*, or one too many: behind an error reply in any case."""
        self.faults += 1
        if self._errors is None:
            self._errors = DecayingCount(self.limits.error_decay)
        if fatal or self._errors.add(now) > ceiling(self.limits.max_errors):
            if not answered:
                self._answer(self.protocol.invalid_request(text), None, None)
            reason = text if fatal else f"more than {self.limits.max_errors} faults, the last: {text}"
            self._end(RemoteProtocolError(reason), events, now)

    def _look_at_cost(self, events: list[Event], now: float) -> None:
        """Have the peer pay for all that has come up; end the connection when that is too much."""
        error = self.settle_account(now)
        if error is not None:
            text = f"excessive resource usage (limit {error.limit:g})"
            self._answer(RPCError(self.protocol.EXCESSIVE_RESOURCE_USAGE, text), None, None)
            self._end(error, events, now)

    def _framing_fault(self, fault: Exception, events: list[Event], now: float) -> None:
        """End the connection: behind a fault of the framing nothing can be trusted."""
        self.faults += 1
        self._fault = None
        self.charge_error(is_parse_error=True)
        if isinstance(fault, MessageTooLarge):
            error = self.protocol.invalid_request(f"message too large (limit {fault.limit})")
            cause: RemoteProtocolError = fault
        elif isinstance(fault, RemoteProtocolError):  # a framer of ours, or one that knows what it says
            error = self.protocol.fault_error(Fault.PARSE_ERROR, str(fault))
            cause = fault
        else:
            error = self.protocol.fault_error(Fault.PARSE_ERROR, "the framing is broken")
            cause = RemoteProtocolError(f"the framing is broken: {type(fault).__name__}")
            cause.__cause__ = fault
        self._answer(error, None, None)
        self._end(cause, events, now)

    def _end(self, violation: RemoteProtocolError, events: list[Event], now: float) -> None:
        """End the connection by the peer's fault: say why, flush, close. Nothing more is read.

        What came before the fault in the same turn can be answered first: where bytes were cut must not matter.
        """
        self._held = ()
        self._at = 0
        self._fault = None
        self._violation = violation if events else None
        self.is_smooth = False
        if events:
            return
        self._stop(violation, events, now)
        events.append(ProtocolViolation(violation))

    def _stop(self, reason: Exception, events: list[Event], now: float) -> None:
        """Say no more than what is queued, then end the connection for *reason*."""
        self._move(Cause.VIOLATION)
        self.timers = NEVER
        self._set_timer("linger", now + self.limits.linger)
        self.close_reason = reason
        self._fail_calls(reason, events)
        for batch in self.requests.clear():
            batch.open = 1  # its members are given up, what is there of its answers goes out
            self._close_part(batch)

    def _drop(self, text: str) -> list[Event]:
        """End the connection of a peer that must not be answered; return the events of that."""
        events: list[Event] = []
        violation = RemoteProtocolError(text)
        self.faults += 1
        self.charge_error(is_parse_error=True)
        self._held = ()
        self._at = 0
        self._fault = None
        self._stop(violation, events, 0.0)
        self.timers = NEVER
        self._move(Cause.LINGERED)
        events.append(ProtocolViolation(violation))
        return events

    def _fail_calls(self, cause: BaseException | None, events: list[Event]) -> None:
        """End every open call. Each gets an error of its own: a shared one would collect all their tracebacks."""
        if not self.calls.open:
            return
        tokens = self.calls.clear()
        self._set_timer("calls")
        for token in tokens:
            if cause is None:
                events.append((token, None, ClosedError("the session was closed before the reply came")))
            else:
                why = f": {cause}" if isinstance(cause, ConnectionLost) else ""
                error = ConnectionLost(f"the connection went down before the reply came{why}")
                error.__cause__ = cause
                events.append((token, None, error))

    # --- answers to our own calls --------------------------------------------------------------------------------

    def _end_call(
        self, call_id: object, result: object, error: Exception | None, events: list[Event], now: float
    ) -> None:
        """End the call that a response names, or deal with a response that answers nothing."""
        if self.calls.was_issued(call_id):
            token = self.calls.pop(call_id)
            if token is not None:  # else it timed out, was cancelled or is answered already: dropped, no fault
                events.append((token, None if error is not None else result, error))
            return
        if call_id is None and isinstance(error, RPCError):
            self._last_error = error, now, self.messages_read
            batch = self.calls.refused_batch()
            if batch is not None:
                for member in batch:
                    refusal = RPCError(error.code, error.message, member, data=error.data)
                    events.append((self.calls.pop(member), None, refusal))
                return
        if self.accepted:
            self.charge_error()
            self._count_fault("a response to an id that was never issued", events, now, answered=False)
