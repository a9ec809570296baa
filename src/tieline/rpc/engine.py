# SPDX-License-Identifier: MIT
"""What moves a session: the sink of its link, the room for what goes out, and the end.

A session is what users see and derive from; its engine holds what they must not touch. Made when the connection is
being made, and gone with it. What it does with the events of its machine is in `call_engine.py` and `messages.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import ContextVar, copy_context
from functools import partial
from inspect import isawaitable
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import ProxyType, proxy

from tieline.errors import ConnectionLost, ExcessiveResourceUsage
from tieline.finite import check_seconds, finite_number
from tieline.rpc.outcomes import say
from tieline.rpc.room import Room
from tieline.rpc.tasks import Tasks
from tieline.rpc.walking import current_walk
from tieline.runtimes.fatal import fatal_in
from tieline.runtimes.peers import is_local, peer_group
from tieline.wire.default import DEFAULT
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSet, Sequence

    from tieline.rpc.roles import Owner, SessionMachine, Told
    from tieline.runtimes.admission import Admission, Visit
    from tieline.runtimes.backend import Backend
    from tieline.runtimes.hooks import Teller
    from tieline.runtimes.host import Event, Host, Timer, Waiter
    from tieline.runtimes.link import Link

__all__ = ["Engine"]


MachineT = TypeVar("MachineT", bound="SessionMachine")
TasksT = TypeVar("TasksT", bound=Tasks)
OwnerT = TypeVar("OwnerT", bound="Owner")

# The engine whose `connection_lost` the running task is, or was started by.
_ending: ContextVar[Engine[Any, Any, Any] | None] = ContextVar("tieline_ending", default=None)


class Engine(ABC, Generic[OwnerT, MachineT, TasksT]):
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
        "__dict__",
        "_admission",
        "_coming",
        "_idle_waiters",
        "_overrides",
        "_room",
        "_sessions",
        "_teller",
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

    started: float | None
    _teller: Teller | None  # where somebody wants to be told
    _visit: Visit | None
    _room: Room | None
    _idle_waiters: list[Waiter] | None

    # What many a session never has is the class's, until one has it.
    _closed_event: Event | None = None
    _closed_waiters: list[Told] | None = None
    _is_finishing: bool = False  # the peer has ended, and what it said is still being handled
    _collapse: Timer | None = None  # while that is so, see `Host.on_collapse`
    _last_handle: object = None  # keeps the task of `connection_lost` alive: a loop holds its tasks weakly

    def __init__(
        self,
        session: OwnerT,
        backend: Backend,
        machine: MachineT,
        overrides: frozenset[str],
        sessions: set[Any] | None,
        coming: MutableSet[Any] | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.session = session
        self.backend = backend
        self.machine = machine
        self._overrides = overrides
        self._sessions = sessions
        self._coming = coming
        self._admission = admission
        self.is_over = False
        self._visit = self.started = self._room = self._idle_waiters = self._teller = None
        self.host: Host = backend.host()
        self.link: Link[MachineT] = backend.new_link(machine, self, self.host)
        self.handling: TasksT = self._new_handling()

    @abstractmethod
    def _new_handling(self) -> TasksT:
        """Return what runs the handlers. The rest of the engine is there by then."""

    @abstractmethod
    def give_up(self, message: Any, /) -> None:
        """Take note that *message* will never be handled to its end, because its handler closes the session."""

    # --- the sink of the link ------------------------------------------------------------------------------------

    def link_made(self, _link: Link[MachineT]) -> None:
        handling, machine = self.handling, self.machine
        now = self.started = self.host.now()
        handling.context = copy_context()
        # If a handler makes the connection, its request is none of this session's. And where one task runs handlers one
        # after the other (trio), it can set a variable back to what it was before, but not take it away.
        if current_walk.get() is not None or not self.host.starts_eagerly:
            handling.context.run(current_walk.set, None)
        if machine.limits.governance.bw_cost_per_byte is DEFAULT and is_local(self.link.transport):
            machine.spare_bytes()
        admission = self._admission
        if admission is not None:
            visit = self._visit = machine.group = admission.arrive(self._group(admission), now)
            if visit.is_charged:
                machine.settle_account(now)  # what it has cost before counts from the first message on
            if admission.hooks:
                from tieline.runtimes.hooks import Teller  # lazily: few servers have such

                self._teller = Teller(admission.hooks, self.session, self._hook_failed)
            if visit.refusal is not None:
                self._turn_away(admission, visit, visit.refusal, now)
                return
            visit.payer = machine
            if self._teller is not None:
                handling.be_told(self._teller)
        if "extra_cost" in self._overrides:
            machine.settle_account(now)
            if machine.meter is not None:  # it has one by now
                machine.meter.extra = self._extra_cost
        if self._sessions is not None:
            self._sessions.add(self.session)
        if self._coming is not None:
            self._coming.discard(self.session)
        if self._teller is not None:
            self._teller.tell("connection_opened")  # last: it may end the program, see `_lost`

    def _extra_cost(self) -> float:
        """Return what users have added to the cost; nothing when theirs fails."""
        try:
            return finite_number("extra_cost()", self.session.extra_cost())
        except BaseException as exc:  # users write it
            self._told("extra_cost", "handler of 'extra_cost' failed, called by %s", self.session.peer_name, exc)
            return 0.0

    def _group(self, admission: Admission) -> str | None:
        """Return the group that the connection is counted in."""
        if admission.group is None:
            return peer_group(self.link.transport)
        try:
            group: object = admission.group(self.session)
            if group is not None and not isinstance(group, str):
                raise TypeError(f"a group is a str or None, not {type(group).__name__}")
            return group
        except BaseException as exc:  # users write it: the address will do
            self._told("group", "the group of %s could not be told", self.session.peer_name, exc)
            return peer_group(self.link.transport)

    def _turn_away(self, admission: Admission, visit: Visit, refusal: str, now: float) -> None:
        if self._teller is not None:
            self._teller.tell("connection_refused", refusal or "server busy")
        untold = admission.to_tell(now)
        if untold is not None:
            more = f" ({untold} more since the last line)" if untold else ""
            reason = refusal or "server busy"
            say(self.session, "warning", "%s was turned away: %s%s", self.session.peer_name, reason, more)
        if refusal:
            self.machine.turn_away(
                refusal, now, is_excessive=visit.is_excessive
            )  # there are no calls whose end its events could tell
        else:
            self.link.abort()

    @abstractmethod
    def handle_events(self, events: Sequence[Any], until: float, /) -> int:
        """Handle what one turn caused; see `tieline.runtimes.ports.Sink`."""

    def handle_one(self, event: Any, /) -> bytes | None:
        """Handle what a read alone caused, by a short way if there is one; see `tieline.runtimes.ports.Sink`."""
        self.handle_events((event,), inf)
        return None

    def results_unsent(self, unsent: Sequence[tuple[Any, Exception]], /) -> None:
        """Log results that could not be encoded. Where nothing is encoded late there are none."""

    def room_made(self) -> None:
        if self._room is not None:
            self._room.made()

    def end_begun(self) -> None:
        if self._closed_waiters is not None:
            for message in self.handling.give_up_awaiting():
                self.give_up(message)

    def link_lost(self, _error: BaseException | None) -> None:
        # The handlers of the last messages may run still: where our own direction ends with the peer's, as over TLS, or
        # when the peer, having said all, takes nothing more.
        handling = self.handling
        if self.machine.peer_has_ended and (handling.waiting or not handling.has_ended):
            for message in handling.give_up_unheard():
                if self._teller is not None:
                    self._teller.ended(message, self._new_loss())
            if handling.is_at_work:
                self._is_finishing = True
                self._collapse = self.host.on_collapse(self.abort)
                self.room_made()
                return
        self._lost()

    def _finish(self) -> None:
        """Nothing is left that the peer has said before it ended, or nobody waits for it any more."""
        self._is_finishing = False
        collapse, self._collapse = self._collapse, None  # what it would call is this engine's
        if collapse is not None:
            collapse.cancel()
        self._lost()

    def _lost(self) -> None:
        """The connection is gone, and what is worth it has been handled."""
        machine = self.machine
        if self._visit is not None:
            abandoned = 0 if machine.close_reason is None else machine.abandoned  # else it was this side that went
            now = self.host.now()
            try:
                if machine.owes and self._visit.refusal is None:
                    machine.settle_account(now)  # what it has cost counts when it comes again
            finally:
                self._visit.leave(now, accepted=machine.taken_up, abandoned=abandoned)
        if self._room is not None:
            self._room.made()
        try:
            if self._teller is not None:
                self._tell_end()
        finally:  # a hook may end the program, at once where the nursery takes no task for it (trio)
            self.handling.cancel_all(again=not machine.peer_has_ended)
            if "connection_lost" in self._overrides:
                self._last_handle = self.host.start(self._run_connection_lost(), self.handling.context.copy())
            else:
                self._over()

    def _hook_failed(self, name: str, error: BaseException) -> None:
        self._told(f"hook {name}", "the hook %s failed", name, error)

    def _told(self, kind: str, text: str, subject: object, error: BaseException) -> None:
        """Log what users' code has raised where nobody waits for it; what ends the program goes on to do so."""
        session = self.session
        session.failure_log.told(session, kind, text, subject, error, self.host.now())
        if (fatal := fatal_in(error)) is not None:
            self.host.end_program(fatal)

    def _tell_end(self) -> None:
        teller, self._teller = self._teller, None
        if teller is not None and self._visit is not None and self._visit.refusal is None:
            teller.lost(self._new_loss())
            teller.tell("connection_closed", self.machine.close_reason)

    def _new_loss(self) -> ConnectionLost:
        """Return what hooks are told of calls that end with the connection."""
        lost = ConnectionLost("the connection went down")
        lost.__cause__ = self.machine.close_reason
        return lost

    async def _run_connection_lost(self) -> None:
        _ending.set(self)
        try:
            await self._finish_hook("connection_lost", self.session.connection_lost)
        finally:
            self._over()

    # --- sending -------------------------------------------------------------------------------------------------

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

    # --- what the peer costs -------------------------------------------------------------------------------------

    def bump_cost(self, delta: float) -> None:
        """Have the peer pay *delta*; when that is too much the connection ends."""
        if self.started is not None and not self.is_over:
            self.machine.charge(delta)
            self.check_cost()

    def check_cost(self) -> None:
        """Look at what the peer has cost: how much of it may run at once, and whether the connection is to end."""
        machine = self.machine
        if self.started is None or self.is_over:
            return
        events = machine.check_cost(self.host.now())
        if events:
            self.link.break_off(events)
        else:
            self.handling.look_at_places()

    def peer_broke_rules(self, error: Exception) -> None:
        """Log how the peer has broken a rule that ends the connection."""
        session = self.session
        if self._teller is not None:
            self._teller.tell("limit_hit", error)
        is_excessive = isinstance(error, ExcessiveResourceUsage)
        what = "is cut" if is_excessive else "broke the protocol"
        session.failure_log.peer_erred(session, f"{what}: {error}", self.host.now())
        if is_excessive and "on_disconnect_due_to_excessive_session_cost" in self._overrides:
            self._last_handle = self.host.start(self._run_excess_hook(), self.handling.context.copy())

    async def _run_excess_hook(self) -> None:
        hook = self.session.on_disconnect_due_to_excessive_session_cost
        await self._finish_hook("on_disconnect_due_to_excessive_session_cost", hook)

    async def _finish_hook(self, name: str, hook: Callable[[], object]) -> None:
        """Call what users override, plain or async; what it raises goes to the log."""
        try:
            pending = hook()
            if isawaitable(pending):
                await pending
        except BaseException as exc:
            handle = self.host.current()
            if not isinstance(exc, Exception) and handle is not None and handle.cancelling():
                raise  # all that runs is cancelled: the program ends
            self._told(name, f"{name} of %s failed", partial(repr, self.session), exc)

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
        if self._closed_waiters is not None:
            for waiter in self._closed_waiters:
                _release(waiter)
            self._closed_waiters = None
        self.handler_ended()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone.

        A handler that waits for the end of its own session, when that has begun, gives up its answer: it is part of it.
        One that began to wait before does so when it begins.
        """
        if not self.is_over and self.machine.state != State.OPEN:
            self._give_up_current()
        if not self.is_over:
            self.host.check_here()
            waiter = self.host.new_waiter()
            self._closed_waiters = [*(self._closed_waiters or ()), waiter]
            try:
                with self.handling.awaiting_end():
                    await waiter
            finally:
                self._closed_waiters = [one for one in self._closed_waiters or () if one is not waiter]

    async def close(self, force_after: float) -> None:
        """Close in order, and by force after so many seconds; wait for it, and for the handlers that run.

        A handler may close its own session: it is not waited for, it gives up its answer instead.
        """
        if self.link.is_lost and (ending := _ending.get()) is not None and not ending.is_over:
            return  # a `connection_lost` closes what is gone: it would wait for itself, or for another of its kind
        check_seconds("force_after", force_after)
        host = self.host
        host.check_here()
        force_at = host.now() + force_after
        self.begin_close()
        if self.handling.has_ended and not self.link.is_lost:
            self.link.end_at_once()
            if self.is_over:
                return
        timer = host.call_at(force_at, self.force)
        is_told_last = self.started is not None and self.link.is_told_last
        idle = host.new_prompt_waiter() if is_told_last else host.new_waiter()
        if self._idle_waiters is None:
            self._idle_waiters = []
        self._idle_waiters.append(idle)
        try:
            if self.is_over:
                self.handler_ended()
            await idle
        except BaseException:
            self.abort()  # a cancelled close is a close all the same
            raise
        finally:
            timer.cancel()
            if self._idle_waiters:
                self._idle_waiters = [one for one in self._idle_waiters if one is not idle]

    def begin_close(self) -> None:
        """Begin to close in order. A handler of this session that does it gives up its own answer."""
        self._give_up_current()
        if not self.link.is_lost:
            self.link.close()

    def _give_up_current(self) -> None:
        """Give up what the running task handles, if it does, and what waits behind it."""
        given_up = self.handling.give_up_current()
        if not given_up:
            return
        if not self.link.is_lost:
            for message in given_up:
                self.give_up(message)
        else:
            self.handler_ended()

    def abort(self) -> None:
        """Cut the connection. No handler is waited for, and none begins."""
        self.machine.peer_has_ended = False
        if not self.link.is_lost:
            self.handling.shut()
        self.link.abort()
        if self._is_finishing:
            self._finish()

    def force(self) -> None:
        """The time to close in order is over: cut the connection, and let nobody wait for handlers any longer."""
        self.abort()
        self._release_idle()

    def handler_ended(self) -> None:
        """Take note that a handler has ended: somebody may wait for the last one."""
        if self._is_finishing and not self.handling.is_at_work:
            self._finish()
        if not self.is_over or self.handling.running:
            return
        if self.handling.has_ended and type(self.session) is not ProxyType:
            # What refers to each other in a circle would have to be found as garbage. The session keeps what it tells.
            if self.machine.meter is not None:
                self.machine.meter.extra = None
            self.session = proxy(self.session)
            self.handling.let_go(self.session)
        self._release_idle()  # last: who waits may go on before this returns

    def _release_idle(self) -> None:
        if self._idle_waiters is None:
            return
        waiters, self._idle_waiters = self._idle_waiters, None
        for waiter in waiters:
            if not waiter.done():  # else whoever waited has been cancelled
                self.host.wake(waiter, None)


def _release(waiter: Told) -> None:
    if not waiter.done():  # else whoever waited has been cancelled
        waiter.set_result(None)
