# SPDX-License-Identifier: MIT
"""`max_recv_size` of TCP clients, asynchronous and blocking: no more than that comes with one read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tieline import TLS
from tieline.clients import AsyncTCPNetworkClient, TCPNetworkClient
from tieline.errors import EndOfStream
from tieline.protocol import StreamProtocol
from tieline.serializers import AbstractIncrementalPacketSerializer
from tieline.servers import TCPNetworkServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.certificates import Certificates

pytestmark = pytest.mark.row("K2")

LINE = b"x" * 999 + b"\n"
LINES = 300
# (max_recv_size, the most that may come with one read)
SIZES: list[tuple[int | None, int]] = [(100, 100), (1001, 1001), (1 << 30, 1 << 18), (None, 1 << 18)]


class Measured(AbstractIncrementalPacketSerializer[bytes, bytes]):
    """Lines; it takes note of how much it is given. What is left over from before is not counted as given again."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._rest = 0

    def incremental_serialize(self, packet: bytes, /) -> Generator[bytes, None, None]:
        yield packet

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[bytes, bytes]]:
        data = b""
        while b"\n" not in data:
            piece = yield
            self.sizes.append(len(piece) - self._rest)
            self._rest = 0
            data += piece
        line, _, rest = data.partition(b"\n")
        self._rest = len(rest)
        return line, rest


@contextmanager
def talkative(certificates: Certificates, carrier: str) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
    """Serve what sends 300 lines when it hears one; give its address, and the settings for clients."""
    is_tls = carrier == "tls"

    def talk(client: Any) -> None:
        client.recv_packet()
        client.send_packets([LINE] * LINES)

    inside = TLS(certificate=certificates.server) if is_tls else None
    with TCPNetworkServer(talk, ("127.0.0.1", 0), StreamProtocol(Measured()), ssl=inside) as server:
        (where,) = server.get_addresses()
        address: Any = (where.host, where.port)  # type: ignore[union-attr]  # TCP
        yield address, {"ssl": TLS(ca=certificates.ca)} if is_tls else {}


@pytest.mark.parametrize(("size", "most"), SIZES)
@pytest.mark.parametrize("carrier", ["tcp", "tls"])
async def test_no_more_comes_at_once(certificates: Certificates, carrier: str, size: int | None, most: int) -> None:
    seen = Measured()
    with talkative(certificates, carrier) as (address, settings):
        async with AsyncTCPNetworkClient(address, StreamProtocol(seen), max_recv_size=size, **settings) as client:
            await client.send_packet(b"go on\n")
            for _ in range(LINES):
                assert await client.recv_packet() == LINE[:-1]
            with pytest.raises(EndOfStream):
                await client.recv_packet()
    assert sum(seen.sizes) == LINES * len(LINE)
    assert 0 < max(seen.sizes) <= most


@pytest.mark.parametrize(("size", "most"), SIZES)
@pytest.mark.parametrize("carrier", ["tcp", "tls"])
def test_no_more_comes_at_once_in_blocking_code(
    certificates: Certificates, carrier: str, size: int | None, most: int
) -> None:
    seen = Measured()
    with (
        talkative(certificates, carrier) as (address, settings),
        TCPNetworkClient(address, StreamProtocol(seen), max_recv_size=size, **settings) as client,
    ):
        client.send_packet(b"go on\n")
        for _ in range(LINES):
            assert client.recv_packet(timeout=30) == LINE[:-1]
        with pytest.raises(EndOfStream):
            client.recv_packet(timeout=30)
    assert sum(seen.sizes) == LINES * len(LINE)
    assert 0 < max(seen.sizes) <= most
