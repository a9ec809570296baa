# SPDX-License-Identifier: MIT
"""What handlers of datagrams are given besides the packet: whom it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from tieline.clients.abc import SentT_contra
from tieline.clients.ancillary import checked_ancillary
from tieline.endpoints.socket_addresses import IPv4SocketAddress, IPv6SocketAddress, UnixSocketAddress
from tieline.servers.failures import peer_name

if TYPE_CHECKING:
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.servers.datagrams import DatagramService

__all__ = ["DatagramPeer"]


class DatagramPeer(Generic[SentT_contra]):
    """The sender of a packet to a datagram server, to which packets can be sent.

    It may be kept and used after the handler has returned, until the server is closed; only `ancillary_data` is None
    then.
    """

    __slots__ = ("_ancillary", "_raw", "_service")

    def __init__(self, service: DatagramService, raw: Any, ancillary: SocketAncillary | None = None) -> None:
        self._service = service
        self._raw = raw
        self._ancillary = ancillary

    @property
    def ancillary_data(self) -> SocketAncillary | None:
        """The ancillary data of the packet that is being handled; None if there is none or it is not received.

        Servers on Unix sockets receive it if they have an *ancillary_bufsize*. It is available until the handler
        returns, then it is None. File descriptors that were not taken out of it by then are closed, unless the
        container itself was kept.
        """
        return self._ancillary

    def drop_ancillary(self) -> None:
        """Drop the ancillary data, as when the handler is done."""
        self._ancillary = None

    @property
    def address(self) -> IPv4SocketAddress | IPv6SocketAddress | UnixSocketAddress:
        """The address of its socket."""
        raw: Any = self._raw
        if raw.__class__ is tuple:
            return IPv4SocketAddress(*raw) if len(raw) == 2 else IPv6SocketAddress(*raw)
        return UnixSocketAddress.from_raw(raw or "")

    async def send_packet(self, packet: SentT_contra, /, *, ancillary_data: SocketAncillary | None = None) -> None:
        """Send a packet from the server's socket. Whether it arrives is unknown.

        Waits while the system has no room for it, for instance if the owner of a Unix socket does not read.

        Args:
            packet: The packet.
            ancillary_data: Ancillary data to send with it, over a Unix socket; None = none.

        Raises:
            TypeError: *ancillary_data* is not a `tieline.socket.SocketAncillary`.
            ValueError: *ancillary_data* was given, and the socket is not a Unix socket.
            OSError: EMSGSIZE: the packet is too long for a datagram, or the ancillary data is too large. EDESTADDRREQ:
                the peer's socket has no address.
            TimeoutError: There was no room within `Limits.write_timeout`.
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
