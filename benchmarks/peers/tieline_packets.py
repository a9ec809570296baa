# SPDX-License-Identifier: MIT
"""tieline's packet clients, on any runtime. Variant: "blocking".

JSON is read as it comes, without a type to check it against. Large packets are bytes behind their length.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.peers.packets import BlockingPackets, Packets, jobs, place, serve
from benchmarks.peers.program import async_client, main
from benchmarks.workloads import BULK, Jobs
from tieline.clients import AsyncTCPNetworkClient, TCPNetworkClient
from tieline.protocol import StreamProtocol
from tieline.serializers import BytesSerializer, JSONSerializer, LengthPrefixedSerializer

SMALL: StreamProtocol[Any] = StreamProtocol(JSONSerializer())
LARGE: StreamProtocol[Any, bytes] = StreamProtocol(LengthPrefixedSerializer(BytesSerializer(), limit=2 * BULK))


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Jobs]:
    async with (
        AsyncTCPNetworkClient(place(address), SMALL) as small,
        AsyncTCPNetworkClient(place(address), LARGE) as large,
    ):
        yield jobs(small, large)


class Blocking(BlockingPackets):
    def connect(self, address: str, *, is_bulk: bool) -> Packets:
        return TCPNetworkClient(place(address), LARGE if is_bulk else SMALL)


if __name__ == "__main__":
    main(serve, lambda options: Blocking() if options.variant else async_client(connect, options))
