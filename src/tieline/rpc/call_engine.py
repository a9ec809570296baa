# SPDX-License-Identifier: MIT
"""What moves a session of calls: requests to their handlers, answers to those who wait for them."""

from __future__ import annotations

from itertools import islice
from math import inf
from operator import length_hint
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from tieline.errors import ClosedError, ConnectionLost, RPCError
from tieline.rpc.engine import Engine
from tieline.rpc.handling import Handling
from tieline.rpc.walking import FIRST_UNSEEN, MOST_UNSEEN, Walk, run_alone, walk_along
from tieline.wire.jsonrpc.batch_members import end_batch
from tieline.wire.jsonrpc.events import Answers, PlainCalls
from tieline.wire.jsonrpc.lone import LoneConnection
from tieline.wire.jsonrpc.outgoing import RPCRequestOut
from tieline.wire.jsonrpc.reading import PLAIN_IDS, REQUESTS, Request
from tieline.wire.jsonrpc.writing import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextvars import Context

    from tieline.rpc.roles import CallOwner
    from tieline.runtimes.host import Waiter
    from tieline.wire.jsonrpc.batch_members import BatchMember, Outcomes
    from tieline.wire.jsonrpc.events import Event

    Base = Engine[CallOwner, LoneConnection, Handling]
else:
    Base = Engine  # what type checkers alone ask for takes 0.1 ms

__all__ = ["CallEngine"]


class CallEngine(Base):
    """The private side of one JSON-RPC session."""

    __slots__ = ()

    def _new_handling(self) -> Handling:
        return Handling(self.session, self.link, self.host, self._overrides, self)

    def give_up(self, message: Request, /) -> None:
        self.machine.abandon(message)
        self.link.flush_soon()  # it may have been the last of a batch, or of all

    def ask_alone(self, method: str, params: object, waiter: Waiter) -> int | None:
        """Make a call that nothing else goes on beside: it is written now. Return its id.

        None, and nothing is done, when it has to go the way of all others: see `Connection.send_request`.
        """
        machine, link = self.machine, self.link
        if link.in_turn or link.is_corked:
            return None
        data = machine.ask(method, params, waiter)
        if data is None:
            return None
        link.last_sent = now = self.host.now()
        machine.bytes_sent += len(data)
        link.transport.write(data)
        calls = machine.calls
        if calls.is_idle:
            machine.plan_look(now)
            link.arm_anew()
        return calls.next_id - 1

    def ask_batch_alone(self, members: list[BatchMember]) -> Sequence[int] | None:
        """Send a batch of calls that nothing else goes on beside: it is written now. Return their ids.

        None, and nothing is done, when it has to go the way of all others: see `Connection.send_batch`.
        """
        machine, link = self.machine, self.link
        if link.in_turn or link.is_corked:
            return None
        data = machine.ask_batch(members)
        if data is None:
            return None
        link.last_sent = now = self.host.now()
        machine.bytes_sent += len(data)
        link.transport.write(data)
        calls = machine.calls
        if calls.is_idle:
            machine.plan_look(now)
            link.arm_anew()
        return range(calls.next_id - len(members), calls.next_id)

    def handle_one(self, event: Any, /) -> bytes | None:
        if event.__class__ is tuple:
            waiter, value, error = event
            self._end_lone_call(waiter, value, error)
            return None
        handling, machine = self.handling, self.machine
        method = self.session.methods.lookup(event.method) if machine.is_direct else None
        if method is None or handling.unstarted:
            handling.start(event)
            return None
        if method.is_plain:
            try:
                # In a context of its own: what it sets there must not reach the handlers that come after it.
                result = handling.context.copy().run(method.invoke, event.params, self.session, handling.convert)
            except BaseException as exc:
                handling.failed(event, exc)
                return None
            answer = machine.answer_one(event, result)
            if answer is None:
                handling.reply(event, result)
            return answer
        if method.is_walked and self.host.starts_eagerly:
            walk = Walk(event)
            handling.start_walk(walk, run_alone(walk, method, self))
            return walk.answer
        handling.start(event)
        return None

    def handle_events(self, events: Sequence[Event], until: float, /) -> int:
        if isinstance(events, Answers):
            tokens = events.tokens
            if not end_batch(tokens, events.values, self._wake):
                _end_calls(tokens, events.values)
            if self.machine.flow.senders_waiting:
                self.room_made()
            return len(tokens)
        handled = len(events)
        if handled == 1 and isinstance(events[0], tuple):
            waiter, value, error = events[0]
            self._let_pass_before(error)
            self._end_lone_call(waiter, value, error)
            return 1
        if handled:
            if self.handling.cancel_rule is not None:
                self.handling.note_cancelled(events)
            if isinstance(events, PlainCalls):
                handled = self._handle_calls(events, until)
            else:
                for index, event in enumerate(events):
                    if not isinstance(event, tuple):
                        handled = self._handle_from(index, events, until)
                        break
                    self._let_pass_before(event[2])
                    _end_call(*event)
        if self.machine.flow.senders_waiting:
            self.room_made()
        return handled

    def handle_beside(self, event: Event) -> None:
        """Handle one event of several."""
        if isinstance(event, Request):
            self._handle_from(0, (event,), inf)
        elif isinstance(event, tuple):
            self._let_pass_before(event[2])
            _end_call(*event)
        else:
            self.peer_broke_rules(event.error)

    def _let_pass_before(self, error: Exception | None) -> None:
        """Begin to handle all that came before the end of a call of ours, if it is the peer that ends it.

        While a call is open, handlers need no places. For the machine it is open no more once its answer has been read,
        and what was read in front of that may have found no place: where bytes were cut must not matter.
        """
        if self.handling.waiting and (error is None or isinstance(error, RPCError)) and not self.link.is_lost:
            self.handling.pass_all()

    def _end_lone_call(self, waiter: Waiter, value: object, error: Exception | None) -> None:
        """End a call whose answer came by itself: whoever waits for it may go on before this returns."""
        if error is not None or isinstance(waiter, RPCRequestOut) or waiter.done():
            _end_call(waiter, value, error)
        else:
            self._wake(waiter, value)
        if self.machine.flow.senders_waiting:
            self.room_made()

    def _wake(self, waiter: Waiter, value: object) -> None:
        """Complete *waiter*, who is the only one to be woken: the task may go on before this returns.

        Not when handlers that came before have yet to take their first step: they go first.
        """
        link = self.link
        if link.is_lost or self.handling.unstarted:
            waiter.set_result(value)
        else:
            link.in_turn = False  # what is sent now is not kept for the end of the turn
            self.host.wake(waiter, value)

    def _handle_calls(self, calls: PlainCalls, until: float) -> int:
        """Do what `handle_events` does, with requests that are all to be answered."""
        handling, rest, count = self.handling, iter(calls), len(calls)
        handled = 0
        while not handling.unstarted:
            # A copy: what a handler sets there must not reach the handlers that come after it.
            context = handling.context.copy()
            stopped_by = context.run(self._call_along, rest, context, until)
            handled = count - length_hint(rest)
            if stopped_by is not None:
                handled -= 1
                break
            if handled == count or self.host.now() >= until:
                return handled
        return self._handle_from(handled, calls, until)

    def _call_along(self, rest: Iterator[Request], context: Context, until: float) -> Request | None:
        """Handle requests of *rest*, up to one that has no plain handler: that is returned, and goes another way.

        None = whatever is left in *rest* is for another context, or for another turn.

        To be run in *context*, which is the handlers' own as long as none of them has set anything in it. (Only a value
        that is equal to the one from before is seen by the next, as by those that `walk_along` runs.) What is the
        users' own besides, such as their codecs and logs, runs in another, where it sees nothing of that.
        """
        handling, machine, session = self.handling, self.machine, self.session
        convert, reply, before = handling.convert, machine.replies.append, context.copy()
        unseen, next_unseen = FIRST_UNSEEN, FIRST_UNSEEN + 1
        for request in rest:
            # Asked anew each time: a handler may have given the session other methods, or taken the last place.
            method = session.methods.lookup(request.method) if machine.is_direct else None
            if method is None or not method.is_plain:
                return request
            try:
                result = method.invoke(request.params, session, convert)
            except BaseException as exc:
                before.run(handling.failed, request, exc)
            else:
                if result.__class__ in machine.plain_results:
                    reply(Reply(result, request.id))
                else:
                    before.run(handling.reply_beside, request, result)
            # Where variables were set, their values are compared, and users' classes may fail at that.
            try:
                if context != before:
                    return None
            except Exception:
                return None
            unseen -= 1
            if not unseen:
                if self.host.now() >= until:
                    return None
                unseen, next_unseen = next_unseen, MOST_UNSEEN + 1
        return None

    def _handle_from(self, start: int, events: Sequence[Event], until: float) -> int:
        """Do what `handle_events` does, with requests among the events, from the one at *start* on."""
        handling, machine, session = self.handling, self.machine, self.session
        context, convert, reply = handling.context, handling.convert, machine.replies.append
        are_calls = events.__class__ is PlainCalls
        rest = islice(enumerate(events), start, None) if start else enumerate(events)
        unseen = FIRST_UNSEEN
        event: Any
        for index, event in rest:
            if unseen:
                unseen -= 1
            else:
                if self.host.now() >= until:
                    return index
                unseen = min(index, MOST_UNSEEN)
            if not are_calls and event.__class__ not in REQUESTS:
                self.handle_beside(event)
                continue
            # Asked anew each time: a handler may have given the session other methods, or taken the last place.
            method = session.methods.lookup(event.method) if machine.is_direct else None
            if method is not None and method.is_plain and not handling.unstarted:
                try:
                    # In a context of its own: what it sets there must not reach the handlers that come after it.
                    result = context.copy().run(method.invoke, event.params, session, convert)
                except BaseException as exc:
                    handling.failed(event, exc)
                    continue
                if result.__class__ in machine.plain_results and (are_calls or event.id.__class__ in PLAIN_IDS):
                    reply(Reply(result, event.id))
                else:
                    handling.reply_beside(event, result)
            elif method is not None and method.is_walked and self.host.starts_eagerly:
                walk = Walk()
                handling.start_walk(walk, walk_along(walk, (index, event), rest, len(events) - 1, until, self))
                if walk.stopped_at is not None:
                    return walk.stopped_at
            else:
                handling.start(event)
        return len(events)

    def results_unsent(self, unsent: Sequence[tuple[Request, Exception]], /) -> None:
        for request, error in unsent:
            self.handling.log_failure(request, error)

    def request_ended(self, request: RPCRequestOut, is_answered: bool, _error: BaseException | None, /) -> None:
        """Hear of a request that is complete: unless it *is_answered*, or has failed, its call is taken back."""
        if not is_answered:
            self.forget(request.request_id)

    def forget(self, call_id: Any) -> None:
        """Take a call of ours back; what waits for its room is woken."""
        machine = self.machine
        machine.forget(call_id)
        if machine.has_output:
            self.link.flush_soon()
        if machine.flow.senders_waiting:
            self.room_made()

    # --- batches that are not sent -------------------------------------------------------------------------------

    def note_early(self, outcomes: Outcomes) -> None:
        """Have those that wait for members of a batch before it is sent hear of the end, should that come first."""
        waiters = self._closed_waiters or ()
        unsent = next((one for one in waiters if isinstance(one, UnsentBatches)), None)
        if unsent is None:
            unsent = UnsentBatches(self.machine)
            self._closed_waiters = [*waiters, unsent]
        unsent.batches.add(outcomes)
        if self.is_over:
            unsent.set_result(None)

    def abort(self) -> None:
        self.machine.abort()  # so that nobody sends what would be dropped
        super().abort()


class UnsentBatches:
    """Waits for the end of a session, as a waiter does, on behalf of those who wait for batches that are not sent.

    Attributes:
        batches: What their requests come to; those that were sent meanwhile may be among them.
    """

    __slots__ = ("_machine", "batches")

    def __init__(self, machine: LoneConnection) -> None:
        self.batches: WeakSet[Outcomes] = WeakSet()
        self._machine = machine

    def done(self) -> bool:
        return False

    def set_result(self, _: None, /) -> None:
        """Tell them: the session has ended."""
        for outcomes in [*self.batches]:
            outcomes.never_send(self._new_error)

    def _new_error(self) -> Exception:
        reason = self._machine.close_reason
        if reason is None:
            return ClosedError("the session was closed before the batch was sent")
        error = ConnectionLost("the connection went down before the batch was sent")
        error.__cause__ = reason
        return error


def _end_calls(waiters: Sequence[Any], values: Sequence[object]) -> None:
    """As `_end_call` does, one by one."""
    for waiter, value in zip(waiters, values, strict=True):
        if not waiter.done():
            if isinstance(waiter, RPCRequestOut):
                waiter.answered(value, None)
            else:
                waiter.set_result(value)


def _end_call(waiter: Waiter, value: object, error: Exception | None) -> None:
    if waiter.done():
        return  # whoever waited has been cancelled
    if isinstance(waiter, RPCRequestOut):
        waiter.answered(value, error)
    elif error is None:
        waiter.set_result(value)
    else:
        waiter.set_exception(error)
