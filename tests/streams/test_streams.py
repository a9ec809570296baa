# SPDX-License-Identifier: MIT
"""Streams: readers and writers on every runtime, dialled and accepted."""

from __future__ import annotations

import asyncio as theirs
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import turns, until
from tests.runtimes.scripted_proxies import Good, listening
from tests.streams.scene import open_streams, open_unix_streams, tls_client, tls_server
from tieline import exceptions

pytestmark = pytest.mark.row("T8")


def new_reader(limit: int = 65536) -> Any:
    """Return a stream reader of the runtime, on its own."""
    if not aio.on_trio():
        return theirs.StreamReader(limit)
    from tieline.runtimes.trio.readers import StreamReader

    return StreamReader(limit)


Incomplete = (theirs.IncompleteReadError, exceptions.IncompleteReadError)
Overrun = (theirs.LimitOverrunError, exceptions.ReadLimitError)


async def outcome(reading: Any) -> Any:
    """Return what *reading* gives, or what its error says."""
    try:
        return await reading
    except Incomplete as exc:
        return "incomplete", exc.partial, exc.expected
    except (ValueError, *Overrun) as exc:
        if reading.__name__ == "readline":
            return "too long" if isinstance(exc, ValueError) else exc
        return ("over", exc.consumed) if isinstance(exc, Overrun) else exc


# What has come before the end of the stream, what is asked for, and what that gives; the limit is 8.
READS: list[tuple[bytes, str, tuple[Any, ...], Any]] = [
    (b"abc", "read", (), b"abc"),
    (b"abc", "read", (-1,), b"abc"),
    (b"abc", "read", (0,), b""),
    (b"abc", "read", (2,), b"ab"),
    (b"abc", "read", (9,), b"abc"),
    (b"", "read", (9,), b""),
    (b"", "read", (), b""),
    (b"x" * 99, "read", (), b"x" * 99),
    (b"abc", "readexactly", (3,), b"abc"),
    (b"abc", "readexactly", (0,), b""),
    (b"abc", "readexactly", (4,), ("incomplete", b"abc", 4)),
    (b"", "readexactly", (1,), ("incomplete", b"", 1)),
    (b"x" * 99, "readexactly", (99,), b"x" * 99),
    (b"a\nb\n", "readline", (), b"a\n"),
    (b"ab", "readline", (), b"ab"),
    (b"", "readline", (), b""),
    (b"1234567\n", "readline", (), b"1234567\n"),
    (b"12345678\n", "readline", (), b"12345678\n"),
    (b"123456789\nx", "readline", (), "too long"),
    (b"1234567890", "readline", (), "too long"),
    (b"a;b", "readuntil", (b";",), b"a;"),
    (b"a;;b", "readuntil", (b";;",), b"a;;"),
    (b"a;b;;c", "readuntil", (b";;",), b"a;b;;"),
    (b"ab", "readuntil", (b";",), ("incomplete", b"ab", None)),
    (b"", "readuntil", (), ("incomplete", b"", None)),
    (b"12345678;", "readuntil", (b";",), b"12345678;"),
    (b"123456789;", "readuntil", (b";",), ("over", 9)),
    (b"1234567890", "readuntil", (b";",), ("over", 10)),
    (b"1234567890", "readuntil", (b";;",), ("over", 9)),
]


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "byte by byte"])
async def test_what_is_read_of_what_has_come(at_once: bool) -> None:
    for data, method, args, expected in READS:
        reader = new_reader(8)
        if at_once:
            reader.feed_data(data)
            reader.feed_eof()
            assert await outcome(getattr(reader, method)(*args)) == expected, (data, method, args)
            continue
        if isinstance(expected, bytes) and (method, args) != ("read", ()) and method == "read":
            continue  # it gives what there is by then
        task = aio.create_task(outcome(getattr(reader, method)(*args)))
        for byte in data:
            await aio.sleep(0)
            if task.done():
                break
            reader.feed_data(bytes([byte]))
        await aio.sleep(0)
        reader.feed_eof()
        found = await task
        if isinstance(expected, tuple) and expected[0] == "over":
            assert found[0] == "over"
        else:
            assert found == expected, (data, method, args)


async def test_behind_a_line_that_is_too_long_the_next_one_is_found() -> None:
    reader = new_reader(8)
    reader.feed_data(b"a line of many\nshort\n")
    assert await outcome(reader.readline()) == "too long"
    assert await reader.readline() == b"short\n"
    reader.feed_data(b"without any end")
    assert await outcome(reader.readline()) == "too long"
    reader.feed_data(b"next\n")
    assert await reader.readline() == b"next\n"


async def test_behind_a_separator_that_is_too_far_nothing_is_lost() -> None:
    reader = new_reader(8)
    reader.feed_data(b"a record of many;")
    kind, consumed = await outcome(reader.readuntil(b";"))
    assert (kind, consumed) == ("over", 16)
    assert await reader.readexactly(consumed + 1) == b"a record of many;"


async def test_lines_can_be_iterated_and_the_end_is_known() -> None:
    reader = new_reader()
    assert not reader.at_eof()
    reader.feed_data(b"a\nb\nc")
    reader.feed_eof()
    assert not reader.at_eof()
    assert [line async for line in reader] == [b"a\n", b"b\n", b"c"]
    assert reader.at_eof()


async def test_an_exception_is_raised_by_whoever_reads_and_whoever_waits() -> None:
    reader = new_reader()
    assert reader.exception() is None
    waiting = aio.create_task(reader.readline())
    await aio.sleep(0)
    error = ConnectionResetError("gone")
    reader.set_exception(error)
    with pytest.raises(ConnectionResetError):
        await waiting
    assert reader.exception() is error
    for reading in (reader.read, reader.readline, reader.readuntil):
        with pytest.raises(ConnectionResetError):
            await reading()


async def test_two_tasks_cannot_read_at_once() -> None:
    reader = new_reader()
    first = aio.create_task(reader.readline())
    await turns(3)
    with pytest.raises(RuntimeError):
        await reader.readline()
    reader.feed_data(b"x\n")
    assert await first == b"x\n"


@pytest.mark.parametrize("method", ["readline", "readexactly", "readuntil"])
async def test_a_read_that_is_cancelled_takes_nothing(method: str) -> None:
    reader = new_reader()
    reading = aio.create_task(getattr(reader, method)(*([9] if method == "readexactly" else [])))
    await turns(3)
    reader.feed_data(b"half")
    await turns(3)
    reading.cancel()
    await aio.wait({reading})
    reader.feed_data(b" whole\n")
    assert await reader.readline() == b"half whole\n"


class _Throttled:
    def __init__(self) -> None:
        self.told: list[str] = []

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


async def test_over_twice_the_limit_the_transport_is_paused() -> None:
    reader, transport = new_reader(10), _Throttled()
    reader.set_transport(transport)
    reader.feed_data(b"x" * 20)
    assert transport.told == []
    reader.feed_data(b"x")
    reader.feed_data(b"x")
    assert transport.told == ["pause"]
    assert await reader.readexactly(11) == b"x" * 11
    assert transport.told == ["pause"]
    assert await reader.read(1) == b"x"
    assert transport.told == ["pause", "resume"]
    reader.feed_data(b"x" * 20)
    reading = aio.create_task(reader.readexactly(40))
    await turns(3)
    assert transport.told == ["pause", "resume"] * 2
    reader.feed_data(b"x" * 10)
    assert await reading == b"x" * 40


# --- on connections --------------------------------------------------------------------------------------------------


async def echo(reader: tieline.StreamReader, writer: tieline.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def _is_echoed(reader: Any, writer: Any) -> None:
    writer.write(b"one\n")
    writer.writelines([b"tw", b"o\n"])
    await writer.drain()
    assert await reader.readline() == b"one\n"
    assert await reader.readuntil(b"\n") == b"two\n"
    if writer.can_write_eof():
        writer.write_eof()
        assert await reader.read() == b""
        assert reader.at_eof()
    assert writer.transport.get_extra_info("peername") == writer.get_extra_info("peername")
    assert not writer.is_closing()
    writer.close()
    assert writer.is_closing()
    await writer.wait_closed()


def of_the_runtime(reader: Any, writer: Any) -> bool:
    """Return whether these are what the runtime's users expect: on asyncio the standard classes."""
    if aio.on_trio():
        return type(reader).__module__ == type(writer).__module__ == "tieline.runtimes.trio.readers"
    return isinstance(reader, theirs.StreamReader) and isinstance(writer, theirs.StreamWriter)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("proxied", [False, True])
async def test_on_every_connection_that_is_dialled(tls: bool, proxied: bool, certificates: Certificates) -> None:
    settings: dict[str, Any] = {"ssl": tls_client(certificates)} if tls else {}
    server = await tieline.start_server(
        echo, "127.0.0.1", 0, ssl=tls_server(certificates) if tls else None, nursery=aio.nursery()
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        with listening(Good()) as proxy:
            if proxied:
                settings["proxy"] = f"http://127.0.0.1:{proxy.port}"
            reader, writer = await open_streams("localhost" if tls else "127.0.0.1", port, **settings)
            assert of_the_runtime(reader, writer)
            assert (writer.get_extra_info("cipher") is not None) is tls
            await _is_echoed(reader, writer)
            assert proxy.connections == proxied
        await turns(50)  # for the server's end to end


async def test_over_unix_sockets(tmp_path: Path, certificates: Certificates) -> None:
    server = await tieline.start_unix_server(echo, tmp_path / "s", nursery=aio.nursery())
    async with server:
        await _is_echoed(*await tieline.open_unix_connection(tmp_path / "s", nursery=aio.nursery()))
        await turns(50)


async def test_a_plain_callback_is_called_and_close_leaves_its_connections() -> None:
    accepted: list[tuple[Any, Any]] = []
    server = await tieline.start_server(
        lambda reader, writer: accepted.append((reader, writer)), "127.0.0.1", 0, nursery=aio.nursery()
    )
    reader, writer = await open_streams(*server.sockets[0].getsockname())
    await until(lambda: accepted)
    ((their_reader, their_writer),) = accepted
    assert of_the_runtime(their_reader, their_writer)
    server.close()
    await server.wait_closed()
    writer.write(b"ping\n")
    assert await their_reader.readline() == b"ping\n"
    their_writer.write(b"pong\n")
    assert await reader.readline() == b"pong\n"
    for one in (writer, their_writer):
        one.close()
        await one.wait_closed()


async def test_a_callback_that_fails_ends_its_connection_and_is_reported() -> None:
    async def failing(reader: Any, _writer: Any) -> None:
        await reader.readline()
        raise ZeroDivisionError

    server = await tieline.start_server(failing, "127.0.0.1", 0, nursery=aio.nursery())
    async with server:
        with aio.reported() as reported:
            reader, writer = await open_streams(*server.sockets[0].getsockname())
            writer.write(b"x\n")
            assert await reader.read() == b""
        assert [type(error) for error in reported] == [ZeroDivisionError]
        writer.close()
        await writer.wait_closed()
        assert server.is_serving()


async def test_a_plain_callback_that_fails_ends_its_connection_too() -> None:
    def failing(_reader: Any, _writer: Any) -> None:
        raise ZeroDivisionError

    server = await tieline.start_server(failing, "127.0.0.1", 0, nursery=aio.nursery())
    async with server:
        with aio.reported() as reported:
            reader, writer = await open_streams(*server.sockets[0].getsockname())
            try:
                assert await reader.read() == b""
            except ConnectionError:
                pass
        assert [type(error) for error in reported] == [ZeroDivisionError]
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


async def test_limits_hold_for_both_sides() -> None:
    async def reads_a_line(reader: Any, writer: Any) -> None:
        writer.write(str(await outcome(reader.readline())).encode())
        writer.close()
        await writer.wait_closed()

    server = await tieline.start_server(reads_a_line, "127.0.0.1", 0, limit=10, nursery=aio.nursery())
    async with server:
        reader, writer = await open_streams(*server.sockets[0].getsockname(), limit=3)
        writer.write(b"0123456789012\n")
        assert await outcome(reader.readuntil(b"long")) == ("over", 4)
        assert await reader.readexactly(8) == b"too long"
        writer.close()
        await writer.wait_closed()


async def test_drain_waits_for_room() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = await open_streams(*listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            await writer.drain()
            size = 16 << 20
            writer.write(b"x" * size)
            drains = [aio.create_task(writer.drain()) for _ in range(3)]
            await turns(20)
            assert not any(one.done() for one in drains)

            def read() -> int:
                found = 0
                while found < size:
                    found += len(peer.recv(1 << 20))
                return found

            assert await aio.to_thread(read) == size
            for one in drains:
                await one
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    assert reader.at_eof()


async def test_whoever_drains_or_reads_is_told_of_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = await open_streams(*listener.getsockname())
        peer, _ = listener.accept()
        writer.write(b"x" * (16 << 20))
        draining = aio.create_task(writer.drain())
        await turns(3)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(ConnectionError):
            await draining
        with pytest.raises(ConnectionError):
            await reader.read()
        with pytest.raises(ConnectionError):
            await writer.drain()
        assert isinstance(reader.exception(), ConnectionError)
        with pytest.raises(ConnectionError):
            await writer.wait_closed()


async def test_what_came_before_the_end_is_read_though_a_write_has_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = await open_streams(*listener.getsockname())
        peer, _ = listener.accept()
    peer.sendall(b"550 go away\nbye\n")
    peer.close()
    assert await reader.readline() == b"550 go away\n"
    await turns(3)  # the loops' own transports read nothing behind a write that failed: the end is to come before
    while not writer.is_closing():
        writer.write(b"HELO\n")
        await aio.sleep(0)
    await turns(3)
    with pytest.raises(ConnectionError):
        await writer.drain()
    assert [line async for line in reader] == [b"bye\n"]
    assert reader.at_eof()


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("size", [10, 150_000])
async def test_so_it_is_over_unix_sockets_where_the_first_write_fails_already(size: int, before: int) -> None:
    """Also when more has come by then than the reader's limits let in: nobody could ask for the rest any more."""
    one, peer = socket.socketpair()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    said = b"550 go away\n" + b"x" * size + b"\nbye\n"
    peer.sendall(said)
    reader, writer = await open_unix_streams(sock=one, limit=20_000)
    peer.close()
    await turns(before)
    writer.write(b"HELO\n")
    await turns(3)
    with pytest.raises(ConnectionError):
        await writer.drain()
    assert writer.is_closing()
    assert await reader.readline() == b"550 go away\n"
    assert await reader.read() == said[12:]
    assert reader.at_eof()
    with pytest.raises(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("before", [0, 3])
async def test_what_a_peer_has_said_that_takes_nothing_more_is_given_out_first(before: int) -> None:
    """It has not ended its stream, and might have said more: so behind that it is told how the connection was lost."""
    one, peer = socket.socketpair()
    with peer:
        peer.sendall(b"550 go away\nbye\nhalf")
        reader, writer = await open_unix_streams(sock=one)
        await turns(before)
        peer.shutdown(socket.SHUT_RD)
        writer.write(b"HELO\n")
        await turns(3)
        with pytest.raises(ConnectionError):
            await writer.drain()
        assert isinstance(reader.exception(), BrokenPipeError)
        assert await reader.readline() == b"550 go away\n"
        assert await reader.readuntil(b"e") == b"bye"
        with pytest.raises(BrokenPipeError):
            await reader.readexactly(10)
        assert await reader.read(100) == b"\nhalf"
        for reading in (reader.read, reader.readline):
            with pytest.raises(BrokenPipeError):
                await reading()


async def test_who_waits_for_more_of_a_peer_that_takes_nothing_more_is_told_so() -> None:
    one, peer = socket.socketpair()
    with peer:
        reader, writer = await open_unix_streams(sock=one)
        peer.sendall(b"half")
        reading = aio.create_task(reader.readline())
        await turns(3)
        peer.shutdown(socket.SHUT_RD)
        writer.write(b"HELO\n")
        with pytest.raises(BrokenPipeError):
            await reading
        assert await reader.read(100) == b"half"
        with pytest.raises(BrokenPipeError):
            await writer.drain()
