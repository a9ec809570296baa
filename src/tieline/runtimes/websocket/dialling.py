# SPDX-License-Identifier: MIT
"""Dialling a WebSocket on an asynchronous runtime: what carries it is dialled, then comes the opening handshake."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from tieline.runtimes.connecting import trying
from tieline.runtimes.websocket.sides import Telling, check_installed, client_side
from tieline.wire.addresses import named

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.websocket import WebSocket
    from tieline.runtimes.backend import AsyncBackend
    from tieline.runtimes.host import Host, Timer, Waiter
    from tieline.runtimes.websocket.layer import WebSocketLayer

__all__ = ["dial"]


class _Opening:
    """One opening handshake, and who waits for it."""

    def __init__(self, host: Host, what: str) -> None:
        self._host = host
        self._what = what
        self._waiter: Waiter = host.new_waiter()
        self._error: BaseException | None = None
        self._timer: Timer | None = None

    def settle(self, error: BaseException | None) -> None:
        """It is done, or there is none because of *error*."""
        if not self._waiter.done():
            self._error = named(error, self._what) if isinstance(error, OSError) else error
            self._waiter.set_result(None)

    async def wait(self, layer: WebSocketLayer, deadline: float | None, timeout: float | None) -> None:
        """Wait until it is done.

        Raises:
            TimeoutError: Not by *deadline*, which is *timeout* seconds behind the beginning of it all.
            Exception: Why there is none.
        """

        def late() -> None:
            self._timer = None
            self.settle(TimeoutError(errno.ETIMEDOUT, f"no WebSocket handshake within {timeout:g} s"))
            layer.abort()

        if deadline is not None and not self._waiter.done():
            self._timer = self._host.call_at(deadline, late)
        try:
            await self._waiter
        finally:
            if self._timer is not None:
                self._timer.cancel()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # by which its traceback would refer to it


async def dial(
    backend: AsyncBackend,
    protocol_factory: Callable[[], Any],
    endpoint: WebSocket,
    *,
    timeout: float | None,
    sock: socket.socket | None,
    proxy: Any,
    tls_handshake_timeout: float | None,
    tls_shutdown_timeout: float,
    nursery: object,
) -> tuple[Any, Any]:
    """Connect and return (transport, protocol); see `AsyncBackend.dial`.

    Raises:
        WebSocketRefused: The server wants no WebSocket with us, or what is there speaks something else.
        ModuleNotFoundError: The package websockets is missing: the extra ``ws``.
    """
    try:
        check_installed()
        began = backend.now()
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    openings: list[_Opening] = []
    upper: Any = None

    def make() -> WebSocketLayer:
        nonlocal upper
        upper = protocol_factory()
        opening = _Opening(backend.host(), trying(endpoint, proxy))
        openings.append(opening)
        return backend.new_websocket_layer(
            upper,
            client_side(endpoint, upper),
            ping_interval=endpoint.ping_interval,
            ping_timeout=endpoint.ping_timeout,
            handshake_timeout=None,
            shutdown_timeout=tls_shutdown_timeout,
            on_handshake=opening.settle,
        )

    layer: WebSocketLayer
    with Telling(endpoint):
        _, layer = await backend.dial(
            make,
            endpoint.under,
            timeout=timeout,
            sock=sock,
            proxy=proxy,
            tls_handshake_timeout=tls_handshake_timeout,
            tls_shutdown_timeout=tls_shutdown_timeout,
            nursery=nursery,
        )
    try:
        await openings[0].wait(layer, None if timeout is None else began + timeout, timeout)
    except BaseException:
        layer.abort()
        raise
    return layer, upper
