# SPDX-License-Identifier: MIT
"""Packets through socat on every kind of socket: our clients before it, and our servers behind it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.peers.daemons import daemon, free_place
from tests.peers.programs import running
from tieline import TLS
from tieline.errors import EndOfStream
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import BytesSerializer, LengthPrefixedSerializer, StringLineSerializer
from tieline.servers import (
    AsyncTCPNetworkServer,
    AsyncUDPNetworkServer,
    AsyncUnixDatagramServer,
    AsyncUnixStreamServer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.certificates import Certificates
    from tests.peers.packet_sides import Side

pytestmark = pytest.mark.peers

STREAM: StreamProtocol[Any, bytes] = StreamProtocol(LengthPrefixedSerializer(BytesSerializer(), limit=10_000_000))
DATAGRAMS: DatagramProtocol[Any, bytes] = DatagramProtocol(BytesSerializer())
LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())


@pytest.fixture(scope="module")
def socat(need: Any) -> Path:
    path: Path = need("socat", "apt-get install socat, or make test-peers")
    return path


# --- our clients, and socat that sends everything back ---------------------------------------------------------------


class Place(NamedTuple):
    """What there is to listen at, and for TLS whom to trust."""

    host: str
    port: int  # free; the one that socat says where it was to choose
    folder: Path
    name: str
    certificate: str
    trust: TLS


# What socat listens at, and the client for that.
KINDS: dict[str, tuple[str, Callable[[Side, Place], Any]]] = {
    "tcp": ("TCP4-LISTEN:0,bind={0.host}", lambda side, at: side.tcp((at.host, at.port), STREAM)),
    "tcp6": ("TCP6-LISTEN:0,bind=[::1]", lambda side, at: side.tcp(("::1", at.port), STREAM)),
    "tls": (
        "OPENSSL-LISTEN:0,bind={0.host},cert={0.certificate},verify=0",
        lambda side, at: side.tcp((at.host, at.port), STREAM, ssl=at.trust, server_hostname="localhost"),
    ),
    "unix": ("UNIX-LISTEN:{0.folder}/stream", lambda side, at: side.unix_stream(at.folder / "stream", STREAM)),
    "abstract": ("ABSTRACT-LISTEN:{0.name}", lambda side, at: side.unix_stream(f"\0{at.name}", STREAM)),
    "udp": ("UDP4-LISTEN:0,bind={0.host}", lambda side, at: side.udp((at.host, at.port), DATAGRAMS)),
    "udp6": ("UDP6-LISTEN:0,bind=[::1]", lambda side, at: side.udp(("::1", at.port), DATAGRAMS)),
    "udp one by one": (
        "UDP4-RECVFROM:{0.port},bind={0.host}",
        lambda side, at: side.udp((at.host, at.port), DATAGRAMS),
    ),
    "unix datagram": (
        "UNIX-RECVFROM:{0.folder}/datagram",
        lambda side, at: side.unix_datagram(at.folder / "datagram", DATAGRAMS),
    ),
    "abstract datagram": (
        "ABSTRACT-RECVFROM:{0.name}",
        lambda side, at: side.unix_datagram(f"\0{at.name}", DATAGRAMS),
    ),
}
STREAMS = ("tcp", "tcp6", "tls", "unix", "abstract")


class Echo(NamedTuple):
    """A running socat, and what makes a client of a side for it."""

    kind: str
    client: Callable[[Side], Any]


@pytest.fixture(scope="module", params=KINDS)
def echo(
    request: pytest.FixtureRequest,
    socat: Path,
    tmp_path_factory: pytest.TempPathFactory,
    certificates: Certificates,
) -> Iterator[Echo]:
    """Run socat at one kind of socket; it starts `cat` for each connection, or for each datagram."""
    listen, new_client = KINDS[request.param]
    folder = tmp_path_factory.mktemp("socat")
    name = f"tieline-{os.getpid()}-{folder.name}"
    place = Place(*free_place(), folder, name, certificates.server, TLS(ca=certificates.ca))
    command = (socat, "-d", "-d", f"{listen.format(place)},fork", "EXEC:cat")
    with daemon(folder / "log", *command) as program:
        line = program.says("ing on ")
        if listen[:3] in ("TCP", "UDP", "OPE"):
            place = place._replace(port=int(line.rpartition(":")[2]))
        yield Echo(request.param, lambda side: new_client(side, place))


async def everything_comes_back(side: Side, echo: Echo) -> None:
    async with echo.client(side) as client:
        for size in (1, 2, 1000, 8000):
            packet = os.urandom(size)
            await client.send_packet(packet)
            assert await client.recv_packet() == packet
        if echo.kind not in STREAMS:
            return
        many = [bytes([number % 256]) * (number * 7 % 300) for number in range(500)]
        await client.send_packets(many)
        assert [await client.recv_packet() for _ in many] == many
        if echo.kind != "tls":
            await client.send_packet(b"last")
            await client.send_eof()
            assert await client.recv_packet() == b"last"
            with pytest.raises(EndOfStream):
                await client.recv_packet()


@pytest.mark.row("K1", "K5", "K7", "K17", "K18")
def test_everything_comes_back(echo: Echo, side: Side) -> None:
    side.run(everything_comes_back, side, echo)


# --- our servers, and socat as their client --------------------------------------------------------------------------


async def upper(client: Any) -> None:
    """Answer each line until the peer ends its stream."""
    async for line in client:
        await client.send_packet(line.upper())


async def upper_datagram(packet: bytes, peer: Any) -> None:
    await peer.send_packet(packet.upper())


def server_at(kind: str, folder: Path, certificates: Certificates) -> tuple[Any, Callable[[Any], str]]:
    """Return a server of ours at that kind of socket, and what makes of its port the address that socat takes."""
    name = f"tieline-{os.getpid()}-{folder.name}"
    inside = TLS(certificate=certificates.server)
    named = f"verify=1,cafile={certificates.ca},commonname=localhost"
    match kind:
        case "tcp":
            return AsyncTCPNetworkServer(upper, ("127.0.0.1", 0), LINES), "TCP:127.0.0.1:{}".format
        case "tcp6":
            return AsyncTCPNetworkServer(upper, ("::1", 0), LINES), "TCP6:[::1]:{}".format
        case "tls":
            address = f"OPENSSL:127.0.0.1:{{}},{named}"
            return AsyncTCPNetworkServer(upper, ("127.0.0.1", 0), LINES, ssl=inside), address.format
        case "unix":
            return AsyncUnixStreamServer(upper, folder / "s", LINES), f"UNIX-CONNECT:{folder}/s".format
        case "abstract":
            return AsyncUnixStreamServer(upper, f"@{name}", LINES), f"ABSTRACT-CONNECT:{name}".format
        case "udp":
            return AsyncUDPNetworkServer(upper_datagram, ("127.0.0.1", 0), DATAGRAMS), "UDP4:127.0.0.1:{}".format
        case "udp6":
            return AsyncUDPNetworkServer(upper_datagram, ("::1", 0), DATAGRAMS), "UDP6:[::1]:{}".format
        case _:
            server = AsyncUnixDatagramServer(upper_datagram, folder / "d", DATAGRAMS)
            return server, f"UNIX-SENDTO:{folder}/d,bind={folder}/typist".format


@pytest.mark.parametrize("kind", ["tcp", "tcp6", "tls", "unix", "abstract", "udp", "udp6", "unix datagram"])
async def test_a_server_answers_what_is_typed(
    socat: Path, kind: str, tmp_path: Path, certificates: Certificates
) -> None:
    server, address_at = server_at(kind, tmp_path, certificates)
    async with server:
        address = address_at(getattr(server.get_addresses()[0], "port", None))
        async with running(socat, "-t", "30", "-", address) as typist:
            for line in ("one", "x" * 3000, "two"):
                typist.type(line.encode() + b"\n")
                assert await typist.line() == line.upper()
            if kind in STREAMS:
                typist.type(b"\nall\n" * 1000)
                assert [await typist.line() for _ in range(2000)] == ["", "ALL"] * 1000
            if kind in STREAMS and kind != "tls":
                typist.type(b"last\n")
                typist.end_of_input()
                assert await typist.rest() == ["LAST"]
                assert await typist.ended() == 0
