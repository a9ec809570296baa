# SPDX-License-Identifier: MIT
"""The asynchronous packet server on a Unix datagram socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.servers.arguments import unix_datagrams_to_serve
from tieline.servers.async_datagram import AsyncDatagramServer

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from tieline.endpoints.datagrams import UnixDatagram
    from tieline.servers.peers import DatagramPeer
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["AsyncUnixDatagramServer"]


class AsyncUnixDatagramServer(AsyncDatagramServer[SentT_contra, ReceivedT_co]):
    """A packet server on a Unix datagram socket, on asyncio or trio. ``async with`` listens, and shuts down at the end.

    The socket file of a server that no longer runs is replaced; that of an open socket never is. The server removes its
    own when it closes.

    The system counts answers that a peer has not read against the send buffer of the server's socket. A peer that never
    reads can therefore fill that buffer, and answers to other peers wait until it is gone: use *mode* to admit only
    peers that you trust.

    Args:
        handler: An async function; called with each packet and the peer that sent it. A peer whose socket has no name
            cannot be answered.
        path: The path of the socket; ``@name``, or a leading NUL, is a name in Linux's abstract namespace. Or a
            `tieline.UnixDatagram` endpoint, or a bound datagram socket, which the server owns once it listens.
        protocol: The format of packets.
        limits: Limits on what peers may use; None = the defaults.
        mode: The permissions of the socket file; None = 0600: only this user may send.
        ancillary_bufsize: The size in bytes of the buffer for the ancillary data of each packet, which the handler
            finds in `DatagramPeer.ancillary_data`. Any sender can then make this process hold file descriptors until
            the packet is handled. None = ancillary data is not received.

    Raises:
        TypeError: An argument of the wrong kind.
        ValueError: A server cannot listen there.
        UnsupportedOperation: This platform has no Unix sockets.
    """

    def __init__(
        self,
        handler: Callable[[ReceivedT_co, DatagramPeer[SentT_contra]], Awaitable[object]],
        path: str | bytes | os.PathLike[str] | UnixDatagram | socket.socket,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        *,
        limits: Limits | None = None,
        mode: int | None = None,
        ancillary_bufsize: int | None = None,
    ) -> None:
        sock = path if isinstance(path, socket.socket) else None
        endpoint = unix_datagrams_to_serve(path, {"mode": mode})
        super().__init__(handler, endpoint, sock, protocol, limits, ancillary_bufsize)
