# SPDX-License-Identifier: MIT
"""Streams on asyncio: those of the standard library, on connections of ours."""

from __future__ import annotations

import asyncio
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tieline.runtimes.stream_shapes import StreamCallback

__all__ = ["Streams"]


class Streams:
    """See `tieline.runtimes.stream_shapes.Streams`."""

    __slots__ = ("protocol", "reader")

    def __init__(self, limit: int, callback: StreamCallback | None) -> None:
        loop = asyncio.get_running_loop()
        self.reader = asyncio.StreamReader(limit=limit, loop=loop)
        called = callback if callback is None or iscoroutinefunction(callback) else _ending(callback)
        self.protocol = asyncio.StreamReaderProtocol(self.reader, called, loop=loop)

    def writer(self, transport: Any) -> asyncio.StreamWriter:
        return asyncio.StreamWriter(transport, self.protocol, self.reader, asyncio.get_running_loop())


def _ending(callback: StreamCallback) -> StreamCallback:
    """Return *callback* so that its connection ends when it fails, as that of an async one does."""

    def call(reader: Any, writer: Any) -> Any:
        try:
            return callback(reader, writer)
        except BaseException:
            writer.transport.abort()
            raise

    return call
