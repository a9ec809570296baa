# SPDX-License-Identifier: MIT
"""Streams on asyncio: those of the standard library, on connections of ours."""

from __future__ import annotations

import asyncio
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
        self.protocol = asyncio.StreamReaderProtocol(self.reader, callback, loop=loop)

    def writer(self, transport: Any) -> asyncio.StreamWriter:
        return asyncio.StreamWriter(transport, self.protocol, self.reader, asyncio.get_running_loop())
