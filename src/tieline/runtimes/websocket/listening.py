# SPDX-License-Identifier: MIT
"""Listening for WebSockets on an asynchronous runtime: what is accepted has its opening handshake, within bounds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from tieline.endpoints.urls import carrier_of
from tieline.runtimes.websocket.sides import Telling, check_installed, server_side, visitors_of
from tieline.wire.limits import Limits
from tieline.wire.values import replace

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.urls import Endpoint
    from tieline.endpoints.websocket import WebSocket
    from tieline.runtimes.backend import AsyncBackend, Listener
    from tieline.runtimes.websocket.layer import WebSocketLayer
    from tieline.wire.websocket.visitors import Visitors

__all__ = ["WebSocketListener", "listen"]

log = logging.getLogger("tieline.Listener")


class _Openings:
    """The opening handshakes under way, oldest first. One too many ends the oldest; see `Handshakes.begin`."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self.is_closed = False
        self._under_way: dict[WebSocketLayer, None] = {}

    def begin(self, layer: WebSocketLayer) -> None:
        self._under_way[layer] = None
        if self._most is not None and len(self._under_way) > self._most:
            self.end(next(iter(self._under_way)))

    def end(self, layer: WebSocketLayer) -> None:
        self._under_way.pop(layer, None)
        layer.abort()

    def settled(self, layer: WebSocketLayer, error: BaseException | None) -> None:
        self._under_way.pop(layer, None)
        if error is not None:
            log.info("no WebSocket with %s: %s", layer.get_extra_info("peername") or "a local peer", error)

    def are_over(self) -> bool:
        """Return whether there will be no more, since the server has stopped to listen."""
        return self.is_closed

    def abort(self) -> None:
        for layer in list(self._under_way):
            self.end(layer)


class WebSocketListener:
    """Listening sockets at work, for WebSockets; see `Listener`."""

    __slots__ = ("_endpoint", "_lower", "_openings")

    def __init__(self, lower: Listener, endpoint: WebSocket, openings: _Openings) -> None:
        self._lower = lower
        self._endpoint = endpoint
        self._openings = openings

    def __repr__(self) -> str:
        names = ", ".join(map(str, self.endpoints))
        return f"<{type(self).__name__} {names} {'serving' if self.is_serving() else 'closed'}>"

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return self._lower.sockets

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where they really listen."""
        # Below a WebSocket there are sockets, and nothing else listens on them.
        return tuple(replace(self._endpoint, under=cast("Any", carrier_of(under))) for under in self._lower.endpoints)

    def is_serving(self) -> bool:
        """Return whether connections are accepted."""
        return self._lower.is_serving()

    def start(self) -> None:
        """Accept connections from now on."""
        self._lower.start()

    def close(self) -> None:
        """Stop listening at once; see `Listener.close`."""
        self._openings.is_closed = True
        self._lower.close()

    def abort_handshakes(self) -> None:
        """Cut the connections that are in a handshake still."""
        self._lower.abort_handshakes()
        self._openings.abort()

    async def wait_closed(self) -> None:
        """Wait until the listening sockets are closed."""
        await self._lower.wait_closed()


async def listen(
    backend: AsyncBackend,
    protocol_factory: Callable[[], Any],
    endpoint: WebSocket,
    *,
    sock: socket.socket | None,
    limits: Limits | None,
    starts: bool,
    nursery: object,
) -> WebSocketListener:
    """Listen, and give each WebSocket to a protocol of its own; see `AsyncBackend.listen`.

    Raises:
        ModuleNotFoundError: The package websockets is missing: the extra ``ws``.
    """
    try:
        check_installed()
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    chosen = limits or Limits()
    openings = _Openings(chosen.max_handshakes)
    visitors: Visitors

    def make() -> WebSocketLayer:
        upper = protocol_factory()

        def settled(error: BaseException | None) -> None:
            openings.settled(layer, error)

        layer = backend.new_websocket_layer(
            upper,
            server_side(endpoint, visitors, upper),
            ping_interval=endpoint.ping_interval,
            ping_timeout=endpoint.ping_timeout,
            message_timeout=chosen.message_timeout,
            linger=chosen.linger,
            is_leaving=openings.are_over,
            handshake_timeout=chosen.handshake_timeout,
            shutdown_timeout=chosen.tls_shutdown_timeout,
            on_handshake=settled,
        )
        layer.on_begin = openings.begin
        return layer

    with Telling(endpoint):
        lower = await backend.listen(make, endpoint.under, sock=sock, limits=limits, starts=False, nursery=nursery)
    visitors = visitors_of(endpoint, [carrier_of(each) for each in lower.endpoints])
    if starts:
        lower.start()
    return WebSocketListener(lower, endpoint, openings)
