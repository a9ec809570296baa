# SPDX-License-Identifier: MIT
"""Sessions for protocols whose messages have no replies."""

from __future__ import annotations

from inspect import isawaitable, iscoroutinefunction
from typing import TYPE_CHECKING, Any, ClassVar

from tieline.errors import ClosedError, ConnectionLost
from tieline.rpc.dialled import Dialled
from tieline.rpc.engine import Engine
from tieline.rpc.overrides import overrides
from tieline.rpc.owner import MessageOwner
from tieline.rpc.server import Served
from tieline.rpc.tasks import Tasks
from tieline.rpc.walking import Walk, current_walk
from tieline.wire.framing.bitcoin import BitcoinFramer
from tieline.wire.limits import ceiling
from tieline.wire.messages import MessageConnection, MessageReceived
from tieline.wire.states import State

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.endpoints import Endpoint
    from tieline.endpoints.secured import TLSChoice
    from tieline.runtimes.backend import AsyncBackend
    from tieline.runtimes.link import Link
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.limits import Limits
    from tieline.wire.messages import ConnectionEnded

__all__ = ["MessageSession"]


class _MessageWalk(Walk):
    """What a task that runs a handler is at.

    Attributes:
        handling: Where the handler belongs.
        has_overdrawn: Whether it has sent a message without waiting for room.
    """

    __slots__ = ("handling", "has_overdrawn")

    def __init__(self, event: MessageReceived, handling: _Handling) -> None:
        super().__init__(event)
        self.handling = handling
        self.has_overdrawn = False


class _Handling(Tasks):
    """The handlers of one session of messages at work."""

    __slots__ = ("_is_plain", "_link", "_machine", "_session")

    def __init__(self, engine: MessageEngine) -> None:
        session = engine.session
        super().__init__(engine.host, session.limits.handler_timeout, engine)
        self._session = session
        self._link: Link[MessageConnection] = engine.link
        self._machine = engine.machine
        self._is_plain = not iscoroutinefunction(session.handle_message)

    def start(self, event: MessageReceived) -> None:
        """Start to handle a message."""
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
        else:
            result = None
        self.unstarted += 1
        walk = _MessageWalk(event, self)
        return self.start_walk(walk, self._run(event, walk, result))

    async def _run(self, event: MessageReceived, walk: Walk, begun: Any) -> None:
        self.unstarted -= 1
        if begun is None and self._machine.refuses:  # as above: this is a later turn (CPython 3.11)
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

    def _failed(self, event: MessageReceived, exc: BaseException) -> None:
        if not isinstance(exc, Exception) and self.take_overdue(event):
            exc = TimeoutError(f"handler cancelled (limit {self._session.limits.handler_timeout} s)")
        # That nothing can be sent any more is how the connection ended, not a failure of the handler.
        is_end = self._machine.state > State.DRAINING and isinstance(exc, ClosedError | ConnectionLost)
        if not is_end and (isinstance(exc, Exception) or not self._link.is_lost):
            self.failures += 1
            session = self._session
            session.failure_log.failed(session.log, "handle_message", session.peer_name(), exc, self._host.now())
        self._done(event)
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            self._host.end_program(exc)

    def _done(self, event: MessageReceived) -> None:
        if self.is_given_up(event):
            return
        machine = self._machine
        machine.done(event)
        if not machine.is_smooth:
            self._link.flush_soon()

    def let_go(self, session: MessageOwner) -> None:
        super().let_go(session)
        self._session = session


class MessageEngine(Engine[MessageOwner, MessageConnection, _Handling]):
    """The private side of one session of messages."""

    __slots__ = ("_is_finishing", "_most_unsent")

    def __init__(self, *args: Any, **where: Any) -> None:
        super().__init__(*args, **where)
        self._most_unsent = ceiling(self.session.limits.max_pending_size)
        self._is_finishing = False  # the peer has ended in order, and what it said is still being handled

    def _new_handling(self) -> _Handling:
        return _Handling(self)

    def _give_up(self, message: MessageReceived) -> None:
        self.machine.done(message)

    def handle_events(self, events: Sequence[MessageReceived | ConnectionEnded], until: float, /) -> int:
        start = self.handling.start
        for index, event in enumerate(events):
            if index & 3 == 3 and self.host.now() >= until:
                return index
            if isinstance(event, MessageReceived):
                start(event)
            else:
                self.session.log.warning("%s broke the protocol: %s", self.session.peer_name(), event.error)
        if self.machine.flow.senders_waiting:
            self.room_made()
        return len(events)

    def link_lost(self, error: BaseException | None) -> None:
        # The handlers of the last messages may run still: where our own direction ends with the peer's, as over TLS, or
        # when the peer, having said all, takes nothing more.
        if self.machine.peer_has_ended and self.handling.running:
            self._is_finishing = True
            self.room_made()
        else:
            super().link_lost(error)

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

    def handler_ended(self) -> None:
        if self._is_finishing and not self.handling.running:
            self._finish()
        super().handler_ended()

    def abort(self) -> None:
        self.machine.abort()
        super().abort()
        if self._is_finishing:
            self._finish()

    def _finish(self) -> None:
        self._is_finishing = False
        self.machine.abort()  # nobody waits for handlers that have given up, or that are cancelled now
        super().link_lost(None)


class MessageSession(Dialled[MessageEngine], Served):
    """A session of messages that have no replies, for one connection; derive from it and override `handle_message`.

    One class serves both ends. Given an endpoint it dials, as `ClientSession` does: ``async with`` connects and closes.
    A server makes sessions of it without one: ``tieline.serve(YourSession, url)``.

    What a message is, is the framer's affair: bytes, or with the default, `BitcoinFramer`, pairs of a command and a
    payload. Messages are handled in the order in which they come: a plain `handle_message` is done with one before the
    next; async ones START in that order and run at the same time, `Limits.max_pending` at most, then reading stops.
    With `ordered` each waits for the one before.

    When the peer has ended its stream, what it has said is still handled, even if the connection breaks then; over TLS
    nothing can be sent any more by that time. When the connection breaks before, handlers are cancelled. Once this side
    closes no further message is handled; the handlers that run may still send. If anything has been sent, closing gives
    the peer `Limits.linger` seconds to read it and to close as well: else what it says meanwhile would reset the
    connection, and what was sent could be lost.

    A message over the limit, broken framing and too many damaged messages (`Limits.max_errors`) end the session, with
    `close_reason`.

    Use it in the event loop that it was connected in, from any number of tasks; it is not thread-safe.

    Args:
        host: A host name or address; or, without *port*, an endpoint or a URL; None = it is to be served.
        port: The TCP port.
        framer: How messages are framed: a framer for this session alone, a class, or a callable that returns one;
            None = `default_framer`.
        loop: None, or the running asyncio loop.
        limits: None = the defaults.

    The other arguments are those of `ClientSession`.

    Raises:
        ValueError: The endpoint is impossible or given twice, or TLS settings contradict each other.
        TypeError: An argument of the wrong type.
    """

    ordered: ClassVar[bool] = False
    """Whether a message is handled only when the handler of the one before has ended."""

    def __init__(
        self,
        host: str | Endpoint | None = None,
        port: int | None = None,
        *,
        framer: FramerBase[Any] | type[FramerBase[Any]] | Callable[[], FramerBase[Any]] | None = None,
        loop: object = None,
        proxy: Any = None,
        limits: Limits | None = None,
        sock: socket.socket | None = None,
        ssl: TLSChoice = None,
        server_hostname: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(framer, limits, loop)
        self._prepare_dialling(host, port, sock, ssl, server_hostname, proxy, kwargs, may_be_served=True)

    def default_framer(self) -> FramerBase[Any]:
        """Return a new framer for sessions that were given none. The limits are resolved by then."""
        return BitcoinFramer.with_limit(self._max_message())

    def handle_message(self, message: Any) -> Awaitable[None] | None:
        """Handle a message of the peer; plain or async. Override it: this one does nothing.

        What it raises goes to the log, and the session goes on. It is cancelled after `Limits.handler_timeout`, when
        the session is aborted, and when the connection breaks before the peer has ended its stream.
        """
        return None

    async def send_message(self, message: Any) -> None:
        """Send a message, as the framer takes it.

        Waits for room when the peer is slow; in a handler only from the second message on, or when
        `Limits.max_pending_size` is unsent. Returns when the message is queued; whether it arrives is not told.
        Cancelled while it waits it has sent nothing.

        Raises:
            ConnectionLost: The connection went down; see ``__cause__``.
            ClosedError: The session is closed by this side.
            OutgoingMessageTooLarge: The message is over `Limits.max_message`; nothing was sent.
            TypeError, ValueError: The framer cannot carry it; nothing was sent.
            LocalProtocolError: The session is not connected.
        """
        engine = self._connected()
        if not (engine.has_free_room(for_call=False) or engine.may_overdraw()):
            await engine.room.wait(None, for_call=False)
        engine.machine.send_message(message)
        engine.link.flush_soon()

    def _new_engine(self, backend: AsyncBackend, **where: Any) -> MessageEngine:
        machine = MessageConnection(self._new_framer(), self.limits, accepted=where.pop("accepted"))
        return MessageEngine(self, backend, machine, overrides(type(self), MessageSession), **where)

    def _activity(self, engine: MessageEngine) -> str:
        return f"{engine.machine.unanswered} messages at work"
