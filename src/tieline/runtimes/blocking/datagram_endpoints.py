# SPDX-License-Identifier: MIT
"""Opening sockets of datagrams in blocking code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.finite import check_timeout
from tieline.runtimes import datagram_sockets
from tieline.runtimes.blocking.datagrams import started
from tieline.runtimes.blocking.sockets import at_once, resolve

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["create_datagram_endpoint"]


def create_datagram_endpoint(
    protocol_factory: Callable[[], Any],
    local_addr: Any = None,
    remote_addr: Any = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
    proxy: Any = None,
    timeout: float | None = None,
) -> tuple[Any, Any]:
    """Open a datagram socket, and return (transport, protocol) after ``connection_made``.

    Like `tieline.create_datagram_endpoint`, but nothing happens in the background: ``transport.poll(timeout)`` reads
    the datagrams that have arrived, passes them to the protocol, and returns whether there were any. *timeout* is for
    the name lookup, which cannot be interrupted, and for the handshake with a proxy.
    """
    timeout = check_timeout("timeout", timeout)
    wanted = datagram_sockets.asked(
        local_addr,
        remote_addr,
        family=family,
        proto=proto,
        flags=flags,
        reuse_port=reuse_port,
        allow_broadcast=allow_broadcast,
        sock=sock,
        proxy=proxy,
    )
    if proxy is not None:
        from tieline.runtimes.blocking.associations import associated  # lazily: for those who use proxies alone
        from tieline.runtimes.proxies import datagram_route

        proxy = datagram_route(proxy, wanted)  # by the same name: from here on no frame knows a password
        return associated(protocol_factory, wanted, proxy, timeout)
    sock, remote = at_once(datagram_sockets.opened(wanted, resolve))
    return started(protocol_factory, sock, remote, wanted.max_size)
