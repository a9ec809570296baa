# SPDX-License-Identifier: MIT
"""Through real proxies on loopback: microsocks, ssh -D, dante and tinyproxy, each as it really is, on every runtime.

Each protocol, with and without a password, for each kind of address that the program supports; calls, packets and
datagrams; and each way to be refused.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.peers.our_side import our_methods
from tests.peers.proxy_programs import LOCAL, PASSWORD, USER, Start, dante, microsocks, ssh, tinyproxy
from tests.runtimes.datagram_scene import RUNTIMES, Scene, udp
from tests.runtimes.sockets import V6, closed_port, name, tcp_listener
from tieline import SOCKS5, HTTPConnectError, SOCKSFailure, SOCKSProtocolError, SOCKSProxy
from tieline.clients import AsyncTCPNetworkClient, AsyncUDPNetworkClient, TCPNetworkClient, UDPNetworkClient
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import JSONSerializer

__all__ = ["dante", "microsocks", "ssh", "tinyproxy"]

pytestmark = [
    pytest.mark.peers,
    pytest.mark.row("P8"),
    pytest.mark.parametrize("runtime", RUNTIMES, ids=str, indirect=True),
]

V4_HOST, V6_HOST, NAME = LOCAL, "::1", "localhost"
JSON: StreamProtocol[Any] = StreamProtocol(JSONSerializer())
JSON_DATAGRAMS: DatagramProtocol[Any] = DatagramProtocol(JSONSerializer())
PACKETS = ({"meter": 1}, ["x" * 1000], None)


@contextmanager
def echo(family: int) -> Iterator[int]:
    """Give the port of a server that says what it hears."""

    def serve(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            peer.settimeout(20)
            while data := peer.recv(65536):
                peer.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(peer,)))
                threads[-1].start()

    with tcp_listener(family) as (listener, port):
        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield port
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(20)


class Caller:
    """Calls and sends packets on one runtime; blocking code runs in a thread, as the server is in this loop."""

    def __init__(self, runtime: Any) -> None:
        self._is_blocking = runtime.name == "blocking"

    async def calls(self, proxy: Any, url: str) -> None:
        """See that calls go there, large ones and back ones too."""
        big = "x" * 1_000_000
        if self._is_blocking:
            await aio.to_thread(self._blocking_calls, proxy, url, big)
            return
        async with tieline.connect(url, our_methods(), proxy=proxy) as session:
            assert await session.call("ask_back", 21) == 42
            assert await session.call("echo", big) == big

    def _blocking_calls(self, proxy: Any, url: str, big: str) -> None:
        methods = tieline.Methods()
        methods.method(name="double")(lambda number: 2 * number)
        methods.method(name="note")(lambda value: None)
        with tieline.blocking.connect(url, methods, proxy=proxy) as session:
            assert session.call("ask_back", 21) == 42
            assert session.call("echo", big) == big

    async def packets(self, proxy: Any, host: str, port: int) -> None:
        """See that packets go there and back."""
        if self._is_blocking:
            await aio.to_thread(self._blocking_packets, proxy, host, port)
            return
        async with AsyncTCPNetworkClient((host, port), JSON, proxy=proxy) as client:
            await client.send_packet({"meter": [1, 2, 3]})
            async with aio.timeout(20):
                assert await client.recv_packet() == {"meter": [1, 2, 3]}
            assert client.get_extra_info("proxy_target") == (host, port)

    def _blocking_packets(self, proxy: Any, host: str, port: int) -> None:
        with TCPNetworkClient((host, port), JSON, proxy=proxy, connect_timeout=20) as client:
            client.send_packet({"meter": [1, 2, 3]})
            assert client.recv_packet(timeout=20) == {"meter": [1, 2, 3]}
            assert client.get_extra_info("proxy_target") == (host, port)

    async def refused(self, proxy: Any, port: int, host: str = LOCAL) -> Any:
        """Return the error that dialling ends in, by calls and by packets alike."""
        kinds = (tieline.SOCKSError, HTTPConnectError)
        url = f"tcp://{host}:{port}"
        if self._is_blocking:
            with pytest.raises(kinds) as first:
                await aio.to_thread(tieline.blocking.connect(url, proxy=proxy).create_connection)
            with pytest.raises(kinds) as caught:
                await aio.to_thread(TCPNetworkClient, (host, port), JSON, proxy=proxy, connect_timeout=20)
        else:
            with pytest.raises(kinds) as first:
                await tieline.connect(url, proxy=proxy).create_connection(nursery=aio.nursery())
            client = AsyncTCPNetworkClient((host, port), JSON, proxy=proxy)
            with pytest.raises(kinds) as caught:
                async with client:
                    pass
        assert type(first.value) is type(caught.value)
        text = str(caught.value)
        assert PASSWORD not in text
        assert "p%40ss" not in text
        assert "wrong" not in text
        return caught.value


async def everything(runtime: Any, port: int, kinds: dict[str, list[str]], user: str = "") -> None:
    """See that calls and packets go through the proxy at *port*, in each protocol to each kind of address."""
    caller = Caller(runtime)
    hosts = sorted({host for several in kinds.values() for host in several})
    for host in hosts:
        family = V6 if host == V6_HOST else socket.AF_INET
        listening = f"tcp://{'[::1]' if family == V6 else LOCAL}:0"
        async with tieline.serve(our_methods(), listening) as server:
            to = f"tcp://{'[::1]' if family == V6 else host}:{server.url.rpartition(':')[2]}"
            with echo(family) as echoing:
                for scheme in [scheme for scheme, several in kinds.items() if host in several]:
                    proxy = f"{scheme}://{user}{LOCAL}:{port}"
                    await caller.calls(proxy, to)
                    await caller.packets(proxy, host, echoing)


def told(error: Any) -> tuple[type[Exception], int | None]:
    """Return the class of an error, and its code or its status."""
    return type(error), getattr(error, "code", getattr(error, "status", None))


WITH = f"{USER}:{PASSWORD.replace('@', '%40')}@"
WRONG = f"{USER}:wrong@"


# --- microsocks: SOCKS5 ----------------------------------------------------------------------------------------------


async def test_microsocks(microsocks: Start, monkeypatch: pytest.MonkeyPatch, runtime: Any) -> None:
    asked = [] if runtime.name == "blocking" else name(monkeypatch, "unused")
    caller = Caller(runtime)
    async with microsocks() as port:
        await everything(runtime, port, {"socks5": [V4_HOST, V6_HOST, NAME]})
        with closed_port() as closed:
            assert told(await caller.refused(f"socks5://{LOCAL}:{port}", closed)) == (SOCKSFailure, 5)
        assert told(await caller.refused(f"socks4://{LOCAL}:{port}", 9)) == (SOCKSProtocolError, None)
        assert "takes no user name" in str(await caller.refused(f"socks5://{WITH}{LOCAL}:{port}", 9))
        assert await SOCKSProxy.auto_detect_address((LOCAL, port), None) == SOCKSProxy((LOCAL, port), SOCKS5)
    assert asked == []


async def test_microsocks_with_a_password(microsocks: Start, runtime: Any) -> None:
    caller = Caller(runtime)
    async with microsocks("-u", USER, "-P", PASSWORD) as port:
        # It lets in a client's address for good, once that is asked for: so what is wrong comes first.
        wrong = await caller.refused(f"socks5://{WRONG}{LOCAL}:{port}", 9)
        assert "refuses the user name or the password" in str(wrong)
        assert told(await caller.refused(f"socks5://{LOCAL}:{port}", 9)) == (SOCKSFailure, 0xFF)
        await everything(runtime, port, {"socks5": [V4_HOST, V6_HOST, NAME]}, WITH)
        with closed_port() as closed:
            assert told(await caller.refused(f"socks5://{WITH}{LOCAL}:{port}", closed)) == (SOCKSFailure, 5)


# --- ssh -D: SOCKS4, 4a and 5, no passwords --------------------------------------------------------------------------


async def test_ssh(ssh: Start, runtime: Any) -> None:
    caller = Caller(runtime)
    async with ssh() as port:
        kinds = {"socks4": [V4_HOST], "socks4a": [V4_HOST, NAME], "socks5": [V4_HOST, V6_HOST, NAME]}
        await everything(runtime, port, kinds)
        for scheme in kinds:
            with closed_port() as closed:
                error = await caller.refused(f"{scheme}://{LOCAL}:{port}", closed)
            assert type(error) is SOCKSProtocolError
            assert "closed the connection without a reply" in str(error)
        assert type(await caller.refused(f"socks5://{WITH}{LOCAL}:{port}", 9)) is SOCKSProtocolError
        assert await SOCKSProxy.auto_detect_address((LOCAL, port), None) == SOCKSProxy((LOCAL, port), SOCKS5)


# --- dante: SOCKS4 and 5, rules, passwords, datagrams ----------------------------------------------------------------


async def test_dante(dante: Start, runtime: Any) -> None:
    caller = Caller(runtime)
    async with dante(f"socks block {{ from: 0.0.0.0/0 to: {LOCAL}/32 port = 7 }}") as port:
        await everything(runtime, port, {"socks4": [V4_HOST], "socks5": [V4_HOST, NAME]})
        with closed_port() as closed:
            for scheme, by_target, by_rule in (("socks4", 0x5B, 0x5B), ("socks5", 5, 2)):
                proxy = f"{scheme}://{LOCAL}:{port}"
                assert told(await caller.refused(proxy, closed)) == (SOCKSFailure, by_target)
                assert told(await caller.refused(proxy, 7)) == (SOCKSFailure, by_rule)
        assert told(await caller.refused(f"socks4a://{LOCAL}:{port}", 7, NAME)) == (SOCKSFailure, 0x5B)
        assert told(await caller.refused(f"socks5://{LOCAL}:{port}", 7, "no.such.host.invalid")) == (SOCKSFailure, 4)


async def test_dante_with_a_password(dante: Start, runtime: Any) -> None:
    caller = Caller(runtime)
    async with dante(f"socks block {{ from: 0.0.0.0/0 to: {LOCAL}/32 port = 7 }}", password=True) as port:
        await everything(runtime, port, {"socks5": [V4_HOST, NAME]}, WITH)
        wrong = await caller.refused(f"socks5://{WRONG}{LOCAL}:{port}", 9)
        assert told(wrong) == (SOCKSFailure, 1)
        assert "refuses the user name or the password" in str(wrong)
        assert told(await caller.refused(f"socks5://{LOCAL}:{port}", 9)) == (SOCKSFailure, 0xFF)
        assert told(await caller.refused(f"socks4://{LOCAL}:{port}", 9)) == (SOCKSFailure, 0x5B)
        assert told(await caller.refused(f"socks5://{WITH}{LOCAL}:{port}", 7)) == (SOCKSFailure, 2)
        with closed_port() as closed:
            assert told(await caller.refused(f"socks5://{WITH}{LOCAL}:{port}", closed)) == (SOCKSFailure, 5)


@pytest.mark.row("P7")
@pytest.mark.parametrize("user", ["", WITH], ids=["open", "password"])
async def test_datagrams_go_through_dante(dante: Start, user: str, runtime: Any) -> None:
    async with dante(password=bool(user)) as port, Scene(runtime) as scene:
        with udp() as meter:
            for host in (LOCAL, NAME):
                client = await scene.opened(
                    None, (host, meter.getsockname()[1]), proxy=f"socks5://{user}{LOCAL}:{port}"
                )
                for number, text in enumerate(("there", "x" * 1400)):
                    client.transport.sendto(json.dumps({"id": number, "say": text}).encode())
                    seen, back = await aio.to_thread(meter.recvfrom, 2000)
                    asked = json.loads(seen)
                    assert asked == {"id": number, "say": text}
                    meter.sendto(json.dumps({"id": asked["id"], "said": len(text)}).encode(), back)
                await scene.until(lambda client=client: len(client.got) == 2)  # type: ignore[misc]  # a lambda with a default
                assert sorted(map(json.loads, client.got), key=lambda one: one["id"]) == [
                    {"id": 0, "said": 5},
                    {"id": 1, "said": 1400},
                ]
                assert client.senders == [meter.getsockname()] * 2


@pytest.mark.row("P7")
@pytest.mark.parametrize("user", ["", WITH], ids=["open", "password"])
async def test_packets_go_through_dante_as_datagrams(dante: Start, user: str, runtime: Any) -> None:
    def answer(meter: socket.socket, size: int) -> None:
        for _ in range(size):
            asked, back = meter.recvfrom(2000)
            meter.sendto(json.dumps({"said": json.loads(asked)}).encode(), back)

    def exchange(where: tuple[str, int], proxy: str) -> None:
        with UDPNetworkClient(where, JSON_DATAGRAMS, proxy=proxy, connect_timeout=20) as client:
            for packet in PACKETS:
                client.send_packet(packet)
                assert client.recv_packet(timeout=20) == {"said": packet}
            assert client.get_extra_info("proxy_target") == where

    async with dante(password=bool(user)) as port:
        proxy = f"socks5://{user}{LOCAL}:{port}"
        for host in (LOCAL, NAME):
            with udp() as meter:
                where = (host, meter.getsockname()[1])
                answering = threading.Thread(target=answer, args=(meter, len(PACKETS)))
                answering.start()
                if runtime.name == "blocking":
                    await aio.to_thread(exchange, where, proxy)
                else:
                    async with AsyncUDPNetworkClient(where, JSON_DATAGRAMS, proxy=proxy) as client:
                        for packet in PACKETS:
                            await client.send_packet(packet)
                            async with aio.timeout(20):
                                assert await client.recv_packet() == {"said": packet}
                        assert client.get_extra_info("proxy_target") == where
                answering.join(20)


@pytest.mark.row("P7")
async def test_datagrams_that_dante_refuses(dante: Start, runtime: Any) -> None:
    """Who has no password is told so. A rule against a target is not told of: its datagrams are dropped."""
    async with Scene(runtime) as scene, dante(password=True) as port:
        for user, code in ((WRONG, 1), ("", 0xFF)):
            with pytest.raises(SOCKSFailure) as raised:
                await scene.opened(None, (LOCAL, 9), proxy=f"socks5://{user}{LOCAL}:{port}")
            assert raised.value.code == code
    with udp() as forbidden, udp() as allowed:
        to = f"{LOCAL}/32 port = {forbidden.getsockname()[1]}"
        rule = f"socks block {{ from: 0.0.0.0/0 to: {to} protocol: udp }}"
        async with dante(rule) as port, Scene(runtime) as scene:
            client = await scene.opened((LOCAL, 0), proxy=f"socks5://{LOCAL}:{port}")
            for meter in (forbidden, allowed):
                client.transport.sendto(b"hello", meter.getsockname())
            assert (await aio.to_thread(allowed.recvfrom, 100))[0] == b"hello"
            forbidden.setblocking(False)
            with pytest.raises(BlockingIOError):
                forbidden.recv(100)


@pytest.mark.row("P7")
async def test_a_proxy_without_datagrams_says_so(microsocks: Start, runtime: Any) -> None:
    async with microsocks() as port, Scene(runtime) as scene:
        with pytest.raises(SOCKSFailure) as raised:
            await scene.opened(None, (LOCAL, 9), proxy=f"socks5://{LOCAL}:{port}")
        assert raised.value.code == 7


# --- tinyproxy: HTTP CONNECT -----------------------------------------------------------------------------------------


async def test_tinyproxy(tinyproxy: Start, monkeypatch: pytest.MonkeyPatch, runtime: Any) -> None:
    asked = [] if runtime.name == "blocking" else name(monkeypatch, "unused")
    async with tinyproxy() as port:
        await everything(runtime, port, {"http": [V4_HOST, V6_HOST, NAME]})
        with closed_port() as closed:
            kind, status = told(await Caller(runtime).refused(f"http://{LOCAL}:{port}", closed))
        assert kind is HTTPConnectError
        assert status in (500, 502, 503)  # by its version
        # Asked in SOCKS it says nothing at all.
        assert await SOCKSProxy.auto_detect_address((LOCAL, port), None, timeout=0.1) is None
    assert asked == []


async def test_tinyproxy_with_a_password_and_rules(tinyproxy: Start, runtime: Any) -> None:
    caller = Caller(runtime)
    async with tieline.serve(our_methods(), f"tcp://{LOCAL}:0") as server:
        allowed = server.url.rpartition(":")[2]
        async with tinyproxy("BasicAuth ann pass", f"ConnectPort {allowed}") as port:
            for host in (LOCAL, NAME):
                await caller.calls(f"http://ann:pass@{LOCAL}:{port}", f"tcp://{host}:{allowed}")
            found = [
                told(await caller.refused(f"http://{user}{LOCAL}:{port}", 9))
                for user in ("", "ann:wrong@", "ann:pass@")
            ]
            assert found == [(HTTPConnectError, status) for status in (407, 401, 403)]


# --- several ---------------------------------------------------------------------------------------------------------


async def test_a_chain_of_real_proxies(microsocks: Start, tinyproxy: Start, dante: Start, runtime: Any) -> None:
    async with microsocks() as one, tinyproxy() as two, dante() as three:
        chain = [f"socks5://{LOCAL}:{one}", f"http://localhost:{two}", f"socks5://{LOCAL}:{three}"]
        async with tieline.serve(our_methods(), f"tcp://{LOCAL}:0") as server:
            await Caller(runtime).calls(chain, f"tcp://{NAME}:{server.url.rpartition(':')[2]}")
        with echo(socket.AF_INET) as port:
            await Caller(runtime).packets(chain, NAME, port)


@pytest.mark.row("P5", "P7")
async def test_what_each_of_them_is_and_can_do(
    microsocks: Start, tinyproxy: Start, dante: Start, ssh: Start, runtime: Any
) -> None:
    check: Callable[[str], Any] = tieline.check_proxy
    if runtime.name == "blocking":

        async def check(url: str) -> Any:
            return await aio.to_thread(tieline.blocking.check_proxy, url)

    async with microsocks("-u", USER, "-P", PASSWORD) as port:
        report = await check(f"socks5://{WITH}{LOCAL}:{port}")
        assert [one for one in report.protocols if report.speaks(one)] == ["SOCKS5"]
        found = (report.open, report.password, report.names, report.ipv6, report.udp)
        assert [one.answer for one in found] == [False, True, True, True, False]
        report = await check(f"socks5://{USER}:wrong@{LOCAL}:{port}")
        assert (report.password.answer, report.names.answer) == (False, None)
    async with ssh() as port:
        report = await check(f"socks5://{LOCAL}:{port}")
        assert [one for one in report.protocols if report.speaks(one)] == ["SOCKS5", "SOCKS4a", "SOCKS4"]
        assert (report.open.answer, report.names.answer, report.udp.answer) == (True, True, False)
    async with dante(password=True) as port:
        report = await check(f"socks5://{WITH}{LOCAL}:{port}")
        assert (report.open.answer, report.password.answer, report.udp.answer) == (False, True, True)
    async with tinyproxy("BasicAuth ann pass") as port:
        report = await tieline.check_proxy(f"http://ann:pass@{LOCAL}:{port}", timeout=0.5)
        assert [one for one in report.protocols if report.speaks(one)] == ["HTTP CONNECT"]
        assert (report.password.answer, report.names.answer, report.udp.answer) == (True, True, False)
