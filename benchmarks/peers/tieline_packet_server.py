# SPDX-License-Identifier: MIT
"""tieline's packet servers and clients, both, to see what idle connections take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import tieline
from benchmarks.peers.packets import jobs, place
from benchmarks.peers.program import Options, async_client, main
from benchmarks.workloads import Jobs
from tieline.clients import AsyncTCPNetworkClient
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer

SMALL: StreamProtocol[Any] = StreamProtocol(JSONSerializer())


async def echo(client: Any) -> None:
    async for packet in client:
        await client.send_packet(packet)
        del packet  # else what an idle connection takes would be that of its last packet as well


@asynccontextmanager
async def serve(_options: Options) -> AsyncIterator[str]:
    async with tieline.serve(echo, "tcp://127.0.0.1:0", protocol=SMALL) as server:
        yield server.url.removeprefix("tcp://")


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Jobs]:
    async with AsyncTCPNetworkClient(place(address), SMALL) as client:
        yield {"small": jobs(client)["packet"]}


if __name__ == "__main__":
    main(serve, lambda options: async_client(connect, options))
