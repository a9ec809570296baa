# SPDX-License-Identifier: MIT
"""WebSockets through real proxies, SOCKS and HTTP CONNECT, in TLS and without, calls and packets, on every runtime."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.peers.our_side import our_methods
from tests.peers.proxy_programs import LOCAL, PASSWORD, USER, Start, dante, microsocks, ssh, tinyproxy
from tests.runtimes.datagram_scene import RUNTIMES
from tieline import TLS
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer

if TYPE_CHECKING:
    from tests.certificates import Certificates

__all__ = ["dante", "microsocks", "ssh", "tinyproxy"]

pytestmark = [pytest.mark.peers, pytest.mark.parametrize("runtime", RUNTIMES, ids=str, indirect=True)]

JSON: StreamProtocol[Any] = StreamProtocol(JSONSerializer())
BIG = "x" * 500_000


async def echo(client: Any) -> None:
    async for packet in client:
        await client.send_packet(packet)


async def everything(runtime: Any, certificates: Certificates, proxy: Any) -> None:
    """See that calls and packets go through *proxy*, in TLS and without, to a server that is asked for by name."""
    own, trust = TLS(certificate=certificates.server), TLS(ca=certificates.ca)
    async with AsyncExitStack() as stack:
        for scheme, tls, known in (("ws", None, None), ("wss", own, trust)):
            url = f"{scheme}://{LOCAL}:0/rpc"
            server = await stack.enter_async_context(tieline.serve(our_methods(), url, tls=tls))
            meter = await stack.enter_async_context(tieline.serve(echo, url, protocol=JSON, tls=tls))
            by_name, packets = (one.url.replace(LOCAL, "localhost") for one in (server, meter))
            if runtime.name == "blocking":
                await aio.to_thread(in_blocking_code, proxy, by_name, packets, known)
                continue
            async with tieline.connect(by_name, our_methods(), proxy=proxy, tls=known) as session:
                assert await session.call("ask_back", 21) == 42
                assert await session.call("echo", BIG) == BIG
            async with tieline.connect(packets, protocol=JSON, proxy=proxy, tls=known) as client:
                await client.send_packet([BIG])
                async with aio.timeout(20):
                    assert await client.recv_packet() == [BIG]


def in_blocking_code(proxy: Any, url: str, packets: str, tls: TLS | None) -> None:
    methods = tieline.Methods()
    methods.method(name="double")(lambda number: 2 * number)
    methods.method(name="note")(lambda value: None)
    with tieline.blocking.connect(url, methods, proxy=proxy, tls=tls) as session:
        assert session.call("ask_back", 21) == 42
        assert session.call("echo", BIG) == BIG
    with tieline.blocking.connect(packets, protocol=JSON, proxy=proxy, tls=tls) as client:
        client.send_packet([BIG])
        assert client.recv_packet(timeout=20) == [BIG]


async def test_through_microsocks(microsocks: Start, certificates: Certificates, runtime: Any) -> None:
    async with microsocks() as port:
        await everything(runtime, certificates, f"socks5://{LOCAL}:{port}")


async def test_through_ssh(ssh: Start, certificates: Certificates, runtime: Any) -> None:
    async with ssh() as port:
        await everything(runtime, certificates, f"socks4a://{LOCAL}:{port}")


async def test_through_dante_with_a_password(dante: Start, certificates: Certificates, runtime: Any) -> None:
    async with dante(password=True) as port:
        user = f"{USER}:{PASSWORD.replace('@', '%40')}"
        await everything(runtime, certificates, f"socks5://{user}@{LOCAL}:{port}")


async def test_through_tinyproxy(tinyproxy: Start, certificates: Certificates, runtime: Any) -> None:
    async with tinyproxy() as port:
        await everything(runtime, certificates, f"http://{LOCAL}:{port}")


async def test_through_a_chain(microsocks: Start, tinyproxy: Start, certificates: Certificates, runtime: Any) -> None:
    async with microsocks() as one, tinyproxy() as two:
        await everything(runtime, certificates, [f"socks5://{LOCAL}:{one}", f"http://{LOCAL}:{two}"])
