# SPDX-License-Identifier: MIT
"""atftpd, which answers each request from a new port: where a client finds it, and where it does not."""

from __future__ import annotations

import grp
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests import aio
from tests.peers.daemons import OWN_HOST, daemon, free_place, me, wait_until
from tests.peers.programs import PATIENCE
from tieline.errors import DeserializeError
from tieline.protocol import DatagramProtocol
from tieline.serializers import AbstractPacketSerializer
from tieline.servers import AsyncUDPNetworkServer, UDPNetworkServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.packet_sides import Side

pytestmark = pytest.mark.peers

READ, WRITE, DATA, ACK, ERROR, OPTIONS = range(1, 7)
BLOCK = 512
NOT_FOUND = 1


class TFTP(NamedTuple):
    """A packet: what it is, the number of a block or of an error (0 elsewhere), and the rest."""

    kind: int
    number: int = 0
    data: bytes = b""


class TFTPSerializer(AbstractPacketSerializer[TFTP, TFTP]):
    """Packets of RFC 1350 and 2347."""

    def serialize(self, packet: TFTP, /) -> bytes:
        number = struct.pack(">H", packet.number) if packet.kind in (DATA, ACK, ERROR) else b""
        return struct.pack(">H", packet.kind) + number + packet.data

    def deserialize(self, data: bytes, /) -> TFTP:
        try:
            (kind,) = struct.unpack_from(">H", data)
            if kind not in (DATA, ACK, ERROR):
                return TFTP(kind, 0, data[2:])
            return TFTP(kind, struct.unpack_from(">H", data, 2)[0], data[4:])
        except struct.error as exc:
            raise DeserializeError(f"a packet of {len(data)} bytes") from exc


PROTOCOL: DatagramProtocol[TFTP, TFTP] = DatagramProtocol(TFTPSerializer())
CONTENT = bytes(range(256)) * 400 + b"the last block is a short one"


def request(kind: int, name: str, *options: str) -> TFTP:
    return TFTP(kind, 0, b"".join(word.encode() + b"\0" for word in (name, "octet", *options)))


class Files(NamedTuple):
    """Where atftpd listens, and the folder that it serves."""

    place: tuple[str, int]
    folder: Path


@pytest.fixture(scope="module")
def files(need: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    program = need("atftpd", "apt-get install atftpd, or make test-peers")
    folder = tmp_path_factory.mktemp("tftp")
    (folder / "content").write_bytes(CONTENT)
    host, port = free_place()
    where = ("--bind-address", host, "--port", str(port))
    owner = f"{me()}.{grp.getgrgid(os.getegid()).gr_name}"
    command = (program, "--daemon", "--no-fork", "--logfile", "-", "--user", owner, *where, folder)
    with daemon(folder / "log", *command) as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.05)

        def answers() -> bool:
            try:
                sock.sendto(PROTOCOL.make_datagram(request(READ, "missing")), (host, port))
                return bool(sock.recv(1000))
            except TimeoutError:
                return False

        wait_until(answers, f"an answer of atftpd; {server.said('')}")
        yield Files((host, port), folder)


def asked(files: Files, packet: TFTP) -> tuple[socket.socket, TFTP]:
    """Send a request; return the socket, connected to the port that the answer has come from, and the answer."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    try:
        sock.settimeout(PATIENCE)
        sock.sendto(PROTOCOL.make_datagram(packet), files.place)
        data, new_place = sock.recvfrom(65536)
        sock.connect(new_place)
    except BaseException:
        sock.close()
        raise
    return sock, PROTOCOL.build_packet_from_datagram(data)


async def expected(client: Any, kind: int, number: int) -> TFTP:
    """Return the packet that has that number; what went before it may come again, when an answer was late."""
    while True:
        packet: TFTP = await client.recv_packet()
        if (packet.kind, packet.number) == (kind, number):
            return packet
        assert packet.number < number


async def fetch(side: Side, files: Files) -> None:
    sock, first = asked(files, request(READ, "content"))
    content = first.data
    async with side.udp(sock, PROTOCOL) as client:
        number = 1
        while len(content) == number * BLOCK:
            await client.send_packet(TFTP(ACK, number))
            number += 1
            content += (await expected(client, DATA, number)).data
        await client.send_packet(TFTP(ACK, number))
    assert content == CONTENT


@pytest.mark.row("K1", "K7", "K17")
def test_a_client_of_the_new_port_fetches_a_file(files: Files, side: Side) -> None:
    side.run(fetch, side, files)


async def store(side: Side, files: Files) -> None:
    name = files.folder / f"stored-{side}"
    sock, first = asked(files, request(WRITE, name.name, "blksize", "8192"))
    assert first == TFTP(OPTIONS, 0, b"blksize\x008192\0")
    async with side.udp(sock, PROTOCOL) as client:
        for number, start in enumerate(range(0, len(CONTENT), 8192), 1):
            await client.send_packet(TFTP(DATA, number, CONTENT[start : start + 8192]))
            await expected(client, ACK, number)
    wait_until(lambda: name.read_bytes() == CONTENT, "the whole file")  # it closes it behind its last word


@pytest.mark.row("K1", "K7", "K17")
def test_a_client_of_the_new_port_stores_a_file_in_long_datagrams(files: Files, side: Side) -> None:
    side.run(store, side, files)


async def ask_and_wait(side: Side, files: Files) -> None:
    async with side.udp(files.place, PROTOCOL) as client:
        await client.send_packet(request(READ, "missing"))
        assert [packet async for packet in client.iter_received_packets(timeout=0.1)] == []
    sock, answer = asked(files, request(READ, "missing"))  # which there is
    with sock:
        assert (answer.kind, answer.number) == (ERROR, NOT_FOUND)


@pytest.mark.row("K5")
def test_a_client_of_its_own_port_never_sees_the_answer(files: Files, side: Side) -> None:
    side.run(ask_and_wait, side, files)


# --- a server's socket hears whoever answers -------------------------------------------------------------------------


async def test_an_unconnected_socket_fetches_a_file(files: Files) -> None:
    blocks: dict[int, bytes] = {}
    done = aio.Event()

    async def handle(packet: TFTP, peer: Any) -> None:
        assert packet.kind == DATA
        assert peer.address.port != files.place[1]
        blocks[packet.number] = packet.data
        await peer.send_packet(TFTP(ACK, packet.number))
        if len(packet.data) < BLOCK:
            done.set()

    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind((OWN_HOST, 0))
    async with AsyncUDPNetworkServer(handle, sock, PROTOCOL):
        sock.sendto(PROTOCOL.make_datagram(request(READ, "content")), files.place)
        await aio.wait_for(done.wait(), PATIENCE)
    assert b"".join(blocks[number] for number in sorted(blocks)) == CONTENT


def test_an_unconnected_socket_fetches_a_file_in_blocking_code(files: Files) -> None:
    blocks: dict[int, bytes] = {}
    done = threading.Event()

    def handle(packet: TFTP, peer: Any) -> None:
        blocks[packet.number] = packet.data
        peer.send_packet(TFTP(ACK, packet.number))
        if len(packet.data) < BLOCK:
            done.set()

    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind((OWN_HOST, 0))
    with UDPNetworkServer(handle, sock, PROTOCOL):
        sock.sendto(PROTOCOL.make_datagram(request(READ, "content")), files.place)
        assert done.wait(PATIENCE)
    assert b"".join(blocks[number] for number in sorted(blocks)) == CONTENT
