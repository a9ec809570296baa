# SPDX-License-Identifier: MIT
"""The asynchronous packet server over TCP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.runtimes.detect import current_backend
from tieline.servers.arguments import tcp_to_serve
from tieline.servers.async_stream import AsyncStreamServer
from tieline.servers.served import ServedTCPClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.clients.async_tcp import AsyncTCPNetworkClient
    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.tcp import TCP
    from tieline.runtimes.hooks import Hooks
    from tieline.servers.connections import ServedConnection
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["AsyncTCPNetworkServer"]


class AsyncTCPNetworkServer(AsyncStreamServer[SentT_contra, ReceivedT_co]):
    """A packet server over TCP or TLS, on asyncio or trio. ``async with`` listens, and shuts down at the end.

    Args:
        handler: An async function; called for each connection with a connected packet client.
        address: Host and port. A host of None or "" is all interfaces, several are a list; port 0: the system chooses.
            Or a `tieline.TCP` endpoint, or a bound stream socket, which the server owns once it listens.
        protocol: The format of packets.
        ssl: How connections are encrypted: a `tieline.TLS` value or an ``ssl.SSLContext``, with a certificate; None =
            not at all.
        limits: Limits on what peers may use: connections in total, per peer and in their handshake, and the times for a
            handshake, the first packet, an unfinished packet, and a peer that does not read. None = the defaults. The
            serializer limits the size of packets.
        hooks: `Hooks` that are called for connections, or a list of them; None = none.
        backlog: How many connections may wait to be accepted.
        reuse_port: Let several servers listen on one port (SO_REUSEPORT).

    Raises:
        TypeError: An argument of the wrong kind.
        ValueError: A server cannot listen there, or TLS has no certificate.
    """

    def __init__(
        self,
        handler: Callable[[AsyncTCPNetworkClient[SentT_contra, ReceivedT_co]], Awaitable[object]],
        address: tuple[str | Sequence[str] | None, int] | TCP | socket.socket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        ssl: TLSChoice = None,
        limits: Limits | None = None,
        hooks: Hooks | Sequence[Hooks] | None = None,
        backlog: int | None = None,
        reuse_port: bool | None = None,
    ) -> None:
        sock = address if isinstance(address, socket.socket) else None
        endpoint = tcp_to_serve(address, ssl, {"backlog": backlog, "reuse_port": reuse_port})
        super().__init__(handler, endpoint, sock, protocol, limits, hooks)

    def _new_client(self, connection: ServedConnection) -> ServedTCPClient[Any, Any]:
        endpoint: Any = self.endpoint
        return ServedTCPClient(endpoint, self._protocol, current_backend(), connection)
