# SPDX-License-Identifier: MIT
"""What moves a session of messages: messages to the handlers, and how it ends when the peer has said all."""

from __future__ import annotations

from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from tieline.errors import ClosedError, ConnectionLost
from tieline.rpc.engine import Engine
from tieline.rpc.tasks import Tasks
from tieline.rpc.walking import Walk, current_walk
from tieline.runtimes.fatal import fatal_in
from tieline.wire.limits import ceiling
from tieline.wire.messages import MessageConnection, MessageReceived
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.rpc.roles import MessageOwner
    from tieline.runtimes.hooks import Teller
    from tieline.runtimes.link import Link
    from tieline.wire.one_way import ConnectionEnded

__all__ = ["MessageEngine", "MessageHandling"]


class _MessageWalk(Walk):
    """What a task that runs a handler is at.

    Attributes:
        handling: Where the handler belongs.
        has_overdrawn: Whether it has sent a message without waiting for room.
    """

    __slots__ = ("handling", "has_overdrawn")

    def __init__(self, event: MessageReceived, handling: MessageHandling) -> None:
        super().__init__(event)
        self.handling = handling
        self.has_overdrawn = False


class MessageHandling(Tasks):
    """The handlers of one session of messages at work."""

    __slots__ = ("_is_plain", "_link", "_machine", "_session", "_teller", "may_be_direct")

    # The message whose plain handler has given something to be awaited, and that, until its task has begun.
    _given: tuple[MessageReceived, object] | None = None

    def __init__(self, engine: MessageEngine) -> None:
        session = engine.session
        super().__init__(engine.host, engine.machine, session.limits.handler_timeout, engine)
        self._session = session
        self._link: Link[MessageConnection] = engine.link
        self._machine = engine.machine
        self._is_plain = not iscoroutinefunction(session.handle_message)
        self.may_be_direct = True
        self._teller: Teller | None = None

    def be_told(self, teller: Teller) -> None:
        self._teller = teller

    def start(self, event: MessageReceived) -> None:
        """Start to handle a message, when it is its turn."""
        if self._machine.is_direct:
            self.begin(event)
        else:
            self.pass_gate(event)

    def refuse(self, message: MessageReceived, /) -> None:
        limit = self._session.limits.handler_timeout
        self._failed(message, TimeoutError(f"not handled (limit {limit} s to wait for a handler)"))

    def begin(self, event: MessageReceived, /) -> None:
        if self._teller is not None:
            self._teller.started(event, "handle_message")
        if self._session.ordered:
            self.start_ordered(event, lambda: self._start(event))
        else:
            self._start(event)

    def _start(self, event: MessageReceived) -> bool:
        """Start to handle a message, and return whether that is done already."""
        if self._machine.refuses:  # the session was closed since, perhaps by the handler of one before it
            self._done(event)
            return True
        if self._is_plain:
            try:
                # In a context of its own: what it sets there must not reach the handlers that come after it.
                result: object = self.context.copy().run(self._session.handle_message, event.message)
            except BaseException as exc:
                self._failed(event, exc)
                return True
            if not isawaitable(result):
                self._done(event)
                return True
            # As good as async: from now on it is called in its task, so that what comes behind cannot overtake it.
            self._is_plain = False
            self._given = event, result
        else:
            result = None
        self.expect_first_step(event)
        walk = _MessageWalk(event, self)
        return self.start_walk(walk, self._run(event, walk, result))

    def never_began(self, message: MessageReceived) -> None:
        if self._given is not None and self._given[0] is message:
            given, self._given = self._given[1], None
            if iscoroutine(given):
                given.close()
        if self.take_overdue(message) and not self._link.is_lost:
            self.refuse(message)
        else:
            self._done(message)

    async def _run(self, event: MessageReceived, walk: Walk, begun: Any) -> None:
        self.has_begun(event)
        if begun is not None:
            self._given = None
        elif self._machine.refuses:  # as above: this is a later turn (CPython 3.11)
            self._done(event)
            return
        current_walk.set(walk)
        try:
            pending = self._session.handle_message(event.message) if begun is None else begun
            if isawaitable(pending):
                await pending
        except BaseException as exc:
            self._failed(event, exc)
        else:
            self._done(event)
        walk.request = None  # what it has left behind is not within it any more

    def _failed(self, event: MessageReceived, exc: BaseException) -> None:
        if not isinstance(exc, Exception) and self.take_overdue(event):
            exc = TimeoutError(f"handler cancelled (limit {self._session.limits.handler_timeout} s)")
        # That nothing can be sent any more is how the connection ended, not a failure of the handler.
        is_end = self._machine.state > State.DRAINING and isinstance(exc, ClosedError | ConnectionLost)
        if not is_end and (isinstance(exc, Exception) or not self._link.is_lost):
            self.failures += 1
            self._session.failure_log.failed(self._session, "handle_message", exc, self._host.now())
        self._done(event, exc)
        if (fatal := fatal_in(exc)) is not None:
            self._host.end_program(fatal)

    def _done(self, event: MessageReceived, error: BaseException | None = None) -> None:
        if self.is_given_up(event):
            return
        if self._teller is not None:
            self._teller.ended(event, error)
        machine = self._machine
        machine.done(event)
        if not machine.is_smooth:
            self._link.flush_soon()

    def let_go(self, session: MessageOwner) -> None:
        super().let_go(session)
        self._session = session
        self._teller = None


class MessageEngine(Engine["MessageOwner", MessageConnection, MessageHandling]):
    """The private side of one session of messages."""

    __slots__ = ("_most_unsent",)

    def __init__(self, *args: Any, **where: Any) -> None:
        super().__init__(*args, **where)
        self._most_unsent = ceiling(self.session.limits.max_pending_size)

    def _new_handling(self) -> MessageHandling:
        return MessageHandling(self)

    def give_up(self, message: MessageReceived, /) -> None:
        self.machine.done(message)
        self.link.flush_soon()

    def handle_events(self, events: Sequence[MessageReceived | ConnectionEnded], until: float, /) -> int:
        start = self.handling.start
        for index, event in enumerate(events):
            if index & 3 == 3 and self.host.now() >= until:
                return index
            if isinstance(event, MessageReceived):
                start(event)
            else:
                self.peer_broke_rules(event.error)
        if self.machine.flow.senders_waiting:
            self.room_made()
        return len(events)

    def is_in_handler(self) -> bool:
        """Return whether this runs in a handler of the session."""
        walk = current_walk.get()
        return isinstance(walk, _MessageWalk) and walk.handling is self.handling

    def may_overdraw(self) -> bool:
        """Return whether what is sent now need not wait for room: the first message that a handler sends.

        When two peers flood each other with messages that are to be answered, the answers would wait behind the flood,
        the handlers for the answers, and the flood of the other side for the handlers.
        """
        walk = current_walk.get()
        if not isinstance(walk, _MessageWalk) or walk.handling is not self.handling or walk.has_overdrawn:
            return False
        machine = self.machine
        walk.has_overdrawn = (
            machine.takes_notifications
            and machine.output_size + self.link.transport.get_write_buffer_size() < self._most_unsent
        )
        return walk.has_overdrawn

    def abort(self) -> None:
        self.machine.abort()
        super().abort()

    def _finish(self) -> None:
        self.machine.abort()  # nobody waits for handlers that have given up, or that are cancelled now
        super()._finish()
