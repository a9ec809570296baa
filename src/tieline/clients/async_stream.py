# SPDX-License-Identifier: MIT
"""What the asynchronous clients of streams share: all but where they connect to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.arguments import proxy_target
from tieline.clients.async_client import AsyncClient
from tieline.clients.engine import engine_for
from tieline.errors import ClientClosedError, UnsupportedOperation
from tieline.wire.default import NOTHING
from tieline.wire.limits import Limits
from tieline.wire.packets import PacketConnection
from tieline.wire.protocols import checked_stream_protocol
from tieline.wire.states import State

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Iterable
    from types import TracebackType

    from tieline.clients.engine import PacketEngine
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["AsyncStreamClient"]

# How long `aclose` waits for a peer that takes nothing, before what was sent is dropped.
CLOSE_GRACE = 5.0


class AsyncStreamClient(AsyncClient[SentT_contra, ReceivedT_co]):
    """A packet client over a stream; see its subclasses."""

    __slots__ = ("_is_lax", "_limits", "_max_recv_size", "_protocol", "_proxy", "_shutdown_timeout", "_timeout")

    _engine: PacketEngine | None

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
        is_lax: bool = False,
        max_recv_size: int | None = None,
    ) -> None:
        super().__init__(endpoint, sock, backend)
        self._protocol = checked_stream_protocol(protocol)
        self._proxy = proxy
        self._timeout = timeout
        self._shutdown_timeout = shutdown_timeout
        self._is_lax = is_lax
        self._max_recv_size = max_recv_size
        self._limits = Limits(connect_timeout=None, write_timeout=None).resolved(accepted=False)

    @classmethod
    def to(cls, *args: Any, **settings: Any) -> Self:
        """Return a client made of what `AsyncStreamClient` takes; what subclasses check was checked before."""
        client = cls.__new__(cls)
        AsyncStreamClient.__init__(client, *args, **settings)
        return client

    # --- connecting ----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            OSError, ClientClosedError: As of `wait_connected`.
        """
        scope = await self.backend().open_scope()
        if scope is None:
            await self._enter()
            return self
        self._scope = scope
        try:
            await self._enter()
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

    async def _dial(self, backend: AsyncBackend, nursery: object) -> None:
        engine: PacketEngine | None = None

        def new_link() -> Any:
            nonlocal engine
            machine = self._new_machine()
            engine = engine_for(backend, machine, is_lax=self._is_lax, max_recv_size=self._max_recv_size)
            return engine.link

        sock = self._take_socket()
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

    def _new_machine(self) -> PacketConnection:
        return PacketConnection(self._protocol, self._limits, accepted=False)

    # --- facts ---------------------------------------------------------------------------------------------------

    def is_connected(self) -> bool:
        engine = self._engine
        if engine is None or engine.is_over or self._is_closed:
            return False
        return engine.machine.state <= State.DRAINING  # else it is about to end, and takes nothing any more

    def _get_extra_info(self, name: str, default: Any = None) -> Any:
        assert self._engine is not None
        if name == "proxy_target" and self._proxy is not None:
            return proxy_target(self._endpoint)
        return self._engine.link.transport.get_extra_info(name, default)

    def _forsake(self, engine: PacketEngine) -> None:
        self.backend().call_from_anywhere(engine.host, engine.abort)

    # --- packets -------------------------------------------------------------------------------------------------

    async def send_packet(self, packet: SentT_contra, /) -> None:
        """Send a packet; connect first if that was not done.

        Waits for room when the peer is slow. If cancelled while it waits, nothing was sent; later, the packet is sent
        whole. Whether it arrives is not reported. Senders take turns in the order in which they called.

        Raises:
            ClientClosedError: The client is closed.
            ConnectionLost: The connection is gone; see ``__cause__``.
            LocalProtocolError: `send_eof` was called.
            RuntimeError: The serializer or converter failed; see ``__cause__``. Nothing was sent.
        """
        engine = self._engine or await self._connected()
        machine = engine.machine
        if machine.flow.paused or engine.senders:
            await engine.wait_for_room()
        engine.write(machine.framed(packet))

    async def send_packets(self, packets: Iterable[SentT_contra], /) -> None:
        """Send packets in one write: all of them, or none if one cannot be serialized. Otherwise as `send_packet`."""
        engine = self._engine or await self._connected()
        await engine.send(engine.machine.send_packets, packets)

    async def recv_packet(self) -> ReceivedT_co:
        """Return the next packet; connect first if that was not done.

        Several tasks may wait: they get one packet each, in the order in which they called. Cancelling loses nothing.

        Raises:
            EndOfStream: The peer has ended its stream; the same each time from then on. Sending stays possible, except
                over TLS.
            StreamTruncated, StreamReset, TLSTruncated, ConnectionLost: The connection ended otherwise.
            ClientClosedError: The client is closed.
            StreamProtocolParseError: The peer sent an invalid packet; the next call goes on after it. If that is
                impossible, the next call raises `ConnectionLost`.
            RuntimeError: The serializer failed; see ``__cause__``.
        """
        engine = self._engine or await self._connected()
        packet: ReceivedT_co
        if engine.machine.received and (packet := engine.next_at_once()) is not NOTHING:
            return packet
        place = engine.first_place()
        if place is not None:
            try:
                given = await place
            except BaseException:
                engine.leave(place)
                raise
            if (packet := engine.next_in_place(given)) is not NOTHING:
                return packet
        await engine.wait_for_packet(is_first=place is not None)
        packet = engine.next_packet()
        return packet

    async def recv_packets(self) -> list[ReceivedT_co]:
        """Wait for at least one packet, and return all that are decoded. Otherwise as `recv_packet`."""
        engine = self._engine or await self._connected()
        packets: list[ReceivedT_co] = await engine.receive(engine.machine.next_packets, None)
        return packets

    def _recv_within(self, seconds: float | None) -> Coroutine[Any, Any, ReceivedT_co]:
        if seconds is None:
            return AsyncStreamClient.recv_packet(self)  # not a subclass's, which does what the caller has done already
        return self._recv_in_time(seconds)

    async def _recv_in_time(self, seconds: float) -> ReceivedT_co:
        engine = self._engine or await self._connected()
        packet: ReceivedT_co = engine.next_at_once()
        if packet is NOTHING:
            await engine.wait_for_packet(seconds)
            packet = engine.next_packet()
        return packet

    # --- the end -------------------------------------------------------------------------------------------------

    async def send_eof(self) -> None:
        """End this side's stream after everything is sent; receiving goes on. Harmless when repeated.

        Raises:
            UnsupportedOperation: Over TLS or a WebSocket, which cannot do that; the connection stays usable.
            OSError, ClientClosedError: As of `wait_connected`, when it was not connected.

        If the connection is gone, or the client is closed, it does nothing.
        """
        if self._is_closed:
            return
        engine = self._engine or await self._connected()
        if not engine.is_over and not engine.link.transport.can_write_eof():
            raise UnsupportedOperation("one direction of TLS or of a WebSocket cannot be ended alone")
        if engine.machine.end_stream():
            engine.link.settle()  # what is queued goes out before
            engine.link.transport.write_eof()
            engine.room_made()

    async def aclose(self) -> None:
        """Close the client: unsent data is sent, and received packets that nobody took are dropped.

        If the peer reads nothing for a few seconds, or if this is cancelled, it closes at once. Tasks that wait to send
        or to receive get a `ClientClosedError`. Closing twice is fine.
        """
        self._close_before()
        if self._engine is not None:
            await self._engine.close(CLOSE_GRACE)

    def abort(self) -> None:
        """Close at once: unsent data is dropped."""
        self._close_before()
        if self._engine is not None:
            self._engine.abort()
