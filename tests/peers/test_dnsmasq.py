# SPDX-License-Identifier: MIT
"""dnsmasq with a small zone and nobody above it: one serializer for datagrams, and behind a length for a stream."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.daemons import Daemon, daemon, free_place, me
from tests.peers.dns import AAAA, CNAME, MX, NXDOMAIN, REFUSED, TXT, A, Answer, DNSSerializer, Question, Record
from tieline.errors import EndOfStream
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import LengthPrefixedSerializer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.packet_sides import Side

pytestmark = pytest.mark.peers

DATAGRAMS: DatagramProtocol[Question, Answer] = DatagramProtocol(DNSSerializer())
STREAM: StreamProtocol[Question, Answer] = StreamProtocol(LengthPrefixedSerializer(DNSSerializer(), prefix_size=2))

Place = tuple[str, int]


@contextmanager
def dnsmasq_server(need: Any, folder: Path) -> Iterator[tuple[Place, Daemon]]:
    program = need("dnsmasq", "apt-get install dnsmasq-base, or make test-peers")
    host, port = free_place()
    zone = (
        "--local=/zone.example/",
        "--host-record=a.zone.example,192.0.2.7,2001:db8::7",
        "--cname=c.zone.example,a.zone.example",
        "--mx-host=zone.example,a.zone.example,10",
        "--txt-record=t.zone.example,hello",
        "--txt-record=big.zone.example," + ",".join(["x" * 200] * 5),
    )
    alone = ("--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", f"--user={me()}")
    where = (f"--listen-address={host}", f"--port={port}", "--bind-interfaces")
    command = (program, "--keep-in-foreground", "--log-facility=-")
    with daemon(folder / "dnsmasq.log", *command, *alone, *where, *zone) as server:
        server.says("cleared cache")  # the last that it says before it serves; its sockets are open
        yield (host, port), server


@pytest.fixture(scope="module")
def dnsmasq(need: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with dnsmasq_server(need, tmp_path_factory.mktemp("dnsmasq")) as (where, _server):
        yield where


ADDRESS = Record("a.zone.example", A, socket.inet_aton("192.0.2.7"))
BIG = Record("big.zone.example", TXT, (b"\xc8" + b"x" * 200) * 5)

# (name, what is asked for, code, the records of the answer)
ASKED: list[tuple[str, int, int, tuple[Record, ...]]] = [
    ("a.zone.example", A, 0, (ADDRESS,)),
    ("a.zone.example", AAAA, 0, (Record("a.zone.example", AAAA, socket.inet_pton(socket.AF_INET6, "2001:db8::7")),)),
    ("t.zone.example", TXT, 0, (Record("t.zone.example", TXT, b"\x05hello"),)),
    ("no.zone.example", A, NXDOMAIN, ()),
    ("elsewhere.example", A, REFUSED, ()),
]


async def questions(client: Any) -> None:
    async with client:
        for number, (name, kind, code, records) in enumerate(ASKED):
            await client.send_packet(Question(number, name, kind))
            assert await client.recv_packet() == Answer(number, code, False, records)
        await client.send_packet(Question(0xFFFF, "c.zone.example", A))
        answer = await client.recv_packet()
        alias, behind_it = answer.records
        assert (alias.name, alias.kind, behind_it) == ("c.zone.example", CNAME, ADDRESS)
        await client.send_packet(Question(0, "zone.example", MX))
        (mail,) = (await client.recv_packet()).records
        assert (mail.name, mail.kind, mail.data[:2]) == ("zone.example", MX, b"\x00\x0a")


@pytest.mark.row("K7", "K17")
def test_questions_in_datagrams(dnsmasq: Place, side: Side) -> None:
    side.run(questions, side.udp(dnsmasq, DATAGRAMS))


@pytest.mark.row("K7")
def test_questions_in_a_stream(dnsmasq: Place, side: Side) -> None:
    side.run(questions, side.tcp(dnsmasq, STREAM))


async def too_much_for_a_datagram(side: Side, where: Place) -> None:
    async with side.udp(where, DATAGRAMS) as client:
        await client.send_packet(Question(1, "big.zone.example", TXT))
        assert await client.recv_packet() == Answer(1, 0, True, ())
    async with side.tcp(where, STREAM) as client:
        await client.send_packets(Question(number, "big.zone.example", TXT) for number in range(50))
        received = [await client.recv_packet() for _ in range(50)]
        assert received == [Answer(number, 0, False, (BIG,)) for number in range(50)]
        await client.send_eof()
        with pytest.raises(EndOfStream):
            await client.recv_packet()


@pytest.mark.row("K7", "K10")
def test_what_does_not_fit_into_a_datagram_comes_in_a_stream(dnsmasq: Place, side: Side) -> None:
    side.run(too_much_for_a_datagram, side, dnsmasq)


async def gone(side: Side, where: Place, server: Daemon) -> None:
    async with side.udp(where, DATAGRAMS) as client:
        await client.send_packet(Question(1, "a.zone.example", A))
        assert (await client.recv_packet()).records == (ADDRESS,)
        server.kill()
        await client.send_packet(Question(2, "a.zone.example", A))
        with pytest.raises(ConnectionRefusedError):
            await client.recv_packet()


@pytest.mark.row("K17")
def test_nobody_is_there_any_more(need: Any, side: Side, tmp_path: Path) -> None:
    with dnsmasq_server(need, tmp_path) as (where, server):
        side.run(gone, side, where, server)
