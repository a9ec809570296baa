# SPDX-License-Identifier: MIT
"""Through proxies on every runtime, blocking code too: the rows of the spec one by one. See also the hostile ones."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.runtimes.proxied import (
    SECRET,
    USER,
    Way,
    both_ways,
    each_runtime,
    nobody_resolves,
    open_url,
    resolves_to,
    url_of,
)
from tests.runtimes.scripted_proxies import PATIENCE, Good, at_once, byte_by_byte, listening
from tests.runtimes.sockets import V6, Recorder, closed_port, tcp_listener

__all__ = ["nobody_resolves"]

pytestmark = [each_runtime, pytest.mark.asyncio_only("each_runtime has them all, trio too")]

SCHEMES = ["socks4", "socks4a", "socks5", "http"]
NAMED = ["socks4a", "socks5", "http"]
NAMES = {"wallet.onion": "127.0.0.1", "host.example": "127.0.0.1"}


# --- the tunnel -------------------------------------------------------------------------------------------------------


@pytest.mark.row("P1", "P6", "P7", "H67")
@pytest.mark.parametrize("scheme", NAMED)
async def test_a_name_goes_to_the_proxy_with_every_resolver_failing(
    scheme: str, runtime: Any, nobody_resolves: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runtime.name in ("asyncio", "uvloop"):

        async def fail(host: Any, *_: Any, **options: Any) -> Any:
            # uvloop has its own method read the address of the proxy; that one says of which type it is to be.
            assert runtime.name == "uvloop", host
            assert "type" not in options, f"{host!r} was looked up"
            assert host == "127.0.0.1"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, _[0]))]

        for one in ("getaddrinfo", "getnameinfo"):
            monkeypatch.setattr(asyncio.get_running_loop(), one, fail)
    way, good = Way(runtime), Good(NAMES)
    with tcp_listener() as (listener, port), listening(good) as scripted:
        target = await both_ways(way, listener, "wallet.onion", proxy=open_url(scheme, scripted))
        assert target == (("wallet.onion", port) if way.can_be_told else None)
        assert good.asked == [("wallet.onion", port)]


@pytest.mark.row("P1", "P9", "H65")
@pytest.mark.parametrize("send", [at_once, byte_by_byte])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_no_byte_of_the_target_is_lost_or_eaten(scheme: str, send: Any, runtime: Any) -> None:
    """Its first bytes come in one segment with the reply, and look like one."""
    glued = b"\x05\x00\x00\x01 first of all\r\n\r\n" if send is at_once else b""
    good = Good(send=send, glued=glued)
    with tcp_listener() as (listener, port), listening(good) as scripted:
        connection = await Way(runtime).open("127.0.0.1", port, proxy=open_url(scheme, scripted))
        peer, _ = await aio.to_thread(listener.accept)
        with peer:
            peer.sendall(b"and more")
            assert await connection.read(len(glued) + 8) == glued + b"and more"
            await connection.close()


@pytest.mark.row("P1")
@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_an_ipv6_address_is_reached(scheme: str, runtime: Any) -> None:
    good = Good()
    with tcp_listener(V6) as (listener, port), listening(good) as scripted:
        await both_ways(Way(runtime), listener, "::1", proxy=open_url(scheme, scripted))
        assert good.asked == [("::1", port)]


@pytest.mark.row("P2")
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_is_told_who_asks_and_nobody_else_is(
    scheme: str, runtime: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    good = Good(auth=None if scheme.startswith("socks4") else (USER.encode(), SECRET.encode()))
    with tcp_listener() as (listener, _), listening(good) as scripted:
        await both_ways(Way(runtime), listener, "127.0.0.1", proxy=url_of(scheme, scripted))
    assert good.users == [b"Basic aG9yc2V5OnN0YXBsZS03" if scheme == "http" else USER.encode()]
    assert SECRET not in caplog.text
    assert USER not in caplog.text


@pytest.mark.row("P2")
async def test_random_credentials_are_others_each_time(runtime: Any) -> None:
    good = Good()
    with tcp_listener() as (listener, _), listening(good) as scripted:
        proxy = tieline.SOCKSProxy(scripted.address, tieline.SOCKS4a, tieline.SOCKSRandomAuth())
        for _ in range(2):
            await both_ways(Way(runtime), listener, "127.0.0.1", proxy=proxy)
    assert len(set(good.users)) == 2
    assert {len(user) for user in good.users} == {32}


@pytest.mark.row("P4", "P6")
async def test_a_proxy_tells_of_its_last_connection(runtime: Any) -> None:
    with tcp_listener() as (listener, port), listening(Good(NAMES)) as scripted:
        proxy = tieline.SOCKSProxy(scripted.address, tieline.SOCKS5)
        assert (proxy.host, proxy.port, proxy.peername) == (None, None, None)
        await both_ways(Way(runtime), listener, "host.example", proxy=proxy)
        assert (proxy.host, proxy.port, proxy.peername) == ("host.example", port, scripted.address)


@pytest.mark.row("P4")
async def test_a_protocol_can_ask_for_its_target_when_it_is_made(runtime: Any) -> None:
    class Asks(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.target = transport.get_extra_info("proxy_target")

    way = Way(runtime)
    with tcp_listener() as (_, port), listening(Good()) as scripted:
        proxy = f"http://127.0.0.1:{scripted.port}"
        create: Any = tieline.blocking.create_connection if way.is_blocking else tieline.create_connection
        settings = {} if way.is_blocking else {"nursery": aio.nursery()}
        transport, protocol = await way.done(create(Asks, "127.0.0.1", port, proxy=proxy, **settings))
        assert protocol.target == (("127.0.0.1", port) if way.can_be_told else None)
        transport.abort()
        if not way.is_blocking:
            await protocol.lost


@pytest.mark.row("P4")
async def test_a_proxy_may_be_at_a_unix_socket(runtime: Any, tmp_path: Path, nobody_resolves: None) -> None:
    with tcp_listener() as (listener, port), listening(Good(NAMES), tmp_path / "proxy"):
        for address in (tmp_path / "proxy", str(tmp_path / "proxy")):
            proxy = tieline.SOCKSProxy(address, tieline.SOCKS5)
            await both_ways(Way(runtime), listener, "host.example", proxy=proxy)
            assert (proxy.host, proxy.port, proxy.peername) == ("host.example", port, str(tmp_path / "proxy"))


@pytest.mark.row("P4")
async def test_all_addresses_of_the_proxy_s_name_are_tried(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with tcp_listener() as (listener, _), listening(Good(NAMES)) as scripted, closed_port() as closed:
        asked = resolves_to(monkeypatch, runtime, "proxy.example", closed, scripted.port)
        proxy = tieline.HTTPConnectProxy(("proxy.example", 3128))
        await both_ways(Way(runtime), listener, "host.example", proxy=proxy)
        assert asked == ["proxy.example"]


@pytest.mark.row("P6")
async def test_a_name_is_looked_up_here_only_where_that_is_asked_for(
    runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    way, good = Way(runtime), Good()
    with tcp_listener() as (listener, port), listening(good) as scripted, closed_port() as closed:
        asked = resolves_to(monkeypatch, runtime, "host.example", closed, port)
        proxy = way.socks(scripted.address, tieline.SOCKS4)
        settings = {} if way.is_blocking else {"nursery": aio.nursery()}
        transport, protocol = await way.done(
            proxy.create_connection(Recorder, "host.example", port, resolve=True, **settings)
        )
        assert asked == ["host.example"]
        assert good.asked == [("127.0.0.1", closed), ("127.0.0.1", port)]
        assert protocol._address == (proxy.host, proxy.port) == ("127.0.0.1", port)
        listener.accept()[0].close()
        transport.abort()
        if way.is_blocking:
            transport.wait_closed(PATIENCE)
        await protocol.lost


@pytest.mark.row("P7")
async def test_a_chain_is_walked_from_the_nearest(runtime: Any, nobody_resolves: None) -> None:
    hops = [Good(NAMES), Good(NAMES, auth=(USER.encode(), SECRET.encode())), Good(NAMES)]
    with (
        tcp_listener() as (listener, port),
        listening(hops[0]) as one,
        listening(hops[1]) as two,
        listening(hops[2]) as three,
    ):
        chain = [
            url_of("http", one, known=False),
            f"socks5://{USER}:{SECRET}@host.example:{two.port}",
            f"socks4a://host.example:{three.port}",
        ]
        await both_ways(Way(runtime), listener, "wallet.onion", proxy=chain)
        wanted = [("host.example", two.port), ("host.example", three.port), ("wallet.onion", port)]
        assert [hop.asked for hop in hops] == [[place] for place in wanted]


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.row("P6", "H69")
@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_tls_is_with_the_target_and_by_default_nobody_else_is_trusted(
    scheme: str, certificates: Certificates, runtime: Any
) -> None:
    """The name that is verified is the target's; the proxy's own is an address that is in the certificate, too."""
    trusting = tieline.TLS(ca=certificates.ca)
    cases = [
        ("host.example", certificates.server, trusting, None),
        ("127.0.0.1", certificates.server, trusting, None),
        ("elsewhere.example", certificates.server, trusting, "elsewhere.example"),
        ("host.example", certificates.server, True, "issuer"),
        ("host.example", certificates.stranger, trusting, "issuer"),
        ("host.example", certificates.expired, trusting, "expired"),
    ]
    names = {**NAMES, "elsewhere.example": "127.0.0.1"}

    def serve(listener: socket.socket, certificate: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        peer, _ = listener.accept()
        with peer:
            try:
                with context.wrap_socket(peer, server_side=True) as secured:
                    secured.sendall(b"secret")
                    secured.recv(1)
            except (ssl.SSLError, ConnectionError):
                pass  # we have not trusted it

    for host, certificate, settings, says in cases:
        with tcp_listener() as (listener, port), listening(Good(names)) as scripted:
            serving = threading.Thread(target=serve, args=(listener, certificate))
            serving.start()
            proxy = open_url(scheme, scripted)
            if says is None:
                way = Way(runtime)
                connection = await way.open(host, port, proxy=proxy, ssl=settings)
                assert await connection.read(6) == b"secret"
                assert connection.fact("proxy_target") == ((host, port) if way.can_be_told else None)
                await connection.close()
            else:
                error = await Way(runtime).fails(ssl.SSLCertVerificationError, host, port, proxy=proxy, ssl=settings)
                assert says in str(error)
            serving.join(PATIENCE)
