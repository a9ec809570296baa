# SPDX-License-Identifier: MIT
"""The asynchronous packet client over Unix datagram sockets."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.ancillary import checked_ancillary, room_for
from tieline.clients.async_client import checked_backend
from tieline.clients.async_datagram import AsyncDatagramClient
from tieline.clients.datagram_arguments import unix_asked
from tieline.clients.facts import UnixFacts
from tieline.wire.protocols import checked_datagram_protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tieline.endpoints.socket_addresses import UnixSocketAddress
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["AsyncUnixDatagramClient"]


class AsyncUnixDatagramClient(UnixFacts, AsyncDatagramClient[SentT_contra, ReceivedT_co]):
    """A packet client over a Unix datagram socket, one packet per datagram, on asyncio or trio.

    It connects in ``async with``, in ``wait_connected``, or when it is first used; the constructor does no I/O. No
    packet is lost: when the peer's buffer is full, sending waits.

    Args:
        path: The path of the socket; a leading NUL is a name in Linux's abstract namespace. Or a connected socket,
            which then belongs to the client.
        protocol: The format of packets.
        backend: "asyncio", "trio" or an ``AsyncBackend``; None = the running one.
        local_path: The path that the client binds, to which the peer sends its answers; its file is not removed. None =
            the system chooses an abstract name (Linux only).

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also *local_path*.
        ValueError: An invalid path, a socket of another kind, or no *local_path* where the system does not choose one.
        OSError: The given socket is not connected (ENOTCONN).
        NotImplementedError: There is no backend of that name.
        UnsupportedOperation: This platform has no Unix sockets.
    """

    __slots__ = ()

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | UnixSocketAddress | socket.socket,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        backend: AsyncBackend | str | None = None,
        *,
        local_path: str | bytes | os.PathLike[str] | UnixSocketAddress | None = None,
    ) -> None:
        self._sock = None
        try:
            checked_datagram_protocol(protocol)
            endpoint, asked = unix_asked(path, local_path=local_path)
            super().__init__(endpoint, asked, protocol, checked_backend(backend))
        except BaseException:
            self._sock = None
            if isinstance(path, socket.socket):
                path.close()
            raise

    async def send_packet(self, packet: SentT_contra, /, *, ancillary_data: SocketAncillary | None = None) -> None:
        """Send a packet, with *ancillary_data* attached; see `tieline.clients.AsyncUDPNetworkClient.send_packet`.

        Raises:
            OSError: EMSGSIZE: the packet is too long for the socket, or the ancillary data is too large.
            TypeError: *ancillary_data* is not a `tieline.socket.SocketAncillary`.
        """
        await self._send(packet, checked_ancillary(ancillary_data))

    async def recv_packet(
        self, *, ancillary_data: SocketAncillary | None = None, ancillary_bufsize: int | None = None
    ) -> ReceivedT_co:
        """Return the next packet, and store its ancillary data in *ancillary_data*.

        Args:
            ancillary_data: The container; None = no ancillary data, and no file descriptors, are received.
            ancillary_bufsize: The size of the buffer for ancillary data in bytes; None = 8192. What does not fit is
                lost, and the container reports it.

        Raises:
            ValueError: *ancillary_bufsize* without a container, under 1 or over 1 MiB.
            DatagramProtocolParseError: The datagram is not a valid packet; its ancillary data is in the container.
            OSError, ClientClosedError, RuntimeError: As of `tieline.clients.AsyncUDPNetworkClient.recv_packet`.
        """
        room = room_for(ancillary_data, ancillary_bufsize)
        return await self._receive(None, room, ancillary_data)

    def _recv_within(self, seconds: float | None) -> Coroutine[Any, Any, ReceivedT_co]:
        return self._receive(seconds)
