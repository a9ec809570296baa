# SPDX-License-Identifier: MIT
"""Proxies of users' own in blocking code: objects that connect a socket by themselves.

They have what `socket.create_connection` is, and what many packages for SSH, SOCKS and sandboxes offer: a plain
function ``create_connection((host, port), timeout)`` that returns a connected socket. All else is done on that socket,
so limits, deadlines and TLS are the same as on any other. (In asynchronous code such objects return transports: there
a socket alone could not say how it is to be awaited.)
"""

from __future__ import annotations

import inspect
import socket
import time
from math import inf
from typing import TYPE_CHECKING, Any

from tieline.endpoints.tcp import TCP
from tieline.errors import UnsupportedOperation
from tieline.wire.addresses import Late

if TYPE_CHECKING:
    from tieline.endpoints.urls import StreamEndpoint

__all__ = ["connected_by"]

_EXPECTED = "in blocking code create_connection((host, port), timeout) of a proxy returns a connected socket"


def connected_by(proxy: Any, endpoint: StreamEndpoint, deadline: float) -> socket.socket:
    """Return a socket that *proxy* connects to *endpoint*.

    What it raises comes out as it is, but for its TimeoutError behind the *deadline*. How well it keeps the time that
    it is given is its own affair.

    Raises:
        Late: Not before *deadline*.
        UnsupportedOperation: It is for asynchronous code.
        TypeError: It returns something else.
        ValueError: *endpoint* is nothing that one can ask a proxy for.
    """
    if not isinstance(endpoint, TCP) or not isinstance(endpoint.host, str) or endpoint.port == 0:
        raise ValueError(f"a proxy takes TCP endpoints with one host and a port over 0 only, not {endpoint}")
    if inspect.iscoroutinefunction(proxy.create_connection):
        raise UnsupportedOperation(f"{type(proxy).__name__} dials in asynchronous code only: {_EXPECTED}")
    left = None if deadline == inf else deadline - time.monotonic()
    if left is not None and left <= 0:
        raise Late
    try:
        made = proxy.create_connection((endpoint.host, endpoint.port), left)
    except TimeoutError as exc:
        if time.monotonic() >= deadline:
            raise Late from exc
        raise
    if isinstance(made, socket.socket) and made.type == socket.SOCK_STREAM and not hasattr(made, "unwrap"):
        return made
    # A coroutine that nobody awaits would warn; all else that can be closed is not left open either.
    close = getattr(made, "close", None)
    if callable(close):
        close()
    raise TypeError(f"{_EXPECTED}, and that of {type(proxy).__name__} returned a {type(made).__name__}")
