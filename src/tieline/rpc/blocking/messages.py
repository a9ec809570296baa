# SPDX-License-Identifier: MIT
"""Sessions for protocols whose messages have no replies, in blocking code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from tieline.rpc.blocking.dialled import Dialled
from tieline.rpc.blocking.life import BlockingLife, check_plain
from tieline.rpc.message_engine import MessageEngine, MessageHandling
from tieline.rpc.session_classes import overrides
from tieline.runtimes.blocking.backend import BlockingBackend
from tieline.wire.framing.bitcoin import BitcoinFramer
from tieline.wire.messages import MessageConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.urls import Endpoint
    from tieline.rpc.roles import MessageOwner
    from tieline.rpc.walking import Walk
    from tieline.runtimes.blocking.host import BlockingHost
    from tieline.runtimes.host import Handle
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.limits import Limits
    from tieline.wire.messages import MessageReceived

__all__ = ["MessageSession"]


class _Handling(MessageHandling):
    """Handlers as jobs: queued when their messages come, run by threads that wait, outside of the lock."""

    __slots__ = ()

    _host: BlockingHost

    def __init__(self, engine: MessageEngine) -> None:
        super().__init__(engine)
        self._is_plain = False  # none is run by the reading itself
        self._timeout = None  # a function that runs cannot be stopped

    def _is_handler(self, _walk: Walk, _handle: Handle | None, /) -> bool:
        """Return True: a thread that a handler starts is none of its tasks, and knows nothing of the walk."""
        return True

    def _failed(self, event: MessageReceived, exc: BaseException) -> None:
        self._host.do(super()._failed, event, exc)

    def _done(self, event: MessageReceived, error: BaseException | None = None) -> None:
        self._host.do(super()._done, event, error)

    def _ended(self, handle: Handle) -> None:
        with self._host.lock:
            super()._ended(handle)


class _Engine(MessageEngine):
    """The private side of one session of messages. Its orders are given with the host's lock held."""

    __slots__ = ()

    # Its backend gives no other.
    host: BlockingHost  # pyright: ignore[reportIncompatibleVariableOverride]

    def _new_handling(self) -> _Handling:
        return _Handling(self)

    def never_made(self) -> None:
        self.host.do(super().never_made)

    def _over(self) -> None:
        with self.host.lock:
            super()._over()


class MessageSession(Dialled[_Engine], BlockingLife[_Engine]):
    """A session for messages without replies, in blocking code; derive from it and override `handle_message`.

    ``with`` connects and closes. It has no thread of its own: messages are read, and `handle_message` is called, by the
    threads that wait for something on it (`poll`, `send_message`, `wait_closed`), and by nobody while none of them
    waits. Any number of threads may use it at once.

    The framer decides what a message is: bytes, or with the default, `BitcoinFramer`, pairs of a command and a payload.
    Handlers run one at a time, in the order in which the messages arrived; a handler that waits on the session lets
    others run nested inside it, unless the session is `ordered`. While `Limits.max_pending` messages wait, reading
    stops.

    `tieline.MessageSession` says how and why it ends. When the peer has ended its stream, what it sent before is still
    handled, by the threads that wait.

    Args:
        host: A host name or address; or, without *port*, an endpoint or a URL.
        port: The TCP port.
        framer: How messages are framed: a framer for this session alone, a class, or a callable that returns one;
            None = `default_framer`.
        limits: None = the defaults. `Limits.handler_timeout` does not apply: a running function cannot be stopped.

    The other arguments are those of `ClientSession`.

    Raises:
        ValueError: The endpoint is invalid, given twice or not at all, or TLS settings contradict each other.
        TypeError: An argument of the wrong type, or `handle_message` is async.
    """

    ordered: ClassVar[bool] = False
    """Whether a message is handled only when the handler of the one before has ended, also while that one waits."""

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
        for name in ("handle_message", "connection_lost"):
            check_plain(getattr(type(self), name), f"{type(self).__name__}.{name}")
        self._prepare_dialling(host, port, sock, ssl, server_hostname, proxy, kwargs)

    _has_lines: ClassVar[bool] = False

    def default_framer(self) -> FramerBase[Any]:
        """Return a new framer for sessions that were given none. The limits are resolved by then."""
        return BitcoinFramer.with_limit(self._max_message())

    def handle_message(self, message: Any) -> None:
        """Handle a message of the peer. Override it: by default it does nothing.

        What it raises goes to the log, and the session goes on.
        """

    def send_message(self, message: Any) -> None:
        """Send a message, in the form that the framer takes.

        Waits for room when the peer is slow, and returns when the system has taken it; whether it arrives is not
        reported. In a handler it waits only for room, and only from the second message on, or when
        `Limits.max_pending_size` is unsent: whatever the system does not take at once is sent when somebody waits on
        this session. If it is interrupted while it waits for room, nothing was sent.

        Raises:
            ConnectionLost: The connection went down; see ``__cause__``.
            ClosedError: This side has closed the session.
            OutgoingMessageTooLarge: The message is over `Limits.max_message`; nothing was sent.
            TypeError, ValueError: The framer cannot carry it; nothing was sent.
            LocalProtocolError: The session is not connected.
        """
        engine = self._connected()
        host = engine.host
        host.run(_send_with_room(engine, message))
        if not engine.is_in_handler():  # else two peers that answer floods could wait for each other
            host.flush()

    def _new_engine(self, host: BlockingHost, *, accepted: bool) -> _Engine:
        machine = MessageConnection(self._new_framer(), self.limits, accepted=accepted)
        owner = cast("MessageOwner", self)
        return _Engine(owner, BlockingBackend(host), machine, overrides(type(self), MessageSession), None)

    def _activity(self, engine: _Engine) -> str:
        return f"{engine.machine.unanswered} messages at work"


async def _send_with_room(engine: _Engine, message: Any) -> None:
    if not (engine.has_free_room(for_call=False) or engine.may_overdraw()):
        await engine.room.wait(None, for_call=False)
    engine.machine.send_message(message)
    engine.link.flush_soon()
