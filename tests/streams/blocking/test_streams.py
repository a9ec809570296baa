# SPDX-License-Identifier: MIT
"""Streams in blocking code: what asyncio's readers and writers do, each wait with a time limit."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from tests.certificates import Certificates
from tests.rpc.blocking.peers import Task
from tests.runtimes.sockets import open_sockets
from tieline import TLS
from tieline.blocking import StreamReader, StreamWriter, open_connection, open_unix_connection
from tieline.errors import IncompleteReadError, ReadLimitError, TLSTruncated

pytestmark = pytest.mark.row("T8")

BIG = b"x" * (8 << 20)


@contextmanager
def opened(limit: int = 65536) -> Iterator[tuple[StreamReader, StreamWriter, socket.socket]]:
    """Give a reader, a writer and the bare socket at the other end."""
    held = open_sockets()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = open_connection(*listener.getsockname(), limit=limit)
        peer, _ = listener.accept()
    peer.settimeout(10)
    with peer:
        yield reader, writer, peer
    writer.transport.abort()
    assert open_sockets() == held


# Bytes, where they are cut, a read, and what it returns or raises.
READS: list[tuple[bytes, Callable[[StreamReader], Any], Any]] = [
    (b"hello", lambda r: r.read(0), b""),
    (b"hello", lambda r: r.read(), b"hello"),
    (b"hello", lambda r: r.readexactly(4), b"hell"),
    (b"hello", lambda r: r.readexactly(0), b""),
    (b"hello", lambda r: r.readexactly(6), IncompleteReadError),
    (b"one\ntwo\n", lambda r: r.readline(), b"one\n"),
    (b"one\ntwo\n", lambda r: [*r], [b"one\n", b"two\n"]),
    (b"one\ntwo", lambda r: [*r], [b"one\n", b"two"]),
    (b"", lambda r: r.readline(), b""),
    (b"", lambda r: r.read(10), b""),
    (b"ab\r\ncd", lambda r: r.readuntil(b"\r\n"), b"ab\r\n"),
    (b"ab\r\rcd", lambda r: r.readuntil(b"\r\n"), IncompleteReadError),
    (b"x" * 20 + b"\n", lambda r: r.readuntil(), b"x" * 20 + b"\n"),
    (b"x" * 21 + b"\n", lambda r: r.readuntil(), ReadLimitError),
    (b"x" * 60, lambda r: r.readline(), ReadLimitError),
    (b"", lambda r: r.readuntil(b""), ValueError),
    (b"a\r\nb;c", lambda r: r.readuntil((b";", b"\r\n")), b"a\r\n"),
    (b"a;b\r\n", lambda r: r.readuntil([b"\r\n", b";"]), b"a;"),
    (b"ab", lambda r: r.readuntil((b";", b"ab")), b"ab"),
    (b"ab", lambda r: r.readuntil(cast("Any", bytearray(b"b"))), b"ab"),
    (b"", lambda r: r.readuntil(()), ValueError),
    (b"", lambda r: r.readuntil((b";", b"")), ValueError),
    (b"", lambda r: r.readexactly(-1), ValueError),
]


@pytest.mark.parametrize(("data", "read", "expected"), READS)
def test_reads_return_the_same_however_the_stream_is_cut(
    data: bytes, read: Callable[[StreamReader], Any], expected: Any
) -> None:
    for cut in {0, 1, len(data) // 2, len(data)}:
        with opened(limit=20) as (reader, _, peer):

            def send(peer: socket.socket = peer, cut: int = cut) -> None:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for part in (data[:cut], data[cut:]):
                    if part:
                        peer.sendall(part)
                peer.shutdown(socket.SHUT_WR)

            task = Task(send)
            if isinstance(expected, type):
                with pytest.raises(expected):
                    read(reader)
            else:
                assert read(reader) == expected
            task.result()


def test_what_is_left_over_and_what_is_too_long() -> None:
    with opened(limit=4) as (reader, _, peer):
        peer.sendall(b"12345\nab\n")
        with pytest.raises(ReadLimitError) as told:
            reader.readuntil()
        assert told.value.consumed == 5
        assert reader.readexactly(2) == b"12"  # nothing was lost
        assert reader.readline() == b"345\n"
        assert reader.readline() == b"ab\n"
        peer.sendall(b"123456\nab\n")
        with pytest.raises(ReadLimitError):
            reader.readline()
        peer.sendall(b"cd\n")
        assert reader.readline() in (b"ab\n", b"cd\n")  # the long line is dropped, as far as it was there
        peer.close()
        reader.read()
        assert reader.at_eof()
        with pytest.raises(IncompleteReadError) as ended:
            reader.readexactly(3)
        assert (ended.value.partial, ended.value.expected) == (b"", 3)


def test_a_wait_that_ends_in_time_has_taken_nothing() -> None:
    with opened() as (reader, writer, peer):
        peer.sendall(b"half")
        assert reader.read(2) == b"ha"
        assert reader.read(2) == b"lf"
        peer.sendall(b"half")
        waits: list[Callable[[], bytes]] = [
            lambda: reader.readline(timeout=0.01),
            lambda: reader.readexactly(5, timeout=0.01),
            lambda: reader.read(timeout=0.01),
            lambda: reader.readuntil(b";", 0),
        ]
        for wait in waits:
            began = time.monotonic()
            with pytest.raises(TimeoutError, match="has come within"):
                wait()
            assert time.monotonic() - began < 5
        assert reader.read(100, timeout=0) == b"half"
        with pytest.raises(TimeoutError):
            reader.read(100, timeout=0)
        writer.write(BIG)
        with pytest.raises(TimeoutError, match="has not taken all"):
            writer.drain(0.01)


def test_drain_waits_until_the_system_has_all_and_reads_send_as_well() -> None:
    with opened() as (reader, writer, peer):

        def work() -> None:
            for _ in range(2):
                left = len(BIG)
                while left > 0:
                    left -= len(peer.recv(min(left, 1 << 16)))
            peer.sendall(b"got it\n")

        task = Task(work)
        writer.write(BIG)
        writer.drain()
        assert writer.transport.get_write_buffer_size() == 0
        writer.writelines([BIG[:100], BIG[100:]])
        assert reader.readline() == b"got it\n"
        task.result()


@pytest.mark.row("T4")
def test_a_peer_that_sends_without_end_is_held_back() -> None:
    with opened(limit=1000) as (reader, writer, peer):
        task = Task(peer.sendall, BIG)
        assert reader.readexactly(1) == b"x"
        for _ in range(20):
            writer.transport.poll(0.001)
        assert not writer.transport.is_reading()
        assert len(reader._buffer) <= 2000 + 65536
        assert len(reader.readexactly(len(BIG) - 1)) == len(BIG) - 1  # more than the limit is asked for by name
        task.result()


def test_the_end_of_the_stream_leaves_the_other_direction_open() -> None:
    with opened() as (reader, writer, peer):
        peer.shutdown(socket.SHUT_WR)
        assert reader.read() == b""
        assert reader.at_eof()
        assert writer.can_write_eof()
        writer.write(b"a last word")
        writer.write_eof()
        assert peer.recv(100) == b"a last word"
        assert peer.recv(100) == b""
        writer.close()
        assert writer.is_closing()
        writer.wait_closed(10)
        with pytest.raises(ConnectionError):
            writer.drain()
        assert reader.read() == b""


def test_closing_sends_what_is_left() -> None:
    with opened() as (reader, writer, peer):

        def work() -> int:
            size = 0
            while data := peer.recv(1 << 16):
                size += len(data)
            return size

        writer.write(BIG)
        writer.close()
        with pytest.raises(TimeoutError):
            writer.wait_closed(0.01)
        task = Task(work)
        writer.wait_closed(10)
        assert task.result() == len(BIG)
        assert reader.read(5) == b""


def test_what_came_before_the_end_is_read_though_a_write_has_failed() -> None:
    with opened() as (reader, writer, peer):
        peer.sendall(b"550 go away\nbye\n")
        peer.close()
        while not writer.is_closing():
            writer.write(b"HELO\n")
        assert [*reader] == [b"550 go away\n", b"bye\n"]
        assert reader.at_eof()
        with pytest.raises(ConnectionResetError):
            writer.drain(10)


def test_so_is_more_than_the_limits_of_the_reader_let_in() -> None:
    one, peer = socket.socketpair()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    said = b"550 go away\n" + b"x" * 150_000 + b"\nbye\n"
    peer.sendall(said)
    reader, writer = open_connection(sock=one, limit=20_000)
    assert reader.readline(10) == b"550 go away\n"
    peer.close()
    writer.write(b"HELO\n")
    assert reader.read(timeout=10) == said[12:]
    assert reader.at_eof()


def test_a_reset_comes_out_of_whatever_waits() -> None:
    with opened() as (reader, writer, peer):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        for wait in (reader.readline, reader.read, writer.drain, writer.wait_closed):
            with pytest.raises(ConnectionResetError):
                wait()
        assert isinstance(reader.exception(), ConnectionResetError)


@pytest.mark.row("D6")
@pytest.mark.parametrize("clean", [True, False])
def test_over_tls_truncation_is_told_apart_from_the_end(clean: bool, certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)

    def serve(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with context.wrap_socket(sock, server_side=True) as peer:
            peer.sendall(peer.recv(100))
            if clean:
                peer.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = Task(serve, listener)
        reader, writer = open_connection(*listener.getsockname(), ssl=TLS(ca=certificates.ca))
        assert not writer.can_write_eof()
        assert writer.get_extra_info("cipher")
        writer.write(b"echo\n")
        assert reader.readline(10) == b"echo\n"
        if clean:
            assert reader.read(10, 10) == b""
            writer.wait_closed(10)
        else:
            with pytest.raises(TLSTruncated):
                reader.read(10, 10)
            with pytest.raises(TLSTruncated):
                writer.wait_closed(10)
        task.result()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets")
def test_a_unix_socket_is_read_and_written() -> None:
    ours, peer = socket.socketpair()
    with peer:
        reader, writer = open_unix_connection(sock=ours)
        peer.sendall(b"line\n")
        assert reader.readline() == b"line\n"
        writer.write(b"back")
        assert peer.recv(10) == b"back"
        writer.transport.abort()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_must_be_over_0(limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be over 0"):
        open_connection("127.0.0.1", 1, limit=limit)
    with pytest.raises(ValueError, match="limit must be over 0"):
        open_unix_connection("x", limit=limit)


def test_a_reader_may_be_fed_by_hand() -> None:
    reader = StreamReader()
    reader.feed_data(b"one\n")
    assert reader.readline() == b"one\n"
    reader.feed_eof()
    assert reader.at_eof()
    with pytest.raises(RuntimeError):
        reader.feed_data(b"late")
    reader.set_exception(OSError("lost"))
    with pytest.raises(OSError, match="lost"):
        reader.read(1)


def test_what_a_peer_has_said_that_takes_nothing_more_is_given_out_first() -> None:
    one, peer = socket.socketpair()
    with peer:
        reader, writer = open_unix_connection(sock=one)
        peer.sendall(b"550 go away\nbye\nhalf")
        peer.shutdown(socket.SHUT_RD)
        writer.write(b"HELO\n")  # the first write fails already
        with pytest.raises(ConnectionError):
            writer.drain(timeout=10)
        assert reader.readline() == b"550 go away\n"
        assert reader.readuntil(b"e") == b"bye"
        with pytest.raises(BrokenPipeError):
            reader.readexactly(10, timeout=10)
        assert reader.read(100) == b"\nhalf"
        for _ in range(2):
            with pytest.raises(BrokenPipeError):
                reader.readline(timeout=10)
        writer.close()
