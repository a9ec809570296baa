# SPDX-License-Identifier: MIT
"""Which packet server is for which endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.endpoints.datagrams import UDP, UnixDatagram
from tieline.endpoints.secured import endpoint_with_tls
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.urls import parse
from tieline.endpoints.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.hooks import Hooks
    from tieline.servers.blocking import NetworkServer
    from tieline.servers.serving import AsyncNetworkServer
    from tieline.wire.limits import Limits

__all__ = ["blocking_packet_server", "packet_server"]


def packet_server(
    handler: Callable[..., Awaitable[object]],
    where: str | Endpoint | DatagramEndpoint,
    protocol: object,
    *,
    tls: TLSChoice = None,
    limits: Limits | None = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
) -> AsyncNetworkServer:
    """Return the packet server that is for *where*, a URL or an endpoint.

    Raises:
        ValueError: No packet server is for that, or not with TLS.
        TypeError: *protocol* is of the wrong kind for it, or another argument is.
    """
    spoken: Any = protocol
    # Each is imported lazily: a program needs one of them.
    match _endpoint(where, tls, hooks):
        case TCP() as endpoint:
            from tieline.servers.async_tcp import AsyncTCPNetworkServer

            return AsyncTCPNetworkServer(handler, endpoint, spoken, limits=limits, hooks=hooks)
        case UnixStream() as endpoint:
            from tieline.servers.async_unix_stream import AsyncUnixStreamServer

            return AsyncUnixStreamServer(handler, endpoint, spoken, limits=limits, hooks=hooks)
        case UDP() as endpoint:
            from tieline.servers.async_udp import AsyncUDPNetworkServer

            return AsyncUDPNetworkServer(handler, endpoint, spoken, limits=limits)
        case WebSocket() as endpoint:
            from tieline.servers.async_websocket import AsyncWebSocketServer

            return AsyncWebSocketServer(handler, endpoint, spoken, limits=limits, hooks=hooks)
        case endpoint:
            from tieline.servers.async_unix_datagram import AsyncUnixDatagramServer

            return AsyncUnixDatagramServer(handler, endpoint, spoken, limits=limits)


def blocking_packet_server(
    handler: Callable[..., object],
    where: str | Endpoint | DatagramEndpoint,
    protocol: object,
    *,
    tls: TLSChoice = None,
    limits: Limits | None = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
    workers: int,
) -> NetworkServer:
    """As `packet_server`, for blocking code."""
    from tieline.servers import blocking  # lazily: with asyncio

    spoken: Any = protocol
    match _endpoint(where, tls, hooks):
        case TCP() as endpoint:
            return blocking.TCPNetworkServer(handler, endpoint, spoken, limits=limits, hooks=hooks, workers=workers)
        case UnixStream() as endpoint:
            return blocking.UnixStreamServer(handler, endpoint, spoken, limits=limits, hooks=hooks, workers=workers)
        case UDP() as endpoint:
            return blocking.UDPNetworkServer(handler, endpoint, spoken, limits=limits, workers=workers)
        case WebSocket() as endpoint:
            return blocking.WebSocketServer(handler, endpoint, spoken, limits=limits, hooks=hooks, workers=workers)
        case endpoint:
            return blocking.UnixDatagramServer(handler, endpoint, spoken, limits=limits, workers=workers)


def _endpoint(
    where: str | Endpoint | DatagramEndpoint, tls: TLSChoice, hooks: object
) -> TCP | UnixStream | UDP | UnixDatagram | WebSocket:
    found: object = parse(where) if isinstance(where, str) else where
    if isinstance(found, UDP | UnixDatagram):
        if tls:
            raise ValueError(f"tls is for streams, and {found} is a socket of datagrams")
        if hooks is not None:
            raise ValueError(f"hooks are for connections, and {found} is a socket of datagrams")
        return found
    endpoint = endpoint_with_tls(where, tls)  # type: ignore[arg-type]  # what else it is, that says
    if isinstance(endpoint, TCP | UnixStream | WebSocket):
        return endpoint
    raise ValueError(f"packets are served over TCP, UDP, Unix sockets and WebSocket, and {endpoint} is none of these")
