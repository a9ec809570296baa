# SPDX-License-Identifier: MIT
"""What the asynchronous clients of datagrams share: all but where they connect to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.async_client import AsyncClient
from tieline.clients.datagram_batches import taken, tell_first
from tieline.errors import ClientClosedError
from tieline.wire.datagram_packets import DatagramPackets

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.proxies import Route
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.runtimes.backend import AsyncBackend
    from tieline.runtimes.connected_datagrams import ConnectedDatagrams
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["AsyncDatagramClient"]


class AsyncDatagramClient(AsyncClient[SentT_contra, ReceivedT_co]):
    """The base of packet clients over datagrams, on asyncio and trio."""

    __slots__ = ("_asked", "_faults", "_packets", "_route")

    _engine: ConnectedDatagrams | None

    def __init__(
        self,
        endpoint: DatagramEndpoint,
        asked: Asked,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        backend: AsyncBackend | None,
        *,
        route: Route | None = None,
    ) -> None:
        super().__init__(endpoint, asked.sock, backend)
        self._asked = asked
        self._route = route
        self._packets: DatagramPackets[SentT_contra, ReceivedT_co] = DatagramPackets(protocol)
        self._faults: list[Exception] = []  # to be told by the next receives

    @classmethod
    def to(cls, *args: Any, **settings: Any) -> Self:
        """Return a client made of what `AsyncDatagramClient` takes; what subclasses check was checked before."""
        client = cls.__new__(cls)
        AsyncDatagramClient.__init__(client, *args, **settings)
        return client

    async def _dial(self, backend: AsyncBackend, nursery: object) -> None:
        sock = self._take_socket()
        try:
            engine = await backend.connect_datagrams(self._asked, proxy=self._route)
        except BaseException:
            if sock is not None:
                self._is_closed = True  # as the socket
                sock.close()
            raise
        if self._is_closed:
            engine.close()
            raise ClientClosedError("the client was closed while it connected")
        self._engine = engine

    def is_connected(self) -> bool:
        return self._engine is not None and not self._is_closed

    def _get_extra_info(self, name: str, default: Any = None) -> Any:
        assert self._engine is not None
        return self._engine.get_extra_info(name, default)

    def _forsake(self, engine: ConnectedDatagrams) -> None:
        engine.close()  # nobody waits for it: he would know the client

    # --- packets -------------------------------------------------------------------------------------------------

    async def send_packet(self, packet: SentT_contra, /) -> None:
        """Send a packet as one datagram; connect first if necessary.

        Waits while the system accepts no datagram; concurrent senders take turns in order. If this is cancelled,
        nothing was sent. Whether the packet arrives is unknown.

        Raises:
            ClientClosedError: The client is closed.
            ConnectionRefusedError: Nobody received an earlier packet (reported by ICMP), and this one was not sent. The
                client remains usable, since the peer may appear later. Over a Unix socket: nobody listens at the peer's
                path now; only packets from the original peer are received all the same.
            OSError: EMSGSIZE: the packet is too long for a datagram.
            ConnectionLost: The connection to the proxy is lost.
            RuntimeError: The serializer or converter failed; see ``__cause__``. Nothing was sent.
        """
        await self._send(packet, None)

    async def _send(self, packet: SentT_contra, ancillary: SocketAncillary | None) -> None:
        engine = self._engine or await self._connected()
        engine.check_open()
        await engine.send(self._packets.made(packet), ancillary)

    async def send_packets(self, packets: Iterable[SentT_contra], /) -> None:
        """Send packets, one datagram each; none if one of them cannot be serialized. Otherwise as `send_packet`.

        If sending fails or is cancelled, the packets before have been sent.
        """
        engine = self._engine or await self._connected()
        engine.check_open()
        for datagram in self._packets.all_made(packets):
            await engine.send(datagram)

    async def recv_packet(self) -> ReceivedT_co:
        """Return the next packet; connect first if necessary.

        Several tasks may wait; each gets one packet, in order. Cancelling loses no packet. Packets that nobody receives
        stay in the system's buffer, which drops what does not fit.

        Raises:
            DatagramProtocolParseError: The peer sent an invalid packet; the next call gives the next one.
            ConnectionRefusedError: Nobody received an earlier packet (reported by ICMP). The client remains usable.
            ClientClosedError: The client is closed.
            ConnectionLost: The connection to the proxy is lost.
            RuntimeError: The serializer failed; see ``__cause__``.
        """
        return await self._receive(None)

    async def recv_packets(self) -> list[ReceivedT_co]:
        """Wait for a packet, and return all that have arrived, up to a maximum. Otherwise as `recv_packet`.

        An error after the first packet is raised by the next call.
        """
        first = await self._receive(None)
        assert self._engine is not None
        return taken(self._engine, self._packets, first, self._faults)

    def _recv_within(self, seconds: float | None) -> Coroutine[Any, Any, ReceivedT_co]:
        return self._receive(seconds)

    async def _receive(
        self, seconds: float | None, room: int = 0, container: SocketAncillary | None = None
    ) -> ReceivedT_co:
        engine = self._engine or await self._connected()
        if self._faults:
            engine.check_open()
            tell_first(self._faults)
        if seconds is None:
            data, ancillary = await engine.receive(room)
        else:
            data, ancillary = await self._received_within(engine, room, seconds)
        if container is not None and ancillary is not None:
            container.update(ancillary)
        return self._packets.built(data)

    async def _received_within(
        self, engine: ConnectedDatagrams, room: int, seconds: float
    ) -> tuple[bytes, SocketAncillary | None]:
        found = engine.receive_at_once(room)
        return await engine.receive(room, self._now() + seconds) if found is None else found

    # --- the end -------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the client. Packets that were not received are dropped; those that were sent are with the system.

        Tasks that wait to send or to receive get a `ClientClosedError`. May be called again.
        """
        self.abort()

    def abort(self) -> None:
        """Close at once: the same as `aclose` without waiting."""
        self._close_before()
        if self._engine is not None:
            self._engine.close()
