# SPDX-License-Identifier: MIT
"""WebSocket on asyncio: the one layer of all runtimes, in the form that the running loop's transports drive best."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tieline.runtimes.asyncio.host import FULL_READ, AsyncioHost, current_host
from tieline.runtimes.memory import LONG, keep_memory
from tieline.runtimes.websocket.layer import WebSocketLayer

if TYPE_CHECKING:
    from tieline.wire.websocket.stream import WebSocketStream

__all__ = ["new_layer"]


class PlainWebSocketLayer(WebSocketLayer, asyncio.Protocol):  # type: ignore[misc]  # as in tls_layers.py
    """A layer for loops whose transports hand out bytes of their own (uvloop)."""

    __slots__ = ()

    def data_received(self, data: bytes | memoryview) -> None:
        super().data_received(data)
        if len(data) >= FULL_READ:
            self.take_breath()  # as in tls_layers.py


class BufferedWebSocketLayer(WebSocketLayer, asyncio.BufferedProtocol):  # type: ignore[misc]  # as above
    """A layer for selector loops: all read into the one buffer of their loop."""

    __slots__ = ()

    _host: AsyncioHost

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._host.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes >= LONG:
            keep_memory()
        self.data_received(self._host.buffer[:nbytes].tobytes())


def new_layer(upper: Any, filter_: WebSocketStream, **settings: Any) -> WebSocketLayer:
    """Return a layer for a transport of the running loop; see `AsyncBackend.new_websocket_layer`."""
    host = current_host()
    return (BufferedWebSocketLayer if host.buffer else PlainWebSocketLayer)(upper, filter_, host, **settings)
