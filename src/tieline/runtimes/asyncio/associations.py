# SPDX-License-Identifier: MIT
"""Datagrams by way of a SOCKS5 proxy on asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from tieline.runtimes.asyncio.datagrams import started
from tieline.runtimes.asyncio.dialling import CONNECTOR
from tieline.runtimes.datagram_proxies import Association, Watch, associate

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.endpoints.proxies import Route
    from tieline.runtimes.datagram_sockets import Asked

__all__ = ["associated"]


async def associated(protocol_factory: Callable[[], Any], wanted: Asked, route: Route) -> tuple[Any, Any]:
    """Open a socket of datagrams that go by the proxy of *route*; see `open_datagrams`."""
    control, sock, relay = await associate(CONNECTOR, wanted, route)
    watch = Watch()
    try:
        protocol = protocol_factory()
        layer = Association(protocol, wanted.remote)
        watch.ended = layer.proxy_lost
        await asyncio.get_running_loop().create_connection(cast("Any", lambda: watch), sock=control)
    except BaseException:
        sock.close()
        if watch.transport is None:
            control.close()
        else:  # cancelled: it closes the descriptor itself
            watch.transport.abort()
        raise
    layer.release = watch.transport.abort
    try:
        started(lambda: layer, sock, relay, wanted.max_size)
    except BaseException:
        watch.transport.abort()
        raise
    if watch.transport.is_closing():  # the proxy has left meanwhile
        layer.proxy_lost(None)
    return layer, protocol
