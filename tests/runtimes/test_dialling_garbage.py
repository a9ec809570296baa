# SPDX-License-Identifier: MIT
"""Dials that fail leave nothing for the garbage collector: a program that dials again and again would wait for that."""

from __future__ import annotations

import gc
import socket
import ssl
from types import FrameType, TracebackType
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import turns
from tests.runtimes.proxied import Way, each_runtime, url_of
from tests.runtimes.scripted_proxies import Script, listening, sends, silent
from tests.runtimes.sockets import closed_port
from tests.streams.scene import tls_client
from tieline.runtimes.trio.turns import Turns

pytestmark = [each_runtime, pytest.mark.asyncio_only("each_runtime has them all, trio too")]

# What is of a dial. (Transports of asyncio's own refer to themselves.)
KINDS = (BaseException, FrameType, TracebackType, tieline.TCP, tieline.TLS, Turns)


def speaks_tls(certificate: str) -> Script:
    def script(sock: socket.socket) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        try:
            with context.wrap_socket(sock, server_side=True) as safe:
                safe.recv(1)
        except OSError:
            pass

    return script


REFUSALS: dict[str, Script] = {
    "socks4a": sends(b"\0\x5b" + bytes(6)),
    "socks5": sends(b"\x05\x02\x01\x00\x05\x05\x00\x01" + bytes(6)),
    "http": sends(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"),
}


async def left_by(way: Way, kind: Any, *where: Any, **settings: Any) -> list[Any]:
    """Return what is left for the garbage collector by a dial that fails so."""

    async def dial() -> None:
        with pytest.raises(kind):
            await way.open(*where, **settings)
        await turns(20)

    await dial()  # what the first one loads and keeps is no matter
    gc.collect()
    gc.disable()
    try:
        await dial()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return [one for one in gc.garbage if isinstance(one, KINDS)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.row("P9")
@pytest.mark.parametrize("how", ["refuses", "ends"])
@pytest.mark.parametrize("scheme", REFUSALS)
async def test_a_proxy_that_will_not(scheme: str, how: str, runtime: Any) -> None:
    with listening(REFUSALS[scheme] if how == "refuses" else sends(b"")) as scripted:
        kinds = (tieline.SOCKSError, tieline.HTTPConnectError)
        assert not await left_by(Way(runtime), kinds, "127.0.0.1", 9, proxy=url_of(scheme, scripted))


@pytest.mark.row("D6")
@pytest.mark.parametrize("what", ["a stranger", "another name", "an end", "silence"])
async def test_a_handshake_that_fails(what: str, certificates: Certificates, runtime: Any) -> None:
    script, name = {
        "a stranger": (speaks_tls(certificates.stranger), "localhost"),
        "another name": (speaks_tls(certificates.server), "another.example"),
        "an end": (sends(b""), "localhost"),
        "silence": (silent, "localhost"),
    }[what]
    settings: dict[str, Any] = {"ssl_handshake_timeout": 0.05} if what == "silence" else {}
    with listening(script) as scripted:
        assert not await left_by(
            Way(runtime),
            OSError,
            "127.0.0.1",
            scripted.port,
            ssl=tls_client(certificates),
            server_hostname=name,
            **settings,
        )


@pytest.mark.row("D3")
async def test_nobody_there(runtime: Any) -> None:
    with closed_port() as port:
        assert not await left_by(Way(runtime), ConnectionRefusedError, "127.0.0.1", port)


@pytest.mark.row("D3")
@pytest.mark.parametrize("own", ["192.0.2.1", "::1"], ids=["nobody's", "of another family"])
async def test_nowhere_to_dial_from(own: str, runtime: Any) -> None:
    with closed_port() as port:
        assert not await left_by(Way(runtime), OSError, "127.0.0.1", port, local_addr=(own, 0))


@pytest.mark.row("D1")
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
async def test_a_protocol_that_fails_when_it_is_made(secured: bool, certificates: Certificates, runtime: Any) -> None:
    class Fails(tieline.transports.Protocol):
        def connection_made(self, transport: Any) -> None:
            raise ZeroDivisionError

    class Dials(Way):
        async def open(self, host: str, port: int, **settings: Any) -> Any:
            if self.is_blocking:
                return tieline.blocking.create_connection(Fails, host, port, **settings)
            return await tieline.create_connection(Fails, host, port, nursery=aio.nursery(), **settings)

    settings: dict[str, Any] = {"ssl": tls_client(certificates), "server_hostname": "localhost"} if secured else {}
    with listening(speaks_tls(certificates.server) if secured else silent) as scripted:
        assert not await left_by(Dials(runtime), ZeroDivisionError, "127.0.0.1", scripted.port, **settings)
