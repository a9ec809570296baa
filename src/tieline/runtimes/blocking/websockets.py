# SPDX-License-Identifier: MIT
"""Dialling a WebSocket in blocking code: what carries it is dialled, then comes the opening handshake."""

from __future__ import annotations

import errno
import time
from math import inf
from typing import TYPE_CHECKING, Any

from tieline.runtimes.blocking.dialling import dial
from tieline.runtimes.connecting import trying
from tieline.runtimes.websocket.layer import WebSocketLayer
from tieline.runtimes.websocket.sides import Telling, check_installed, client_side
from tieline.wire.addresses import named

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.proxies import Route
    from tieline.endpoints.websocket import WebSocket
    from tieline.runtimes.blocking.host import BlockingHost

__all__ = ["dial_websocket"]


def dial_websocket(
    protocol_factory: Callable[[], Any],
    endpoint: WebSocket,
    host: BlockingHost,
    *,
    timeout: float | None,
    sock: socket.socket | None,
    route: Route | None,
    shutdown_timeout: float,
) -> tuple[Any, Any]:
    """Connect and return (transport, protocol); see `tieline.runtimes.blocking.dialling.dial`.

    Pings go out while somebody waits for the connection; nobody else would see the answers.

    Raises:
        WebSocketRefused: The server wants no WebSocket with us, or what is there speaks something else.
        ModuleNotFoundError: The package websockets is missing: the extra ``ws``.
    """
    try:
        check_installed()
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    deadline = inf if timeout is None else time.monotonic() + timeout
    what = trying(endpoint, route)
    waiter = host.new_waiter()
    upper: Any = None

    def settle(error: BaseException | None) -> None:
        if waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(named(error, what) if isinstance(error, OSError) else error)

    def make() -> WebSocketLayer:
        nonlocal upper
        upper = protocol_factory()
        return WebSocketLayer(
            upper,
            client_side(endpoint, upper),
            host,
            ping_interval=endpoint.ping_interval,
            ping_timeout=endpoint.ping_timeout,
            handshake_timeout=None,
            shutdown_timeout=shutdown_timeout,
            on_handshake=settle,
        )

    layer: WebSocketLayer
    with Telling(endpoint):
        _, layer = dial(
            make, endpoint.under, host, timeout=timeout, sock=sock, route=route, shutdown_timeout=shutdown_timeout
        )
    try:
        if not host.wait(waiter, deadline):
            raise TimeoutError(errno.ETIMEDOUT, f"{what} within {timeout:g} s: no WebSocket handshake")
        waiter.result()
    except BaseException:
        host.do(layer.abort)
        raise
    return layer, upper
