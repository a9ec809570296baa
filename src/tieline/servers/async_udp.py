# SPDX-License-Identifier: MIT
"""The asynchronous packet server over UDP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.servers.arguments import udp_to_serve
from tieline.servers.async_datagram import AsyncDatagramServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.endpoints.datagrams import UDP
    from tieline.servers.peers import DatagramPeer
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import DatagramProtocol

__all__ = ["AsyncUDPNetworkServer"]


class AsyncUDPNetworkServer(AsyncDatagramServer[SentT_contra, ReceivedT_co]):
    """A packet server over UDP, on asyncio or trio. ``async with`` listens, and shuts down at the end.

    Args:
        handler: An async function; called with each packet and the peer that sent it.
        address: Host and port. A host of None or "" is all interfaces, IPv4 and IPv6, several are a list; port 0: the
            system chooses. Or a `tieline.UDP` endpoint, or a bound datagram socket, which the server owns once it
            listens. Each address has its own socket; a peer is answered from the address that it sent to, and a sender
            that uses two of them counts as two peers.
        protocol: The format of packets.
        limits: Limits on what peers may use; None = the defaults.
        reuse_port: Let several servers listen on one port (SO_REUSEPORT).

    Raises:
        TypeError: An argument of the wrong kind.
        ValueError: A server cannot listen there.
    """

    def __init__(
        self,
        handler: Callable[[ReceivedT_co, DatagramPeer[SentT_contra]], Awaitable[object]],
        address: tuple[str | Sequence[str] | None, int] | UDP | socket.socket,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        *,
        limits: Limits | None = None,
        reuse_port: bool | None = None,
    ) -> None:
        sock = address if isinstance(address, socket.socket) else None
        super().__init__(handler, udp_to_serve(address, {"reuse_port": reuse_port}), sock, protocol, limits)
