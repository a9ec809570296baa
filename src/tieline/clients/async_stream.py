# SPDX-License-Identifier: MIT
"""What the asynchronous clients of streams share: all but where they connect to."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from tieline.clients.abc import AbstractAsyncNetworkClient, ReceivedT_co, SentT_contra
from tieline.clients.arguments import proxy_target
from tieline.clients.attempt import Attempt
from tieline.clients.engine import PacketEngine
from tieline.errors import ClientClosedError, LocalProtocolError, UnsupportedOperation
from tieline.runtimes.detect import backend_named, current_backend
from tieline.wire.limits import Limits
from tieline.wire.packets import PacketConnection
from tieline.wire.protocols import checked_stream_protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from types import TracebackType

    from tieline.endpoints import Endpoint
    from tieline.runtimes.backend import AsyncBackend, Scope
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["AsyncStreamClient", "checked_backend"]

# How long `aclose` waits for a peer that takes nothing, before what was sent is dropped.
CLOSE_GRACE = 5.0


def checked_backend(backend: object) -> AsyncBackend | None:
    """Return the runtime that *backend* is or names; None = whichever is running.

    Raises:
        NotImplementedError: There is none of that name.
        TypeError: It is neither a name nor a runtime.
    """
    if backend is None:
        return None
    if isinstance(backend, str):
        return backend_named(backend)
    if not callable(getattr(backend, "dial", None)):
        raise TypeError(f"backend must be 'asyncio', 'trio', an AsyncBackend or None, not {type(backend).__name__}")
    return cast("AsyncBackend", backend)


class AsyncStreamClient(AbstractAsyncNetworkClient[SentT_contra, ReceivedT_co]):
    """A packet client over a stream; see its subclasses."""

    __slots__ = (
        "_attempt",
        "_backend",
        "_endpoint",
        "_engine",
        "_is_closed",
        "_limits",
        "_protocol",
        "_proxy",
        "_scope",
        "_shutdown_timeout",
        "_sock",
        "_timeout",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        sock: socket.socket | None,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        backend: AsyncBackend | None,
        *,
        proxy: Any = None,
        timeout: float | None = None,
        shutdown_timeout: float = 30.0,
    ) -> None:
        self._engine: PacketEngine | None = None
        self._sock = sock
        self._protocol = checked_stream_protocol(protocol)
        self._backend = backend
        self._endpoint = endpoint
        self._proxy = proxy
        self._timeout = timeout
        self._shutdown_timeout = shutdown_timeout
        self._limits = Limits(connect_timeout=None, write_timeout=None).resolved(accepted=False)
        self._attempt: Attempt | None = None
        self._scope: Scope | None = None  # of the `async with`, where the runtime has such
        self._is_closed = False

    # --- connecting ----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            OSError, ClientClosedError: As of `wait_connected`.
        """
        scope = await self.backend().open_scope()
        if scope is None:
            await self.wait_connected()
            return self
        self._scope = scope
        try:
            await self.wait_connected()
        except BaseException as exc:
            self._scope = None
            await scope.leave(self._never_connected, exc)
            raise
        return self

    async def _never_connected(self) -> None: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        scope, self._scope = self._scope, None
        if scope is not None:
            return await scope.leave(self.aclose, exc)
        await self.aclose()
        return False

    def backend(self) -> AsyncBackend:
        """Return the runtime that the client is for: that which it was given, or the one that runs.

        Raises:
            RuntimeError: None was given, and none is running.
        """
        if self._backend is None:
            self._backend = current_backend()
        return self._backend

    async def wait_connected(self) -> None:
        """Connect, unless that was done. Whoever else waits for the same shares the attempt.

        On trio a client connects in ``async with``, since the connection needs a nursery to live in.

        Raises:
            OSError: Nobody there, or no way to get there. It may be tried again.
            ClientClosedError: The client is closed, or was closed meanwhile.
            LocalProtocolError: On trio outside of ``async with``.
        """
        await self._connected()

    async def _connected(self) -> PacketEngine:
        while self._engine is None:
            if self._is_closed:
                raise ClientClosedError("the client is closed")
            if self._attempt is None or self._attempt.is_over or self._attempt.is_given_up:
                self._attempt = self._new_attempt()
            await self._attempt.wait()
        return self._engine

    def _new_attempt(self) -> Attempt:
        backend = self.backend()
        nursery = None if self._scope is None else self._scope.nursery
        if nursery is None and backend.name == "trio":
            raise LocalProtocolError("on trio a client connects in `async with`: it needs a nursery to live in")
        return Attempt(backend.host(nursery), lambda: self._dial(backend, nursery))

    async def _dial(self, backend: AsyncBackend, nursery: object) -> None:
        engine: PacketEngine | None = None

        def new_link() -> Any:
            nonlocal engine
            engine = PacketEngine(backend, PacketConnection(self._protocol, self._limits, accepted=False))
            return engine.link

        sock, self._sock = self._sock, None
        try:
            await backend.dial(
                new_link,
                self._endpoint,
                timeout=self._timeout,
                sock=sock,
                proxy=self._proxy,
                tls_shutdown_timeout=self._shutdown_timeout,
                nursery=nursery,
            )
            if self._is_closed:
                raise ClientClosedError("the client was closed while it connected")
        except BaseException:
            if sock is not None:
                self._is_closed = True  # the socket is gone, and there is no other
            if engine is not None:
                engine.abort()
            raise
        self._engine = engine

    # --- facts ---------------------------------------------------------------------------------------------------

    def is_connected(self) -> bool:
        return self._engine is not None and not self._engine.is_over and not self._is_closed

    def is_closing(self) -> bool:
        return self._is_closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the transport tells: ``peername``, ``sockname``, ``ssl_object``, ``cipher``, ...

        Through a proxy also ``proxy_target``: host and port of the server, as the proxy was asked for them. The others
        are of the connection to the proxy.

        Raises:
            ClientClosedError: The client is closed.
            OSError: It is not connected (ENOTCONN).
        """
        if self._is_closed:
            raise ClientClosedError("the client is closed")
        if self._engine is None:
            import errno  # lazily: for this error alone

            raise OSError(errno.ENOTCONN, "the client is not connected")
        if name == "proxy_target" and self._proxy is not None:
            return proxy_target(self._endpoint)
        return self._engine.link.transport.get_extra_info(name, default)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "connected" if self.is_connected() else "not connected"
        if self._engine is not None and self._engine.is_over and not self._is_closed:
            state = "lost"
        return f"<{type(self).__name__} {self._endpoint} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled: it is one end of a connection")

    def __del__(self) -> None:
        if getattr(self, "_sock", None) is not None or (getattr(self, "_engine", None) and not self._is_closed):
            warnings.warn(f"unclosed client {self!r}", ResourceWarning, stacklevel=2, source=self)
            sock, self._sock = self._sock, None
            if sock is not None:
                sock.close()

    # --- packets -------------------------------------------------------------------------------------------------

    async def send_packet(self, packet: SentT_contra, /) -> None:
        """Send a packet; connect first if that was not done.

        Waits for room when the peer is slow. Cancelled while it waits it has sent nothing; later the packet goes out
        whole. Whether it arrives is not told. Senders get their turn in the order in which they came.

        Raises:
            ClientClosedError: The client is closed.
            ConnectionLost: The connection is gone; see ``__cause__``.
            LocalProtocolError: `send_eof` was called.
            RuntimeError: The serializer or converter failed; see ``__cause__``. Nothing was sent.
        """
        engine = self._engine or await self._connected()
        await engine.send(engine.machine.send_packet, packet)

    async def send_packets(self, packets: Iterable[SentT_contra], /) -> None:
        """Send packets in one write: all of them, or none when one cannot be made. Otherwise as `send_packet`."""
        engine = self._engine or await self._connected()
        await engine.send(engine.machine.send_packets, packets)

    async def recv_packet(self) -> ReceivedT_co:
        """Return the next packet; connect first if that was not done.

        Several tasks may wait: they get one packet each, in the order in which they came. Cancelling loses nothing.

        Raises:
            EndOfStream: The peer has ended its stream; so each time from then on. Sending stays possible.
            StreamTruncated, StreamReset, TLSTruncated, ConnectionLost: The connection went down otherwise.
            ClientClosedError: The client is closed.
            StreamProtocolParseError: The peer sent something that is no packet; the next call goes on behind it. Where
                that is impossible, the next call raises `ConnectionLost`.
            RuntimeError: The serializer failed; see ``__cause__``.
        """
        return await self._recv_within(None)

    async def recv_packets(self) -> list[ReceivedT_co]:
        """Return all packets that are decoded already, at least one; wait for that. Otherwise as `recv_packet`."""
        engine = self._engine or await self._connected()
        packets: list[ReceivedT_co] = await engine.receive(engine.machine.next_packets, None)
        return packets

    async def _recv_within(self, seconds: float | None) -> ReceivedT_co:
        engine = self._engine or await self._connected()
        packet: ReceivedT_co = await engine.receive(engine.machine.next_packet, seconds)
        return packet

    def _now(self) -> float:
        nursery = None if self._scope is None else self._scope.nursery
        return (self._engine.host if self._engine is not None else self.backend().host(nursery)).now()

    # --- the end -------------------------------------------------------------------------------------------------

    async def send_eof(self) -> None:
        """End this side of the stream, behind all that was sent; the peer can still be heard. Again, it does nothing.

        Raises:
            UnsupportedOperation: Over TLS, which cannot do it; the connection stays usable.
            ConnectionLost: The connection is gone.
        """
        if self._is_closed:
            return
        engine = self._engine or await self._connected()
        if not engine.is_over and not engine.link.transport.can_write_eof():
            raise UnsupportedOperation("one direction of TLS cannot be ended alone")
        if engine.machine.end_stream():
            engine.link.settle()  # what is queued goes out before
            engine.link.transport.write_eof()
            engine.room_made()

    async def aclose(self) -> None:
        """Close the client: what was sent goes out, what was received and not taken is dropped.

        After a few seconds in which the peer takes nothing, or when it is cancelled, it closes at once. Whoever waits
        to send or to receive gets a `ClientClosedError`. To close twice is fine.
        """
        self._is_closed = True
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        if self._engine is None and self._attempt is not None:
            self._attempt.cancel()
        if self._engine is not None:
            await self._engine.close(CLOSE_GRACE)

    def abort(self) -> None:
        """Close at once: what was not sent yet is dropped."""
        self._is_closed = True
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        if self._engine is not None:
            self._engine.abort()
        elif self._attempt is not None:
            self._attempt.cancel()
