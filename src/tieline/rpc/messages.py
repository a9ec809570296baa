# SPDX-License-Identifier: MIT
"""Sessions for protocols whose messages have no replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tieline.rpc.dialled import Dialled
from tieline.rpc.message_engine import MessageEngine
from tieline.rpc.server import Served
from tieline.rpc.session_classes import overrides
from tieline.wire.framing.bitcoin import BitcoinFramer
from tieline.wire.messages import MessageConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, MutableSet

    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.admission import Admission
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.limits import Limits

__all__ = ["MessageSession"]


class MessageSession(Dialled[MessageEngine], Served):
    """A session for protocols whose messages have no replies; derive from it and override `handle_message`.

    One class serves both ends. With an endpoint it connects, as `ClientSession` does: ``async with`` connects and
    closes. A server creates its sessions without one: ``tieline.serve(YourSession, url)``.

    The framer decides what a message is: bytes, or with the default, `BitcoinFramer`, pairs of a command and a payload.
    Messages are handled in the order in which they arrive: a plain `handle_message` finishes before the next one
    starts; async ones START in that order and run concurrently, at most `Limits.max_pending`, then reading stops. With
    `ordered`, each waits for the one before.

    When the peer has ended its stream, what it sent before is still handled, even if the connection breaks then; over
    TLS nothing can be sent any more by that time. If the connection breaks before, handlers are cancelled. Once this
    side closes, no further message is handled; running handlers may still send. If anything has been sent, closing
    gives the peer `Limits.linger` seconds to read it and to close as well: otherwise data from the peer would reset the
    connection, and what was sent could be lost.

    A message over the limit, invalid framing and too many damaged messages (`Limits.max_errors`) end the session, with
    `close_reason`.

    Use it in the event loop in which it was connected, from any number of tasks; it is not thread-safe.

    Args:
        host: A host name or address; or, without *port*, an endpoint or a URL; None = a server creates this session.
        port: The TCP port.
        framer: How messages are separated on the wire: a framer for this session alone, a class, or a callable that
            returns one; None = `default_framer`.
        loop: None, or the running asyncio loop.
        limits: None = the defaults.

    The other arguments are those of `ClientSession`.

    Raises:
        ValueError: The endpoint is invalid or given twice, or TLS settings contradict each other.
        TypeError: An argument has the wrong type.
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

    _has_lines: ClassVar[bool] = False

    def default_framer(self) -> FramerBase[Any]:
        """Return a new framer for sessions that were given none. Limits are resolved by then."""
        return BitcoinFramer.with_limit(self._max_message())

    def handle_message(self, message: Any) -> Awaitable[None] | None:
        """Handle a message of the peer; plain or async. Override it: by default it does nothing.

        Exceptions are logged, and the session goes on. An async handler is cancelled after `Limits.handler_timeout`,
        when the session is aborted, and when the connection breaks before the peer has ended its stream.
        """
        return None

    async def send_message(self, message: Any) -> None:
        """Send a message, in the form that the framer takes.

        Waits for room when the peer is slow; in a handler only from the second message on, or when
        `Limits.max_pending_size` is unsent. Returns when the message is queued; whether it arrives is not reported. If
        cancelled while it waits, nothing was sent.

        Raises:
            ConnectionLost: The connection was lost; see ``__cause__``.
            ClosedError: This side has closed the session.
            OutgoingMessageTooLarge: The message exceeds `Limits.max_message`; nothing was sent.
            TypeError, ValueError: The framer cannot carry it; nothing was sent.
            LocalProtocolError: The session is not connected.
        """
        engine = self._connected()
        if not (engine.has_free_room(for_call=False) or engine.may_overdraw()):
            await engine.room.wait(None, for_call=False)
        engine.machine.send_message(message)
        engine.link.flush_soon()

    def _new_engine(
        self,
        backend: AsyncBackend,
        accepted: bool,
        sessions: set[Any] | None,
        coming: MutableSet[Any] | None,
        admission: Admission | None,
    ) -> MessageEngine:
        machine = MessageConnection(self._new_framer(), self.limits, accepted=accepted)
        its_own = overrides(type(self), MessageSession)
        return MessageEngine(self, backend, machine, its_own, sessions, coming, admission)

    def _activity(self, engine: MessageEngine) -> str:
        return f"{engine.machine.unanswered} messages at work"
