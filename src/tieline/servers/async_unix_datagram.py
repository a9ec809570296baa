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
    """Serves packets on a Unix datagram socket, on asyncio or trio. ``async with`` listens, and shuts down at the end.

    A file that a dead server left is taken over, one of a live socket never; its own is removed when it closes.

    The system counts what a peer has not read as unsent by the server's socket. So a peer that never reads can use up
    that room, and answers to others wait as well until it is gone: let nobody send whom you do not trust so far, by
    *mode*.

    Args:
        handler: An async function; called with each packet and the peer that sent it. A peer whose socket has no name
            cannot be answered.
        path: The path; ``@name``, or a NUL in front, is a name in Linux's abstract namespace. Or a
            `tieline.UnixDatagram` endpoint, or a bound socket of datagrams, which the server owns once it listens.
        protocol: What packets are.
        limits: What peers may cost; None = the defaults.
        mode: The permissions of the file; None = 0600: this user alone may send.
        ancillary_bufsize: For how many bytes of control data beside each packet there is room; the handler finds what
            comes in `DatagramPeer.ancillary_data`. Whoever may send can have this process hold descriptors then, until
            their turn comes. None = it is not received.

    Raises:
        TypeError: An argument of the wrong kind.
        ValueError: No server can listen there.
        UnsupportedOperation: This system has no Unix sockets.
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
