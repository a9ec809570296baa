# SPDX-License-Identifier: MIT
"""Dialogues with proxies on a bare socket, on every runtime: what does not fit, what comes too early, what breaks."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests import aio
from tests.runtimes.proxied import each_runtime
from tests.runtimes.scripted_proxies import PATIENCE, read, until
from tieline import HTTPConnectError, SOCKSFailure, SOCKSProtocolError
from tieline.runtimes.blocking.tunnels import talk as talk_blocking
from tieline.runtimes.tunnelling import advance
from tieline.wire.proxies.dialogue import Dialogue
from tieline.wire.proxies.http_connect import HTTPConnect
from tieline.wire.proxies.socks5 import SOCKS5

pytestmark = [each_runtime, pytest.mark.asyncio_only("each_runtime has them all, trio too")]

LONG = (b"u" * 4096, b"p" * 4096)
OK = b"HTTP/1.1 200 OK\r\n\r\n"


def long_request() -> HTTPConnect:
    return HTTPConnect("host.example", 80, credentials=LONG)


async def talk(runtime: Any, sock: socket.socket, dialogue: Dialogue[Any]) -> Any:
    if runtime.name == "blocking":
        return talk_blocking(sock, dialogue, time.monotonic() + PATIENCE)
    if runtime.name == "trio":
        from tieline.runtimes.trio.tunnels import talk as talk_async
    else:
        from tieline.runtimes.asyncio.tunnels import talk as talk_async
    async with aio.timeout(PATIENCE):
        return await talk_async(sock, dialogue)


def narrow(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that the system has


@contextmanager
def proxy(play: Callable[[socket.socket], object], *, is_narrow: bool = False) -> Iterator[socket.socket]:
    """Give a socket at whose other end a thread plays a proxy; a narrow one holds less than a long request."""
    ours, theirs = socket.socketpair()
    if is_narrow:
        narrow(ours)
    ours.setblocking(False)
    theirs.settimeout(PATIENCE)

    def run() -> None:
        with theirs, suppress(ConnectionError, EOFError):
            play(theirs)

    with ours:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield ours
        finally:
            thread.join(PATIENCE)


async def test_a_request_that_finds_no_room_waits_for_it(runtime: Any) -> None:
    heard: list[bytes] = []

    def play(sock: socket.socket) -> None:
        heard.append(until(sock, b"\r\n\r\n"))
        sock.sendall(OK + b"hello")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        narrow(ours)
        assert advance(ours, long_request())  # or this test would show nothing
    with proxy(play, is_narrow=True) as sock:
        assert await talk(runtime, sock, long_request()) == 200
        sock.settimeout(PATIENCE)
        assert read(sock, 5) == b"hello"
    assert heard == [long_request().data_to_send()]


async def test_a_proxy_that_goes_away_meanwhile_is_told(runtime: Any) -> None:
    def play(sock: socket.socket) -> None:
        sock.recv(1)

    with (
        proxy(play, is_narrow=True) as sock,
        pytest.raises(HTTPConnectError, match=r"broke the connection without a reply"),
    ):
        await talk(runtime, sock, long_request())


async def test_a_proxy_that_says_all_before_it_is_asked_is_heard(runtime: Any) -> None:
    """And what it has said too much is still there."""

    def play(sock: socket.socket) -> None:
        sock.sendall(b"\5\0\5\0\0\3\2hi\0\1" + b"tunnel")
        read(sock, 22)

    with proxy(play) as sock:
        assert await talk(runtime, sock, SOCKS5("host.example", 80)) == ("hi", 1)
        sock.settimeout(PATIENCE)
        assert read(sock, 6) == b"tunnel"


async def test_loops_that_cannot_wait_for_sockets_have_them_sent_and_received(runtime: Any) -> None:
    """As on Windows; these loops here can do that as well."""
    if runtime.name not in ("asyncio", "uvloop"):
        return
    from tieline.runtimes.asyncio.tunnels import talk_by_loop

    def play(reply: bytes) -> Callable[[socket.socket], object]:
        def run(sock: socket.socket) -> None:
            read(sock, 3)
            sock.sendall(b"\5\0")
            read(sock, 19)
            sock.sendall(reply)

        return run

    with proxy(play(b"\5\0\0\1\0\0\0\0\0\0tunnel")) as sock:
        assert await talk_by_loop(sock, SOCKS5("host.example", 80)) == ("0.0.0.0", 0)
        sock.settimeout(PATIENCE)
        assert read(sock, 6) == b"tunnel"
    with proxy(play(b"\5\5")) as sock, pytest.raises(SOCKSFailure, match="connection refused"):
        await talk_by_loop(sock, SOCKS5("host.example", 80))
    with proxy(play(b"\5")) as sock, pytest.raises(SOCKSProtocolError, match="in the middle of a reply"):
        await talk_by_loop(sock, SOCKS5("host.example", 80))
    with proxy(lambda sock: sock.recv(1)) as sock, pytest.raises(SOCKSProtocolError, match="broke the connection"):
        await talk_by_loop(sock, SOCKS5("host.example", 80))
