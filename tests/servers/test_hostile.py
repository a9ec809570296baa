# SPDX-License-Identifier: MIT
"""The hostile cases that have a packet form, against servers of packets on real sockets, on every runtime.

In each a bystander on a connection of its own is answered before and after.
"""

from __future__ import annotations

import array
import os
import random
import socket
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.attacks.cases_contents import bomb_of_zlib
from tests.peers.programs import running
from tests.servers.scene import JSON, all_of, echo, heard, peer_of, reset, told, until
from tieline import Limits
from tieline.errors import (
    DeserializeError,
    LimitOverrunError,
    StreamProtocolParseError,
    StreamReset,
    StreamTruncated,
)
from tieline.protocol import StreamProtocol
from tieline.serializers import (
    BytesSerializer,
    BZ2CompressorSerializer,
    CBORSerializer,
    EncryptorSerializer,
    JSONSerializer,
    LengthPrefixedSerializer,
    MessagePackSerializer,
    PickleSerializer,
    StringLineSerializer,
    StructSerializer,
    ZlibCompressorSerializer,
)
from tieline.servers import AsyncTCPNetworkServer, AsyncUnixStreamServer

BYTES = BytesSerializer()
SMALL_LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer(limit=1000))


class Watched:
    """A handler that echoes, and keeps what went wrong with a connection; it goes on behind what is no packet."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.seen = 0

    async def __call__(self, client: Any) -> None:
        while True:
            try:
                packet = await client.recv_packet()
            except StreamProtocolParseError as exc:
                self.errors.append(exc)
                continue
            except Exception as exc:
                self.errors.append(exc)
                raise
            self.seen += 1
            await client.send_packet(packet)


@asynccontextmanager
async def served(
    handler: Any, protocol: Any, good: bytes, where: Path | None = None, limits: Limits | None = None
) -> AsyncIterator[Any]:
    """Serve *protocol* on TCP, or a Unix socket at *where*; a bystander sends *good* before and after."""
    server: Any
    if where is None:
        server = AsyncTCPNetworkServer(handler, ("127.0.0.1", 0), protocol, limits=limits)
    else:
        server = AsyncUnixStreamServer(handler, where, protocol, limits=limits)
    async with server:
        with peer_of(server) as bystander:
            for is_last in (False, True):
                await told(bystander, good)
                assert await heard(bystander, len(good)) == good
                if not is_last:
                    yield server
        await until(lambda: server.connections == 0)


@pytest.fixture(params=["tcp", "unix"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Give where to serve: None = TCP, else the path of a Unix socket."""
    return None if request.param == "tcp" else tmp_path / "socket"


# --- bytes and framing -----------------------------------------------------------------------------------------------


@pytest.mark.row("H1")
async def test_a_packet_may_come_byte_by_byte(where: Path | None) -> None:
    wire = '{"a":"\u20ac\U0001f600"}\n'.encode()
    async with served(echo, JSON, b"1\n", where) as server:
        with peer_of(server) as peer:
            if where is None:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in wire:
                await told(peer, bytes([byte]))
                await aio.sleep(0)
            assert await heard(peer, len(wire)) == wire


@pytest.mark.row("H2")
async def test_two_thousand_packets_in_one_write_are_answered_in_order(where: Path | None) -> None:
    wire = b"".join(b"%d\n" % number for number in range(2000))
    async with served(echo, JSON, b"1\n", where) as server:
        with peer_of(server) as peer:
            await told(peer, wire)
            assert await heard(peer, len(wire)) == wire


@pytest.mark.row("H3")
async def test_a_packet_without_end_is_refused_when_its_limit_is_passed() -> None:
    async with served(echo, SMALL_LINES, b"x\n", limits=Limits(linger=0)) as server:
        with peer_of(server) as peer:
            sent = 0
            try:
                while sent < 100 << 20:
                    await told(peer, b"x" * 65536)
                    sent += 65536
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert sent < 50 << 20  # what is on its way, and what is thrown away meanwhile


@pytest.mark.row("H4")
async def test_a_packet_that_is_too_long_is_told_and_the_stream_goes_on_behind_it(where: Path | None) -> None:
    watched = Watched()
    async with served(watched, SMALL_LINES, b"x\n", where) as server:
        with peer_of(server) as peer:
            await told(peer, b"x" * 5_000_000 + b"\nnext\n")
            assert await heard(peer, 5) == b"next\n"
        assert len(watched.errors) == 1
        assert isinstance(watched.errors[0].__cause__, LimitOverrunError)


@pytest.mark.row("H5")
@pytest.mark.parametrize("by", [-1, 0, 1])
async def test_a_packet_may_be_as_long_as_its_limit(by: int) -> None:
    watched = Watched()
    line = b"x" * (1000 + by) + b"\n"
    async with served(watched, SMALL_LINES, b"x\n") as server:
        with peer_of(server) as peer:
            await told(peer, line + b"next\n")
            expected = b"next\n" if by > 0 else line + b"next\n"
            assert await heard(peer, len(expected)) == expected
        assert len(watched.errors) == max(0, by)


@pytest.mark.row("H6")
async def test_a_packet_over_the_limit_of_what_is_sent_fails_where_it_is_sent() -> None:
    protocol: StreamProtocol[bytes] = StreamProtocol(LengthPrefixedSerializer(BYTES, prefix_size=1))
    errors: list[Exception] = []

    async def handler(client: Any) -> None:
        async for packet in client:
            try:
                await client.send_packet(packet * 256)
            except ValueError as exc:
                errors.append(exc)
                await client.send_packet(b"")

    async with AsyncTCPNetworkServer(handler, ("127.0.0.1", 0), protocol) as server:
        with peer_of(server) as peer:
            for _ in range(3):
                await told(peer, b"\x01x")
                assert await heard(peer, 1) == b"\0"
    assert len(errors) == 3


@pytest.mark.row("H7")
async def test_empty_lines_are_cheap_packets() -> None:
    protocol: StreamProtocol[str] = StreamProtocol(StringLineSerializer("CRLF"))
    async with served(echo, protocol, b"x\r\n") as server:
        with peer_of(server) as peer:
            await told(peer, b"\r\n" * 1000)
            assert await heard(peer, 2000) == b"\r\n" * 1000


@pytest.mark.row("H8")
@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_half_a_packet_is_never_handed_out(how: str) -> None:
    watched = Watched()
    async with served(watched, JSON, b"1\n") as server:
        peer = peer_of(server)
        await told(peer, b'{"half":')
        await until(lambda: server.connections == 2)
        if how == "FIN":
            peer.close()
        else:
            await until(lambda: any(one.machine.bytes_received > 2 for one in server._at_work))
            reset(peer)
        await until(lambda: watched.errors)
        assert isinstance(watched.errors[0], StreamTruncated if how == "FIN" else StreamReset)
        assert watched.seen == 1


@pytest.mark.row("H9")
async def test_who_ends_its_own_side_is_still_answered(where: Path | None) -> None:
    async with served(echo, JSON, b"1\n", where) as server:
        with peer_of(server) as peer:
            await told(peer, b"[1]\n[2]\n")
            peer.shutdown(socket.SHUT_WR)
            assert await all_of(peer) == b"[1]\n[2]\n"


NONSENSE: dict[str, bytes] = {
    "random": b"\n".join(random.Random(5).randbytes(999) for _ in range(1000)) + b"\n",
    "UTF-16": '{"a": 1}\n'.encode("utf-16") * 500,
    "BOM": "\ufeff{}\n".encode() * 500,
    "NUL": b"\0\n" * 500,
}


@pytest.mark.row("H10")
@pytest.mark.parametrize("name", NONSENSE)
async def test_who_sends_nothing_but_nonsense_is_cut(name: str, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    async with served(watched, JSON, b"1\n", limits=Limits(max_errors=50, error_decay=0.001)) as server:
        with peer_of(server) as peer:
            try:
                await told(peer, NONSENSE[name])
                assert await all_of(peer) == b""
            except (BrokenPipeError, ConnectionResetError):  # cut while it was still talking
                pass
        await until(lambda: server.connections == 1)
    assert "more than 50 faulty packets" in caplog.text
    assert watched.seen == 2  # the bystander's
    assert sum(isinstance(one, StreamProtocolParseError) for one in watched.errors) <= 51


# --- load ------------------------------------------------------------------------------------------------------------


@pytest.mark.row("H45")
async def test_what_is_kept_for_a_peer_that_reads_nothing_is_bounded() -> None:
    packet = b'"' + b"x" * 10_000 + b'"\n'

    async def handler(client: Any) -> None:
        async for wanted in client:
            for _ in range(40_000 if wanted == "flood" else 1):  # 400 MB
                await client.send_packet("x" * 10_000 if wanted == "flood" else wanted)

    async with served(handler, JSON, b"1\n", limits=Limits(write_timeout=0.3)) as server:
        with peer_of(server) as peer:
            tracemalloc.start()
            try:
                await told(peer, b'"flood"\n')
                await until(lambda: server.connections == 1)  # it has been cut
                assert tracemalloc.get_traced_memory()[1] < 24 << 20
            finally:
                tracemalloc.stop()
    assert len(packet) > 10_000


@pytest.mark.row("H50")
async def test_tricklers_and_silent_peers_cost_little() -> None:
    async with served(echo, JSON, b"1\n") as server:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            peers = [peer_of(server) for _ in range(100)]
            for peer in peers[::2]:
                await told(peer, b"[")
            await until(lambda: server.connections == 101)
            await until(lambda: sum(one.machine.bytes_received == 1 for one in server._at_work) == 50)
            assert (tracemalloc.get_traced_memory()[0] - before) / len(peers) < 16 * 1024
        finally:
            tracemalloc.stop()
        for peer in peers:
            peer.close()


FEW_DESCRIPTORS = """
import resource, sys
from tieline import serve
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer

async def handle(client):
    async for packet in client:
        await client.send_packet(packet)

async def main():
    async with serve(handle, "tcp://127.0.0.1:0", protocol=StreamProtocol(StringLineSerializer())) as server:
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        print(server.get_addresses()[0].port, flush=True)
        await server.serve_forever()

if sys.argv[1] == "trio":
    import trio
    trio.run(main)
else:
    import asyncio
    asyncio.run(main())
"""


@pytest.mark.row("H52")
async def test_without_descriptors_those_inside_go_on_and_newcomers_wait() -> None:
    runtime = "trio" if aio.on_trio() else "asyncio"
    async with running(sys.executable, "-c", FEW_DESCRIPTORS, runtime) as program:
        port = int(await program.line())
        peers = []
        for _ in range(40):  # more than there are descriptors; the system takes them all
            peers.append(socket.create_connection(("127.0.0.1", port)))
            peers[-1].setblocking(False)
        await told(peers[0], b"inside\n")
        assert await heard(peers[0], 7) == b"inside\n"
        await told(peers[-1], b"waits\n")
        for _ in range(3):
            await told(peers[0], b"inside\n")
            assert await heard(peers[0], 7) == b"inside\n"
        with pytest.raises(BlockingIOError):
            peers[-1].recv(1)
        for peer in peers[1:30]:
            peer.close()
        assert await heard(peers[-1], 6) == b"waits\n"
        for peer in peers:
            peer.close()


@pytest.mark.row("H71")
async def test_descriptors_that_a_peer_passes_are_not_received(tmp_path: Path) -> None:
    async with served(echo, JSON, b"1\n", tmp_path / "socket") as server:
        with peer_of(server) as peer:
            await told(peer, b"0\n")
            assert await heard(peer, 2) == b"0\n"
            before = len(os.listdir("/proc/self/fd"))
            given = [os.dup(0) for _ in range(250)]
            try:
                peer.sendmsg([b"1\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))])
            finally:
                for fd in given:
                    os.close(fd)
            assert await heard(peer, 2) == b"1\n"
            assert len(os.listdir("/proc/self/fd")) == before


# --- serializers -----------------------------------------------------------------------------------------------------


class Evil:
    """Unpickling it does something."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


@pytest.mark.row("H75")
@pytest.mark.parametrize("form", ["bare", "framed"])
async def test_a_bomb_is_refused_within_the_limit(form: str) -> None:
    bomb = bomb_of_zlib()
    assert 190_000 < len(bomb) < 210_000
    compressed = ZlibCompressorSerializer(BYTES)
    watched = Watched()
    good = compressed.frame(b"good")
    protocol: StreamProtocol[bytes] = StreamProtocol(compressed)
    wire = bomb
    if form == "framed":
        protocol = StreamProtocol(LengthPrefixedSerializer(compressed))
        good, wire = (len(data).to_bytes(4, "big") + data for data in (good, bomb))
    async with served(watched, protocol, good) as server:
        with peer_of(server) as peer:
            tracemalloc.start()
            try:
                await told(peer, wire)
                await until(lambda: watched.errors)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 8 << 20  # the limit is 1 MiB
            assert isinstance(watched.errors[0].__cause__, LimitOverrunError)
            if form == "framed":  # whose next packet is found
                await told(peer, good)
                assert await heard(peer, len(good)) == good


def encrypted() -> tuple[Any, bytes, list[bytes]]:
    ours = EncryptorSerializer(BYTES, EncryptorSerializer.generate_key())
    other = EncryptorSerializer(BYTES, EncryptorSerializer.generate_key())
    token = ours.serialize(b"good")
    flipped = token[:40] + bytes([token[40] ^ 1]) + token[41:]
    # To be answered, a token is encrypted again: so this echo is not compared, and the bystander's neither.
    return ours, token, [b"%b\r\n" % bad for bad in (token, flipped, token[:-8], other.serialize(b"x"), b"")]


KEY = b"a key of 16 byte"
FIXED: StructSerializer[Any] = StructSerializer(">f")

# Serializer, a good packet, bad ones: each is told as one, and the packet behind it is received.
BAD: dict[str, tuple[Any, bytes, list[bytes]]] = {
    "H74": (
        LengthPrefixedSerializer(PickleSerializer(KEY, allow_unsafe=True)),
        PickleSerializer(KEY, allow_unsafe=True).serialize([1]),
        [PickleSerializer(b"another of 16 by", allow_unsafe=True).serialize(Evil("/nonexistent/unpickled")), b"\x80"],
    ),
    "H75": (
        LengthPrefixedSerializer(BZ2CompressorSerializer(BYTES)),
        BZ2CompressorSerializer(BYTES).serialize(b"good"),
        [
            BZ2CompressorSerializer(BYTES).serialize(b"one") * 2,
            BZ2CompressorSerializer(BYTES).serialize(b"one")[:-1],
            BZ2CompressorSerializer(BYTES).serialize(bytes(5 << 20)),
            b"",
        ],
    ),
    "H77 msgpack": (
        LengthPrefixedSerializer(MessagePackSerializer()),
        b"\x01",
        [b"\xdd\x80\0\0\0", b"\x91" * 100_000 + b"\x90", b"\xc9\x7f\xff\xff\xff\x01", b"\x81\x01\x02"],
    ),
    "H77 cbor": (
        LengthPrefixedSerializer(CBORSerializer()),
        b"\x01",
        [b"\x9a\x80\0\0\0", b"\x81" * 100_000 + b"\x80", b"\xd8\x1c\x81\xd8\x1d\0", b"\xa1\x01\x02"],
    ),
    "H78 line": (StringLineSerializer(), b"good\n", [b"\xff\n", b"a\xc3\xa9\n", b"a\0b\n"]),
}


def framed(serializer: Any, data: bytes) -> bytes:
    is_framed = isinstance(serializer, LengthPrefixedSerializer)
    return len(data).to_bytes(4, "big") + data if is_framed else data


@pytest.mark.row("H74", "H75", "H77", "H78")
@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_packet_is_told_and_the_stream_goes_on(name: str, where: Path | None) -> None:
    serializer, good, bad = BAD[name]
    good = framed(serializer, good)
    watched = Watched()
    async with served(watched, StreamProtocol(serializer), good, where) as server:
        with peer_of(server) as peer:
            for data in bad:
                await told(peer, framed(serializer, data) + good)
                assert await heard(peer, len(good)) == good
        assert [type(one) for one in watched.errors[: len(bad)]] == [StreamProtocolParseError] * len(bad)
        assert all(isinstance(one.__cause__, DeserializeError) for one in watched.errors[: len(bad)])


@pytest.mark.row("H78")
async def test_a_struct_that_holds_no_number_is_told_and_the_stream_goes_on() -> None:
    watched = Watched()
    good = b"\x3f\x80\0\0"
    async with served(watched, StreamProtocol(FIXED), good) as server:
        with peer_of(server) as peer:
            await told(peer, b"\x7f\xc0\0\0" + good)
            assert await heard(peer, 4) == good
            await told(peer, b"\x3f\x80")  # half of one
        await until(lambda: len(watched.errors) == 2)
        assert [type(one) for one in watched.errors] == [StreamProtocolParseError, StreamTruncated]


@pytest.mark.row("H76")
async def test_all_that_is_wrong_with_an_encrypted_packet_is_told_alike() -> None:
    serializer, token, bad = encrypted()
    watched = Watched()
    async with AsyncTCPNetworkServer(watched, ("127.0.0.1", 0), StreamProtocol(serializer)) as server:
        with peer_of(server) as peer:
            await told(peer, token + b"\r\n" + b"".join(bad))
            await until(lambda: len(watched.errors) == len(bad))
        assert watched.seen == 1
        told_of = {(type(one), str(one)) for one in watched.errors[: len(bad)]}
        assert told_of == {(StreamProtocolParseError, "a packet of the stream is faulty: the packet is not authentic")}


@pytest.mark.row("H80")
async def test_nothing_of_a_packet_is_in_any_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    make: Callable[[], Any] = lambda: StreamProtocol(JSONSerializer(type=int))  # noqa: E731  # one for each server
    async with served(echo, make(), b"1\n") as server:
        with peer_of(server) as peer:
            await told(peer, b'"password"\n')
            assert await all_of(peer) == b""
        assert "password" not in repr(server)
    assert "password" not in caplog.text
