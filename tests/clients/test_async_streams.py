# SPDX-License-Identifier: MIT
"""Asynchronous packet clients of streams against bare sockets, on every runtime."""

from __future__ import annotations

import errno
import gc
import pickle
import random
import socket
import ssl
import struct
import traceback
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from tests import aio
from tests.rpc.sessions import turns
from tests.runtimes.sockets import closed_port, tcp_listener
from tieline import TLS
from tieline.clients import AsyncTCPNetworkClient, AsyncUnixStreamClient
from tieline.errors import (
    ClientClosedError,
    ConnectionLost,
    EndOfStream,
    StreamProtocolParseError,
    StreamReset,
    StreamTruncated,
    UnsupportedOperation,
)
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.runtimes.detect import current_backend
from tieline.serializers import BytesSerializer, JSONSerializer, LengthPrefixedSerializer, StringLineSerializer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.certificates import Certificates

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
JSON: StreamProtocol[Any] = StreamProtocol(JSONSerializer())


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give our socket, which a client is to own, and the peer's."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    with theirs:
        yield ours, theirs


@contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with tcp_listener() as (listener, port):
        ours = socket.create_connection(("127.0.0.1", port))
        theirs, _ = listener.accept()
    theirs.settimeout(10)
    with theirs:
        yield ours, theirs


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def all_of(sock: socket.socket) -> bytes:
    """Return what comes up to the end of the stream; the loop goes on meanwhile."""
    sock.setblocking(False)
    seen = b""
    while True:
        try:
            data = sock.recv(1000)
        except BlockingIOError:
            await aio.sleep(0)
            continue
        seen += data
        if not data:
            sock.settimeout(10)
            return seen


async def test_whoever_comes_behind_an_attempt_that_was_given_up_makes_a_new_one() -> None:
    with tcp_listener() as (listener, port):
        async with AsyncTCPNetworkClient(("127.0.0.1", port), LINES) as client:
            listener.accept()[0].close()
            assert client.is_connected()
        again = AsyncTCPNetworkClient(("127.0.0.1", port), LINES)
        first = aio.create_task(again.send_packet("x"))
        await aio.sleep(0)
        await aio.sleep(0)
        first.cancel()
        await aio.sleep(0)
        await again.send_packet("y")
        assert again.is_connected()
        await again.aclose()


async def test_that_nobody_is_there_is_not_the_end_of_the_packets() -> None:
    with closed_port() as port:
        client = AsyncTCPNetworkClient(("127.0.0.1", port), LINES)
        with pytest.raises(ConnectionRefusedError):
            async for _ in client.iter_received_packets(timeout=None):
                pass
        await client.aclose()


# --- connecting ------------------------------------------------------------------------------------------------------


@pytest.mark.row("K1", "K4", "K7")
async def test_a_client_connects_sends_and_receives() -> None:
    with tcp_listener() as (listener, port):
        client = AsyncTCPNetworkClient(("127.0.0.1", port), JSON)
        assert not client.is_connected()
        assert not client.is_closing()
        assert repr(client) == f"<AsyncTCPNetworkClient tcp://127.0.0.1:{port} not connected>"
        async with client:
            assert client.is_connected()
            assert client.backend() is current_backend()
            peer, _ = listener.accept()
            with peer:
                await client.send_packet({"a": 1})
                assert peer.recv(100) == b'{"a":1}\n'
                peer.sendall(b"[1]\n[2]\n")
                assert [await client.recv_packet(), await client.recv_packet()] == [[1], [2]]
                sock = client.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert client.is_closing()
        assert not client.is_connected()
        assert "closed" in repr(client)
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(client)


@pytest.mark.row("K4")
async def test_a_client_connects_when_it_is_first_used(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        for path in (tmp_path / "s", bytes(tmp_path / "s"), str(tmp_path / "s")):
            client = AsyncUnixStreamClient(path, LINES)
            await client.send_packet("hello")
            peer, _ = listener.accept()
            with peer:
                assert peer.recv(100) == b"hello\n"
                await client.wait_connected()
                await client.aclose()


@pytest.mark.row("K6")
async def test_a_refused_connection_is_plain_and_may_be_tried_again() -> None:
    with closed_port() as port:
        client = AsyncTCPNetworkClient(("127.0.0.1", port), LINES)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await client.__aenter__()
        assert not client.is_closing()
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await client.__aenter__()


@pytest.mark.row("K6")
async def test_a_missing_path_is_a_file_that_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with AsyncUnixStreamClient(tmp_path / "missing", LINES):
            pass


@pytest.mark.row("K4")
async def test_all_who_wait_for_a_connection_share_one_attempt() -> None:
    with tcp_listener() as (listener, port):
        client = AsyncTCPNetworkClient(("127.0.0.1", port), LINES)
        waiting = [aio.create_task(client.wait_connected()) for _ in range(5)]
        waiting[0].cancel()
        results = await aio.gather(*waiting, return_exceptions=True)
        assert results[1:] == [None] * 4
        listener.accept()[0].close()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        await client.aclose()


@pytest.mark.row("K8")
async def test_closing_gives_up_an_attempt() -> None:
    from tests.runtimes.sockets import black_hole

    with black_hole() as port:
        client = AsyncTCPNetworkClient(("127.0.0.1", port), LINES)
        waiting = aio.create_task(client.wait_connected())
        await aio.sleep(0)
        await aio.sleep(0)
        await client.aclose()
        with pytest.raises(ClientClosedError, match=r"the client (is|was) closed"):
            await waiting
        client = AsyncTCPNetworkClient(("127.0.0.1", port), LINES)
        waiting = aio.create_task(client.wait_connected())
        await aio.sleep(0)
        waiting.cancel()
        with pytest.raises(aio.CancelledError):
            await waiting
        assert not client.is_closing()  # it may be tried again
        await client.aclose()


@pytest.mark.row("K4")
async def test_an_attempt_with_a_given_socket_that_is_cancelled_was_the_last() -> None:
    with tcp_pair() as (ours, theirs):
        client = AsyncTCPNetworkClient(ours, LINES, ssl=True, server_hostname="localhost")
        waiting = aio.create_task(client.wait_connected())
        assert (await aio.to_thread(theirs.recv, 1 << 16))[:1] == b"\x16"  # the first word of TLS
        waiting.cancel()
        with pytest.raises(aio.CancelledError):
            await waiting
        while not client.is_closing():  # the attempt has its own task
            await aio.sleep(0)
        assert await aio.to_thread(theirs.recv, 1000) == b""
        for call in (client.wait_connected, client.recv_packet, partial(client.send_packet, "x")):
            with pytest.raises(ClientClosedError, match="its given socket went with the attempt to connect, which was"):
                await call()


def unconnected() -> socket.socket:
    return socket.socket()


def listening() -> socket.socket:
    """Return a socket that listens, with somebody at the door: so it can be read, in a way."""
    listener = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(listener.getsockname()).close()
    return listener


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (
        ("h", 1),
        {"protocol": DatagramProtocol(BytesSerializer())},
        TypeError,
        "StreamProtocol or BufferedStreamProtocol",
    ),
    ("h", {}, TypeError, r"takes \(host, port\), .* or a connected socket, not str"),
    (("h", "1"), {}, TypeError, r"takes \(host, port\)"),
    (("h", 1), {"max_recv_size": 0}, ValueError, "max_recv_size must be an int of 1 or more, not 0"),
    (("h", 1), {"server_hostname": "x"}, ValueError, "server_hostname is for TLS, so it needs ssl"),
    (("h", 1), {"ssl_handshake_timeout": 1.0}, ValueError, "ssl_handshake_timeout is for TLS, so it needs ssl"),
    (("h", 1), {"ssl": True, "ssl_shutdown_timeout": -1.0}, ValueError, "finite number over 0, not -1.0"),
    (("h", 1), {"ssl": 5}, TypeError, "ssl must be"),
    (("h", 1), {"backend": "curio"}, NotImplementedError, "there is no runtime 'curio'"),
    (("h", 1), {"backend": 5}, TypeError, "backend must be 'asyncio', 'trio', an AsyncBackend or None, not int"),
    (unconnected, {}, OSError, "the given socket is not connected"),
    (listening, {}, OSError, "the given socket is not connected"),
    (lambda: socket.socket(socket.AF_UNIX), {}, ValueError, "of family AF_UNIX, expected AF_INET or AF_INET6"),
    (lambda: socket.socket(type=socket.SOCK_DGRAM), {}, ValueError, "must be a stream"),
    (unconnected, {"local_address": ("127.0.0.1", 0)}, TypeError, "local_address: only for connecting"),
    (
        unconnected,
        {"proxy": "socks5://h:1", "happy_eyeballs_delay": 1.0},
        TypeError,
        "happy_eyeballs_delay, proxy: only",
    ),
    (unconnected, {"ssl": True}, ValueError, "ssl needs server_hostname here"),
]


@pytest.mark.row("K1", "K2", "K3")
@pytest.mark.parametrize(("address", "settings", "error", "text"), REFUSED)
def test_what_makes_no_sense_is_refused_before_any_io(
    address: Any, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    where = address() if callable(address) else address
    with pytest.raises(error, match=text) as caught:
        AsyncTCPNetworkClient(where, **{"protocol": LINES, **settings})
    if isinstance(where, socket.socket):
        assert where.fileno() == -1  # it was the client's
    if error is OSError:
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == errno.ENOTCONN
    gc.collect()


@pytest.mark.row("K1")
def test_a_unix_client_takes_paths_and_unix_sockets() -> None:
    with pytest.raises(TypeError, match="takes a path or a connected socket, not int"):
        AsyncUnixStreamClient(5, LINES)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError, match="local_path must be a path, not int"):
        AsyncUnixStreamClient("x", LINES, local_path=5)  # type: ignore[arg-type]  # that is the point
    with tcp_pair() as (ours, _), pytest.raises(ValueError, match=r"of family AF_INET6?, expected AF_UNIX"):
        AsyncUnixStreamClient(ours, LINES)
    assert str(AsyncUnixStreamClient(b"\0name", LINES)) == "<AsyncUnixStreamClient unix:@name not connected>"


@pytest.mark.row("K8")
async def test_before_it_is_connected_there_are_no_facts() -> None:
    client = AsyncTCPNetworkClient(("127.0.0.1", 1), LINES)
    with pytest.raises(OSError, match="not connected") as caught:
        client.get_extra_info("peername")
    assert caught.value.errno == errno.ENOTCONN
    await client.aclose()
    with pytest.raises(ClientClosedError):
        client.get_extra_info("peername")


def test_a_client_that_is_lost_unclosed_is_told() -> None:
    ours, theirs = socket.socketpair()
    client = AsyncUnixStreamClient(ours, LINES)
    with theirs, pytest.warns(ResourceWarning, match="unclosed client"):
        client.__del__()
    assert ours.fileno() == -1


# --- packets ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("K11")
async def test_what_is_no_packet_is_told_and_the_next_one_comes() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, JSON) as client:
            theirs.sendall(b"1\n{\n2\n")
            assert await client.recv_packet() == 1
            with pytest.raises(StreamProtocolParseError):
                await client.recv_packet()
            assert await client.recv_packet() == 2
            with pytest.raises(RuntimeError, match="raised TypeError while it made the bytes"):
                await client.send_packet(object())
            await client.send_packets([3, 4])
            assert theirs.recv(100) == b"3\n4\n"


@pytest.mark.row("K11")
async def test_a_stream_that_has_lost_its_place_ends() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, StreamProtocol(JSONSerializer(use_lines=False))) as client:
            theirs.sendall(b"[1]}")
            assert await client.recv_packet() == [1]
            with pytest.raises(StreamProtocolParseError):
                await client.recv_packet()
            for _ in range(2):
                with pytest.raises(ConnectionLost, match="where the next packet begins cannot be known"):
                    await client.recv_packet()
            assert await all_of(theirs) == b""


@pytest.mark.row("K10")
async def test_a_clean_end_is_told_each_time_and_sending_stays_possible() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.sendall(b"last\n")
            theirs.shutdown(socket.SHUT_WR)
            assert await client.recv_packet() == "last"
            for _ in range(3):
                with pytest.raises(EndOfStream) as caught:
                    await client.recv_packet()
                assert isinstance(caught.value, ConnectionAbortedError)
            await client.send_packet("still here")
            assert theirs.recv(100) == b"still here\n"


@pytest.mark.row("K10")
async def test_an_end_in_a_packet_and_a_reset_are_told_apart() -> None:
    with tcp_pair() as (ours, theirs):
        async with AsyncTCPNetworkClient(ours, LINES) as client:
            theirs.sendall(b"one\ntw")
            theirs.shutdown(socket.SHUT_WR)
            assert await client.recv_packet() == "one"
            with pytest.raises(StreamTruncated) as caught:
                await client.recv_packet()
            assert caught.value.pending == 2
    with tcp_pair() as (ours, theirs):
        async with AsyncTCPNetworkClient(ours, LINES) as client:
            receiving = aio.create_task(client.recv_packet())
            await aio.sleep(0)
            reset(theirs)
            with pytest.raises(StreamReset):
                await receiving
            assert "lost" in repr(client)
            with pytest.raises(ConnectionLost):
                await client.send_packet("x")


@pytest.mark.row("K12")
async def test_our_end_of_the_stream_comes_behind_what_was_sent() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            await client.send_packet("one")
            await client.send_packet("two")
            await client.send_eof()
            await client.send_eof()
            assert await all_of(theirs) == b"one\ntwo\n"
            with pytest.raises(RuntimeError, match="send_eof was called"):
                await client.send_packet("three")
            theirs.sendall(b"four\n")
            assert await client.recv_packet() == "four"
        await client.send_eof()


@pytest.mark.row("K14")
async def test_iterating_takes_what_has_arrived_or_waits_in_all_so_long() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.sendall(b"1\n2\n3\n")
            assert [packet async for packet in client.iter_received_packets()] == ["1", "2", "3"]
            assert [packet async for packet in client.iter_received_packets()] == []
            theirs.sendall(b"4\n5")
            assert [packet async for packet in client.iter_received_packets(timeout=0.05)] == ["4"]
            theirs.sendall(b"\n\xff\n6\n")
            theirs.shutdown(socket.SHUT_WR)
            packets = client.iter_received_packets(timeout=None)
            assert await anext(packets) == "5"
            with pytest.raises(StreamProtocolParseError):
                await anext(packets)
            assert [packet async for packet in client.iter_received_packets(timeout=None)] == ["6"]
            with pytest.raises(ValueError, match="timeout must be 0 or more seconds or None, not nan"):
                await anext(aiter(client.iter_received_packets(timeout=float("nan"))))
        assert [packet async for packet in client.iter_received_packets(timeout=None)] == []


@pytest.mark.row("K14")
async def test_all_that_is_decoded_comes_at_once() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.sendall(b"x\n" * 1000)
            seen: list[str] = []
            while len(seen) < 1000:
                seen += await client.recv_packets()
            assert seen == ["x"] * 1000


@pytest.mark.row("K15")
async def test_receivers_get_one_packet_each_in_the_order_in_which_they_came() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            waiting = []
            for _ in range(6):
                waiting.append(aio.create_task(client.recv_packet()))
                await aio.sleep(0)
                await aio.sleep(0)
            waiting[2].cancel()
            theirs.sendall(b"1\n2\n3\n")
            theirs.sendall(b"4\n5\n")
            results = [await task for index, task in enumerate(waiting) if index != 2]
            assert results == ["1", "2", "3", "4", "5"]
            with pytest.raises(aio.CancelledError):
                await waiting[2]


@pytest.mark.row("K13", "K15", "R16")
async def test_receivers_that_are_cancelled_in_the_turn_that_wakes_them_take_nothing_with_them() -> None:
    """They are woken, and not handed a packet: those in line behind them get it, in order."""
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            seen: list[str] = []

            async def receive() -> None:
                seen.append(await client.recv_packet())

            tasks = [aio.create_task(receive()) for _ in range(3)]
            for _ in range(3):
                await aio.sleep(0)
            assert client._engine is not None
            client._engine.link.data_received(b"1\n2\n")  # as a read of the loop does, in this very turn
            for task in tasks[:2]:
                task.cancel()
            await aio.gather(*tasks[:2], return_exceptions=True)
            theirs.sendall(b"3\n")
            await tasks[2]
            while seen[-1] != "3":
                await receive()
            assert seen == ["1", "2", "3"]


@pytest.mark.row("K13", "K15", "R16")
async def test_receives_that_are_cancelled_lose_and_double_nothing() -> None:
    total = 3000
    chance = random.Random(7)
    with pair() as (ours, theirs):
        theirs.setblocking(False)
        async with AsyncUnixStreamClient(ours, JSON) as client:
            unsent = b"".join(b"%d\n" % number for number in range(total))
            seen: list[int] = []

            async def receive() -> None:
                seen.append(await client.recv_packet())

            while len(seen) < total:
                if unsent:
                    try:
                        sent = theirs.send(unsent[: chance.randrange(1, 200)])
                        unsent = unsent[sent:]
                    except BlockingIOError:
                        pass
                tasks = [aio.create_task(receive()) for _ in range(3)]
                for _ in range(chance.randrange(4)):
                    await aio.sleep(0)
                for task in tasks:
                    if chance.random() < 0.5:
                        task.cancel()
                if not unsent:
                    missing = total - len(seen)
                    for task in tasks[missing:]:
                        task.cancel()
                for _ in range(3):
                    await aio.sleep(0)
                for task in tasks:
                    task.cancel()
                await aio.gather(*tasks, return_exceptions=True)
            assert seen == list(range(total))


# --- flow and the end ------------------------------------------------------------------------------------------------


@pytest.mark.row("K20")
async def test_a_sender_waits_while_the_peer_takes_nothing_and_others_stand_behind_it() -> None:
    with pair() as (ours, theirs):
        protocol: StreamProtocol[Any] = StreamProtocol(LengthPrefixedSerializer(BytesSerializer()))
        async with AsyncUnixStreamClient(ours, protocol) as client:
            sent = 0

            async def send() -> None:
                nonlocal sent
                for _ in range(100):
                    await client.send_packet(bytes(60_000))
                    sent += 1

            sending = aio.create_task(send())
            while not (client._engine is not None and client._engine.machine.flow.paused):
                await aio.sleep(0)
            for _ in range(5):
                await aio.sleep(0)
            stopped_at = sent
            assert stopped_at < 50
            second = aio.create_task(client.send_packet(b"last"))
            got = 0
            theirs.setblocking(False)
            while got < 100 * 60_004 + 8:
                try:
                    got += len(theirs.recv(1 << 20))
                except BlockingIOError:
                    await aio.sleep(0)
            await sending
            await second
            assert sent == 100


@pytest.mark.row("K20")
async def test_reading_stops_while_nobody_takes_packets() -> None:
    with pair() as (ours, theirs):
        theirs.setblocking(False)
        async with AsyncUnixStreamClient(ours, LINES) as client:
            sent, idle = 0, 0
            while idle < 200:
                try:
                    sent += theirs.send(b"x" * 999 + b"\n")
                    idle = 0
                except BlockingIOError:
                    idle += 1
                    await aio.sleep(0)
            assert sent < 2_000_000
            theirs.setblocking(True)
            count = sum([1 async for _ in client.iter_received_packets()])
            assert count == sent // 1000


@pytest.mark.row("K9", "K16")
async def test_closing_wakes_who_receives_and_twice_is_fine() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            receiving = aio.create_task(client.recv_packet())
            await aio.sleep(0)
            await client.send_packet("last")
            await client.aclose()
            with pytest.raises(ClientClosedError):
                await receiving
            assert await all_of(theirs) == b"last\n"
            for call in (client.recv_packet, client.recv_packets, lambda: client.send_packet("x")):
                with pytest.raises(ClientClosedError):
                    await call()
            await client.aclose()
            await client.send_eof()


@pytest.mark.row("K16")
async def test_a_close_that_is_cancelled_closes_at_once_though_a_send_is_blocked() -> None:
    with pair() as (ours, _theirs):
        protocol: StreamProtocol[Any] = StreamProtocol(LengthPrefixedSerializer(BytesSerializer()))
        async with AsyncUnixStreamClient(ours, protocol) as client:
            await client.send_packet(bytes(4_000_000))
            sending = aio.create_task(client.send_packet(b"blocked"))
            await aio.sleep(0)
            closing = aio.create_task(client.aclose())
            for _ in range(3):
                await aio.sleep(0)
            closing.cancel()
            with pytest.raises(aio.CancelledError):
                await closing
            with pytest.raises(ClientClosedError):
                await sending
            assert client._engine is not None
            await client._engine.wait_closed()


@pytest.mark.row("K7")
async def test_an_abort_drops_what_was_not_sent() -> None:
    with pair() as (ours, _theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            await client.send_packet("x" * 4_000_000)
            client.abort()
            with pytest.raises(ClientClosedError):
                await client.recv_packet()
        client.abort()


@pytest.mark.row("K2", "K12")
async def test_over_tls_one_direction_cannot_be_ended_alone(certificates: Certificates) -> None:
    import threading

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    with tcp_listener() as (listener, port):

        def serve() -> None:
            peer, _ = listener.accept()
            with context.wrap_socket(peer, server_side=True) as secured:
                secured.sendall(secured.recv(100))
                secured.recv(100)

        thread = threading.Thread(target=serve)
        thread.start()
        tls = TLS(ca=certificates.ca)
        async with AsyncTCPNetworkClient(("127.0.0.1", port), LINES, ssl=tls, server_hostname="localhost") as client:
            with pytest.raises(UnsupportedOperation):
                await client.send_eof()
            await client.send_packet("hello")
            assert await client.recv_packet() == "hello"
        await aio.to_thread(thread.join)


async def test_a_receiver_that_is_woken_in_vain_keeps_its_place() -> None:
    """As a timer does that is void by the time it goes off; a peer can bring one about at will."""
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, JSON) as client:
            theirs.sendall(b"0\n")
            assert await client.recv_packet() == 0
            got: list[tuple[str, object]] = []

            async def receive(name: str) -> None:
                got.append((name, await client.recv_packet()))

            engine = client._engine
            assert engine is not None
            tasks = []
            for name in ("first", "second", "third"):
                tasks.append(aio.create_task(receive(name)))
                await turns(3)
            for _ in range(3):
                engine.handle_events((), 0.0)
                await turns(3)
            theirs.sendall(b"1\n2\n3\n")
            await aio.gather(*tasks)
            assert got == [("first", 1), ("second", 2), ("third", 3)]


def functions_in(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("end", ["eof", "reset"])
async def test_an_error_keeps_its_frames_when_the_client_is_closed_and_each_receiver_has_one_of_its_own(
    end: str,
) -> None:
    caught: list[ConnectionLost] = []

    async def of_the_program(client: AsyncTCPNetworkClient[str, str]) -> None:
        await client.recv_packet()

    async def receive(client: AsyncTCPNetworkClient[str, str]) -> None:
        try:
            await of_the_program(client)
        except ConnectionLost as exc:
            caught.append(exc)

    async def main(ours: socket.socket, theirs: socket.socket) -> None:
        async with AsyncTCPNetworkClient(ours, LINES) as client:
            waiting = [aio.create_task(receive(client)) for _ in range(3)]
            await turns(2)
            theirs.close() if end == "eof" else reset(theirs)
            await aio.gather(*waiting)
            await of_the_program(client)

    with tcp_pair() as (ours, theirs), pytest.raises(ConnectionLost) as raised:
        await main(ours, theirs)
    assert len({id(error) for error in [*caught, raised.value]}) == 4
    assert {type(error) for error in caught} == {EndOfStream if end == "eof" else StreamReset}
    assert {str(error) for error in caught} == {str(raised.value)}
    for error in [*caught, raised.value]:
        assert "of_the_program" in functions_in(error)


@pytest.mark.parametrize("end", ["eof", "reset"])
async def test_nothing_of_a_client_that_heard_the_end_is_left_for_the_garbage_collector(end: str) -> None:
    gc.collect()
    gc.disable()
    try:
        with tcp_pair() as (ours, theirs):
            async with AsyncTCPNetworkClient(ours, LINES) as client:
                assert client._engine is not None
                link = ref(client._engine.link)
                if end == "eof":
                    theirs.close()
                    assert [packet async for packet in client.iter_received_packets(timeout=None)] == []
                else:
                    reset(theirs)
                    with pytest.raises(StreamReset):
                        await client.recv_packet()
            del client
        await turns(5)
        assert link() is None
    finally:
        gc.enable()
