# SPDX-License-Identifier: MIT
"""The blocking packet client over Unix datagram sockets."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.ancillary import checked_ancillary, room_for
from tieline.clients.arguments import check_retry_interval
from tieline.clients.datagram import DatagramClient
from tieline.clients.datagram_arguments import unix_asked
from tieline.clients.facts import UnixFacts
from tieline.wire.protocols import checked_datagram_protocol

if TYPE_CHECKING:
    from tieline.endpoints.socket_addresses import UnixSocketAddress
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["UnixDatagramClient"]


class UnixDatagramClient(UnixFacts, DatagramClient[SentT_contra, ReceivedT_co]):
    """A packet client over a Unix datagram socket, one packet per datagram, in blocking code.

    The constructor connects. It may be used by any number of threads. No packet is lost: when the peer's buffer is
    full, sending waits.

    Args:
        path: The path of the socket; a leading NUL is a name in Linux's abstract namespace. Or a connected socket,
            which then belongs to the client.
        protocol: The format of packets.
        local_path: The path that the client binds, to which the peer sends its answers; its file is not removed. None =
            the system chooses an abstract name (Linux only).
        retry_interval: Seconds after which a waiting thread checks the socket again; ``math.inf`` = never. Accepted for
            compatibility, and not needed: threads that wait are woken at once.

    Raises:
        TypeError: An argument of the wrong kind; with a given socket also *local_path*.
        ValueError: An invalid path, a socket of another kind, or no *local_path* where the system does not choose one.
        OSError: The peer cannot be reached (FileNotFoundError: no such path); or the given socket is not connected
            (ENOTCONN).
        UnsupportedOperation: This platform has no Unix sockets.
    """

    __slots__ = ()

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | UnixSocketAddress | socket.socket,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        *,
        local_path: str | bytes | os.PathLike[str] | UnixSocketAddress | None = None,
        retry_interval: float = 1.0,
    ) -> None:
        self._is_closed = True  # until it is connected
        try:
            checked_datagram_protocol(protocol)
            check_retry_interval(retry_interval)
            endpoint, asked = unix_asked(path, local_path=local_path)
            super().__init__(endpoint, asked, protocol, look_every=retry_interval)
        except BaseException:
            if isinstance(path, socket.socket):
                path.close()
            raise

    def send_packet(
        self, packet: SentT_contra, /, *, timeout: float | None = None, ancillary_data: SocketAncillary | None = None
    ) -> None:
        """Send a packet, with *ancillary_data* attached; see `tieline.clients.UDPNetworkClient.send_packet`.

        Raises:
            OSError: EMSGSIZE: the packet is too long for the socket, or the ancillary data is too large.
            TypeError: *ancillary_data* is not a `tieline.socket.SocketAncillary`.
        """
        self._send(packet, checked_ancillary(ancillary_data), timeout)

    def recv_packet(
        self,
        *,
        timeout: float | None = None,
        ancillary_data: SocketAncillary | None = None,
        ancillary_bufsize: int | None = None,
    ) -> ReceivedT_co:
        """Return the next packet, and store its ancillary data in *ancillary_data*.

        Args:
            timeout: Seconds to wait; 0 = do not wait, None = unlimited.
            ancillary_data: The container; None = no ancillary data, and no file descriptors, are received.
            ancillary_bufsize: The size of the buffer for ancillary data in bytes; None = 8192. What does not fit is
                lost, and the container reports it.

        Raises:
            TimeoutError: No packet within that time.
            ValueError: *ancillary_bufsize* without a container, under 1 or over 1 MiB; or an invalid *timeout*.
            DatagramProtocolParseError: The datagram is not a valid packet; its ancillary data is in the container.
            OSError, ClientClosedError, RuntimeError: As of `tieline.clients.UDPNetworkClient.recv_packet`.
        """
        room = room_for(ancillary_data, ancillary_bufsize)
        return self._receive(timeout, room, ancillary_data)
