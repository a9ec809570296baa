# SPDX-License-Identifier: MIT
"""The asynchronous packet server on a Unix stream socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.runtimes.detect import current_backend
from tieline.servers.arguments import unix_to_serve
from tieline.servers.async_stream import AsyncStreamServer
from tieline.servers.served import ServedUnixStreamClient
from tieline.wire.held_packets import HeldPackets

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.clients.async_unix_stream import AsyncUnixStreamClient
    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.unix import UnixStream
    from tieline.runtimes.hooks import Hooks
    from tieline.servers.connections import ServedConnection
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["AsyncUnixStreamServer"]


class AsyncUnixStreamServer(AsyncStreamServer[SentT_contra, ReceivedT_co]):
    """A packet server on a Unix stream socket, on asyncio or trio. ``async with`` listens, and shuts down at the end.

    The socket file of a server that no longer runs is replaced; that of a running server never is. The server removes
    its own when it closes.

    Args:
        handler: An async function; called for each connection with a connected packet client.
        path: The path of the socket; ``@name``, or a leading NUL, is a name in Linux's abstract namespace. Or a
            `tieline.UnixStream` endpoint, or a bound stream socket, which the server owns once it listens.
        protocol: The format of packets.
        ssl: As for `AsyncTCPNetworkServer`.
        limits: As there; the limits per peer count connections by the user at the other end.
        hooks: As there.
        mode: The permissions of the socket file; None = 0600: only this user may connect.
        backlog: How many connections may wait to be accepted.

    Raises:
        TypeError: An argument of the wrong kind.
        ValueError: A server cannot listen there, or TLS has no certificate.
        UnsupportedOperation: This platform has no Unix sockets.
    """

    def __init__(
        self,
        handler: Callable[[AsyncUnixStreamClient[SentT_contra, ReceivedT_co]], Awaitable[object]],
        path: str | bytes | os.PathLike[str] | UnixStream | socket.socket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        ssl: TLSChoice = None,
        limits: Limits | None = None,
        hooks: Hooks | Sequence[Hooks] | None = None,
        mode: int | None = None,
        backlog: int | None = None,
    ) -> None:
        sock = path if isinstance(path, socket.socket) else None
        endpoint = unix_to_serve(path, ssl, {"mode": mode, "backlog": backlog})
        super().__init__(handler, endpoint, sock, protocol, limits, hooks)

    def _new_machine(self) -> HeldPackets:
        return HeldPackets(self._protocol, self._limits, accepted=True)

    def _new_client(self, connection: ServedConnection) -> ServedUnixStreamClient[Any, Any]:
        endpoint: Any = self.endpoint
        return ServedUnixStreamClient(endpoint, self._protocol, current_backend(), connection)
