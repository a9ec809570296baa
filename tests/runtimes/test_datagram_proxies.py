# SPDX-License-Identifier: MIT
"""Datagrams by way of a SOCKS5 proxy, on every runtime, in blocking code too."""

from __future__ import annotations

import errno
import ipaddress
from typing import Any

import pytest

import tieline
from tests import aio
from tests.runtimes.datagram_scene import LOCAL, RUNTIMES, Scene, udp
from tests.runtimes.scripted_proxies import listening, sends
from tests.runtimes.scripted_relays import Relay
from tests.runtimes.sockets import closed_port, name

pytestmark = [
    pytest.mark.parametrize("runtime", RUNTIMES, ids=str, indirect=True),
    pytest.mark.row("P7"),
]


def header(host: str, port: int) -> bytes:
    return b"\0\0\0\1" + ipaddress.IPv4Address(host).packed + port.to_bytes(2)


@pytest.mark.parametrize("names_itself", [None, "0.0.0.0"])
async def test_datagrams_go_there_and_back(names_itself: str | None, runtime: Any) -> None:
    """A relay at no address in particular is where the proxy is."""
    async with Scene(runtime) as scene:
        with udp() as peer, Relay(names_itself=names_itself, auth=(b"ann", b"pass")) as relay:
            client = await scene.opened(None, peer.getsockname(), proxy=relay.url)
            transport = client.transport
            for data in (b"hello", b"", bytearray(b"x" * 60_000)):
                transport.sendto(data)
            came = [await aio.to_thread(peer.recvfrom, 70_000) for _ in range(3)]
            assert [data for data, _ in came] == [b"hello", b"", b"x" * 60_000]
            peer.sendto(b"answer", came[0][1])
            peer.sendto(b"", came[0][1])
            await scene.until(lambda: len(client.got) == 2)
            assert client.got == [b"answer", b""]
            assert client.senders == [peer.getsockname()] * 2
            assert transport.get_extra_info("peername") == peer.getsockname()
            assert transport.get_extra_info("proxy_target") == peer.getsockname()
            assert relay.asked == [peer.getsockname()] * 3
            with pytest.raises(OSError, match="too long") as raised:
                transport.sendto(b"x" * 65_500)  # it would fit without the header
            assert raised.value.errno == errno.EMSGSIZE
            transport.close()
            await scene.until(lambda: client.lost_with)
            assert client.lost_with == [None]
            await scene.until(lambda: relay.ended.acquire(blocking=False))  # the connection to the proxy as well
            assert transport.get_protocol() is None


async def test_names_are_looked_up_by_the_proxy_alone(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = name(monkeypatch, "unused")
    async with Scene(runtime) as scene:
        with udp() as peer, Relay({"device.invalid": "127.0.0.1"}) as relay:
            port = peer.getsockname()[1]
            client = await scene.opened(None, ("device.invalid", port), proxy=relay.url)
            client.transport.sendto(b"hello")
            data, back = await aio.to_thread(peer.recvfrom, 100)
            assert data == b"hello"
            peer.sendto(b"answer", back)
            await scene.until(lambda: client.got)
            assert relay.asked == [("device.invalid", port)]
            assert client.senders == [peer.getsockname()]
    assert asked == []


async def test_one_socket_sends_to_many(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with udp() as one, udp() as two, Relay({"two.invalid": "127.0.0.1"}) as relay:
            client = await scene.opened(LOCAL, proxy=tieline.SOCKSProxy(relay.address, tieline.SOCKS5))
            with pytest.raises(ValueError, match="needs an address"):
                client.transport.sendto(b"x")
            client.transport.sendto(b"to one", one.getsockname())
            client.transport.sendto(b"to two", ("two.invalid", two.getsockname()[1]))
            for peer, expected in ((one, b"to one"), (two, b"to two")):
                data, back = await aio.to_thread(peer.recvfrom, 100)
                assert data == expected
                peer.sendto(b"from " + expected, back)
            await scene.until(lambda: len(client.got) == 2)
            assert dict(zip(client.senders, client.got, strict=True)) == {
                one.getsockname(): b"from to one",
                two.getsockname(): b"from to two",
            }


async def test_what_is_no_datagram_of_the_target_is_dropped_and_counted(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with udp() as peer, udp() as stranger, Relay() as relay:
            host, port = peer.getsockname()
            client = await scene.opened(None, (host, port), proxy=relay.url)
            client.transport.sendto(b"hello")
            await aio.to_thread(peer.recv, 100)
            # Not by the relay: the system drops it.
            stranger.sendto(header(host, port) + b"forged", client.transport.get_extra_info("sockname"))
            for bad in (
                b"",
                b"\0\0",
                header(host, port)[:9],
                b"\0\0\1" + header(host, port)[3:] + b"a fragment",
                b"\0\0\0\7" + bytes(20),
                header(host, port + 1) + b"from elsewhere",
                header("127.0.0.9", port) + b"from elsewhere",
            ):
                relay.send(bad)
            relay.send(header(host, port) + b"good")
            await scene.until(lambda: client.got)
            await scene.turns()
            assert client.got == [b"good"]
            assert client.transport.get_extra_info("dropped") == 7


async def test_a_relay_whose_socket_is_one_for_ipv4_and_ipv6_may_name_the_target_so(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with udp() as peer, Relay() as relay:
            host, port = peer.getsockname()
            client = await scene.opened(None, (host, port), proxy=relay.url)
            client.transport.sendto(b"hello")
            await aio.to_thread(peer.recv, 100)
            relay.send(b"\0\0\0\4" + bytes(10) + b"\xff\xff\x7f\0\0\1" + port.to_bytes(2) + b"answer")
            await scene.until(lambda: client.got)
            assert (client.got, client.senders) == ([b"answer"], [(host, port)])


async def test_the_end_of_the_connection_to_the_proxy_is_the_end(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with udp() as peer, Relay() as relay:
            client = await scene.opened(None, peer.getsockname(), proxy=relay.url)
            client.transport.sendto(b"hello")
            await aio.to_thread(peer.recv, 100)
            relay.hang_up()
            await scene.until(lambda: client.lost_with)
            assert isinstance(client.lost_with[0], tieline.ConnectionLost)
            assert "SOCKS5 proxy has ended its connection" in str(client.lost_with[0])


@pytest.mark.row("P3")
async def test_a_proxy_that_refuses_says_why(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with Relay(refuses=7) as relay:
            with pytest.raises(tieline.SOCKSFailure, match="not supported") as raised:
                await scene.opened(None, ("127.0.0.1", 9), proxy=relay.url)
            assert f"to udp://127.0.0.1:9 through {relay.url}" in str(raised.value)


@pytest.mark.row("P9")
async def test_a_proxy_that_cannot_be_used(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with closed_port() as port, pytest.raises(ConnectionRefusedError):
            await scene.opened(None, ("127.0.0.1", 9), proxy=f"socks5://127.0.0.1:{port}")
        for reply, error in ((b"", tieline.SOCKSProtocolError), (b"HTTP/1.1 400", tieline.SOCKSProtocolError)):
            with listening(sends(reply)) as proxy, pytest.raises(error):
                await scene.opened(None, ("127.0.0.1", 9), proxy=f"socks5://127.0.0.1:{proxy.port}")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"proxy": "socks4://127.0.0.1:1", "remote_addr": ("127.0.0.1", 9)}, "one SOCKS5 proxy"),
        ({"proxy": "http://127.0.0.1:1", "remote_addr": ("127.0.0.1", 9)}, "one SOCKS5 proxy"),
        ({"proxy": ["socks5://h:1", "socks5://h:1"], "remote_addr": ("127.0.0.1", 9)}, "one SOCKS5 proxy"),
        ({"proxy": "socks5://127.0.0.1:1", "remote_addr": "/tmp/s"}, "UDP only"),
        ({"proxy": "socks5://127.0.0.1:1", "remote_addr": ("a b", 9)}, "host"),
    ],
)
async def test_what_no_proxy_can_do_is_refused_at_once(settings: Any, says: str, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with pytest.raises(ValueError, match=says):
            await scene.opened(**settings)
        assert scene.stories == []


async def test_what_fails_in_the_factory_leaves_nothing(runtime: Any) -> None:
    def fail(_transport: Any) -> None:
        raise RuntimeError("not today")

    async with Scene(runtime) as scene:
        with Relay() as relay:
            with pytest.raises(RuntimeError, match="not today"):
                await scene.opened(None, ("127.0.0.1", 9), proxy=relay.url, made=fail)
            await scene.until(lambda: relay.ended.acquire(blocking=False))
