# SPDX-License-Identifier: MIT
"""What `iter_received_packets` gives: the same in blocking code as elsewhere."""

from __future__ import annotations

import socket
import threading
from fractions import Fraction
from math import nan
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.clients.test_async_streams import LINES, pair
from tieline.clients import (
    AsyncTCPNetworkClient,
    AsyncUDPNetworkClient,
    AsyncUnixDatagramClient,
    AsyncUnixStreamClient,
    TCPNetworkClient,
    UnixStreamClient,
    abc,
)
from tieline.clients.abc import AbstractAsyncNetworkClient
from tieline.errors import StreamProtocolParseError
from tieline.protocol import DatagramProtocol
from tieline.runtimes.backend import AsyncBackend
from tieline.runtimes.detect import current_backend
from tieline.serializers import BytesSerializer


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (nan, ValueError),
        (-1, ValueError),
        ("0", TypeError),
        (1j, TypeError),
        pytest.param(10**400, ValueError, id="beyond floats"),
    ],
)
async def test_a_time_that_is_none_is_refused_at_the_call(timeout: Any, error: type[Exception]) -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        with pytest.raises(error, match="timeout must be"):
            client.iter_received_packets(timeout=timeout)
        async with AsyncUnixStreamClient(theirs.dup(), LINES) as other:
            with pytest.raises(error, match="timeout must be"):
                other.iter_received_packets(timeout=timeout)


async def test_a_fraction_is_a_time_as_for_a_single_packet() -> None:
    time: Any = Fraction(1, 100)
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        with pytest.raises(TimeoutError):
            client.recv_packet(timeout=time)
        assert list(client.iter_received_packets(timeout=time)) == []
        async with AsyncUnixStreamClient(theirs.dup(), LINES) as other:
            assert [packet async for packet in other.iter_received_packets(timeout=time)] == []


async def test_a_time_is_over_in_the_end_though_something_comes_all_the_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tieline.clients.engine.has_unread", lambda _sock: True)
    with pair() as (ours, _theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:

            async def all_packets() -> list[str]:
                return [packet async for packet in client.iter_received_packets(timeout=0.01)]

            assert await aio.wait_for(all_packets(), 10) == []


def test_threads_share_an_iterator() -> None:
    with pair() as (ours, theirs), UnixStreamClient(ours, LINES) as client:
        packets = client.iter_received_packets(timeout=60)
        seen: list[str] = []
        threads = [threading.Thread(target=lambda: seen.append(next(packets))) for _ in range(2)]
        for thread in threads:
            thread.start()
        theirs.sendall(b"1\n2\n")
        for thread in threads:
            thread.join(60)
        assert sorted(seen) == ["1", "2"]
        theirs.sendall(b"3\n\xff\n4\n")
        assert next(packets) == "3"
        with pytest.raises(StreamProtocolParseError):
            next(packets)
        assert list(packets) == []  # it is over; a new one goes on
        assert list(client.iter_received_packets()) == ["4"]


class Counting(AbstractAsyncNetworkClient[int, int]):
    """A client of a user's own: what the base class calls abstract, and no more."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._is_closed = False

    def is_connected(self) -> bool:
        return not self._is_closed

    async def wait_connected(self) -> None: ...

    def is_closing(self) -> bool:
        return self._is_closed

    async def aclose(self) -> None:
        self._is_closed = True

    async def send_packet(self, packet: int, /) -> None:
        self._left += packet

    async def recv_packet(self) -> int:
        if not self._left:
            await aio.sleep(60)
        self._left -= 1
        return self._left

    def backend(self) -> AsyncBackend:
        return current_backend()


async def test_a_client_of_users_own_needs_no_more_than_what_is_abstract() -> None:
    async with Counting(3) as client:
        assert [packet async for packet in client.iter_received_packets()] == [2, 1, 0]
        await client.send_packet(2)
        assert [packet async for packet in client.iter_received_packets(timeout=0.01)] == [1, 0]
        await client.send_packet(1)
        async for packet in client:
            assert packet == 0
            break
        await client.send_packets([1, 1])
        assert [await client.recv_packets(), await client.recv_packets()] == [[1], [0]]
        assert client.get_extra_info("peername", "nobody knows") == "nobody knows"
    assert client.is_closing()


class Steady(Counting):
    """A client whose packets never end, and come one after the other."""

    given = 0

    async def recv_packet(self) -> int:
        await aio.sleep(0.001)
        self.given += 1
        return self.given


@pytest.mark.row("K14")
@pytest.mark.parametrize("timeout", [0, 0.2])
async def test_an_iterator_ends_though_one_packet_follows_the_other(
    timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abc, "LONGEST_DRAIN", 0.2)  # many times what a packet takes, also where others are at work
    async with Steady(0) as client:
        received = [packet async for packet in client.iter_received_packets(timeout=timeout)]
        assert received == list(range(1, client.given + 1))  # on a busy machine perhaps none: each is given 10 ms


class Marked:
    """Marks what is received; to be mixed in."""

    async def recv_packet(self, **_besides: Any) -> Any:
        packets: Any = super()
        return "marked", await packets.recv_packet()


class MarkedTCP(Marked, AsyncTCPNetworkClient[str]): ...


class MarkedUnix(Marked, AsyncUnixStreamClient[str]): ...


class MarkedUDP(Marked, AsyncUDPNetworkClient[bytes]): ...


class MarkedUnixDatagrams(Marked, AsyncUnixDatagramClient[bytes]): ...


class MarkedBlocking(TCPNetworkClient[str]):
    def recv_packet(self, *, timeout: float | None = None) -> Any:
        return "marked", super().recv_packet(timeout=timeout)


@pytest.mark.parametrize("kind", [MarkedTCP, MarkedUnix, MarkedUDP, MarkedUnixDatagrams, MarkedBlocking])
@pytest.mark.parametrize("timeout", [0, 0.05, None])
async def test_an_iterator_receives_as_a_subclass_does(kind: type[Any], timeout: float | None, tmp_path: Path) -> None:
    is_stream = kind not in (MarkedUDP, MarkedUnixDatagrams)
    is_unix = kind in (MarkedUnix, MarkedUnixDatagrams)
    sort = socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM
    with socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET, sort) as listener:
        listener.bind(str(tmp_path / "peer") if is_unix else ("127.0.0.1", 0))
        if is_stream:
            listener.listen()
        client = kind(listener.getsockname(), LINES if is_stream else DatagramProtocol(BytesSerializer()))
        if kind is MarkedBlocking:
            with client, listener.accept()[0] as peer:
                peer.sendall(b"1\n2\n")
                packets = client.iter_received_packets(timeout=timeout)
                assert [next(packets), next(packets)] == [("marked", "1"), ("marked", "2")]
            return
        async with client:
            seen = []
            if is_stream:
                with listener.accept()[0] as peer:
                    peer.sendall(b"1\n2\n")
            else:
                await client.send_packet(b"0")
                _, name = listener.recvfrom(10)
                listener.sendto(b"1", name)
                listener.sendto(b"2", name)
            async for packet in client.iter_received_packets(timeout=timeout):
                seen.append(packet)
                if len(seen) == 2:
                    break
        assert seen == [("marked", one) for one in (["1", "2"] if is_stream else [b"1", b"2"])]


def test_our_own_clients_take_the_short_way() -> None:
    long_way = AbstractAsyncNetworkClient._recv_within
    for kind in (AsyncTCPNetworkClient, AsyncUnixStreamClient, AsyncUDPNetworkClient, AsyncUnixDatagramClient):
        assert kind._recv_within is not long_way
    assert MarkedTCP._recv_within is long_way
