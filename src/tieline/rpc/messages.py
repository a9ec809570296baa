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

    _has_lines: ClassVar[bool] = False

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
