# SPDX-License-Identifier: MIT
"""What moves a session: the sink of its link, the room for outgoing calls, and the end.

A session is what users see and derive from; its engine holds what they must not touch. Made when the connection is
being made, and gone with it.
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from inspect import isawaitable
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import proxy

from tieline.rpc.handling import Handling
from tieline.rpc.room import Room
from tieline.rpc.walking import Walk, walk_along
from tieline.runtimes.peers import peer_group
from tieline.wire.jsonrpc.outgoing import RPCRequestOut
from tieline.wire.jsonrpc.reading import PLAIN_IDS, Request
from tieline.wire.jsonrpc.writing import PLAIN_RESULTS, Reply

if TYPE_CHECKING:
    from collections.abc import MutableSet, Sequence

    from tieline.rpc.admission import Admission, Visit
    from tieline.rpc.owner import Owner
    from tieline.runtimes.backend import Backend
    from tieline.runtimes.host import Event, Host, Waiter
    from tieline.runtimes.link import Link
    from tieline.wire.jsonrpc.connection import Connection
    from tieline.wire.jsonrpc.events import CallEnded, ProtocolViolation
    from tieline.wire.jsonrpc.events import Event as MachineEvent

__all__ = ["Engine"]


# The engine whose `connection_lost` the running task is, or was started by.
_ending: ContextVar[Engine | None] = ContextVar("tieline_ending", default=None)


class Engine:
    """The private side of one session on one connection.

    Attributes:
        session: The session.
        backend: The runtime that the connection is on.
        host: The host of the loop.
        machine: The machine of the connection.
        link: The link that drives it.
        handling: The handlers at work.
        started: When the connection stood, by the host's clock; None before that.
        is_over: The connection is gone, or was never made, and everybody has been told.
    """

    __slots__ = (
        "_admission",
        "_closed_event",
        "_closed_waiters",
        "_coming",
        "_idle_waiters",
        "_is_let_go",
        "_last_handle",
        "_overrides",
        "_room",
        "_sessions",
        "_visit",
        "backend",
        "handling",
        "host",
        "is_over",
        "link",
        "machine",
        "session",
        "started",
    )

    handling_class: ClassVar[type[Handling]] = Handling

    def __init__(
        self,
        session: Owner,
        backend: Backend,
        machine: Connection,
        overrides: frozenset[str],
        sessions: set[Any] | None,
        coming: MutableSet[Any] | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.session = session
        self._admission = admission
        self._visit: Visit | None = None
        self._sessions = sessions
        self._coming = coming
        self._overrides = overrides
        self.backend = backend
        self.host: Host = backend.host()
        self.machine = machine
        self.link: Link = backend.new_link(machine, self)
        self.handling = self.handling_class(session, self.link, self.host, overrides=overrides, boss=self)
        self.started: float | None = None
        self.is_over = self._is_let_go = False
        self._closed_event: Event | None = None
        self._room: Room | None = None
        self._closed_waiters: list[Waiter] | None = None
        self._idle_waiters: list[Waiter] | None = None
        self._last_handle: object = None  # keeps the task of `connection_lost` alive: a loop holds its tasks weakly

    # --- the sink of the link ------------------------------------------------------------------------------------

    def link_made(self, _link: Link) -> None:
        now = self.started = self.host.now()
        self.handling.context = copy_context()
        if self._admission is not None:
            self._visit = self._admission.arrive(peer_group(self.link.transport), now)
            if self._visit.refusal is not None:
                self._turn_away(self._admission, self._visit.refusal, now)
                return
        if self._sessions is not None:
            self._sessions.add(self.session)
        if self._coming is not None:
            self._coming.discard(self.session)

    def _turn_away(self, admission: Admission, refusal: str, now: float) -> None:
        untold = admission.to_tell(now)
        if untold is not None:
            more = f" ({untold} more since the last line)" if untold else ""
            reason = refusal or "server busy"
            self.session.log.warning("%s was turned away: %s%s", self.session.peer_name(), reason, more)
        if refusal:
            self.machine.turn_away(refusal, now)  # there are no calls whose end its events could tell
        else:
            self.link.abort()

    def handle_events(self, events: Sequence[MachineEvent], until: float) -> int:
        handled = len(events)
        for index, event in enumerate(events):
            if not isinstance(event, tuple):
                handled = self._handle_from(index, events, until)
                break
            _end_call(*event)
        if self.machine.flow.senders_waiting:
            self.room_made()
        return handled

    def _handle_from(self, start: int, events: Sequence[MachineEvent], until: float) -> int:
        """Do what `handle_events` does, with requests among the events, from the one at *start* on."""
        handling, machine, session = self.handling, self.machine, self.session
        is_direct = handling.is_direct
        context = handling.context
        rest = islice(enumerate(events), start, None) if start else enumerate(events)
        for index, event in rest:
            # A look at the clock costs a tenth of a small request, so not before each of them.
            if index & 3 == 3 and self.host.now() >= until:
                return index
            if not isinstance(event, Request):
                self._handle_other(event)
                continue
            # Asked anew each time: a handler may have given the session other methods.
            method = session.methods.lookup(event.method) if is_direct else None
            if method is not None and method.is_plain and not handling.unstarted:
                try:
                    # In a context of its own: what it sets there must not reach the handlers that come after it.
                    result = context.copy().run(method.invoke, event.params, session)
                except BaseException as exc:
                    handling.failed(event, exc)
                    continue
                if result.__class__ in PLAIN_RESULTS and machine.takes_replies and event.id.__class__ in PLAIN_IDS:
                    machine.replies.append(Reply(result, event.id))
                else:
                    handling.reply(event, result)
            elif method is not None and method.is_walked and self.host.starts_eagerly:
                walk = Walk()
                handling.start_walk(walk, walk_along(walk, (index, event), rest, len(events) - 1, until, self))
                if walk.stopped_at is not None:
                    return walk.stopped_at
            else:
                handling.start(event)
        return len(events)

    def _handle_other(self, event: CallEnded | ProtocolViolation) -> None:
        if isinstance(event, tuple):
            _end_call(*event)
        else:
            self.session.log.warning("%s broke the protocol: %s", self.session.peer_name(), event.error)

    def results_unsent(self, unsent: Sequence[tuple[Request, Exception]]) -> None:
        for request, error in unsent:
            self.handling.log_failure(request, error)

    def room_made(self) -> None:
        if self._room is not None:
            self._room.made()

    def link_lost(self, _error: BaseException | None) -> None:
        if self._visit is not None:
            machine = self.machine
            abandoned = 0 if machine.close_reason is None else machine.abandoned  # else it was this side that went
            self._visit.leave(self.host.now(), accepted=machine.taken_up, abandoned=abandoned)
        self.room_made()
        self.handling.cancel_all()
        if "connection_lost" in self._overrides:
            self._last_handle = self.host.start(self._run_connection_lost(), self.handling.context.copy())
        else:
            self._over()

    async def _run_connection_lost(self) -> None:
        _ending.set(self)
        try:
            pending: object = self.session.connection_lost()
            if isawaitable(pending):  # users override it by plain functions as well
                await pending
        except Exception:
            self.session.log.exception("connection_lost of %r failed", self.session)
        finally:
            self._over()

    # --- sending -------------------------------------------------------------------------------------------------

    def forget(self, call_id: int) -> None:
        """Take a call of ours back; what waits for its room is woken."""
        machine = self.machine
        machine.forget(call_id)
        if machine.has_output:
            self.link.flush_soon()
        if machine.flow.senders_waiting:
            self.room_made()

    @property
    def room(self) -> Room:
        """The senders that wait for room; made when the first one has to."""
        if self._room is None:
            self._room = Room(self.host, self.link)
        return self._room

    def has_free_room(self, *, for_call: bool = True) -> bool:
        """Return whether a newcomer may send without waiting."""
        if self._room is not None:
            return self._room.is_free(for_call=for_call)
        return self.machine.has_room if for_call else not self.machine.flow.paused

    # --- the end -------------------------------------------------------------------------------------------------

    @property
    def closed_event(self) -> Event:
        """An event that is set when the connection is gone."""
        if self._closed_event is None:
            self._closed_event = self.host.new_event()
            if self.is_over:
                self._closed_event.set()
        return self._closed_event

    def never_made(self) -> None:
        """Take note that the connection will not come; harmless when it is there."""
        if self.started is None and not self.is_over:
            self._over()

    def _over(self) -> None:
        """Tell everybody who waits that the connection is gone."""
        self.is_over = True
        if self._sessions is not None:
            self._sessions.discard(self.session)
        if self._closed_event is not None:
            self._closed_event.set()
        for waiter in self._closed_waiters or ():
            _release(waiter)
        self._closed_waiters = None
        self.handler_ended()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        if not self.is_over:
            waiter = self.host.new_waiter()
            self._closed_waiters = [*(self._closed_waiters or ()), waiter]
            try:
                await waiter
            finally:
                self._closed_waiters = [one for one in self._closed_waiters or () if one is not waiter]

    async def close(self, force_after: float) -> None:
        """Close in order, and by force after so many seconds; wait for it, and for the handlers that run.

        A handler may close its own session: it is not waited for, it gives up its answer instead.
        """
        ending = _ending.get()
        if self.link.is_lost and ending is not None and not ending.is_over:
            return  # a `connection_lost` closes what is gone: it would wait for itself, or for another of its kind
        force_at = self.host.now() + force_after
        self.begin_close()
        # Nearly always there is nothing that could put the end off, and so nothing to force.
        timer = None if self._ends_by_itself() else self.host.call_at(force_at, self.force)
        idle = self.host.new_waiter()
        self._idle_waiters = [*(self._idle_waiters or ()), idle]
        try:
            self.handler_ended()
            await idle
        except BaseException:
            self.link.abort()  # a cancelled close is a close all the same
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._idle_waiters = [one for one in self._idle_waiters or () if one is not idle]

    def _ends_by_itself(self) -> bool:
        return (
            self.started is not None
            and not self.handling.running
            and "connection_lost" not in self._overrides
            and self.link.closes_by_itself
        )

    def begin_close(self) -> None:
        """Begin to close in order. A handler of this session that does it gives up its own answer."""
        given_up = self.handling.give_up_current()
        if not self.link.is_lost:
            for request in given_up:
                self.machine.abandon(request)
            self.link.close()

    def force(self) -> None:
        """The time to close in order is over: cut the connection, and let nobody wait for handlers any longer."""
        self.link.abort()
        self._release_idle()

    def handler_ended(self) -> None:
        """Take note that a handler has ended: somebody may wait for the last one."""
        if not self.is_over or self.handling.running:
            return
        self._release_idle()
        if not self._is_let_go:
            # What refers to each other in a circle would have to be found as garbage. The session keeps what it tells.
            self._is_let_go = True
            self.session = proxy(self.session)
            self.handling.let_go(self.session)

    def _release_idle(self) -> None:
        for waiter in self._idle_waiters or ():
            _release(waiter)
        self._idle_waiters = None


def _end_call(waiter: Waiter, value: object, error: Exception | None) -> None:
    if waiter.done():
        return  # whoever waited has been cancelled
    if isinstance(waiter, RPCRequestOut):
        waiter.answered(value, error)
    elif error is None:
        waiter.set_result(value)
    else:
        waiter.set_exception(error)


def _release(waiter: Waiter) -> None:
    if not waiter.done():  # else whoever waited has been cancelled
        waiter.set_result(None)
