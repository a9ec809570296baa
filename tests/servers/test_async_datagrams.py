# SPDX-License-Identifier: MIT
"""Asynchronous packet servers of datagrams, against bare sockets, on every runtime."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests import aio
from tests.servers.scene import ANY, DATAGRAMS, LINES, address_of, peer_of, until
from tieline import UDP, Limits, UnixDatagram
from tieline.clients import AsyncUnixDatagramClient
from tieline.errors import (
    ClientClosedError,
    DatagramProtocolParseError,
    LocalProtocolError,
    PacketConversionError,
)
from tieline.protocol import DatagramProtocol
from tieline.runtimes.detect import current_backend
from tieline.serializers import AbstractPacketSerializer, BytesSerializer
from tieline.servers import AsyncTCPNetworkServer, AsyncUDPNetworkServer, AsyncUnixDatagramServer, DatagramPeer
from tieline.servers.datagrams import DatagramService
from tieline.socket import IPv4SocketAddress, SocketAncillary, UnixSocketAddress

BYTES: DatagramProtocol[bytes] = DatagramProtocol(BytesSerializer())
AROUND = [-1, 0, 1]


async def echo(packet: Any, peer: DatagramPeer[Any]) -> None:
    await peer.send_packet(packet)


async def nothing(_packet: Any, _peer: Any) -> None: ...


def asker(server: Any) -> socket.socket:
    return peer_of(server, socket.SOCK_DGRAM)


async def answer(sock: socket.socket) -> bytes:
    """Return the next datagram that comes; the loop goes on meanwhile."""
    while True:
        try:
            return sock.recv(1 << 17)
        except BlockingIOError:
            await aio.sleep(0.001)


@contextmanager
def unix_asker(server: Any, path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.connect(address_of(server))
        sock.setblocking(False)
        yield sock


# --- construction ----------------------------------------------------------------------------------------------------


async def one(_client: object) -> None: ...


WRONG: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ((None, ANY, DATAGRAMS), {}, TypeError, "handler must be an async function"),
    ((one, ANY, DATAGRAMS), {}, TypeError, "handler is called with the packet and its peer, and too many positional"),
    ((nothing, ANY, LINES), {}, TypeError, "protocol must be a DatagramProtocol, not StreamProtocol"),
    ((nothing, (["127.0.0.1", "a b"], 0), DATAGRAMS), {}, ValueError, "host"),
    ((nothing, UDP("127.0.0.1", 0), DATAGRAMS), {"reuse_port": True}, TypeError, "the UDP endpoint"),
    ((nothing, "path", DATAGRAMS), {}, TypeError, "takes .host, port."),
]


@pytest.mark.parametrize(("args", "settings", "error", "text"), WRONG, ids=range(len(WRONG)))
def test_wrong_arguments_are_told_before_any_io(
    args: Any, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        AsyncUDPNetworkServer(*args, **settings)


def test_a_socket_of_another_kind_is_refused() -> None:
    with socket.socket(socket.AF_INET) as sock, pytest.raises(ValueError, match="SOCK_DGRAM"):
        AsyncUDPNetworkServer(nothing, sock, DATAGRAMS)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(TypeError, match="reuse_port: the socket that was given says that already"),
    ):
        AsyncUDPNetworkServer(nothing, sock, DATAGRAMS, reuse_port=True)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(ValueError, match="AF_INET, expected AF_UNIX"),
    ):
        AsyncUnixDatagramServer(nothing, sock, DATAGRAMS)


# --- serving ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("H73")
@pytest.mark.parametrize("size", [0, 1, 65507])
async def test_packets_are_answered_over_udp(size: int) -> None:
    async with AsyncUDPNetworkServer(echo, ANY, BYTES) as server:
        assert isinstance(server.get_addresses()[0], UDP)
        with asker(server) as peer:
            peer.send(b"x" * size)
            assert await answer(peer) == b"x" * size
        assert (server.received, server.dropped, server.faulty) == (1, 0, 0)
        await until(lambda: server.peers == 0)


async def test_packets_are_answered_over_ipv6() -> None:
    async with AsyncUDPNetworkServer(echo, ("::1", 0), BYTES) as server:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
            peer.connect(address_of(server))
            peer.setblocking(False)
            peer.send(b"x")
            assert await answer(peer) == b"x"


@pytest.mark.parametrize("where", [None, "", ["127.0.0.1", "::1"], ("127.0.0.2", "127.0.0.1", "::1")])
async def test_several_hosts_have_a_socket_each_on_one_port(where: Any) -> None:
    async with AsyncUDPNetworkServer(echo, (where, 0), BYTES) as server:
        addresses: Any = server.get_addresses()
        assert len(addresses) == (len(where) if where else 2)
        assert len({address.port for address in addresses}) == 1
        assert {address.host for address in addresses} == set(where or ("0.0.0.0", "::"))
        for address in addresses:
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.connect((host, address.port))  # and so nobody else is heard
                peer.setblocking(False)
                peer.send(b"x")
                assert await answer(peer) == b"x"
        assert (server.received, server.dropped, server.faulty) == (len(addresses), 0, 0)
        await until(lambda: server.peers == 0)
    assert server.get_addresses() == ()


@pytest.mark.row("H80")
async def test_several_sockets_share_the_limits_of_their_server() -> None:
    go_on = aio.Event()

    async def handler(_packet: bytes, _peer: Any) -> None:
        await go_on.wait()

    limits = Limits(max_peers=2)
    async with AsyncUDPNetworkServer(handler, (["127.0.0.1", "127.0.0.2"], 0), BYTES, limits=limits) as server:
        peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
        for number, peer in enumerate(peers):
            peer.connect((("127.0.0.1", "127.0.0.2")[number % 2], address_of(server)[1]))
            peer.send(b"x")
            await until(partial(lambda so_far: server.received == so_far, number + 1))
        assert (server.peers, server.dropped) == (2, 2)
        go_on.set()
        await until(lambda: server.peers == 0)
        peers[3].send(b"x")
        await until(lambda: server.received == 5)
        assert server.dropped == 2
        for peer in peers:
            peer.close()


@pytest.mark.parametrize("hosts", [["localhost", "127.0.0.1"], ["127.0.0.1", "localhost"], ["127.0.0.1"] * 2])
async def test_a_host_that_is_named_twice_is_listened_on_once(hosts: list[str]) -> None:
    async def connected(_client: Any) -> None: ...

    for server in (
        AsyncUDPNetworkServer(nothing, (hosts, 0), BYTES),
        AsyncTCPNetworkServer(connected, (hosts, 0), LINES),
    ):
        async with server:
            addresses: Any = server.get_addresses()
            assert [address.host for address in addresses].count("127.0.0.1") == 1


async def test_an_endpoint_for_connecting_is_refused_where_it_is_to_listen() -> None:
    server = AsyncUDPNetworkServer(nothing, UDP("127.0.0.1", 0, local_addr=("127.0.0.1", 0)), BYTES)
    with pytest.raises(ValueError, match="is for connecting"):
        await server.listen(nursery=aio.nursery())


async def test_a_server_that_cannot_have_one_of_its_hosts_has_none() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.2", 0))
        port = taken.getsockname()[1]
        server = AsyncUDPNetworkServer(nothing, (["127.0.0.1", "127.0.0.2"], port), BYTES)
        with pytest.raises(OSError, match=r"cannot listen on udp://127\.0\.0\.1,127\.0\.0\.2:") as caught:
            await server.listen(nursery=aio.nursery())
        assert caught.value.errno == errno.EADDRINUSE
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", port))  # which is free


@pytest.mark.parametrize("where", ["file", "@abstract"])
async def test_packets_are_answered_over_unix_sockets(where: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    name = f"@tieline-{tmp_path.name}-{aio.on_trio()}" if where.startswith("@") else str(path)
    async with AsyncUnixDatagramServer(echo, name, BYTES) as server:
        assert isinstance(server.get_addresses()[0], UnixDatagram)
        assert path.exists() is (where == "file")
        with unix_asker(server, tmp_path / "peer") as peer:
            peer.send(b"x")
            assert await answer(peer) == b"x"
    assert not path.exists()


async def test_the_file_of_another_server_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with AsyncUnixDatagramServer(echo, path, BYTES):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


async def test_a_handler_is_told_whom_a_packet_came_from(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def handler(_packet: Any, peer: DatagramPeer[Any]) -> None:
        seen.append(peer)

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as peer:
            peer.send(b"1")
            peer.send(b"2")
            await until(lambda: len(seen) == 2)
            assert seen[0].address == IPv4SocketAddress(*peer.getsockname())
            assert repr(seen[0]) == "<DatagramPeer {}:{}>".format(*peer.getsockname())
            assert seen[0] == seen[1]
            assert len(set(seen)) == 1
    async with AsyncUnixDatagramServer(handler, tmp_path / "socket", BYTES) as unix:
        with unix_asker(unix, tmp_path / "peer") as peer:
            peer.send(b"1")
            await until(lambda: len(seen) == 3)
            assert seen[2].address == UnixSocketAddress.from_pathname(tmp_path / "peer")


async def test_a_peer_can_be_kept_and_sent_to_later() -> None:
    kept: list[DatagramPeer[bytes]] = []

    async def handler(_packet: bytes, peer: DatagramPeer[bytes]) -> None:
        kept.append(peer)

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as peer:
            peer.send(b"subscribe")
            await until(lambda: kept)
            await until(lambda: server.peers == 0)
            await kept[0].send_packet(b"news")
            assert await answer(peer) == b"news"
    with pytest.raises(ClientClosedError, match="the server is closed"):
        await kept[0].send_packet(b"late")


async def test_a_peer_without_a_name_cannot_be_answered(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> None:
        assert peer.address.is_unnamed()  # type: ignore[union-attr]  # of a Unix socket
        with pytest.raises(OSError, match="has no name") as caught:
            await peer.send_packet(packet)
        seen.append(caught.value.errno)

    async with AsyncUnixDatagramServer(handler, tmp_path / "socket", BYTES) as server:
        with peer_of(server, socket.SOCK_DGRAM) as peer:
            peer.send(b"x")
            await until(lambda: seen == [errno.EDESTADDRREQ])


@pytest.mark.row("K19")
async def test_descriptors_and_credentials_go_beside_packets_both_ways(tmp_path: Path) -> None:
    seen: list[Any] = []
    reading, writing = os.pipe()
    os.set_blocking(reading, False)  # rather fail than wait for ever

    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> None:
        received = peer.ancillary_data
        seen.append(received is not None)
        if received is None:
            await peer.send_packet(packet)
            return
        with pytest.raises(TypeError, match="must be a SocketAncillary"):
            await peer.send_packet(packet, ancillary_data="fds")  # type: ignore[arg-type]  # that is the point
        fds, sent = list(received.iter_fds()), SocketAncillary()
        sent.add_fds(fds)
        await peer.send_packet(packet, ancillary_data=sent)
        for fd in fds:
            os.close(fd)

    where = tmp_path / "socket"
    async with (
        aio.timeout(30),
        AsyncUnixDatagramServer(handler, where, BYTES, ancillary_bufsize=1000) as server,
        AsyncUnixDatagramClient(where, BYTES) as client,
    ):
        await client.send_packet(b"plain")
        assert await client.recv_packet() == b"plain"
        sent, back = SocketAncillary(), SocketAncillary()
        sent.add_fds([writing])
        await client.send_packet(b"with it", ancillary_data=sent)
        os.close(writing)
        assert await client.recv_packet(ancillary_data=back) == b"with it"
        (fd,) = back.iter_fds()
        os.write(fd, b"by way of the server")
        os.close(fd)
        assert os.read(reading, 100) == b"by way of the server"
        await until(lambda: server.peers == 0)
    assert os.read(reading, 100) == b""  # nobody holds the other end any more
    os.close(reading)
    assert seen == [False, True]


@pytest.mark.row("K19")
async def test_descriptors_that_nobody_takes_are_closed(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)  # rather fail than wait for ever
    async with AsyncUnixDatagramServer(nothing, tmp_path / "socket", DATAGRAMS, ancillary_bufsize=1000) as server:
        with unix_asker(server, tmp_path / "peer") as peer:
            for number, data in enumerate((b"1", b"no packet")):
                socket.send_fds(peer, [data], [writing])
                await until(partial(lambda so_far: server.received == so_far, number + 1))
            os.close(writing)
            await until(lambda: server.peers == 0)
            assert os.read(reading, 1) == b""
        assert server.faulty == 1
    os.close(reading)


@pytest.mark.row("K19")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_peer_that_is_kept_holds_no_descriptors_of_strangers(tmp_path: Path, fails: bool) -> None:
    kept: list[DatagramPeer[Any]] = []
    had: list[bool] = []

    async def handler(_packet: Any, peer: DatagramPeer[Any]) -> None:
        had.append(bool(peer.ancillary_data))
        kept.append(peer)
        if fails:
            raise ValueError("of the handler")

    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    async with AsyncUnixDatagramServer(handler, tmp_path / "socket", DATAGRAMS, ancillary_bufsize=1000) as server:
        with unix_asker(server, tmp_path / "peer") as peer:
            socket.send_fds(peer, [b"1"], [writing])
            os.close(writing)
            await until(lambda: kept and server.peers == 0)
            assert os.read(reading, 1) == b""  # nobody holds the other end any more
            assert (had, kept[0].ancillary_data) == ([True], None)
            await kept[0].send_packet("news")
            assert await answer(peer) == b'"news"'
    os.close(reading)


async def test_only_unix_sockets_carry_something_beside_packets(tmp_path: Path) -> None:
    told: list[Any] = []

    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> None:
        told.append(peer.ancillary_data)
        with pytest.raises(ValueError, match="only Unix sockets"):
            await peer.send_packet(packet, ancillary_data=SocketAncillary())
        told.append("refused")

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as peer:
            peer.send(b"x")
            await until(lambda: told == [None, "refused"])
    for size in (0, True, -1, 1.5, "x", (1 << 20) + 1, 1 << 31):
        wrong: Any = size
        with pytest.raises(ValueError, match="ancillary_bufsize must be an int of 1 or more, up to 1048576"):
            AsyncUnixDatagramServer(handler, tmp_path / "socket", BYTES, ancillary_bufsize=wrong)


@pytest.mark.row("H73", "K17")
async def test_a_datagram_that_is_too_long_raises_where_it_is_sent() -> None:
    seen: list[Any] = []

    async def handler(_packet: bytes, peer: DatagramPeer[bytes]) -> None:
        with pytest.raises(OSError, match="too long") as caught:
            await peer.send_packet(b"x" * 65508)
        seen.append(caught.value.errno)
        await peer.send_packet(b"short")

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as peer:
            peer.send(b"")
            assert await answer(peer) == b"short"
    assert seen == [errno.EMSGSIZE]


@pytest.mark.row("H73")
async def test_a_datagram_that_does_not_fit_is_dropped_and_counted() -> None:
    seen: list[bytes] = []

    async def handler(packet: bytes, _peer: Any) -> None:
        seen.append(packet)

    async with AsyncUDPNetworkServer(handler, UDP("127.0.0.1", 0, max_size=10), BYTES) as server:
        with asker(server) as peer:
            for size in (11, 10, 65507, 3):
                peer.send(b"x" * size)
            await until(lambda: len(seen) == 2)
        assert server.dropped == 2
    assert seen == [b"x" * 10, b"x" * 3]


@pytest.mark.row("H73")
async def test_a_peer_that_is_gone_hurts_nobody() -> None:
    async with AsyncUDPNetworkServer(echo, ANY, BYTES) as server:
        with asker(server) as bystander:
            for _ in range(3):
                gone = asker(server)
                gone.send(b"x")
                gone.close()  # whoever answers is refused by ICMP
                bystander.send(b"y")
                assert await answer(bystander) == b"y"


# --- in turn ---------------------------------------------------------------------------------------------------------


async def test_packets_of_one_peer_are_handled_in_turn_and_those_of_several_at_once() -> None:
    running: dict[Any, int] = {}
    most: dict[Any, int] = {}
    at_once: list[int] = []
    goes_on = aio.Event()

    async def handler(_packet: bytes, peer: DatagramPeer[bytes]) -> None:
        running[peer] = running.get(peer, 0) + 1
        most[peer] = max(most.get(peer, 0), running[peer])
        at_once.append(sum(running.values()))
        await goes_on.wait()
        await peer.send_packet(_packet)
        running[peer] -= 1

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        peers = [asker(server) for _ in range(3)]
        for number in range(4):
            for peer in peers:
                peer.send(b"%d" % number)
        await until(lambda: server.received == 12)
        goes_on.set()
        for peer in peers:
            assert [await answer(peer) for _ in range(4)] == [b"0", b"1", b"2", b"3"]
            peer.close()
    assert set(most.values()) == {1}
    assert max(at_once) == 3


@pytest.mark.row("H57", "H58")
@pytest.mark.parametrize(
    "error", [ValueError("x"), StopAsyncIteration(), TimeoutError()], ids=lambda e: type(e).__name__
)
async def test_a_handler_that_fails_hurts_nobody(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> None:
        if packet == b"fail":
            raise error
        await peer.send_packet(packet)

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as peer, asker(server) as other:
            peer.send(b"fail")
            peer.send(b"a")
            other.send(b"b")
            assert await answer(peer) == b"a"
            assert await answer(other) == b"b"
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.row("K11")
async def test_a_datagram_that_is_no_packet_is_counted_and_told_without_what_was_in_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with AsyncUDPNetworkServer(echo, ANY, DATAGRAMS) as server:
        with asker(server) as peer:
            for _ in range(5):
                peer.send(b'["secret"')
            peer.send(b"1")
            assert await answer(peer) == b"1"
        assert server.faulty == 5
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.getMessage().endswith("sent a datagram that is not a valid packet")
    assert record.exc_info is None
    assert "secret" not in caplog.text


@pytest.mark.row("K11")
async def test_a_handler_that_relays_is_not_mistaken_for_its_peer(caplog: pytest.LogCaptureFixture) -> None:
    async def relay(packet: Any, peer: DatagramPeer[Any]) -> None:
        await peer.send_packet(packet)
        raise DatagramProtocolParseError("of another peer")

    async with AsyncUDPNetworkServer(relay, ANY, DATAGRAMS) as server:
        with asker(server) as peer:
            peer.send(b"1")
            assert await answer(peer) == b"1"
        await until(lambda: server.peers == 0)
        assert server.faulty == 0
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


class Reusing(AbstractPacketSerializer[int, bytes]):
    """One that writes all its datagrams into one buffer."""

    def __init__(self) -> None:
        self._buffer = bytearray(5000)

    def serialize(self, packet: int, /) -> Any:
        self._buffer[:] = bytes([packet]) * len(self._buffer)
        return self._buffer

    def deserialize(self, data: bytes, /) -> bytes:
        return data


@pytest.mark.row("K7", "K17")
async def test_a_serializer_may_use_its_buffer_again_while_a_datagram_waits(tmp_path: Path) -> None:
    seen: list[int] = []

    async def handler(_packet: bytes, peer: DatagramPeer[int]) -> None:
        await aio.gather(*map(peer.send_packet, range(200)))

    async with AsyncUnixDatagramServer(handler, tmp_path / "socket", DatagramProtocol(Reusing())) as server:
        with unix_asker(server, tmp_path / "peer") as peer:
            peer.send(b"all")
            await until(lambda: server.received)
            while len(seen) < 200:
                data = await answer(peer)
                assert data == data[:1] * 5000
                seen.append(data[0])
    assert sorted(seen) == list(range(200))


class Odd(AbstractPacketSerializer[Any, Any]):
    """One that breaks the rules, or tells what is no packet in another way."""

    def serialize(self, packet: Any, /) -> Any:
        return packet

    def deserialize(self, data: bytes, /) -> Any:
        raise PacketConversionError("no packet") if data == b"no packet" else LookupError(data)


class OddProtocol(DatagramProtocol[Any]):
    """One whose hook lets out what the serializer raises."""

    def build_packet_from_datagram(self, datagram: bytes, /) -> Any:
        return datagram if datagram == b"fine" else self.serializer.deserialize(datagram)


@pytest.mark.row("K11")
async def test_servers_tell_what_is_wrong_with_datagrams_as_clients_do(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[BaseException | None] = []

    async def handler(_packet: Any, peer: DatagramPeer[Any]) -> None:
        for wrong in ("text", None, 5):
            with pytest.raises(RuntimeError) as caught:
                await peer.send_packet(wrong)
            seen.append(caught.value.__cause__)

    async with AsyncUDPNetworkServer(handler, ANY, OddProtocol(Odd())) as server:
        with asker(server) as peer:
            for datagram in (b"no packet", b"other", b"fine"):
                peer.send(datagram)
            await until(lambda: len(seen) == 3)
        assert server.faulty == 2
    assert {type(cause) for cause in seen} == {TypeError}
    erred, failed = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert erred.getMessage().endswith("sent a datagram that is not a valid packet")
    assert failed.exc_info is not None
    assert isinstance(failed.exc_info[1], RuntimeError)
    assert isinstance(failed.exc_info[1].__cause__, LookupError)


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.row("H73")
@pytest.mark.parametrize("by", AROUND)
async def test_max_peers(by: int, caplog: pytest.LogCaptureFixture) -> None:
    goes_on = aio.Event()

    async def handler(_packet: bytes, _peer: Any) -> None:
        await goes_on.wait()

    async with AsyncUDPNetworkServer(handler, ANY, BYTES, limits=Limits(max_peers=3)) as server:
        peers = [asker(server) for _ in range(3 + by)]
        for peer in peers:
            peer.send(b"x")
        await until(lambda: server.received == 3 + by)
        assert server.peers == min(3, 3 + by)
        assert server.dropped == max(0, by)
        goes_on.set()
        await until(lambda: server.peers == 0)
        for peer in peers:
            peer.close()
    assert ("a datagram was dropped: there are 3 peers already" in caplog.text) is (by > 0)


@pytest.mark.row("H73")
@pytest.mark.parametrize("by", AROUND)
async def test_max_waiting_per_peer(by: int) -> None:
    goes_on = aio.Event()
    seen: list[bytes] = []

    async def handler(packet: bytes, _peer: Any) -> None:
        seen.append(packet)
        await goes_on.wait()

    async with AsyncUDPNetworkServer(handler, ANY, BYTES, limits=Limits(max_waiting_per_peer=3)) as server:
        with asker(server) as peer:
            peer.send(b"first")
            await until(lambda: seen)
            for number in range(3 + by):
                peer.send(b"%d" % number)
            await until(lambda: server.received == 4 + by)
            assert server.dropped == max(0, by)
            goes_on.set()
            await until(lambda: server.peers == 0)
    assert seen[1:] == [b"0", b"1", b"2"][: 3 + by]


@pytest.mark.parametrize("by", AROUND)
async def test_max_pending_size_of_datagrams(by: int) -> None:
    goes_on = aio.Event()
    seen: list[bytes] = []

    async def handler(packet: bytes, _peer: Any) -> None:
        seen.append(packet)
        await goes_on.wait()

    limits = Limits(max_pending_size=2 * (1000 + 256) - by)  # two wait, each counting 256 more than its bytes
    async with AsyncUDPNetworkServer(handler, ANY, BYTES, limits=limits) as server:
        with asker(server) as peer:
            peer.send(b"")
            await until(lambda: seen)
            peer.send(b"x" * 1000)
            peer.send(b"y" * 1000)
            await until(lambda: server.received == 3)
            assert server.dropped == (1 if by > 0 else 0)
            goes_on.set()
            await until(lambda: server.peers == 0)
        assert server._services[0]._room.size == 0


async def test_a_handler_that_takes_too_long_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> None:
        if packet == b"hang":
            await aio.Event().wait()
        await peer.send_packet(packet)

    async with AsyncUDPNetworkServer(handler, ANY, BYTES, limits=Limits(handler_timeout=0.1)) as server:
        with asker(server) as peer:
            peer.send(b"hang")
            peer.send(b"next")
            assert await answer(peer) == b"next"
        await until(lambda: server.peers == 0)
    assert "handler cancelled (limit 0.1 s)" in caplog.text


@pytest.mark.row("H55")
async def test_a_shutdown_takes_nothing_more_in_and_ends_behind_the_socket() -> None:
    goes_on = aio.Event()
    handled: list[bytes] = []

    async def handler(packet: bytes, _peer: Any) -> None:
        handled.append(packet)
        await goes_on.wait()

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(ANY)
    async with AsyncUDPNetworkServer(handler, sock, BYTES) as server:
        with asker(server) as peer:
            peer.send(b"in time")
            await until(lambda: handled)
        down = aio.create_task(server.shutdown())
        await until(lambda: not server.is_serving())
        server._services[0].datagram_received(b"late", ("127.9.9.9", 9))  # one that was on its way to us
        goes_on.set()
        await down
        assert sock.fileno() == -1
        assert handled == [b"in time"]


async def test_a_shutdown_of_one_who_does_nothing_ends_behind_the_socket_as_well() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(ANY)
    async with AsyncUDPNetworkServer(nothing, sock, BYTES) as server:
        await server.shutdown()
        assert sock.fileno() == -1


async def test_one_that_is_cancelled_for_its_time_gives_its_turn_to_the_next_alone() -> None:
    goes_on = aio.Event()
    at_work: list[bytes] = []

    async def handler(packet: bytes, _peer: Any) -> None:
        at_work.append(packet)
        if packet == b"hang":
            await aio.Event().wait()
        with trio.CancelScope(shield=True) if aio.on_trio() else nullcontext():
            await goes_on.wait()

    async with AsyncUDPNetworkServer(handler, ANY, BYTES, limits=Limits(handler_timeout=0.5)) as server:
        with asker(server) as peer:
            peer.send(b"hang")
            peer.send(b"next")
            await until(lambda: b"next" in at_work)
            assert server.peers == 1
            peer.send(b"last")
            await until(lambda: server.received == 3)
            assert at_work == [b"hang", b"next"]
            goes_on.set()
            await until(lambda: server.peers == 0)
    assert at_work == [b"hang", b"next", b"last"]


async def test_to_close_takes_nothing_more_in_and_leaves_alone_what_is_handled() -> None:
    goes_on = aio.Event()
    handled: list[bytes] = []

    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> None:
        handled.append(packet)
        await goes_on.wait()
        await peer.send_packet(packet)

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as peer, asker(server) as other:
            peer.send(b"in time")
            await until(lambda: handled)
            sock = server._services[0].transport.get_extra_info("socket")
            server.close()
            other.send(b"late")
            goes_on.set()
            assert await answer(peer) == b"in time"
            await until(lambda: sock.fileno() == -1)
    assert handled == [b"in time"]


async def test_what_waits_at_the_end_takes_no_room_any_more() -> None:
    goes_on = aio.Event()

    async def handler(_packet: bytes, _peer: Any) -> None:
        await goes_on.wait()

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as peer:
            for _ in range(3):
                peer.send(b"x" * 1000)
            await until(lambda: server.received == 3)
        room = server._services[0]._room
        assert room.size > 2000
        down = aio.create_task(server.shutdown())
        await until(lambda: not server.is_serving())
        goes_on.set()
        await down
        assert room.size == 0


@pytest.mark.row("K11")
async def test_a_client_of_the_handlers_own_that_is_closed_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(_packet: bytes, _peer: Any) -> None:
        raise ClientClosedError("another one")

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as peer:
            peer.send(b"x")
            await until(lambda: server.received and not server.peers)
    assert "another one" in caplog.text


@pytest.mark.row("H61")
async def test_a_handler_is_not_cut_by_the_deadline_of_its_own_shutdown() -> None:
    ended: list[str] = []

    async def handler(packet: bytes, _peer: Any) -> None:
        try:
            if packet == b"hang":
                ended.append("begun")
                await aio.Event().wait()
            await server.shutdown(0.02)
            await aio.sleep(0)
            ended.append("goes on")
        except aio.Cancelled:
            ended.append(f"{packet!r} is cancelled")
            raise

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as one, asker(server) as other:
            one.send(b"hang")
            await until(lambda: ended)
            other.send(b"end")
            await until(lambda: len(ended) == 3)
    assert sorted(ended) == ["b'hang' is cancelled", "begun", "goes on"]


@pytest.mark.row("H61")
async def test_handlers_that_shut_their_server_down_do_not_wait_for_each_other() -> None:
    goes_on = aio.Event()
    seen: list[str] = []

    async def handler(_packet: bytes, _peer: Any) -> None:
        seen.append("begun")
        await goes_on.wait()
        await server.shutdown(None)
        seen.append("back")

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as one, asker(server) as other:
            for peer in (one, other):
                peer.send(b"x")
            await until(lambda: len(seen) == 2)
        goes_on.set()
        await until(lambda: seen[2:] == ["back"] * 2)


async def test_the_time_of_handlers_does_not_run_quicker_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = aio.Event()
    looks: list[float] = []
    plan_look = DatagramService._plan_look

    def counted(self: DatagramService, timeout: float) -> None:
        looks.append(timeout)
        plan_look(self, timeout)

    async def handler(_packet: bytes, _peer: Any) -> None:
        await goes_on.wait()

    monkeypatch.setattr(DatagramService, "_plan_look", counted)
    async with AsyncUDPNetworkServer(handler, ANY, BYTES, limits=Limits(handler_timeout=1000)) as server:
        with asker(server) as one, asker(server) as other:
            for peer in (one, other):
                peer.send(b"x")
            await until(lambda: server.peers == 2)
            await until(lambda: looks)
            assert looks == [1000]
            goes_on.set()
            await until(lambda: server.peers == 0)


async def test_who_was_cut_counts_until_its_handler_is_done() -> None:
    goes_on = aio.Event()

    async def handler(_packet: bytes, _peer: Any) -> None:
        try:
            await aio.Event().wait()
        finally:
            with trio.CancelScope(shield=True) if aio.on_trio() else nullcontext():
                await goes_on.wait()

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        with asker(server) as peer:
            peer.send(b"x")
            await until(lambda: server.peers == 1)
        await aio.sleep(0)  # on trio the handler has begun by then
        await server.shutdown(0)
        assert server.peers == 1
        goes_on.set()
        await until(lambda: server.peers == 0)


@pytest.mark.row("H73")
async def test_ten_thousand_strangers_leave_nothing() -> None:
    goes_on = aio.Event()

    async def handler(_packet: bytes, _peer: Any) -> None:
        await goes_on.wait()

    async with AsyncUDPNetworkServer(handler, ANY, BYTES) as server:
        for number in range(10_000):
            # As from so many ports, but by the transport's own way in: the system would drop some.
            server._services[0].datagram_received(b"x" * 1000, ("127.9.9.9", number + 1))
        assert server.peers == 1024
        assert server.dropped == 10_000 - 1024
        assert server._services[0]._room.size <= 16 << 20
        with asker(server) as peer:
            peer.send(b"newcomer")  # finds no room now, and does later
            await until(lambda: server.received == 10_001)
            goes_on.set()
            await until(lambda: server.peers == 0)
            peer.send(b"x")
            await until(lambda: server.received == 10_002)
            await until(lambda: server.peers == 0)
        assert server._services[0]._room.size == 0


@pytest.mark.row("H45")
async def test_a_peer_that_reads_nothing_is_waited_for_and_nothing_is_kept_for_it(tmp_path: Path) -> None:
    failed: list[Any] = []

    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> None:
        if packet != b"flood":
            await peer.send_packet(packet)
            return
        try:
            while True:
                await peer.send_packet(b"x" * 1000)
        except TimeoutError as exc:
            failed.append(exc.errno)

    limits = Limits(write_timeout=0.3)
    async with AsyncUnixDatagramServer(handler, tmp_path / "socket", BYTES, limits=limits) as server:
        with unix_asker(server, tmp_path / "peer") as peer:
            with unix_asker(server, tmp_path / "deaf") as deaf:
                deaf.send(b"flood")
                await until(lambda: failed == [errno.ETIMEDOUT])
                assert server._services[0].transport.get_write_buffer_size() == 0
            # The system counts what nobody reads for whoever sent it: the server's socket has room when that is gone.
            peer.send(b"x")
            assert await answer(peer) == b"x"


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_beside", [False, True])
async def test_what_a_handler_only_makes_and_does_not_do_is_told(
    has_beside: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> Any:
        return echo(packet, peer)  # and is not awaited

    async with AsyncUnixDatagramServer(handler, tmp_path / "socket", BYTES, ancillary_bufsize=100) as server:
        with unix_asker(server, tmp_path / "peer") as peer:
            socket.send_fds(peer, [b"x"], [peer.fileno()] if has_beside else [])
            await until(lambda: server.received and not server.peers)
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert "the handler returned a coroutine" in str(record.exc_info[1])


@pytest.mark.row("H55")
async def test_a_shutdown_lets_handlers_answer_and_begins_nothing_more() -> None:
    goes_on = aio.Event()
    seen: list[bytes] = []

    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> None:
        seen.append(packet)
        await goes_on.wait()
        await peer.send_packet(packet)

    server = AsyncUDPNetworkServer(handler, ANY, BYTES)
    async with server:
        with asker(server) as peer:
            peer.send(b"1")
            peer.send(b"2")
            await until(lambda: server.received == 2 and seen)  # else nothing is begun yet
            down = aio.create_task(server.shutdown(30))
            await until(lambda: not server.is_serving())
            goes_on.set()
            assert await answer(peer) == b"1"
            await down
    assert seen == [b"1"]


@pytest.mark.row("H55")
async def test_after_the_deadline_what_is_left_is_cancelled() -> None:
    cancelled: list[str] = []
    at_work = aio.Event()

    async def handler(_packet: bytes, _peer: Any) -> None:
        try:
            at_work.set()
            await aio.Event().wait()
        except aio.Cancelled:
            cancelled.append("yes")
            raise

    server = AsyncUDPNetworkServer(handler, ANY, BYTES)
    async with server:
        with asker(server) as peer:
            peer.send(b"1")
            await at_work.wait()
            await server.shutdown(0.05)
            await until(lambda: cancelled)
    assert cancelled == ["yes"]


@pytest.mark.row("H61")
async def test_a_handler_may_shut_its_server_down() -> None:
    done = aio.Event()

    async def handler(_packet: bytes, _peer: Any) -> None:
        await server.shutdown(30)
        done.set()

    server = AsyncUDPNetworkServer(handler, ANY, BYTES)
    async with server:
        with asker(server) as peer:
            peer.send(b"x")
            await done.wait()
            assert not server.is_serving()
            await until(lambda: server.peers == 0)


async def test_serve_forever_listens_and_ends_with_a_shutdown() -> None:
    server = AsyncUDPNetworkServer(echo, ANY, BYTES)
    serving = aio.create_task(server.serve_forever())
    await until(server.is_serving)
    with asker(server) as peer:
        peer.send(b"x")
        assert await answer(peer) == b"x"
    await server.shutdown(30)
    await serving


async def test_a_bound_socket_is_listened_on_once(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(ANY)
    server = AsyncUDPNetworkServer(echo, sock, BYTES)
    async with server:
        with asker(server) as peer:
            peer.send(b"x")
            assert await answer(peer) == b"x"
    await server.serve_forever()  # it has ended
    with pytest.raises(LocalProtocolError, match="has been used"):
        async with server:
            pass
    await server.serve_forever()  # which returns at once: what was refused has begun nothing


async def test_a_server_can_listen_again_after_it_was_shut_down() -> None:
    server = AsyncUDPNetworkServer(echo, ANY, BYTES)
    for _ in range(2):
        async with server:
            assert server.received == 0
            with asker(server) as peer:
                peer.send(b"x")
                assert await answer(peer) == b"x"
        assert "not listening" in repr(server)


@pytest.mark.row("H55")
@pytest.mark.parametrize("deadline", [30, 0.02])
async def test_a_shutdown_minds_the_handlers_from_before_a_server_listened_again(deadline: float) -> None:
    goes_on = aio.Event()
    ended: list[str] = []

    async def handler(packet: bytes, peer: DatagramPeer[bytes]) -> None:
        try:
            await goes_on.wait()
            ended.append("in order")
        except aio.Cancelled:
            ended.append("cancelled")
            raise

    server = AsyncUDPNetworkServer(handler, ANY, BYTES, limits=Limits(max_peers=1))
    async with server:
        with asker(server) as peer:
            peer.send(b"x")
            await until(lambda: server.peers == 1)
        server.close()
        await server.listen(nursery=aio.nursery())
        with asker(server) as peer:
            peer.send(b"y")
            await until(lambda: server.received == 1)
        assert (server.peers, server.dropped) == (1, 1)  # the room is that of the server
        down = aio.create_task(server.shutdown(deadline))
        await until(lambda: not server.is_serving())
        if deadline == 30:
            assert not ended
            goes_on.set()
        await down
        await until(lambda: server.peers == 0)
        assert ended == ["in order" if deadline == 30 else "cancelled"]


@pytest.mark.parametrize("has_begun", [True, False])
async def test_listening_that_fails_leaves_no_handler_behind(has_begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def handler(_packet: bytes, _peer: Any) -> None:
        try:
            seen.append("begun")
            await aio.Event().wait()
        except aio.Cancelled:
            seen.append("cancelled")
            raise

    backend: Any = type(current_backend())
    really = backend.open_datagrams
    opened: list[Any] = []

    async def open_datagrams(self: Any, factory: Any, asked: Any, **settings: Any) -> Any:
        if opened:
            peer.sendto(b"x", opened[0].getsockname())
            while not (seen if has_begun else server.peers):
                await aio.sleep(0)
            asked.sock.close()
            raise OSError("no")
        opened.append(asked.sock)
        return await really(self, factory, asked, **settings)

    server = AsyncUDPNetworkServer(handler, (["127.0.0.1", "127.0.0.2"], 0), BYTES)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        with monkeypatch.context() as patch:
            patch.setattr(backend, "open_datagrams", open_datagrams)
            with pytest.raises(OSError, match="no"):
                await server.listen(nursery=aio.nursery())
        await until(lambda: server.peers == 0 and opened[0].fileno() == -1)
    assert seen in ([], ["begun", "cancelled"])
    await server.shutdown(30)  # which finds nothing to wait for


async def test_an_address_that_is_taken_is_an_os_error(tmp_path: Path) -> None:
    async with AsyncUDPNetworkServer(echo, ANY, BYTES) as server:
        with pytest.raises(OSError, match="cannot listen on udp") as caught:
            async with AsyncUDPNetworkServer(echo, address_of(server), BYTES):
                pass
        assert caught.value.errno == errno.EADDRINUSE
    async with AsyncUnixDatagramServer(echo, tmp_path / "socket", BYTES):
        with pytest.raises(OSError, match="live socket"):
            async with AsyncUnixDatagramServer(echo, tmp_path / "socket", BYTES):
                pass
        assert os.listdir(tmp_path) == ["socket"]
