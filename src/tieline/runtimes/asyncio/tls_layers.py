# SPDX-License-Identifier: MIT
"""TLS on asyncio: the one layer of all runtimes, in the form that the running loop's transports drive best."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tieline.runtimes import contract
from tieline.runtimes.asyncio.base_classes import know_transports
from tieline.runtimes.asyncio.host import FULL_READ, AsyncioHost, current_host
from tieline.runtimes.tls import layer
from tieline.runtimes.tls.layer import TLSLayer

__all__ = ["layer_class", "upgraded"]

# How much is read at once. A record can be as short as 23 bytes and costs 1.5 us: four times as much could keep the
# others waiting for 20 ms, and bulk data is not faster for it.
LONGEST_READ: Final = 64 * 1024


class PlainTLSLayer(TLSLayer, asyncio.Protocol):  # type: ignore[misc]  # it asks less of its transport than typeshed says
    """A layer for loops whose transports hand out bytes of their own (uvloop)."""

    __slots__ = ()

    def data_received(self, data: bytes | memoryview) -> None:
        super().data_received(data)
        if len(data) >= FULL_READ:
            # libuv reads on, up to 32 times a turn, for as long as its buffer comes back full; the others would wait.
            self.take_breath()


class BufferedTLSLayer(TLSLayer, asyncio.BufferedProtocol):  # type: ignore[misc]  # as above
    """A layer for selector loops: all read into the one buffer of their loop, and decrypt from there."""

    __slots__ = ()

    _host: AsyncioHost

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._host.buffer[:LONGEST_READ]

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self._host.buffer[:nbytes])


def layer_class() -> type[PlainTLSLayer | BufferedTLSLayer]:
    """Return the class of layers that the transports of the running loop drive best."""
    return BufferedTLSLayer if current_host().buffer else PlainTLSLayer


async def upgraded(transport: Any, protocol: Any, **settings: Any) -> TLSLayer:
    """See `AsyncBackend.upgrade`."""
    know_transports()
    if not isinstance(transport, contract.Transport):
        raise TypeError(f"TLS can start on the transport of a stream, not on {type(transport).__name__}")
    return await layer.upgraded(current_host(), layer_class(), transport, protocol, **settings)
