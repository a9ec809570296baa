# SPDX-License-Identifier: MIT
"""What sends and receives tell when the connection breaks, plain ones and those with ancillary data."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests import aio
from tests.clients.test_async_streams import LINES, pair
from tests.clients.test_descriptors import beside, contents, send_fds, some_file
from tieline.clients import AsyncUnixStreamClient, UnixStreamClient
from tieline.errors import ConnectionLost, EndOfStream, SendTimeout, StreamReset
from tieline.runtimes import link_closing
from tieline.runtimes.hangups import Peer, peer_of
from tieline.socket import SocketAncillary

if TYPE_CHECKING:
    import socket

LONG = "x" * 4_000_000


def test_a_send_whose_write_fails_says_so() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        theirs.close()
        with pytest.raises(ConnectionLost) as told:
            client.send_packet("x")
        assert isinstance(told.value.__cause__, ConnectionLost)
        assert isinstance(told.value.__cause__.__cause__, BrokenPipeError)
        with pytest.raises(ConnectionLost, match="the connection is down"):
            client.send_packet("x")


def test_a_packet_with_descriptors_that_is_lost_on_its_way_is_no_success() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        told: list[BaseException | None] = []

        def send() -> None:
            try:
                client.send_packet(LONG, ancillary_data=beside(one))
                told.append(None)
            except ConnectionLost as exc:
                told.append(exc.__cause__)

        thread = threading.Thread(target=send)
        thread.start()
        assert theirs.recv(1) == b"x"  # its beginning is there, and its end has no room
        theirs.close()
        thread.join(60)
        assert [type(cause) for cause in told] == [StreamReset]


def test_a_packet_with_descriptors_that_goes_out_late_says_so() -> None:
    with pair() as (ours, _), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        with pytest.raises(SendTimeout, match="has not left in time; it goes out before all later ones") as late:
            client.send_packet(LONG, ancillary_data=beside(one), timeout=0)
        assert late.value.sent
        with pytest.raises(SendTimeout, match="was not sent in time") as late:
            client.send_packet("x", ancillary_data=beside(one), timeout=0)
        assert not late.value.sent
        client.abort()  # to close would wait for a peer that takes nothing


async def reset_unread(client: Any, theirs: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the connection reset, with packets unread, and wait until the link has looked after the peer."""
    looks: list[Peer] = []

    def look(transport: Any) -> Peer:
        looks.append(peer_of(transport))
        return looks[-1]

    await client.send_packet("which the peer does not read")
    theirs.sendall(b"one\ntwo\nthr")
    theirs.close()
    monkeypatch.setattr(link_closing, "peer_of", look)
    while "reset" not in looks:
        await aio.sleep(0)
    await aio.sleep(0)


async def test_what_had_come_before_a_reset_is_received_though_nobody_received_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            await reset_unread(client, theirs, monkeypatch)
            assert await client.recv_packet() == "one"
            assert await client.recv_packet() == "two"
            for _ in range(2):
                with pytest.raises(StreamReset) as told:
                    await client.recv_packet()
                assert isinstance(told.value.__cause__, ConnectionResetError)
            assert not client.is_connected()


async def test_the_same_with_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    with pair() as (ours, theirs), some_file(b"one") as one:
        async with AsyncUnixStreamClient(ours, LINES) as client:
            send_fds(theirs, b"zero\n", one)
            await reset_unread(client, theirs, monkeypatch)
            container = SocketAncillary()
            assert await client.recv_packet(ancillary_data=container) == "zero"
            assert contents(container) == [b"one"]
            assert await client.recv_packet(ancillary_data=container) == "one"
            assert await client.recv_packet(ancillary_data=container) == "two"


async def test_with_ancillary_data_a_broken_connection_is_told_as_ever() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one:
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.close()
            with pytest.raises(ConnectionLost) as told:
                await client.send_packet("x", ancillary_data=beside(one))
            assert isinstance(told.value.__cause__, ConnectionLost)
            assert isinstance(told.value.__cause__.__cause__, BrokenPipeError)
            with pytest.raises(ConnectionLost, match="the connection is down"):
                await client.send_packet("x", ancillary_data=beside(one))
            with pytest.raises(EndOfStream):
                await client.recv_packet(ancillary_data=SocketAncillary())
            with pytest.raises(EndOfStream):
                await client.recv_packet()
            assert not client.is_connected()


async def test_a_receive_with_a_container_is_told_of_a_reset() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            await client.send_packet("which the peer does not read")
            theirs.sendall(b"one\n")
            theirs.close()
            container = SocketAncillary()
            assert await client.recv_packet(ancillary_data=container) == "one"
            for _ in range(2):
                with pytest.raises(StreamReset) as told:
                    await client.recv_packet(ancillary_data=container)
                assert isinstance(told.value.__cause__, ConnectionResetError)
            with pytest.raises(ConnectionLost):
                await client.send_packet("x")


def test_the_same_in_blocking_code() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        client.send_packet("which the peer does not read")
        theirs.sendall(b"one\n")
        theirs.close()
        container = SocketAncillary()
        assert client.recv_packet(ancillary_data=container, timeout=30) == "one"
        for _ in range(2):
            with pytest.raises(StreamReset) as told:
                client.recv_packet(ancillary_data=container, timeout=30)
            assert isinstance(told.value.__cause__, ConnectionResetError)
        with pytest.raises(ConnectionLost, match="the connection is down"):
            client.send_packet("x", ancillary_data=beside(one))
    with pair() as (ours, theirs), some_file(b"one") as one, UnixStreamClient(ours, LINES) as client:
        theirs.close()
        with pytest.raises(ConnectionLost) as lost:
            client.send_packet("x", ancillary_data=beside(one))
        assert isinstance(lost.value.__cause__, ConnectionLost)
        with pytest.raises(EndOfStream):
            client.recv_packet()


async def test_senders_with_and_without_ancillary_data_get_their_turn_in_order() -> None:
    with pair() as (ours, theirs), some_file(b"one") as one:
        theirs.setblocking(False)
        async with AsyncUnixStreamClient(ours, LINES) as client:
            await client.send_packet(LONG)
            senders = []
            for number in range(6):
                kind = {"ancillary_data": beside(one)} if number % 2 == 0 else {}
                senders.append(aio.create_task(client.send_packet(str(number), **kind)))
                await aio.sleep(0)
                await aio.sleep(0)
            senders.append(aio.create_task(client.send_packets(["6", "7"])))
            await aio.sleep(0)
            await aio.sleep(0)
            seen = b""
            while not seen.endswith(b"7\n"):
                try:
                    seen = seen[-100:] + theirs.recv(65536)
                except BlockingIOError:
                    await aio.sleep(0)
            await aio.gather(*senders)
            assert seen.lstrip(b"x").split() == [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
