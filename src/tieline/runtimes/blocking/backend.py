# SPDX-License-Identifier: MIT
"""Blocking code as a backend: see `tieline.runtimes.backend.Backend`. One for each connection, as its host is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.endpoints.websocket import WebSocket
from tieline.runtimes.blocking.dialling import dial
from tieline.runtimes.blocking.lone_calls import BlockingLink

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.backend import MachineT
    from tieline.runtimes.blocking.host import BlockingHost
    from tieline.runtimes.link import Link
    from tieline.runtimes.ports import Sink
    from tieline.runtimes.tls.records import Context

__all__ = ["BlockingBackend"]


class BlockingBackend:
    """Blocking code, for one connection."""

    __slots__ = ("_host",)

    def __init__(self, host: BlockingHost) -> None:
        self._host = host

    def host(self) -> BlockingHost:
        return self._host

    def new_link(self, machine: MachineT, sink: Sink, host: BlockingHost) -> BlockingLink[MachineT]:
        return BlockingLink(machine, sink, host)

    def dial(
        self,
        protocol_factory: Callable[[], Any],
        endpoint: Endpoint,
        *,
        timeout: float | None,
        sock: socket.socket | None,
        route: Any,
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
            self._host,
            timeout=timeout,
            sock=sock,
            route=route,
            shutdown_timeout=shutdown_timeout,
        )
        return dialled

    def start_tls(self, link: Link, context: Context, **settings: Any) -> None:
        from tieline.runtimes.tls.layer import TLSLayer, put_under  # lazily: most programs never start TLS

        put_under(link, TLSLayer.of(link, link.host, context, is_made=True, **settings))
