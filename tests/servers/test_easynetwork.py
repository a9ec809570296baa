# SPDX-License-Identifier: MIT
"""EasyNetwork 1.2, whose packet clients and servers ours descend from, as the other side of both: on each runtime."""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from easynetwork.clients import AsyncTCPNetworkClient as TheirTCPClient
from easynetwork.clients import AsyncUDPNetworkClient as TheirUDPClient
from easynetwork.clients import TCPNetworkClient as TheirBlockingTCPClient
from easynetwork.protocol import BufferedStreamProtocol as TheirBufferedProtocol
from easynetwork.protocol import DatagramProtocol as TheirDatagramProtocol
from easynetwork.protocol import StreamProtocol as TheirStreamProtocol
from easynetwork.serializers import CBORSerializer as TheirCBOR
from easynetwork.serializers import JSONSerializer as TheirJSON
from easynetwork.serializers import NamedTupleStructSerializer as TheirNamedTuples
from easynetwork.serializers import StringLineSerializer as TheirLines
from easynetwork.serializers import StructSerializer as TheirStruct
from easynetwork.serializers.wrapper import Base64EncoderSerializer as TheirBase64
from easynetwork.serializers.wrapper import BZ2CompressorSerializer as TheirBZ2
from easynetwork.serializers.wrapper import ZlibCompressorSerializer as TheirZlib
from easynetwork.servers import AsyncTCPNetworkServer as TheirTCPServer
from easynetwork.servers import AsyncUDPNetworkServer as TheirUDPServer
from easynetwork.servers.handlers import AsyncDatagramRequestHandler, AsyncStreamRequestHandler

from tests import aio
from tests.certificates import Certificates
from tests.servers.scene import ANY, address_of, echo
from tests.versions import is_before
from tieline import TLS
from tieline.clients import AsyncTCPNetworkClient, AsyncUDPNetworkClient, TCPNetworkClient
from tieline.errors import ConnectionLost, EndOfStream, StreamReset
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import (
    Base64EncoderSerializer,
    BZ2CompressorSerializer,
    CBORSerializer,
    JSONSerializer,
    NamedTupleStructSerializer,
    StringLineSerializer,
    StructSerializer,
    ZlibCompressorSerializer,
)
from tieline.servers import AsyncTCPNetworkServer, AsyncUDPNetworkServer, DatagramPeer


class Kind(NamedTuple):
    """A serializer of each side, and packets that both carry."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    packets: list[Any]


class Point(NamedTuple):
    name: str
    x: int


FORMATS = {"name": "6s", "x": "i"}
THEIR_KEY = TheirBase64.generate_key()

KINDS: dict[str, Kind] = {
    "JSON": Kind(JSONSerializer, TheirJSON, [{"a": [1, 2.5, None, True]}, "\u20ac", [], "x" * 50_000, 0]),
    "lines": Kind(
        lambda: StringLineSerializer("CRLF", encoding="utf-8"),
        lambda: TheirLines("CRLF", encoding="utf-8"),
        ["hello", "\u20ac", "x" * 50_000],
    ),
    "struct": Kind(lambda: StructSerializer(">Hf"), lambda: TheirStruct(">Hf"), [(1, 0.5), (65535, -2.0)]),
    "bare JSON": Kind(
        lambda: JSONSerializer(use_lines=False), lambda: TheirJSON(use_lines=False), [{"a": 1}, [1, 2], 5, "x"]
    ),
    "lines with their ends": Kind(
        lambda: StringLineSerializer(keep_end=True), lambda: TheirLines(keep_end=True), ["hello\n", "x" * 5000 + "\n"]
    ),
    "named tuples": Kind(
        lambda: NamedTupleStructSerializer(Point, FORMATS, "!"),
        lambda: TheirNamedTuples(Point, FORMATS, "!"),
        [Point("ab", 1), Point("", -5)],
    ),
    "CBOR": Kind(CBORSerializer, TheirCBOR, [{"a": [1, 2.5, None]}, b"bytes", datetime(2026, 1, 1, tzinfo=UTC)]),
    "Base64": Kind(
        lambda: Base64EncoderSerializer(JSONSerializer(), checksum=True),
        lambda: TheirBase64(TheirJSON(), checksum=True),
        [{"a": 1}, "x" * 5000],
    ),
    "Base64 with a key": Kind(
        lambda: Base64EncoderSerializer(JSONSerializer(), checksum=urlsafe_b64decode(THEIR_KEY)),
        lambda: TheirBase64(TheirJSON(), checksum=THEIR_KEY),
        [{"a": 1}, []],
    ),
    "zlib": Kind(
        lambda: ZlibCompressorSerializer(JSONSerializer()), lambda: TheirZlib(TheirJSON()), [{"a": 1}, "x" * 5000]
    ),
    "bz2": Kind(lambda: BZ2CompressorSerializer(JSONSerializer()), lambda: TheirBZ2(TheirJSON()), [{"a": 1}, []]),
}
if is_before("cbor2", 6):
    del KINDS["CBOR"]  # theirs calls it with more arguments than it takes


class Echo(AsyncStreamRequestHandler[Any, Any]):  # type: ignore[misc]  # their types are not looked at
    async def handle(self, client: Any) -> AsyncGenerator[None, Any]:
        packet = yield
        await client.send_packet(packet)


class DatagramEcho(AsyncDatagramRequestHandler[Any, Any]):  # type: ignore[misc]  # as above
    async def handle(self, client: Any) -> AsyncGenerator[None, Any]:
        packet = yield
        await client.send_packet(packet)


@asynccontextmanager
async def theirs(server: Any) -> AsyncIterator[tuple[str, int]]:
    """Run a server of theirs, and give its address."""
    is_up = aio.Event()
    async with server:
        serving = aio.create_task(server.serve_forever(is_up_event=is_up))
        await is_up.wait()
        try:
            yield tuple(server.get_addresses()[0])[:2]
        finally:
            await server.shutdown()
            await serving


@pytest.mark.parametrize(
    ("name", "their_protocol"),
    [
        ("JSON", TheirStreamProtocol),
        ("lines", TheirStreamProtocol),
        ("struct", TheirStreamProtocol),
        ("lines", TheirBufferedProtocol),  # their JSON cannot
        ("struct", TheirBufferedProtocol),
        *((name, TheirStreamProtocol) for name in list(KINDS)[3:]),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_their_client_is_served_by_ours(name: str, their_protocol: Any) -> None:
    kind = KINDS[name]
    protocol: Any = their_protocol(kind.theirs())
    async with (
        AsyncTCPNetworkServer(echo, ANY, StreamProtocol(kind.ours())) as server,
        TheirTCPClient(address_of(server), protocol) as client,
    ):
        for packet in kind.packets:
            await client.send_packet(packet)
        assert [await client.recv_packet() for _ in kind.packets] == kind.packets


@pytest.mark.parametrize("name", KINDS)
async def test_our_client_is_served_by_theirs(name: str) -> None:
    kind = KINDS[name]
    server: Any = TheirTCPServer("127.0.0.1", 0, TheirStreamProtocol(kind.theirs()), Echo())
    client: AsyncTCPNetworkClient[Any]
    async with (
        theirs(server) as address,
        AsyncTCPNetworkClient(address, StreamProtocol(kind.ours())) as client,
    ):
        for packet in kind.packets:
            await client.send_packet(packet)
        assert [await client.recv_packet() for _ in kind.packets] == kind.packets
        await client.send_eof()
        with pytest.raises(ConnectionLost) as caught:
            await client.recv_packet()
        assert isinstance(caught.value, StreamReset if aio.on_trio() else EndOfStream)  # on trio they reset it


async def test_their_client_is_served_by_ours_over_tls(certificates: Certificates) -> None:
    kind = KINDS["JSON"]
    context = TLS(ca=certificates.ca).client_context()
    protocol: Any = TheirStreamProtocol(kind.theirs())
    async with (
        AsyncTCPNetworkServer(
            echo, ANY, StreamProtocol(kind.ours()), ssl=TLS(certificate=certificates.server)
        ) as server,
        TheirTCPClient(address_of(server), protocol, ssl=context, server_hostname="localhost") as client,
    ):
        for packet in kind.packets:
            await client.send_packet(packet)
            assert await client.recv_packet() == packet


async def test_our_client_is_served_by_theirs_over_tls(certificates: Certificates) -> None:
    kind = KINDS["JSON"]
    context = TLS(certificate=certificates.server).server_context()
    server: Any = TheirTCPServer("127.0.0.1", 0, TheirStreamProtocol(kind.theirs()), Echo(), ssl=context)
    client: AsyncTCPNetworkClient[Any]
    async with (
        theirs(server) as address,
        AsyncTCPNetworkClient(address, StreamProtocol(kind.ours()), ssl=TLS(ca=certificates.ca)) as client,
    ):
        for packet in kind.packets:
            await client.send_packet(packet)
            assert await client.recv_packet() == packet


async def answer(packet: Any, peer: DatagramPeer[Any]) -> None:
    await peer.send_packet(packet)


async def test_datagrams_both_ways() -> None:
    packets = [{"a": 1}, "\u20ac", [1.5]]
    ours: DatagramProtocol[Any] = DatagramProtocol(JSONSerializer())
    their: Any = TheirDatagramProtocol(TheirJSON())
    async with AsyncUDPNetworkServer(answer, ANY, ours) as server, TheirUDPClient(address_of(server), their) as theirs_:
        for packet in packets:
            await theirs_.send_packet(packet)
            assert await theirs_.recv_packet() == packet
    their_server: Any = TheirUDPServer("127.0.0.1", 0, their, DatagramEcho())
    client: AsyncUDPNetworkClient[Any]
    async with theirs(their_server) as address, AsyncUDPNetworkClient(address, ours) as client:
        for packet in packets:
            await client.send_packet(packet)
            assert await client.recv_packet() == packet


async def test_blocking_clients_both_ways() -> None:
    kind = KINDS["JSON"]
    ours: StreamProtocol[Any] = StreamProtocol(kind.ours())
    their: Any = TheirStreamProtocol(kind.theirs())

    def ask(client: Any) -> list[Any]:
        with client:
            for packet in kind.packets:
                client.send_packet(packet)
            return [client.recv_packet(timeout=30) for _ in kind.packets]

    async with AsyncTCPNetworkServer(echo, ANY, ours) as server:
        address = address_of(server)
        assert await aio.to_thread(lambda: ask(TheirBlockingTCPClient(address, their))) == kind.packets
    their_server: Any = TheirTCPServer("127.0.0.1", 0, their, Echo())
    async with theirs(their_server) as where:
        assert await aio.to_thread(lambda: ask(TCPNetworkClient[Any](where, ours))) == kind.packets


def test_a_struct_is_the_same_on_both_sides() -> None:
    packet = (1, 0.5)
    assert KINDS["struct"].ours().serialize(packet) == KINDS["struct"].theirs().serialize(packet)
    assert struct.unpack(">Hf", KINDS["struct"].theirs().serialize(packet)) == packet
