# SPDX-License-Identifier: MIT
"""EasyNetwork's packet clients, on any runtime. Variant: "blocking".

Large packets are bytes of a fixed size: EasyNetwork has no serializer that writes their length.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from easynetwork.clients import AsyncTCPNetworkClient, TCPNetworkClient
from easynetwork.protocol import BufferedStreamProtocol, StreamProtocol
from easynetwork.serializers import JSONSerializer
from easynetwork.serializers.base_stream import FixedSizePacketSerializer

from benchmarks.peers.packets import BlockingPackets, Packets, jobs, place, serve
from benchmarks.peers.program import async_client, main
from benchmarks.workloads import BULK, Jobs


class BytesSerializer(FixedSizePacketSerializer):  # type: ignore[misc]  # not type-checked here, so a class of type Any
    """Packets as they are."""

    def serialize(self, packet: bytes) -> bytes:
        return packet

    def deserialize(self, data: bytes) -> bytes:
        return bytes(data)


SMALL: Any = StreamProtocol(JSONSerializer())
# The quicker of its two protocols, which not all serializers are fit for: it reads into a buffer of the serializer's.
LARGE: Any = BufferedStreamProtocol(BytesSerializer(BULK))


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Jobs]:
    async with (
        AsyncTCPNetworkClient(place(address), SMALL) as small,
        AsyncTCPNetworkClient(place(address), LARGE) as large,
    ):
        yield jobs(small, large)


class Blocking(BlockingPackets):
    def connect(self, address: str, *, is_bulk: bool) -> Packets:
        client: Packets = TCPNetworkClient(place(address), LARGE if is_bulk else SMALL)
        return client


if __name__ == "__main__":
    main(serve, lambda options: Blocking() if options.variant else async_client(connect, options))
