# SPDX-License-Identifier: MIT
"""Datagrams by way of a SOCKS5 proxy on trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.runtimes.datagram_proxies import Association, Watch, associate
from tieline.runtimes.trio.datagrams import started
from tieline.runtimes.trio.dialling import CONNECTOR
from tieline.runtimes.trio.streams import StreamTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.endpoints.proxies import Route
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.runtimes.trio.host import TrioHost

__all__ = ["associated"]


async def associated(
    host: TrioHost, protocol_factory: Callable[[], Any], wanted: Asked, route: Route
) -> tuple[Any, Any]:
    """Open a socket of datagrams that go by the proxy of *route*; see `open_datagrams`."""
    control, sock, relay = await associate(CONNECTOR, wanted, route)
    watch = Watch()
    try:
        protocol = host.make(protocol_factory)
        layer = Association(protocol, wanted.remote)
        watch.ended = layer.proxy_lost
        watching = StreamTransport(host, control, watch)
        layer.release = watching.abort
    except BaseException:
        control.close()
        sock.close()
        raise
    watching.start()
    try:
        started(host, lambda: layer, sock, relay, wanted.max_size)
    except BaseException:
        watching.abort()
        raise
    return layer, protocol
