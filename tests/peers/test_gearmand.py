# SPDX-License-Identifier: MIT
"""gearmand: binary packets that a serializer of one's own reads from a buffer of its own, and lines beside them."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.peers.daemons import Daemon, daemon, free_place
from tieline.errors import ConnectionLost, IncrementalDeserializeError
from tieline.protocol import BufferedStreamProtocol, StreamProtocol
from tieline.serializers import BufferedIncrementalPacketSerializer, StringLineSerializer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.peers.packet_sides import Side

pytestmark = pytest.mark.peers

CAN_DO, PRE_SLEEP, NOOP, SUBMIT_JOB, JOB_CREATED, GRAB_JOB, NO_JOB, JOB_ASSIGN = 1, 4, 6, 7, 8, 9, 10, 11
WORK_STATUS, WORK_COMPLETE, WORK_FAIL, ECHO_REQ, ECHO_RES, ERROR = 12, 13, 14, 16, 17, 19
HEAD = struct.Struct(">4sII")
LONGEST = 2**20


class Gearman(NamedTuple):
    """One packet; its parts are separated by NULs."""

    kind: int
    data: bytes = b""


class GearmanSerializer(BufferedIncrementalPacketSerializer[Gearman, Gearman]):
    """Packets with a head that says how long they are. The buffer holds one of them, and what came behind it."""

    def incremental_serialize(self, packet: Gearman, /) -> Generator[bytes, None, None]:
        yield HEAD.pack(b"\0REQ", packet.kind, len(packet.data))
        yield packet.data

    def create_deserializer_buffer(self, sizehint: int, /) -> bytearray:
        return bytearray(LONGEST + sizehint)

    def buffered_incremental_deserialize(
        self, buffer: Any, /
    ) -> Generator[int | None, int, tuple[Gearman, bytes | bytearray | memoryview]]:
        have = yield None
        while have < HEAD.size:
            have += yield have
        magic, kind, size = HEAD.unpack_from(buffer)
        if magic != b"\0RES" or size > LONGEST - HEAD.size:
            raise IncrementalDeserializeError("no head of a packet", remaining_data=b"")
        end = HEAD.size + size
        while have < end:
            have += yield have
        return Gearman(kind, bytes(buffer[HEAD.size : end])), memoryview(buffer)[end:have]

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[Gearman, bytes]]:
        data = yield
        while len(data) < HEAD.size or len(data) < HEAD.size + HEAD.unpack_from(data)[2]:
            data += yield
        _, kind, size = HEAD.unpack_from(data)
        return Gearman(kind, data[HEAD.size : HEAD.size + size]), data[HEAD.size + size :]


SERIALIZER = GearmanSerializer()
# Each of the two ways that it has to read.
PROTOCOLS: dict[str, Any] = {
    "from a buffer": BufferedStreamProtocol(SERIALIZER),
    "from bytes": StreamProtocol(SERIALIZER),
}
LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())


@contextmanager
def gearmand_server(need: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    program = need("gearmand", "apt-get install gearman-job-server, or make test-peers")
    folder = tmp_path_factory.mktemp("gearmand")
    host, port = free_place()
    command = (program, "--listen", host, "--port", str(port), "--pid-file", folder / "pid", "--threads", "1")
    server: Daemon
    with daemon(folder / "log", *command, "--log-file", "stderr", "--verbose", "INFO") as server:
        server.says(f"Listening on {host}")
        yield host, port


@pytest.fixture(scope="module")
def gearmand(need: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with gearmand_server(need, tmp_path_factory) as where:
        yield where


async def echoes(side: Side, where: tuple[str, int], protocol: Any) -> None:
    async with side.tcp(where, protocol) as client:
        for data in (b"", b"\0", bytes(range(256)) * 1000, b"x"):
            await client.send_packet(Gearman(ECHO_REQ, data))
            assert await client.recv_packet() == Gearman(ECHO_RES, data)
        many = [Gearman(ECHO_REQ, b"%d" % number * (number % 100)) for number in range(1000)]
        await client.send_packets(many)
        assert [await client.recv_packet() for _ in many] == [Gearman(ECHO_RES, data) for _kind, data in many]


@pytest.mark.row("K7", "K11")
@pytest.mark.parametrize("way", PROTOCOLS)
def test_echoes(gearmand: tuple[str, int], side: Side, way: str) -> None:
    side.run(echoes, side, gearmand, PROTOCOLS[way])


async def job(side: Side, where: tuple[str, int], protocol: Any, function: bytes) -> None:
    async with side.tcp(where, protocol) as worker, side.tcp(where, protocol) as client:
        await worker.send_packets([Gearman(CAN_DO, function), Gearman(GRAB_JOB)])
        assert await worker.recv_packet() == Gearman(NO_JOB)
        await worker.send_packet(Gearman(PRE_SLEEP))
        await client.send_packet(Gearman(SUBMIT_JOB, b"\0".join([function, b"", b"work\0load"])))
        created = await client.recv_packet()
        assert created.kind == JOB_CREATED
        assert await worker.recv_packet() == Gearman(NOOP)  # which wakes it
        await worker.send_packet(Gearman(GRAB_JOB))
        assert await worker.recv_packet() == Gearman(JOB_ASSIGN, b"\0".join([created.data, function, b"work\0load"]))
        reports = [
            Gearman(WORK_STATUS, created.data + b"\x001\x002"),
            Gearman(WORK_COMPLETE, created.data + b"\0" + b"load\0work" * 50_000),
        ]
        await worker.send_packets(reports)
        assert [await client.recv_packet() for _ in reports] == reports
        await worker.send_packet(Gearman(WORK_FAIL, created.data))  # it is done, and no more to be found
        answer = await worker.recv_packet()
        assert (answer.kind, answer.data.partition(b"\0")[0]) == (ERROR, b"JOB_NOT_FOUND")


@pytest.mark.row("K7")
@pytest.mark.parametrize("way", PROTOCOLS)
def test_a_worker_and_a_client(gearmand: tuple[str, int], side: Side, way: str) -> None:
    side.run(job, side, gearmand, PROTOCOLS[way], f"{side}-{way}".replace(" ", "-").encode())


async def lines(side: Side, where: tuple[str, int]) -> None:
    async with side.tcp(where, LINES) as client:
        await client.send_packet("version")
        assert (await client.recv_packet()).startswith("OK ")
        await client.send_packet("no such command")
        assert (await client.recv_packet()).startswith("ERR ")
        async with side.tcp(where, PROTOCOLS["from bytes"]) as worker:
            await worker.send_packets([Gearman(CAN_DO, b"lines"), Gearman(ECHO_REQ)])
            assert await worker.recv_packet() == Gearman(ECHO_RES)
            await client.send_packet("status")
            status = []
            while (line := await client.recv_packet()) != ".":
                status.append(line)
            assert any(line.startswith("lines\t") for line in status)


@pytest.mark.row("K7")
def test_lines_at_the_same_port(gearmand: tuple[str, int], side: Side) -> None:
    side.run(lines, side, gearmand)


async def not_understood(side: Side, where: tuple[str, int], protocol: Any) -> None:
    async with side.tcp(where, protocol) as client:
        await client.send_packet(Gearman(ECHO_REQ, b"1"))
        assert await client.recv_packet() == Gearman(ECHO_RES, b"1")
        await client.send_packet(Gearman(999))  # there is no such packet, and it closes
        with pytest.raises(ConnectionLost):
            await client.recv_packet()


@pytest.mark.row("K10")
@pytest.mark.parametrize("way", PROTOCOLS)
def test_it_hangs_up(gearmand: tuple[str, int], side: Side, way: str) -> None:
    side.run(not_understood, side, gearmand, PROTOCOLS[way])
