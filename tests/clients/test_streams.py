# SPDX-License-Identifier: MIT
"""Blocking packet clients of streams against bare sockets."""

from __future__ import annotations

import errno
import gc
import pickle
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.test_async_streams import JSON, LINES, listening, pair, reset, tcp_pair, unconnected
from tests.runtimes.sockets import black_hole, closed_port, tcp_listener
from tieline import TLS
from tieline.clients import TCPNetworkClient, UnixStreamClient, stream
from tieline.clients.abc import AbstractNetworkClient
from tieline.clients.engine import PacketEngine
from tieline.errors import (
    ClientClosedError,
    ConnectionLost,
    EndOfStream,
    SendTimeout,
    StreamProtocolParseError,
    StreamReset,
    StreamTruncated,
    UnsupportedOperation,
)
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import BytesSerializer, JSONSerializer, LengthPrefixedSerializer
from tieline.socket import SocketAncillary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.certificates import Certificates

RAW: StreamProtocol[Any, bytes] = StreamProtocol(LengthPrefixedSerializer(BytesSerializer()))


def read_all(sock: socket.socket) -> bytes:
    """Return what comes until the peer has ended."""
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(10) as executor:
        yield executor


@pytest.mark.row("K1", "K4", "K7")
def test_a_client_connects_sends_and_receives() -> None:
    with tcp_listener() as (listener, port), TCPNetworkClient(("127.0.0.1", port), JSON) as client:
        assert repr(client) == f"<TCPNetworkClient tcp://127.0.0.1:{port} connected>"
        peer, address = listener.accept()
        with peer:
            client.send_packet({"a": 1})
            assert peer.recv(100) == b'{"a":1}\n'
            client.send_packets([1, 2])
            assert peer.recv(100) == b"1\n2\n"
            peer.sendall(b"[1]\n[2]\n")
            assert [client.recv_packet(), client.recv_packet()] == [[1], [2]]
            sock = client.get_extra_info("socket")
            assert sock.fileno() == client.fileno()
            assert client.get_extra_info("sockname")[:2] == address[:2]
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        client.close()
        client.close()
        assert client.is_closed()
        assert client.fileno() == -1
        assert "closed" in repr(client)
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(client)


@pytest.mark.row("K1")
def test_a_client_of_a_unix_socket_takes_paths(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        for path in (tmp_path / "s", bytes(tmp_path / "s"), str(tmp_path / "s")):
            client = UnixStreamClient(path, LINES)
            client.send_packet("hello")
            with listener.accept()[0] as peer, client:
                assert peer.recv(100) == b"hello\n"
    with pytest.raises(FileNotFoundError):
        UnixStreamClient(tmp_path / "missing", LINES)


@pytest.mark.row("K6")
def test_a_refused_connection_is_plain_and_a_silent_one_ends_in_time() -> None:
    with closed_port() as port, pytest.raises(ConnectionRefusedError):
        TCPNetworkClient(("127.0.0.1", port), LINES)
    with black_hole() as port, pytest.raises(TimeoutError):
        TCPNetworkClient(("127.0.0.1", port), LINES, connect_timeout=0.05)


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (
        ("h", 1),
        {"protocol": DatagramProtocol(BytesSerializer())},
        TypeError,
        "StreamProtocol or BufferedStreamProtocol",
    ),
    ("h", {}, TypeError, r"takes \(host, port\), .* or a connected socket, not str"),
    (("h", 1), {"max_recv_size": -1}, ValueError, "max_recv_size must be an int of 1 or more, not -1"),
    (("h", 1), {"connect_timeout": "1"}, TypeError, "connect_timeout must be a number or None, not str"),
    (("h", 1), {"retry_interval": "1"}, TypeError, "retry_interval must be a number, not str"),
    (
        ("h", 1),
        {"ssl": True, "ssl_handshake_timeout": "5"},
        TypeError,
        "ssl_handshake_timeout must be a number, not str",
    ),
    (("h", 1), {"retry_interval": 0}, ValueError, "retry_interval must be over 0, not 0"),
    (("h", 1), {"retry_interval": float("nan")}, ValueError, "retry_interval must be 0 or more seconds, not nan"),
    (("h", 1), {"server_hostname": "x"}, ValueError, "server_hostname is for TLS, so it needs ssl"),
    (unconnected, {}, OSError, "the given socket is not connected"),
    (listening, {}, OSError, "the given socket is not connected"),
    (unconnected, {"connect_timeout": 1.0}, TypeError, "connect_timeout: only for connecting"),
    (lambda: socket.socket(socket.AF_UNIX), {}, ValueError, "of family AF_UNIX, expected AF_INET or AF_INET6"),
]


@pytest.mark.row("K1", "K2")
@pytest.mark.parametrize(("address", "settings", "error", "text"), REFUSED)
def test_what_makes_no_sense_is_refused_before_any_io(
    address: Any, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    where = address() if callable(address) else address
    with pytest.raises(error, match=text):
        TCPNetworkClient(where, **{"protocol": LINES, **settings})
    if isinstance(where, socket.socket):
        assert where.fileno() == -1  # it was the client's
    gc.collect()


def test_a_client_that_is_lost_unclosed_is_told() -> None:
    with pair() as (ours, _theirs):
        client = UnixStreamClient(ours, LINES)
        with pytest.warns(ResourceWarning, match="unclosed client"):
            client.__del__()
        assert client.is_closed()


@pytest.mark.row("K11")
def test_what_is_no_packet_is_told_and_the_next_one_comes() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, JSON) as client:
        theirs.sendall(b"1\n{\n2\n")
        assert client.recv_packet() == 1
        with pytest.raises(StreamProtocolParseError):
            client.recv_packet()
        assert client.recv_packet() == 2
        with pytest.raises(RuntimeError, match="raised TypeError while it made the bytes"):
            client.send_packet(object())
    with pair() as (ours, theirs), UnixStreamClient(ours, StreamProtocol(JSONSerializer(use_lines=False))) as bare:
        theirs.sendall(b"[1]}")
        assert bare.recv_packet() == [1]
        with pytest.raises(StreamProtocolParseError):
            bare.recv_packet()
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="where the next packet begins cannot be known"):
                bare.recv_packet()


@pytest.mark.row("K10")
def test_ends_are_told_apart() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        theirs.sendall(b"last\n")
        theirs.shutdown(socket.SHUT_WR)
        assert client.recv_packet() == "last"
        for _ in range(3):
            with pytest.raises(EndOfStream):
                client.recv_packet()
        client.send_packet("still here")
        assert theirs.recv(100) == b"still here\n"
    with tcp_pair() as (ours, theirs), TCPNetworkClient(ours, LINES) as client:
        theirs.sendall(b"one\ntw")
        theirs.shutdown(socket.SHUT_WR)
        assert client.recv_packet() == "one"
        with pytest.raises(StreamTruncated) as caught:
            client.recv_packet()
        assert caught.value.pending == 2
    with tcp_pair() as (ours, theirs), TCPNetworkClient(ours, LINES) as client:
        reset(theirs)
        with pytest.raises(StreamReset):
            client.recv_packet()
        with pytest.raises(ConnectionLost):
            client.send_packet("x")
        assert "lost" in repr(client)


@pytest.mark.row("K12")
def test_our_end_of_the_stream_comes_behind_what_was_sent() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        client.send_packet("one")
        client.send_eof()
        client.send_eof()
        assert theirs.recv(100) == b"one\n"
        assert theirs.recv(100) == b""
        with pytest.raises(RuntimeError, match="send_eof was called"):
            client.send_packet("three")
        theirs.sendall(b"four\n")
        assert client.recv_packet() == "four"
    client.send_eof()


@pytest.mark.row("K13")
def test_a_receive_that_is_not_done_in_time_keeps_what_has_come() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError) as caught:
                client.recv_packet(timeout=timeout)
            assert caught.value.errno == errno.ETIMEDOUT
        theirs.sendall(b"on")
        with pytest.raises(TimeoutError):
            client.recv_packet(timeout=0.01)
        theirs.sendall(b"e\n")
        assert client.recv_packet(timeout=0) == "one"
        for wrong in (-1, float("nan")):
            with pytest.raises(ValueError, match="timeout must be 0 or more"):
                client.recv_packet(timeout=wrong)
            with pytest.raises(ValueError, match="timeout must be 0 or more"):
                client.send_packet("x", timeout=wrong)
        of_another_kind: Any = "1"
        calls: list[Callable[..., object]] = [client.recv_packet, client.recv_packets, partial(client.send_packet, "x")]
        calls.append(partial(client.send_packets, ["x"]))
        for call in calls:
            with pytest.raises(TypeError, match="timeout must be a number or None, not str"):
                call(timeout=of_another_kind)


@pytest.mark.row("K13")
def test_a_send_that_is_not_done_in_time_says_what_becomes_of_it(pool: ThreadPoolExecutor) -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, RAW) as client:
        with pytest.raises(SendTimeout) as caught:
            client.send_packet(bytes(1_000_000), timeout=0.01)
        assert caught.value.sent
        with pytest.raises(SendTimeout) as caught:
            client.send_packet(b"never", timeout=0)
        assert not caught.value.sent
        sending = pool.submit(client.send_packet, b"later")
        wanted = (1_000_000).to_bytes(4, "big") + bytes(1_000_000) + b"\0\0\0\x05later"
        seen = b""
        while len(seen) < len(wanted):
            seen += theirs.recv(1 << 20)
        assert seen == wanted
        sending.result(10)


@pytest.mark.row("K14")
def test_iterating_takes_what_has_arrived_or_waits_in_all_so_long() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        theirs.sendall(b"1\n2\n3\n")
        assert list(client.iter_received_packets()) == ["1", "2", "3"]
        assert list(client.iter_received_packets()) == []
        theirs.sendall(b"4\n5")
        assert list(client.iter_received_packets(timeout=0.05)) == ["4"]
        theirs.sendall(b"\n\xff\n6\n7\n")
        theirs.shutdown(socket.SHUT_WR)
        packets = client.iter_received_packets(timeout=None)
        assert next(packets) == "5"
        with pytest.raises(StreamProtocolParseError):
            next(packets)
        assert client.recv_packets() == ["6", "7"]
        assert list(client.iter_received_packets(timeout=None)) == []
        with pytest.raises(ValueError, match="timeout must be 0 or more seconds or None, not -1"):
            next(client.iter_received_packets(timeout=-1))
    assert list(client.iter_received_packets(timeout=None)) == []


@pytest.mark.row("K13", "K14")
def test_without_waiting_comes_what_has_arrived_in_however_many_reads_that_is() -> None:
    long = "x" * 100_000  # more than a first read takes
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        theirs.sendall(f"{long}\nshort\n".encode())
        assert client.recv_packet(timeout=0) == long
        theirs.sendall(f"{long}\n".encode())
        assert list(client.iter_received_packets()) == ["short", long]
        theirs.sendall(f"{long}\n".encode())
        assert client.recv_packets(timeout=0) == [long]
        with pytest.raises(TimeoutError):
            client.recv_packet(timeout=0)
        theirs.sendall(b"torn")
        theirs.close()
        with pytest.raises(StreamTruncated):
            list(client.iter_received_packets())


@pytest.mark.row("K14")
def test_a_peer_that_never_stops_does_not_keep_the_time_from_being_over(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[PacketEngine] = []

    def has_unread(engine: PacketEngine) -> bool:
        looks.append(engine)
        assert len(looks) < 1000
        return True

    monkeypatch.setattr(PacketEngine, "has_unread", has_unread)
    with pair() as (ours, _), UnixStreamClient(ours, LINES) as client, pytest.raises(TimeoutError):
        client.recv_packet(timeout=0)
    assert looks


@pytest.mark.row("K15")
def test_threads_get_one_packet_each_and_none_is_lost(pool: ThreadPoolExecutor) -> None:
    total = 2000
    with pair() as (ours, theirs), UnixStreamClient(ours, JSON) as client:

        def receive() -> list[int]:
            seen: list[int] = []
            while True:
                try:
                    seen.append(client.recv_packet(timeout=0.001))
                except TimeoutError:
                    continue
                except EndOfStream:
                    return seen

        def echo() -> None:
            theirs.settimeout(30)
            got = 0
            while got < total and (data := theirs.recv(4096)):
                theirs.sendall(data)
                got += data.count(b"\n")
            theirs.shutdown(socket.SHUT_WR)

        echoing = pool.submit(echo)
        receiving = [pool.submit(receive) for _ in range(4)]

        def send(start: int) -> None:
            for number in range(start, total, 4):
                client.send_packet(number)

        sending = [pool.submit(send, start) for start in range(4)]
        for task in sending:
            task.result(30)
        echoing.result(30)
        got = [task.result(30) for task in receiving]
        assert sorted(number for some in got for number in some) == list(range(total))


@pytest.mark.row("K10", "K15")
def test_all_threads_that_receive_learn_of_the_end(pool: ThreadPoolExecutor) -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        receiving = [pool.submit(client.recv_packet) for _ in range(4)]
        theirs.sendall(b"only\n")
        theirs.shutdown(socket.SHUT_WR)
        ends = [task.exception(30) for task in receiving]
        assert sorted(type(end).__name__ for end in ends) == ["EndOfStream"] * 3 + ["NoneType"]
        assert [task.result() for task in receiving if task.exception() is None] == ["only"]


@pytest.mark.row("K13")
@pytest.mark.parametrize("timeout", [None, 30.0, 0.04])
def test_large_packets_come_whole_with_and_without_a_time(timeout: float | None, pool: ThreadPoolExecutor) -> None:
    packets = [bytes([number]) * 700_000 for number in range(4)]
    with pair() as (ours, theirs), UnixStreamClient(ours, RAW) as client:
        framed = b"".join(map(RAW.framer(), packets))
        sending = pool.submit(theirs.sendall, framed)
        got: list[bytes] = []
        while len(got) < len(packets):
            try:
                got.append(client.recv_packet(timeout=timeout))
            except TimeoutError:
                assert timeout == 0.04
        sending.result(30)
        assert got == packets


@pytest.mark.row("K15", "K16")
def test_closing_waits_for_no_blocked_send_and_wakes_everybody(pool: ThreadPoolExecutor) -> None:
    with pair() as (ours, _theirs):
        client = UnixStreamClient(ours, RAW)
        blocked = threading.Event()

        def send() -> None:
            blocked.set()
            client.send_packet(bytes(10_000_000))

        sending = pool.submit(send)
        receiving = pool.submit(client.recv_packet)
        blocked.wait(10)
        while not (client._host.transport is not None and client._host.transport.unsent):
            pass
        behind = pool.submit(client.send_packet, b"behind")
        client.close()
        for task in (sending, receiving, behind):
            with pytest.raises(ConnectionError) as caught:
                task.result(10)
            assert isinstance(caught.value, ClientClosedError | ConnectionAbortedError)
        for call in (client.recv_packet, client.recv_packets, lambda: client.send_packet(b"x")):
            with pytest.raises(ClientClosedError):
                call()


@pytest.mark.row("K13", "K16")
@pytest.mark.parametrize("sends", ["straight", "long", "together", "beside"])
def test_closing_sends_what_sends_that_gave_up_have_left_behind(sends: str, pool: ThreadPoolExecutor) -> None:
    with pair() as (ours, theirs):
        client = UnixStreamClient(ours, RAW)
        packet = bytes(1_000_000 if sends == "long" else 50_000)
        give: dict[str, Any] = {"ancillary_data": SocketAncillary()} if sends == "beside" else {}
        send: Callable[..., object]
        send = partial(client.send_packets, [packet]) if sends == "together" else partial(client.send_packet, packet)
        sent, left_behind = 0, False
        while not left_behind:
            sent += 4 + len(packet)
            try:
                send(timeout=0, **give)
            except SendTimeout as exc:
                left_behind = exc.sent
                assert left_behind
        reading = pool.submit(read_all, theirs)
        client.close()
        assert len(reading.result(30)) == sent


@pytest.mark.row("K16")
def test_closing_sends_what_is_left_over_tls_too(certificates: Certificates, pool: ThreadPoolExecutor) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    with tcp_pair() as (ours, theirs):
        serving = pool.submit(context.wrap_socket, theirs, server_side=True)
        tls = TLS(ca=certificates.ca, server_hostname="localhost")
        client = TCPNetworkClient(ours, RAW, ssl=tls)
        with serving.result(30) as peer:
            with pytest.raises(SendTimeout) as caught:
                client.send_packet(bytes(10_000_000), timeout=0)
            assert caught.value.sent

            def read_and_leave() -> bytes:
                data = read_all(peer)
                peer.unwrap()  # for which `close` waits
                return data

            reading = pool.submit(read_and_leave)
            client.close()
            assert len(reading.result(30)) == 10_000_004


@pytest.mark.row("K16")
def test_closing_waits_a_moment_only_for_a_peer_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CLOSE_GRACE", 0.05)
    with pair() as (ours, theirs):
        client = UnixStreamClient(ours, RAW)
        with pytest.raises(SendTimeout):
            client.send_packet(bytes(1_000_000), timeout=0)
        client.close()
        assert client.fileno() == -1
        assert len(read_all(theirs)) < 1_000_004


class ClosedMeanwhile(UnixStreamClient[Any, Any]):
    """A client that another thread begins to close when a packet is written, and before its send waits."""

    def _leaving(self) -> Any:
        self._is_closed = True
        return super()._leaving()


@pytest.mark.row("K15", "K16")
def test_a_send_that_finds_the_client_closed_behind_its_write_drops_the_rest() -> None:
    with pair() as (ours, theirs):
        client = ClosedMeanwhile(ours, RAW)
        with pytest.raises(ClientClosedError, match="was closed while it sent"):
            client.send_packet(bytes(1_000_000))
        assert len(read_all(theirs)) < 1_000_004


@pytest.mark.row("K10", "K15")
def test_a_blocked_send_learns_that_the_peer_is_gone(pool: ThreadPoolExecutor) -> None:
    with tcp_pair() as (ours, theirs), TCPNetworkClient(ours, RAW) as client:
        sending = pool.submit(client.send_packet, bytes(30_000_000))
        while not (client._host.transport is not None and client._host.transport.unsent):
            pass
        reset(theirs)
        with pytest.raises(ConnectionLost):
            sending.result(10)


@pytest.mark.row("K7")
def test_an_abort_drops_what_was_not_sent() -> None:
    with pair() as (ours, _theirs), UnixStreamClient(ours, RAW) as client:
        with pytest.raises(TimeoutError):
            client.send_packet(bytes(4_000_000), timeout=0)
        client.abort()
        with pytest.raises(ClientClosedError):
            client.recv_packet()


@pytest.mark.row("K2", "K12")
def test_over_tls_one_direction_cannot_be_ended_alone(certificates: Certificates) -> None:
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
        with TCPNetworkClient(("127.0.0.1", port), LINES, ssl=tls, server_hostname="localhost") as client:
            with pytest.raises(UnsupportedOperation):
                client.send_eof()
            client.send_packet("hello")
            assert client.recv_packet() == "hello"
        thread.join()


class Mine(AbstractNetworkClient[int]):
    """A user's client, of three packets."""

    def __init__(self) -> None:
        self.left = [1, 2, 3]
        self.timeouts: list[float | None] = []

    def is_closed(self) -> bool:
        return not self.left

    def close(self) -> None:
        self.left = []

    def send_packet(self, packet: int, /, *, timeout: float | None = None) -> None:
        self.timeouts.append(timeout)
        self.left.append(packet)

    def recv_packet(self, *, timeout: float | None = None) -> int:
        if not self.left:
            raise TimeoutError
        return self.left.pop(0)

    def fileno(self) -> int:
        return -1


@pytest.mark.row("K14")
def test_a_client_of_a_user_iterates_as_well() -> None:
    with Mine() as client:
        client.send_packet(4)
        assert list(client.iter_received_packets(timeout=5)) == [1, 2, 3, 4]
    assert client.is_closed()


def test_and_sends_and_receives_several_as_those_of_ours_do() -> None:
    with Mine() as client:
        client.send_packets([4, 5])
        client.send_packets([6], timeout=0)
        client.send_packets([7], timeout=60)
        assert client.timeouts[:3] == [None, None, 0]
        assert 0 < (client.timeouts[3] or 0) <= 60
        assert [client.recv_packets(timeout=0) for _ in range(7)] == [[1], [2], [3], [4], [5], [6], [7]]
        assert client.get_extra_info("peername") is None
        with pytest.raises(ValueError, match="timeout must be 0 or more"):
            client.send_packets([], timeout=-1)


@pytest.mark.row("K20")
def test_reading_stops_while_nobody_takes_packets_and_sending_while_the_peer_takes_none() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        theirs.setblocking(False)
        lines = (b"x" * 999 + b"\n") * 100
        sent = queued = taken = 0

        def fill() -> None:
            nonlocal sent
            while True:
                sent += theirs.send(lines[sent % 1000 :])

        def send() -> None:
            nonlocal queued
            while True:
                client.send_packet("y" * 999, timeout=0)
                queued += 1000

        for _ in range(3):
            with pytest.raises(BlockingIOError):
                fill()
            assert len(client.recv_packet(timeout=30)) == 999
            taken += 1
        assert sent < 4_000_000
        assert taken + len(list(client.iter_received_packets())) == sent // 1000
        with pytest.raises(SendTimeout):
            send()
        assert queued < 4_000_000
        client.abort()  # to close would wait for a peer that takes nothing
