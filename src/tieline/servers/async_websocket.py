# SPDX-License-Identifier: MIT
"""The asynchronous packet server over WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.runtimes.detect import current_backend
from tieline.servers.async_stream import AsyncStreamServer
from tieline.servers.served import ServedClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.clients.async_stream import AsyncStreamClient
    from tieline.endpoints.websocket import WebSocket
    from tieline.runtimes.hooks import Hooks
    from tieline.servers.connections import ServedConnection
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["AsyncWebSocketServer"]


class AsyncWebSocketServer(AsyncStreamServer[SentT_contra, ReceivedT_co]):
    """A packet server over WebSocket, as a stream of binary messages; `tieline.serve` creates it for a ``ws://`` URL.

    Args:
        handler: An async function; called for each connection with a connected packet client.
        endpoint: Where to listen, and which requests to accept.
        protocol: The format of packets.
        limits: As for `AsyncTCPNetworkServer`. In addition, a WebSocket message may have at most `Limits.max_message`
            bytes or 1 MiB, whichever is more.
        hooks: As there.
    """

    def __init__(
        self,
        handler: Callable[[AsyncStreamClient[SentT_contra, ReceivedT_co]], Awaitable[object]],
        endpoint: WebSocket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        limits: Limits | None = None,
        hooks: Hooks | Sequence[Hooks] | None = None,
    ) -> None:
        super().__init__(handler, endpoint, None, protocol, limits, hooks)

    def _new_client(self, connection: ServedConnection) -> ServedClient[Any, Any]:
        endpoint: Any = self.endpoint
        return ServedClient(endpoint, self._protocol, current_backend(), connection)
