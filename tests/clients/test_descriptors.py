# SPDX-License-Identifier: MIT
"""Descriptors and credentials beside the packets of Unix streams, asynchronous and blocking."""

from __future__ import annotations

import array
import errno
import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests import aio
from tieline.clients import AsyncUnixStreamClient, UnixStreamClient
from tieline.errors import BusyResourceError, ClientClosedError, EndOfStream, LocalProtocolError, SendTimeout
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer
from tieline.socket import SCMCredentials, SCMRights, SocketAncillary, UnixCredentials

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.row("K19")

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give our socket, which a client is to own, and the peer's."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(30)
    with theirs:
        yield ours, theirs


@contextmanager
def some_file(content: bytes) -> Iterator[int]:
    fd = os.memfd_create("some-file")
    os.write(fd, content)
    try:
        yield fd
    finally:
        os.close(fd)


def send_fds(sock: socket.socket, data: bytes, *fds: int) -> None:
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def contents(container: SocketAncillary) -> list[bytes]:
    """Take the descriptors out, and return what is in their files."""
    found = []
    for fd in container.iter_fds():
        found.append(os.pread(fd, 100, 0))
        os.close(fd)
    return found


def beside(*fds: int) -> SocketAncillary:
    container = SocketAncillary()
    container.add_fds(fds)
    return container


# --- asynchronous ----------------------------------------------------------------------------------------------------


async def test_descriptors_that_come_before_anybody_asks_are_not_lost() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one, some_file(b"two") as two:
        async with AsyncUnixStreamClient(ours, LINES) as client:
            send_fds(theirs, b"first\n", one, two)
            for _ in range(20):
                await aio.sleep(0)  # a client that reads ahead would have lost them
            container = SocketAncillary()
            assert await client.recv_packet(ancillary_data=container) == "first"
            match list(container.messages()):
                case [SCMRights(fds=fds)]:
                    assert [os.pread(fd, 10, 0) for fd in fds] == [b"one", b"two"]
                    for fd in fds:
                        os.close(fd)
                case other:
                    pytest.fail(f"received {other}")
            waiting = aio.create_task(client.recv_packet(ancillary_data=container))
            await aio.sleep(0)
            await aio.sleep(0)
            send_fds(theirs, b"second\n", two)
            assert await waiting == "second"
            assert contents(container) == [b"two"]


async def test_plain_receives_and_others_take_turns() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one:
        async with AsyncUnixStreamClient(ours, LINES) as client:
            container = SocketAncillary()
            theirs.sendall(b"plain\n")
            assert await client.recv_packet() == "plain"
            assert [packet async for packet in client.iter_received_packets()] == []
            waiting = aio.create_task(client.recv_packet(ancillary_data=container))
            await aio.sleep(0)
            await aio.sleep(0)
            send_fds(theirs, b"more\n", one)
            assert await waiting == "more"
            assert contents(container) == [b"one"]
            for _ in range(3):
                theirs.sendall(b"plain\n")
                assert await client.recv_packets() == ["plain"]
                send_fds(theirs, b"beside\n", one)
                for _ in range(20):
                    await aio.sleep(0)
                assert await client.recv_packet(ancillary_data=container) == "beside"
                assert contents(container) == [b"one"]


async def test_a_packet_that_comes_in_parts_is_told_and_kept() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one:
        async with AsyncUnixStreamClient(ours, LINES) as client:
            container = SocketAncillary()
            send_fds(theirs, b"in pa", one)
            with pytest.raises(EOFError, match="5 bytes have, which are kept") as told:
                await client.recv_packet(ancillary_data=container)
            assert not isinstance(told.value, EndOfStream)
            assert contents(container) == [b"one"]
            theirs.sendall(b"rts\nnext\n")
            assert await client.recv_packet(ancillary_data=container) == "in parts"
            assert await client.recv_packet(ancillary_data=container) == "next"  # which had come with it
            assert not container


@pytest.mark.row("K2")
async def test_a_receive_reads_no_more_than_it_is_told() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES, max_recv_size=4) as client:
            theirs.sendall(b"one\ntwo\nmore than four\n")
            container = SocketAncillary()
            assert await client.recv_packet(ancillary_data=container) == "one"
            assert await client.recv_packet(ancillary_data=container) == "two"
            with pytest.raises(EOFError, match="4 bytes have"):
                await client.recv_packet(ancillary_data=container)
            assert await client.recv_packet() == "more than four"


async def test_what_found_no_room_is_told() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one:
        async with AsyncUnixStreamClient(ours, LINES) as client:
            send_fds(theirs, b"many\n", one, one, one)
            container = SocketAncillary()
            assert await client.recv_packet(ancillary_data=container, ancillary_bufsize=socket.CMSG_LEN(4)) == "many"
            with pytest.raises(OSError, match="control data is lost"):
                list(container.messages())


@pytest.mark.row("K10")
async def test_the_end_of_the_stream_is_told_as_ever() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.sendall(b"last\n")
            theirs.shutdown(socket.SHUT_WR)
            container = SocketAncillary()
            assert await client.recv_packet(ancillary_data=container) == "last"
            for _ in range(2):
                with pytest.raises(EndOfStream):
                    await client.recv_packet(ancillary_data=container)
            await client.send_packet("still heard", ancillary_data=beside(0))
            data, fds, _, _ = socket.recv_fds(theirs, 100, 4)
            os.close(fds[0])
            assert data == b"still heard\n"


@pytest.mark.row("K15")
async def test_only_one_may_receive_while_somebody_wants_what_is_beside() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            asking = aio.create_task(client.recv_packet(ancillary_data=SocketAncillary()))
            await aio.sleep(0)
            await aio.sleep(0)
            with pytest.raises(BusyResourceError):
                await client.recv_packet()
            with pytest.raises(BusyResourceError):
                await client.recv_packet(ancillary_data=SocketAncillary())
            asking.cancel()
            with pytest.raises(aio.CancelledError):
                await asking
            theirs.sendall(b"kept\n")
            assert await client.recv_packet() == "kept"  # cancelled, it had taken nothing
            plain = aio.create_task(client.recv_packet())
            await aio.sleep(0)
            await aio.sleep(0)
            with pytest.raises(BusyResourceError):
                await client.recv_packet(ancillary_data=SocketAncillary())
            theirs.sendall(b"plain\n")
            assert await plain == "plain"


async def test_what_goes_beside_a_packet_stands_behind_all_that_was_sent_before() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one:
        async with AsyncUnixStreamClient(ours, LINES) as client:
            long = "x" * 1_000_000
            await client.send_packet(long)
            sending = aio.create_task(client.send_packet("with it", ancillary_data=beside(one)))
            received, fds = b"", list[int]()
            while not received.endswith(b"it\n"):
                data, more, _, _ = await aio.to_thread(socket.recv_fds, theirs, 100_000, 4)
                received += data
                fds += more
            await sending
            assert received == long.encode() + b"\nwith it\n"
            assert [os.pread(fd, 10, 0) for fd in fds] == [b"one"]
            for fd in fds:
                os.close(fd)
            credentials = SocketAncillary()
            credentials.add_creds()
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            await client.send_packet("it is me", ancillary_data=credentials)
            answer = SocketAncillary()
            data, raw, _, _ = theirs.recvmsg(100, 1000)
            answer.update_from_raw(raw)
            assert data == b"it is me\n"
            assert list(answer.messages()) == [SCMCredentials(UnixCredentials(os.getpid(), os.getuid(), os.getgid()))]


async def test_what_cannot_go_beside_a_packet_is_refused() -> None:
    with pair() as (ours, theirs):
        client = AsyncUnixStreamClient(ours, LINES)
        with pytest.raises(ValueError, match="ancillary_bufsize needs ancillary_data"):
            await client.recv_packet(ancillary_bufsize=100)
        with pytest.raises(OSError, match="do not fit") as caught:
            await client.send_packet("x", ancillary_data=beside(*[0] * 300))
        assert caught.value.errno == errno.EMSGSIZE
        with pytest.raises(RuntimeError, match="while it made the bytes"):
            await client.send_packet(5, ancillary_data=beside(0))  # type: ignore[arg-type]  # that is the point
        await client.send_packet("y")
        assert theirs.recv(10) == b"y\n"
        await client.send_eof()
        with pytest.raises(LocalProtocolError):
            await client.send_packet("z", ancillary_data=beside(0))
        await client.aclose()
        for call in (
            client.recv_packet(ancillary_data=SocketAncillary()),
            client.send_packet("z", ancillary_data=beside(0)),
        ):
            with pytest.raises(ClientClosedError):
                await call


@pytest.mark.row("K9", "K16")
@pytest.mark.parametrize("abruptly", [False, True])
async def test_closing_wakes_who_waits_for_what_is_beside(abruptly: bool) -> None:
    with pair() as (ours, theirs):
        client = AsyncUnixStreamClient(ours, LINES)
        await client.wait_connected()
        receiving = aio.create_task(client.recv_packet(ancillary_data=SocketAncillary()))
        await aio.sleep(0)
        await aio.sleep(0)
        if abruptly:
            client.abort()
        else:
            await client.aclose()
        with pytest.raises(ClientClosedError):
            await receiving
        assert theirs.recv(10) == b""


# --- blocking --------------------------------------------------------------------------------------------------------


def test_descriptors_go_both_ways_in_blocking_code() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        send_fds(theirs, b"first\n", one)
        container = SocketAncillary()
        assert client.recv_packet(ancillary_data=container, timeout=0) == "first"
        assert contents(container) == [b"one"]
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError) as caught:
                client.recv_packet(ancillary_data=container, timeout=timeout)
            assert caught.value.errno == errno.ETIMEDOUT
        theirs.sendall(b"plain\n")
        assert client.recv_packet(timeout=30) == "plain"
        send_fds(theirs, b"in pa", one)
        with pytest.raises(EOFError, match="5 bytes have"):
            client.recv_packet(ancillary_data=container)
        assert contents(container) == [b"one"]
        theirs.sendall(b"rts\n")
        assert client.recv_packet(ancillary_data=container) == "in parts"
        client.send_packet("take it", ancillary_data=beside(one))
        data, fds, _, _ = socket.recv_fds(theirs, 100, 4)
        assert (data, os.pread(fds[0], 10, 0)) == (b"take it\n", b"one")
        os.close(fds[0])
        with pytest.raises(OSError, match="do not fit"):
            client.send_packet("x", ancillary_data=beside(*[0] * 300))
        theirs.sendall(b"last\n")
        theirs.shutdown(socket.SHUT_WR)
        assert client.recv_packets() == ["last"]
        for _ in range(2):
            with pytest.raises(EndOfStream):
                client.recv_packet(ancillary_data=container)


def test_packets_that_came_with_a_plain_receive_are_received_first_in_blocking_code() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        for _ in range(3):
            theirs.sendall(b"0\n1\n2\n3\n")
            assert [client.recv_packet() for _ in range(2)] == ["0", "1"]
            container = SocketAncillary()
            send_fds(theirs, b"beside\n", one)
            assert [client.recv_packet(ancillary_data=container, timeout=30) for _ in range(3)] == ["2", "3", "beside"]
            assert contents(container) == [b"one"]
            theirs.sendall(b"plain\n")
            assert client.recv_packet() == "plain"


@pytest.mark.row("K13")
def test_a_send_with_descriptors_waits_for_those_before_and_keeps_its_time() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        long = "x" * 1_000_000
        with pytest.raises(SendTimeout) as told:
            client.send_packet(long, timeout=0)
        assert told.value.sent
        with pytest.raises(SendTimeout) as told:
            client.send_packet("never", ancillary_data=beside(one), timeout=0.01)
        assert not told.value.sent
        received, fds = b"", list[int]()

        def receive() -> None:
            nonlocal received
            while not received.endswith(b"it\n"):
                data, more, _, _ = socket.recv_fds(theirs, 100_000, 4)
                received += data
                fds.extend(more)

        thread = threading.Thread(target=receive)
        thread.start()
        client.send_packet("with it", ancillary_data=beside(one))
        thread.join()
        assert received == long.encode() + b"\nwith it\n"
        assert len(fds) == 1
        os.close(fds[0])


@pytest.mark.row("K9", "K15")
def test_closing_wakes_a_thread_that_waits_for_what_is_beside() -> None:
    with pair() as (ours, theirs):
        client = UnixStreamClient(ours, LINES)
        result: list[Any] = []
        is_waiting = threading.Event()

        def receive() -> None:
            is_waiting.set()
            try:
                result.append(client.recv_packet(ancillary_data=SocketAncillary()))
            except Exception as exc:
                result.append(exc)

        thread = threading.Thread(target=receive)
        thread.start()
        is_waiting.wait()
        client.close()
        thread.join(30)
        assert not thread.is_alive()
        assert type(result[0]) is ClientClosedError
        assert theirs.recv(10) == b""
