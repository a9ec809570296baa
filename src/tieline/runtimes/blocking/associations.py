# SPDX-License-Identifier: MIT
"""Datagrams by way of a SOCKS5 proxy in blocking code."""

from __future__ import annotations

import errno
import time
from math import inf
from typing import TYPE_CHECKING, Any

from tieline.runtimes.blocking.datagrams import started
from tieline.runtimes.blocking.dialling import connector
from tieline.runtimes.blocking.sockets import at_once
from tieline.runtimes.datagram_proxies import Association, associate
from tieline.wire.addresses import Late

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.proxies import Route
    from tieline.runtimes.datagram_sockets import Asked

__all__ = ["BlockingAssociation", "associated"]


class BlockingAssociation(Association):
    """The transport upon one that is moved by `poll`."""

    __slots__ = ()

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Handle what has come; see `tieline.blocking.create_datagram_endpoint`. The proxy's end is noticed as well."""
        came: bool = self._lower.poll(timeout)
        return came


def associated(
    protocol_factory: Callable[[], Any], wanted: Asked, route: Route, timeout: float | None
) -> tuple[Any, Any]:
    """Open a socket of datagrams that go by the proxy of *route*; see `create_datagram_endpoint`."""
    deadline = inf if timeout is None else time.monotonic() + timeout
    try:
        control, sock, relay = at_once(associate(connector(deadline), wanted, route))
    except Late:
        raise TimeoutError(errno.ETIMEDOUT, f"{wanted.title} through {route} within {timeout:g} s") from None
    try:
        protocol = protocol_factory()
        layer = BlockingAssociation(protocol, wanted.remote)
        layer.release = control.close
        control.setblocking(False)
    except BaseException:
        control.close()
        sock.close()
        raise
    try:
        transport, _ = started(lambda: layer, sock, relay, wanted.max_size)
    except BaseException:
        control.close()
        raise
    transport.look = lambda: _look(control, layer)
    return layer, protocol


def _look(control: socket.socket, layer: Association) -> None:
    """See whether the connection to the proxy still stands; what is said on it means nothing."""
    try:
        if control.recv(4096):
            return
        reason: OSError | None = None
    except (BlockingIOError, InterruptedError):
        return
    except OSError as exc:
        reason = exc
    layer.proxy_lost(reason)
