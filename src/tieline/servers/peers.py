# SPDX-License-Identifier: MIT
"""What handlers of datagrams are given besides the packet: whom it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from tieline.clients.abc import SentT_contra
from tieline.clients.beside import checked_ancillary
from tieline.endpoints.socket_addresses import IPv4SocketAddress, IPv6SocketAddress, UnixSocketAddress
from tieline.servers.failures import peer_name

if TYPE_CHECKING:
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.servers.datagrams import DatagramService

__all__ = ["DatagramPeer"]


class DatagramPeer(Generic[SentT_contra]):
    """Who sent a packet to a datagram server, and can be sent packets.

    It is as good as an address: it can be kept, and used when the handler is done, until the server is closed. What
    came beside the packet it has no longer then.
    """

    __slots__ = ("_ancillary", "_raw", "_service")

    def __init__(self, service: DatagramService, raw: Any, ancillary: SocketAncillary | None = None) -> None:
        self._service = service
        self._raw = raw
        self._ancillary = ancillary

    @property
    def ancillary_data(self) -> SocketAncillary | None:
        """What came beside the packet that the handler was given this with; None = nothing, or it is not received.

        Servers on Unix sockets receive it when they have an *ancillary_bufsize*. It is there until the handler is done:
        then it is None, also where the peer is kept. Descriptors that were not taken out of it by then are closed,
        unless somebody has kept the container itself.
        """
        return self._ancillary

    def drop_ancillary(self) -> None:
        """Have nothing beside the packet any more, as when the handler is done."""
        self._ancillary = None

    @property
    def address(self) -> IPv4SocketAddress | IPv6SocketAddress | UnixSocketAddress:
        """The address of its socket."""
        raw: Any = self._raw
        if raw.__class__ is tuple:
            return IPv4SocketAddress(*raw) if len(raw) == 2 else IPv6SocketAddress(*raw)
        return UnixSocketAddress.from_raw(raw or "")

    async def send_packet(self, packet: SentT_contra, /, *, ancillary_data: SocketAncillary | None = None) -> None:
        """Send a packet from the server's socket. Whether it arrives is not told.

        Waits when the system has no room for it, as it is with a Unix socket whose owner does not read.

        Args:
            packet: The packet.
            ancillary_data: What goes beside it, by a Unix socket.

        Raises:
            TypeError: *ancillary_data* is no `tieline.socket.SocketAncillary`.
            ValueError: There is such, and the socket is no Unix socket.
            OSError: EMSGSIZE: no datagram is as long as this, or what goes beside it does not fit. EDESTADDRREQ: the
                peer's socket has no name.
            TimeoutError: There was no room for `Limits.write_timeout`.
            ClientClosedError: The server is closed.
            RuntimeError: The serializer or converter failed; see ``__cause__``. Nothing was sent.
        """
        await self._service.send(packet, self._raw, checked_ancillary(ancillary_data))

    def left_to_send(self, packet: SentT_contra, /) -> bytes | None:
        """Send a packet in any thread, if that is simple; else return what is for `send_made`.

        Raises:
            RuntimeError: As of `send_packet`.
        """
        data = self._service.packets.made(packet)
        return None if self._service.sent_at_once(data, self._raw) else data

    async def send_made(self, data: bytes, /) -> None:
        """Send what a packet was made of, as `send_packet` does."""
        await self._service.send_made(data, self._raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatagramPeer) and (self._service, self._raw) == (other._service, other._raw)

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {peer_name(self._raw)}>"
