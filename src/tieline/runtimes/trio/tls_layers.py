# SPDX-License-Identifier: MIT
"""TLS on trio: the one layer of all runtimes, over our own transports."""

from __future__ import annotations

from typing import Any

from tieline.runtimes.tls import layer
from tieline.runtimes.tls.layer import TLSLayer
from tieline.runtimes.trio.streams import StreamTransport

__all__ = ["upgraded"]


async def upgraded(transport: Any, protocol: Any, **settings: Any) -> TLSLayer:
    """See `AsyncBackend.upgrade`."""
    if not isinstance(transport, StreamTransport | TLSLayer):
        raise TypeError(f"TLS can start on the transport of a stream, not on {type(transport).__name__}")
    host: Any = transport.host
    return await layer.upgraded(host, TLSLayer, transport, protocol, **settings)
