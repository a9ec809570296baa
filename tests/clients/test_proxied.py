# SPDX-License-Identifier: MIT
"""Packet clients through proxies: TCP by all kinds, UDP by SOCKS5, asynchronous and blocking."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests import aio
from tests.clients.datagram_peers import BYTES, udp_peer
from tests.runtimes.scripted_proxies import Good, listening
from tests.runtimes.scripted_relays import Relay
from tests.runtimes.sockets import closed_port, tcp_listener
from tieline.clients import AsyncTCPNetworkClient, AsyncUDPNetworkClient, TCPNetworkClient, UDPNetworkClient
from tieline.errors import ClientClosedError, ConnectionLost, SOCKSFailure
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.row("K2")

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
URLS = ["socks4a", "socks5", "http"]


@pytest.mark.parametrize("scheme", URLS)
async def test_tcp_goes_by_a_proxy_and_so_do_names(scheme: str) -> None:
    good = Good({"host.example": "127.0.0.1"})
    with tcp_listener() as (listener, port), listening(good) as proxy:
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        client = AsyncTCPNetworkClient(("host.example", port), LINES, proxy=url)
        await client.send_packet("there")
        peer, _ = await aio.to_thread(listener.accept)
        with peer:
            assert await aio.to_thread(peer.recv, 100) == b"there\n"
            peer.sendall(b"back\n")
            assert await client.recv_packet() == "back"
        assert good.asked == [("host.example", port)]
        await client.aclose()


@pytest.mark.parametrize("scheme", URLS)
def test_tcp_goes_by_a_proxy_in_blocking_code(scheme: str) -> None:
    good = Good({"host.example": "127.0.0.1"})
    with tcp_listener() as (listener, port), listening(good) as proxy:
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        with TCPNetworkClient(("host.example", port), LINES, proxy=url, connect_timeout=30) as client:
            peer, _ = listener.accept()
            with peer:
                client.send_packet("there")
                assert peer.recv(100) == b"there\n"
                peer.sendall(b"back\n")
                assert client.recv_packet() == "back"
        assert good.asked == [("host.example", port)]


@pytest.mark.row("K5", "K17")
async def test_udp_goes_by_a_proxy_there_and_back() -> None:
    with udp_peer() as peer, Relay({"device.invalid": "127.0.0.1"}, auth=(b"ann", b"pass")) as relay:
        where = ("device.invalid", peer.getsockname()[1])
        async with AsyncUDPNetworkClient(where, BYTES, proxy=relay.url) as client:
            await client.send_packets([b"hello", b""])
            data, back = peer.recvfrom(100)
            assert data == b"hello"
            assert peer.recv(100) == b""
            peer.sendto(b"answer", back)
            peer.sendto(b"", back)
            assert [await client.recv_packet(), await client.recv_packet()] == [b"answer", b""]
            assert relay.asked == [where] * 2
            assert client.get_remote_address() == where
            assert client.get_extra_info("proxy_target") == where
            with pytest.raises(OSError, match="too long"):
                await client.send_packet(bytes(65_500))  # it would fit without the header
        await aio.to_thread(relay.ended.acquire)  # the connection to the proxy is closed as well


@pytest.mark.row("K5")
async def test_what_is_not_from_the_target_is_dropped_and_counted() -> None:
    with udp_peer() as peer, udp_peer() as stranger, Relay() as relay:
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES, proxy=relay.url) as client:
            await client.send_packet(b"hello")
            back = peer.recvfrom(100)[1]
            stranger.sendto(b"stranger", back)
            relay.send(b"")
            relay.send(b"\0\0\1\1\x7f\0\0\1\0\1fragment")
            peer.sendto(b"answer", back)
            assert await client.recv_packet() == b"answer"
            assert client.get_extra_info("dropped") == 3


@pytest.mark.row("K15")
async def test_when_the_proxy_goes_all_who_wait_are_told() -> None:
    with udp_peer() as peer, Relay() as relay:
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES, proxy=relay.url) as client:
            waiting = [aio.create_task(client.recv_packet()) for _ in range(2)]
            await aio.sleep(0)
            await aio.sleep(0)
            relay.hang_up()
            for result in await aio.gather(*waiting, return_exceptions=True):
                assert isinstance(result, ConnectionLost)
                assert "the SOCKS5 proxy has ended its connection" in str(result)
            with pytest.raises(ConnectionLost):
                await client.send_packet(b"")
        with pytest.raises(ClientClosedError):
            await client.send_packet(b"")


async def test_closing_wakes_who_waits_behind_a_proxy() -> None:
    with udp_peer() as peer, Relay() as relay:
        client = AsyncUDPNetworkClient(peer.getsockname(), BYTES, proxy=relay.url)
        await client.wait_connected()
        waiting = aio.create_task(client.recv_packet())
        await aio.sleep(0)
        await aio.sleep(0)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await waiting
        await aio.to_thread(relay.ended.acquire)


def test_udp_goes_by_a_proxy_in_blocking_code() -> None:
    with udp_peer() as peer, Relay({"device.invalid": "127.0.0.1"}) as relay:
        where = ("device.invalid", peer.getsockname()[1])
        with UDPNetworkClient(where, BYTES, proxy=relay.url, connect_timeout=30) as client:
            client.send_packet(b"hello")
            data, back = peer.recvfrom(100)
            assert data == b"hello"
            peer.sendto(b"answer", back)
            assert client.recv_packet(timeout=30) == b"answer"
            assert client.get_remote_address() == where
            relay.hang_up()
            with pytest.raises(ConnectionLost, match="the SOCKS5 proxy has ended its connection"):
                client.recv_packet(timeout=30)


@pytest.mark.row("K6")
async def test_a_proxy_that_refuses_or_is_not_there_is_told() -> None:
    with Relay(refuses=2) as relay, closed_port() as port:
        with pytest.raises(SOCKSFailure):
            await AsyncUDPNetworkClient(("127.0.0.1", 9), BYTES, proxy=relay.url).wait_connected()
        with pytest.raises(SOCKSFailure):
            UDPNetworkClient(("127.0.0.1", 9), BYTES, proxy=relay.url)
        calls: list[Callable[[str], object]] = [
            lambda url: UDPNetworkClient(("127.0.0.1", 9), BYTES, proxy=url),
            lambda url: TCPNetworkClient(("127.0.0.1", 9), LINES, proxy=url),
        ]
        for call in calls:
            with pytest.raises(ConnectionRefusedError):
                call(f"socks5://127.0.0.1:{port}")


def test_a_proxy_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"socks5://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimeoutError):
            UDPNetworkClient(("127.0.0.1", 9), BYTES, proxy=url, connect_timeout=0.05)
