# SPDX-License-Identifier: MIT
"""The asynchronous packet client over Unix stream sockets."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.ancillary import checked_ancillary, room_for
from tieline.clients.ancillary_streams import AncillaryStream
from tieline.clients.arguments import check_stream, unix_endpoint
from tieline.clients.async_client import checked_backend
from tieline.clients.async_stream import AsyncStreamClient
from tieline.clients.facts import CredentialFacts, UnixFacts
from tieline.errors import ConnectionLost
from tieline.wire.held_packets import HeldPackets

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.clients.engine import PacketEngine
    from tieline.endpoints.socket_addresses import UnixSocketAddress
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["AsyncUnixStreamClient"]


class AsyncUnixStreamClient(CredentialFacts, UnixFacts, AsyncStreamClient[SentT_contra, ReceivedT_co]):
    """A packet client over a Unix stream socket, on asyncio or trio.

    It connects in ``async with``, in ``wait_connected``, or when it is first used; the constructor does no I/O.

    Args:
        path: The path of the socket; a leading NUL is a name in Linux's abstract namespace. Or a connected socket,
            which then belongs to the client.
        protocol: The format of packets.
        backend: "asyncio", "trio" or an ``AsyncBackend``; None = the running one.
        local_path: The path that the client binds, visible to the peer; its file is not removed. None = no path.
        max_recv_size: The maximum number of bytes per read for a receive with ancillary data; None = 64 KiB. It does
            not affect other receives.

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also *local_path*.
        ValueError: An invalid path, or a socket of another kind.
        OSError: The given socket is not connected (ENOTCONN).
        NotImplementedError: There is no backend of that name.
        UnsupportedOperation: This platform has no Unix sockets.
    """

    __slots__ = ("_ancillary", "_read_size")

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | UnixSocketAddress | socket.socket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        backend: AsyncBackend | str | None = None,
        *,
        local_path: str | bytes | os.PathLike[str] | UnixSocketAddress | None = None,
        max_recv_size: int | None = None,
    ) -> None:
        sock = path if isinstance(path, socket.socket) else None
        self._sock = None
        self._ancillary: AncillaryStream | None = None
        self._read_size = max_recv_size
        try:
            check_stream(protocol, max_recv_size)
            super().__init__(unix_endpoint(path, local_path, {}), sock, protocol, checked_backend(backend))
        except BaseException:
            if sock is not None:
                sock.close()
            raise

    @classmethod
    def to(cls, *args: Any, **settings: Any) -> Self:
        client = super().to(*args, **settings)
        client._ancillary = client._read_size = None
        return client

    def _new_machine(self) -> HeldPackets:
        return HeldPackets(self._protocol, self._limits, accepted=False)

    async def _ready(self) -> tuple[PacketEngine, AncillaryStream]:
        engine: PacketEngine = self._engine or await self._connected()
        if self._ancillary is None:
            self._ancillary = AncillaryStream(engine, self._read_size)
        return engine, self._ancillary

    # --- receiving -----------------------------------------------------------------------------------------------

    async def recv_packet(
        self, *, ancillary_data: SocketAncillary | None = None, ancillary_bufsize: int | None = None
    ) -> ReceivedT_co:
        """Return the next packet, and store the ancillary data of the read in *ancillary_data*.

        Ancillary data that arrives with packets received without a container is lost: to get it, receive all packets
        with one. Such a receive reads once, or not at all if a whole packet has arrived with an earlier read: then the
        container stays as it is. The system returns file descriptors with the read in which their packet begins, and
        Linux joins that packet to earlier ones that were sent without ancillary data. So the descriptors belong to the
        last packet that begins in the read, and the container may receive them together with an earlier packet. If the
        peer sends ancillary data with every packet, packets are not joined.

        Args:
            ancillary_data: The container; None = no ancillary data is received.
            ancillary_bufsize: The size of the buffer for ancillary data in bytes; None = 8192. What does not fit is
                lost, and the container reports it.

        Raises:
            EOFError: With a container: only a part of the packet has arrived. It is kept, the next receive continues
                with it, and its ancillary data is in the container. (The end of the stream raises `EndOfStream`.)
            ValueError: *ancillary_bufsize* without a container, under 1 or over 1 MiB.
            BusyResourceError: Others receive at the same time, and at least one of them with a container.
            ConnectionLost, ClientClosedError, StreamProtocolParseError, RuntimeError: As of
                `tieline.clients.AsyncTCPNetworkClient.recv_packet`.
        """
        room = room_for(ancillary_data, ancillary_bufsize)
        engine, stream = await self._ready()
        if ancillary_data is not None:
            packet: ReceivedT_co = await self._receive_ancillary(ancillary_data, room, engine.take)
            return packet
        who = object()
        stream.begin_plain(who)
        try:
            return await super().recv_packet()
        finally:
            stream.end_plain(who)

    async def _receive_ancillary(
        self, container: SocketAncillary, room: int, take: Callable[[Callable[[], Any]], Any]
    ) -> Any:
        """Return the next packet, as *take* takes it, and put what came beside it into *container*."""
        engine, stream = await self._ready()
        who = object()
        is_missing = stream.begin(who)
        try:
            while is_missing and not stream.receive(container, room):
                await self._wait(stream, writing=False)
            if stream.is_broken:  # the link is about to hear of it
                await engine.wait_closed()
            await engine.wait_for_packet()
            return take(engine.machine.next_packet)
        finally:
            stream.end(who)

    async def recv_packets(self) -> list[ReceivedT_co]:
        _, stream = await self._ready()
        who = object()
        stream.begin_plain(who)
        try:
            return await super().recv_packets()
        finally:
            stream.end_plain(who)

    async def _recv_within(self, seconds: float | None) -> ReceivedT_co:
        _, stream = await self._ready()
        who = object()
        stream.begin_plain(who)
        try:
            return await super()._recv_within(seconds)
        finally:
            stream.end_plain(who)

    async def _wait(self, stream: AncillaryStream, *, writing: bool) -> None:
        sock = stream.socket_to_wait_for()
        try:
            await self.backend().wait_socket(sock, writing=writing)
        finally:
            stream.waited(sock)

    # --- sending, closing ----------------------------------------------------------------------------------------

    async def send_packet(self, packet: SentT_contra, /, *, ancillary_data: SocketAncillary | None = None) -> None:
        """Send a packet, with *ancillary_data* attached to its first byte.

        It is sent when all earlier packets have been sent; concurrent senders take turns in order. File descriptors may
        be closed as soon as this returns.

        Raises:
            OSError: EMSGSIZE: the ancillary data is too large.
            TypeError: *ancillary_data* is not a `tieline.socket.SocketAncillary`.
            ValueError: The packet is empty.
            ConnectionLost, ClientClosedError, LocalProtocolError, RuntimeError: As of
                `tieline.clients.AsyncTCPNetworkClient.send_packet`.
        """
        if checked_ancillary(ancillary_data) is None:
            await super().send_packet(packet)
            return
        assert ancillary_data is not None
        engine, stream = await self._ready()
        await self._send_ancillary(partial(stream.send, engine.machine.framed(packet), ancillary_data))

    async def _send_ancillary(self, send: Callable[[], bool]) -> None:
        """Send by *send*, which returns whether that was possible, when it is this task's turn."""
        engine, stream = await self._ready()
        if engine.has_senders:
            await engine.wait_for_room()
        place = engine.host.new_waiter()
        engine.hold_line(place)
        try:
            while not send():
                await self._wait(stream, writing=True)
        except ConnectionLost:
            if not engine.is_over:  # the link is about to hear of it
                await engine.wait_closed()
            raise
        finally:
            engine.release_line(place)

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            self._wake_all()

    def abort(self) -> None:
        super().abort()
        self._wake_all()

    def _wake_all(self) -> None:
        if self._ancillary is not None:
            self._ancillary.wake_all()
