# SPDX-License-Identifier: MIT
"""Connecting in blocking code to whatever carries a stream, a WebSocket included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.endpoints.websocket import WebSocket
from tieline.runtimes.blocking.dialling import dial

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.proxies import Route
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.blocking.host import BlockingHost

__all__ = ["dial_any"]


def dial_any(
    protocol_factory: Callable[[], Any],
    endpoint: Endpoint,
    host: BlockingHost,
    *,
    timeout: float | None,
    sock: socket.socket | None,
    route: Route | None,
    shutdown_timeout: float,
) -> tuple[Any, Any]:
    """Connect and return (transport, protocol); see `tieline.runtimes.blocking.dialling.dial`."""
    chosen: Any = dial
    if isinstance(endpoint, WebSocket):
        from tieline.runtimes.blocking.websockets import dial_websocket  # lazily: for WebSockets alone

        chosen = dial_websocket
    dialled: tuple[Any, Any] = chosen(
        protocol_factory,
        endpoint,
        host,
        timeout=timeout,
        sock=sock,
        route=route,
        shutdown_timeout=shutdown_timeout,
    )
    return dialled
