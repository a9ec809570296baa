# SPDX-License-Identifier: MIT
"""Asynchronous packet clients of datagrams against bare sockets, on every runtime."""

from __future__ import annotations

import errno
import gc
import os
import random
import socket
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from tests import aio
from tests.clients.datagram_peers import BYTES, JSON, send_fds, udp_peer, unix_peer
from tieline.clients import AsyncUDPNetworkClient, AsyncUnixDatagramClient
from tieline.errors import (
    ClientClosedError,
    DatagramProtocolParseError,
    DeserializeError,
)
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.runtimes.detect import current_backend
from tieline.serializers import JSONSerializer, StringLineSerializer
from tieline.socket import SCMRights, SocketAncillary, UnixSocketAddress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# --- connecting ------------------------------------------------------------------------------------------------------


@pytest.mark.row("K1", "K4", "K7")
async def test_a_client_connects_sends_and_receives() -> None:
    with udp_peer() as peer:
        port = peer.getsockname()[1]
        client = AsyncUDPNetworkClient(("127.0.0.1", port), JSON)
        assert not client.is_connected()
        assert repr(client) == f"<AsyncUDPNetworkClient udp://127.0.0.1:{port} not connected>"
        async with client:
            assert client.is_connected()
            assert client.backend() is current_backend()
            await client.send_packet({"a": 1})
            data, addr = peer.recvfrom(100)
            assert data == b'{"a":1}'
            assert client.get_local_address() == addr
            peer.sendto(b"[1]", addr)
            peer.sendto(b"[2]", addr)
            assert [await client.recv_packet(), await client.recv_packet()] == [[1], [2]]
            await client.send_packets([3, 4])
            assert [peer.recv(10), peer.recv(10)] == [b"3", b"4"]
        assert client.is_closing()
        assert not client.is_connected()
        assert "closed" in repr(client)


@pytest.mark.row("K4")
async def test_a_client_connects_when_it_is_first_used() -> None:
    with udp_peer() as peer:
        client = AsyncUDPNetworkClient(peer.getsockname(), BYTES)
        await client.send_packet(b"x")
        data, addr = peer.recvfrom(100)
        peer.sendto(data, addr)
        assert await client.recv_packet() == b"x"
        await client.wait_connected()
        await client.aclose()
        receiver = AsyncUDPNetworkClient(peer.getsockname(), BYTES)
        receiving = aio.create_task(receiver.recv_packet())
        while not receiver.is_connected():
            await aio.sleep(0)
        peer.sendto(b"y", receiver.get_local_address())
        assert await receiving == b"y"
        await receiver.aclose()


@pytest.mark.row("K2")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_a_client_stays_within_a_family_and_sends_from_where_it_is_told(family: int) -> None:
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with udp_peer(family) as peer:
        where = (host, peer.getsockname()[1])
        async with AsyncUDPNetworkClient(where, BYTES, local_address=(host, 0), family=family) as client:
            assert client.socket.family == family
            await client.send_packet(b"x")
            assert peer.recvfrom(10)[1] == client.get_local_address()


@pytest.mark.row("K5")
async def test_what_strangers_send_is_not_received() -> None:
    with udp_peer() as peer, udp_peer() as stranger:
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES) as client:
            where = client.get_local_address()
            stranger.sendto(b"stranger", where)
            peer.sendto(b"peer", where)
            assert await client.recv_packet() == b"peer"
            assert [packet async for packet in client.iter_received_packets()] == []


@pytest.mark.row("K5", "K18")
async def test_a_unix_client_has_a_name_to_be_answered_at(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (peer, path):
        async with AsyncUnixDatagramClient(path, BYTES) as client:
            name = client.get_local_name().as_abstract_name()
            assert name is not None
            await client.send_packet(b"x")
            data, addr = peer.recvfrom(10)
            assert (data, addr) == (b"x", b"\0" + name)
            peer.sendto(b"y", addr)
            assert await client.recv_packet() == b"y"
            assert client.get_peer_name() == UnixSocketAddress.from_pathname(path)


@pytest.mark.row("K2")
async def test_the_file_of_a_unix_client_is_not_removed(tmp_path: Path) -> None:
    own = tmp_path / "own"
    with unix_peer(tmp_path) as (peer, path):
        async with AsyncUnixDatagramClient(path, BYTES, local_path=own) as client:
            await client.send_packet(b"x")
            assert peer.recvfrom(10)[1] == str(own)
        assert own.exists()
        async with AsyncUnixDatagramClient(path, BYTES, local_path=os.fsencode(own)) as client:  # it is taken over
            assert client.get_local_name().as_pathname() == str(own)


@pytest.mark.row("K1", "K5")
async def test_a_given_socket_is_owned_and_gets_a_name(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (_, path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.connect(path)
        async with AsyncUnixDatagramClient(sock, BYTES) as client:
            assert client.get_local_name().as_abstract_name()
            assert client.socket.fileno() == sock.fileno()
        assert sock.fileno() == -1
    unused = socket.socket(type=socket.SOCK_DGRAM)
    unused.connect(("127.0.0.1", 9))
    client_of_it = AsyncUDPNetworkClient(unused, BYTES)
    await client_of_it.aclose()
    assert unused.fileno() == -1
    with pytest.raises(ClientClosedError):
        await client_of_it.wait_connected()


@pytest.mark.row("K6")
async def test_errors_of_connecting_are_plain(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await AsyncUnixDatagramClient(tmp_path / "missing", BYTES).wait_connected()
    (tmp_path / "dead").touch()
    dead = AsyncUnixDatagramClient(tmp_path / "dead", BYTES)
    for _ in range(2):  # it may be tried again
        with pytest.raises(ConnectionRefusedError):
            await dead.wait_connected()
    with pytest.raises(socket.gaierror):
        await AsyncUDPNetworkClient(("no.such.host.invalid", 1), BYTES).wait_connected()


def unconnected() -> socket.socket:
    return socket.socket(type=socket.SOCK_DGRAM)


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (("h", 1), {"protocol": StreamProtocol(StringLineSerializer())}, TypeError, "must be a DatagramProtocol, not St"),
    ("h", {}, TypeError, r"a client of UDP takes \(host, port\), .* or a connected socket, not str"),
    (("h", 1), {"family": socket.AF_UNIX}, ValueError, "family must be AF_UNSPEC, AF_INET or AF_INET6"),
    (("h", 1), {"backend": "curio"}, NotImplementedError, "there is no runtime 'curio'"),
    (("h", 1), {"proxy": "http://h:1"}, ValueError, "datagrams go through one SOCKS5 proxy"),
    (unconnected, {}, OSError, "the given socket is not connected"),
    (
        lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        {},
        ValueError,
        "family AF_UNIX, expected AF_INET",
    ),
    (socket.socket, {}, ValueError, "must be one of datagrams"),
    (unconnected, {"local_address": ("127.0.0.1", 0)}, TypeError, "local_address: only for connecting"),
    (unconnected, {"family": socket.AF_INET, "proxy": "socks5://h:1"}, TypeError, "family, proxy: only for"),
]


@pytest.mark.row("K1", "K2", "K3")
@pytest.mark.parametrize(("address", "settings", "error", "text"), REFUSED)
def test_what_makes_no_sense_is_refused_before_any_io(
    address: Any, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    where = address() if callable(address) else address
    with pytest.raises(error, match=text) as caught:
        AsyncUDPNetworkClient(where, **{"protocol": BYTES, **settings})
    if isinstance(where, socket.socket):
        assert where.fileno() == -1
    if error is OSError:
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == errno.ENOTCONN


@pytest.mark.row("K1")
def test_a_unix_client_takes_paths_names_and_unix_sockets() -> None:
    with pytest.raises(TypeError, match="takes a path or a connected socket, not int"):
        AsyncUnixDatagramClient(5, BYTES)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError, match="local_path must be a path, not int"):
        AsyncUnixDatagramClient("x", BYTES, local_path=5)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="of family AF_INET, expected AF_UNIX"):
        AsyncUnixDatagramClient(unconnected(), BYTES)
    with pytest.raises(TypeError, match="local_path: only for connecting"):
        AsyncUnixDatagramClient(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), BYTES, local_path="x")
    for path, shown in (
        (b"\0name", "unix-dgram:@name"),
        (UnixSocketAddress.from_abstract_name("name"), "unix-dgram:@name"),
        (UnixSocketAddress.from_pathname("@file"), "unix-dgram:./@file"),
        (UnixSocketAddress.from_pathname("/a/b"), "unix-dgram:///a/b"),
    ):
        assert str(AsyncUnixDatagramClient(path, BYTES)) == f"<AsyncUnixDatagramClient {shown} not connected>"


# --- packets ---------------------------------------------------------------------------------------------------------


class Odd(JSONSerializer[Any, Any]):
    """Fails in ways of its own."""

    def deserialize(self, data: bytes) -> Any:
        if data == b'"bug"':
            raise KeyError("a bug")
        return super().deserialize(data)


class OddProtocol(DatagramProtocol[Any]):
    def build_packet_from_datagram(self, datagram: bytes, /) -> Any:
        if datagram == b"raw":
            raise DeserializeError("raised by the hook itself")
        return super().build_packet_from_datagram(datagram)


@pytest.mark.row("K11")
async def test_what_is_no_packet_is_told_and_the_next_one_comes() -> None:
    with udp_peer() as peer:
        async with AsyncUDPNetworkClient(peer.getsockname(), OddProtocol(Odd())) as client:
            for data in (b"1", b"{", b'"bug"', b"raw", b"2"):
                peer.sendto(data, client.get_local_address())
            assert await client.recv_packet() == 1
            with pytest.raises(DatagramProtocolParseError) as told:
                await client.recv_packet()
            assert isinstance(told.value.__cause__, DeserializeError)
            with pytest.raises(RuntimeError, match="raised KeyError while it read a datagram") as failed:
                await client.recv_packet()
            assert isinstance(failed.value.__cause__, KeyError)
            with pytest.raises(DatagramProtocolParseError, match="raised by the hook itself"):
                await client.recv_packet()
            assert await client.recv_packet() == 2
            with pytest.raises(RuntimeError, match="raised TypeError while it made the bytes"):
                await client.send_packet(object())
            with pytest.raises(RuntimeError, match="raised TypeError while it made the bytes"):
                await client.send_packets([1, object()])
            await client.send_packet("last")
            assert peer.recv(100) == b'"last"'  # and nothing came before


@pytest.mark.row("K14")
async def test_all_that_has_come_is_taken_at_once_up_to_what_is_wrong() -> None:
    with udp_peer() as peer:
        async with AsyncUDPNetworkClient(peer.getsockname(), JSON) as client:
            for data in (b"1", b"2", b"{", b"3"):
                peer.sendto(data, client.get_local_address())
            assert await client.recv_packets() == [1, 2]
            with pytest.raises(DatagramProtocolParseError):
                await client.recv_packets()
            assert await client.recv_packets() == [3]


@pytest.mark.row("K14")
async def test_an_iterator_takes_what_the_system_holds_and_no_more() -> None:
    with udp_peer() as peer:
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES) as client:
            for number in range(100):
                peer.sendto(b"%d" % number, client.get_local_address())
            seen = [packet async for packet in client.iter_received_packets()]
            assert seen == [b"%d" % number for number in range(100)]
            assert [packet async for packet in client.iter_received_packets(timeout=0.01)] == []
            peer.sendto(b"late", client.get_local_address())
            assert [packet async for packet in client.iter_received_packets(timeout=0.01)] == [b"late"]


@pytest.mark.row("K15")
async def test_tasks_get_their_turn_in_the_order_in_which_they_came() -> None:
    with udp_peer() as peer:
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES) as client:
            name = client.get_local_address()
            for _ in range(70):
                for data in (b"1", b"2", b"3"):
                    peer.sendto(data, name)
                tasks = aio.in_order(client.recv_packet, lambda: client._recv_within(60), client.recv_packet)
                assert [await task for task in tasks] == [b"1", b"2", b"3"]
            for _ in range(70):
                await aio.gather(*aio.in_order(lambda: client.send_packet(b"1"), lambda: client.send_packet(b"2")))
                assert [peer.recv(10), peer.recv(10)] == [b"1", b"2"]


@pytest.mark.row("K11", "K14", "K15")
@pytest.mark.parametrize("before", range(30, 35))
async def test_each_fault_is_told_whoever_else_receives(before: int) -> None:
    with udp_peer() as peer:
        async with AsyncUDPNetworkClient(peer.getsockname(), JSON) as client:
            name = client.get_local_address()
            for _ in range(before):
                peer.sendto(b"0", name)
                await client.recv_packet()
            for data in (b"1", b"{", b"2", b"{"):
                peer.sendto(data, name)
            both = [aio.create_task(client.recv_packets()) for _ in range(2)]
            seen = [*await aio.gather(*both, return_exceptions=True)]
            peer.sendto(b"3", name)
            while [3] not in seen:
                try:
                    seen.append(await client.recv_packets())
                except DatagramProtocolParseError as exc:
                    seen.append(exc)
    assert [packet for packets in seen if isinstance(packets, list) for packet in packets] == [1, 2, 3]
    assert sum(isinstance(one, DatagramProtocolParseError) for one in seen) == 2


async def test_a_fault_that_was_told_leaves_nothing_for_the_garbage_collector() -> None:
    with udp_peer() as peer:
        async with AsyncUDPNetworkClient(peer.getsockname(), JSON) as client:
            for data in (b"1", b"{"):
                peer.sendto(data, client.get_local_address())
            told: list[ref[Exception]] = []
            gc.disable()
            try:
                assert await client.recv_packets() == [1]
                try:
                    await client.recv_packet()
                except DatagramProtocolParseError as exc:
                    told.append(ref(exc))
                assert [one() for one in told] == [None]
            finally:
                gc.enable()


@pytest.mark.row("K17")
async def test_a_refusal_is_told_and_the_client_goes_on() -> None:
    with udp_peer() as peer:
        where = peer.getsockname()
    async with AsyncUDPNetworkClient(where, BYTES) as client:
        await client.send_packet(b"x")
        with pytest.raises(ConnectionRefusedError, match=rf"refused \(127\.0\.0\.1:{where[1]}\)"):
            await client.recv_packet()
        await client.send_packet(b"x")  # nobody there
        with pytest.raises(ConnectionRefusedError, match=rf"refused \(127\.0\.0\.1:{where[1]}\)"):
            await client.send_packet(b"y")
        with socket.socket(type=socket.SOCK_DGRAM) as again:
            again.bind(where)
            again.settimeout(10)
            await client.send_packet(b"z")
            data, addr = again.recvfrom(10)
            assert data == b"z"
            again.sendto(b"hello", addr)
            assert await client.recv_packet() == b"hello"


@pytest.mark.row("K17")
async def test_an_empty_datagram_is_an_empty_packet(tmp_path: Path) -> None:
    with udp_peer() as peer, unix_peer(tmp_path) as (unix, path):
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES) as client:
            await client.send_packet(b"")
            data, addr = peer.recvfrom(10)
            assert data == b""
            peer.sendto(b"", addr)
            assert await client.recv_packet() == b""
        async with AsyncUnixDatagramClient(path, BYTES) as client_of_unix:
            await client_of_unix.send_packet(b"")
            data, addr = unix.recvfrom(10)
            unix.sendto(b"", addr)
            assert await client_of_unix.recv_packet() == b""


@pytest.mark.row("K17")
async def test_a_packet_that_is_too_long_is_refused_at_the_send(tmp_path: Path) -> None:
    with udp_peer() as peer, unix_peer(tmp_path) as (_, path):
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES) as client:
            with pytest.raises(OSError, match="too long") as caught:
                await client.send_packet(bytes(65508))
            assert caught.value.errno == errno.EMSGSIZE
            await client.send_packet(bytes(65507))
            assert len(peer.recv(1 << 17)) == 65507
        async with AsyncUnixDatagramClient(path, BYTES) as client_of_unix:
            with pytest.raises(OSError, match="too long"):
                await client_of_unix.send_packet(bytes(1 << 24))


@pytest.mark.row("K17")
async def test_a_long_datagram_of_a_unix_socket_comes_whole(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (peer, path):
        async with AsyncUnixDatagramClient(path, BYTES) as client:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            data = bytes(peer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - 1024)
            await client.send_packet(b"x")
            peer.sendto(data, peer.recvfrom(1)[1])
            assert await client.recv_packet() == data


@pytest.mark.row("K17")
async def test_what_nobody_takes_is_dropped_and_counted() -> None:
    with udp_peer() as peer:
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES) as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(1000):
                peer.sendto(bytes(100), client.get_local_address())
            taken = len([packet async for packet in client.iter_received_packets()])
            assert 0 < taken < 1000
            assert taken + client.get_extra_info("dropped_by_system") == 1000
            assert client.get_extra_info("dropped") == 0


# --- waiting, cancelling, closing ------------------------------------------------------------------------------------


@pytest.mark.row("K13", "K15")
async def test_cancelled_receivers_lose_nothing_and_keep_the_order() -> None:
    chance = random.Random(7)
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    with theirs:
        theirs.setblocking(False)
        async with AsyncUnixDatagramClient(ours, BYTES) as client:
            seen: list[bytes] = []

            async def receive() -> None:
                seen.append(await client.recv_packet())

            for number in range(3000):
                if number - len(seen) >= 8:  # the system's queue is short
                    await receive()
                theirs.send(b"%d" % number)
                receiving = aio.create_task(receive())
                for _ in range(chance.randrange(4)):
                    await aio.sleep(0)
                receiving.cancel()
                await aio.gather(receiving, return_exceptions=True)
            cancelled = 3000 - len(seen)
            seen += [packet async for packet in client.iter_received_packets()]
            assert seen == [b"%d" % number for number in range(3000)]
            assert cancelled > 0


@pytest.mark.row("K15")
async def test_receivers_are_served_in_the_order_in_which_they_came() -> None:
    with udp_peer() as peer:
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES) as client:
            served: list[tuple[int, bytes]] = []

            async def receive(number: int) -> None:
                served.append((number, await client.recv_packet()))

            tasks = []
            for number in range(4):
                tasks.append(aio.create_task(receive(number)))
                await aio.sleep(0)
                await aio.sleep(0)
            for number in range(4):
                peer.sendto(b"%d" % number, client.get_local_address())
            await aio.gather(*tasks)
            assert served == [(number, b"%d" % number) for number in range(4)]


@pytest.mark.row("K13", "K16")
async def test_a_sender_waits_for_room_and_closing_ends_that(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (peer, path):
        client = AsyncUnixDatagramClient(path, BYTES)
        sent = 0

        async def fill() -> None:
            nonlocal sent
            while True:
                await client.send_packet(b"%d" % sent)
                sent += 1

        filling = aio.create_task(fill())
        await until_it_rests(lambda: sent)
        filling.cancel()
        with pytest.raises(aio.CancelledError):
            await filling
        assert 0 < sent < 10_000  # there is a bound, and what was cancelled was not sent
        behind = aio.create_task(client.send_packet(b"last"))
        for number in range(sent):
            assert peer.recv(10) == b"%d" % number
        await behind
        assert peer.recv(10) == b"last"
        sent = 0
        filling = aio.create_task(fill())
        await until_it_rests(lambda: sent)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await filling


async def until_it_rests(look: Callable[[], int]) -> None:
    """Return when a number has not changed for many turns."""
    seen, turns = look(), 0
    while turns < 50 or not seen:
        await aio.sleep(0.001)
        turns = turns + 1 if look() == seen else 0
        seen = look()


@pytest.mark.row("K9", "K15")
async def test_closing_wakes_all_who_wait() -> None:
    with udp_peer() as peer:
        client = AsyncUDPNetworkClient(peer.getsockname(), BYTES)
        await client.wait_connected()
        waiting = [aio.create_task(client.recv_packet()) for _ in range(3)]
        iterating = aio.create_task(all_of(client))
        await aio.sleep(0)
        await aio.sleep(0)
        await client.aclose()
        results = await aio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [ClientClosedError] * 3
        assert await iterating == []
        await client.aclose()
        client.abort()
        for call in (client.recv_packet, client.recv_packets, lambda: client.send_packet(b""), client.wait_connected):
            with pytest.raises(ClientClosedError):
                await call()
        assert await all_of(client) == []
        with pytest.raises(ClientClosedError):
            client.get_remote_address()


async def all_of(client: AsyncUDPNetworkClient[bytes]) -> list[bytes]:
    return [packet async for packet in client.iter_received_packets(timeout=None)]


@pytest.mark.row("K9")
async def test_what_was_not_taken_is_dropped_at_the_end() -> None:
    with udp_peer() as peer:
        client = AsyncUDPNetworkClient(peer.getsockname(), JSON)
        await client.wait_connected()
        for data in (b"1", b"{"):
            peer.sendto(data, client.get_local_address())
        assert await client.recv_packets() == [1]
        await client.aclose()
        with pytest.raises(ClientClosedError):  # and not what is wrong with the second
            await client.recv_packet()


@pytest.mark.row("K7")
async def test_a_client_that_is_forgotten_is_told_and_closed() -> None:
    with udp_peer() as peer:
        client = AsyncUDPNetworkClient(peer.getsockname(), BYTES)
        await client.wait_connected()
        sock = client.get_extra_info("socket")
        forgotten = [client]
        del client
        with pytest.warns(ResourceWarning, match="unclosed client <AsyncUDPNetworkClient udp"):
            forgotten.clear()
        assert sock.fileno() == -1


# --- descriptors -----------------------------------------------------------------------------------------------------


@pytest.mark.row("K19")
async def test_descriptors_go_beside_packets_both_ways(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (peer, path), (tmp_path / "file").open("wb+") as file:
        file.write(b"content")
        file.flush()
        async with AsyncUnixDatagramClient(path, BYTES) as client:
            beside = SocketAncillary()
            beside.add_fds([file.fileno()])
            await client.send_packet(b"take it", ancillary_data=beside)
            data, fds, _, addr = socket.recv_fds(peer, 100, 4)
            assert data == b"take it"
            # Without a container nothing is received, and the packet comes all the same.
            send_fds(peer, b"1", fds, addr)
            send_fds(peer, b"2", fds, addr)
            peer.sendto(b"3", addr)
            os.close(fds[0])
            assert await client.recv_packet() == b"1"
            received = SocketAncillary()
            assert await client.recv_packet(ancillary_data=received) == b"2"
            match list(received.messages()):
                case [SCMRights(fds=(fd,))]:
                    assert os.pread(fd, 100, 0) == b"content"
                    os.close(fd)
                case other:
                    pytest.fail(f"received {other}")
            assert await client.recv_packet(ancillary_data=received) == b"3"
            assert not received


@pytest.mark.row("K19")
async def test_descriptors_that_found_no_room_or_no_packet_are_told(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (peer, path):
        async with AsyncUnixDatagramClient(path, JSON) as client:
            await client.send_packet(1)
            addr = peer.recvfrom(10)[1]
            send_fds(peer, b"1", [0, 1, 2], addr)
            send_fds(peer, b"{", [0], addr)
            received = SocketAncillary()
            assert await client.recv_packet(ancillary_data=received, ancillary_bufsize=socket.CMSG_LEN(4)) == 1
            assert received.is_truncated
            with pytest.raises(OSError, match="control data is lost"):
                list(received.messages())
            received.clear()
            with pytest.raises(DatagramProtocolParseError):
                await client.recv_packet(ancillary_data=received)
            fds = list(received.iter_fds())
            assert len(fds) == 1  # what came beside it is there
            os.close(fds[0])


@pytest.mark.row("K19")
async def test_what_cannot_go_beside_a_packet_is_refused(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (peer, path):
        async with AsyncUnixDatagramClient(path, BYTES) as client:
            with pytest.raises(ValueError, match="ancillary_bufsize needs ancillary_data"):
                await client.recv_packet(ancillary_bufsize=100)
            with pytest.raises(ValueError, match=r"must be an int of 1 or more, .* not 0"):
                await client.recv_packet(ancillary_data=SocketAncillary(), ancillary_bufsize=0)
            with pytest.raises(TypeError, match="must be a SocketAncillary, not list"):
                await client.recv_packet(ancillary_data=[])  # type: ignore[arg-type]  # that is the point
            with pytest.raises(TypeError, match="must be a SocketAncillary, not list"):
                await client.send_packet(b"", ancillary_data=[])  # type: ignore[arg-type]  # that is the point
            many = SocketAncillary()
            many.add_fds([0] * 300)
            with pytest.raises(OSError, match="do not fit") as caught:
                await client.send_packet(b"x", ancillary_data=many)
            assert caught.value.errno == errno.EMSGSIZE
            await client.send_packet(b"y")
            assert peer.recv(10) == b"y"
