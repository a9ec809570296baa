# SPDX-License-Identifier: MIT
"""Hostile proxies, and targets and credentials that no proxy can be told, on every runtime, blocking code too.

Each ends in a typed error within the one deadline, and leaves no descriptor (tests/conftest.py looks for them).
"""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from tests.runtimes.proxied import Way, both_ways, each_runtime, nobody_resolves, open_url, url_of
from tests.runtimes.scripted_proxies import (
    PATIENCE,
    Good,
    Script,
    at_once,
    byte_by_byte,
    listening,
    sends,
    silent,
    wait_for_end,
)
from tests.runtimes.sockets import closed_port, tcp_listener
from tieline import HTTPConnectError, SOCKSError, SOCKSFailure, SOCKSProtocolError

__all__ = ["nobody_resolves"]

pytestmark = [each_runtime, pytest.mark.asyncio_only("each_runtime has them all, trio too")]

SCHEMES = ["socks4", "socks4a", "socks5", "http"]
NAMED = ["socks4a", "socks5", "http"]
ANYONE = (SOCKSError, HTTPConnectError)


# --- hostile ones ----------------------------------------------------------------------------------------------------


def trickling_for(scheme: str) -> Script:
    """Return a script that says what is right so far, a byte every 80 ms, and never the last one."""
    said = {
        "socks4": b"\0\x5a" + bytes(5),
        "socks4a": b"\0\x5a" + bytes(5),
        "socks5": b"\x05\x02\x01\x00\x05\x00\x00\x03\xff" + b"a" * 256,
        "http": b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 10_000,
    }[scheme]

    def script(sock: socket.socket) -> None:
        for byte in said:
            until = time.monotonic() + 0.08
            while (left := until - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    if not sock.recv(65536):
                        raise EOFError
                except TimeoutError:
                    pass
            sock.sendall(bytes([byte]))
        sock.settimeout(PATIENCE)
        wait_for_end(sock)

    return script


@pytest.mark.row("P3", "P9", "H63")
@pytest.mark.parametrize("kind", ["silent", "trickling"])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_one_deadline_ends_what_takes_for_ever(scheme: str, kind: str, runtime: Any) -> None:
    """Not a new one for each byte: three bytes or none come within it."""
    script, seconds = (silent, 0.05) if kind == "silent" else (trickling_for(scheme), 0.2)
    with listening(script) as scripted:
        began = time.monotonic()
        error = await Way(runtime).fails(
            TimeoutError, "127.0.0.1", 9, proxy=url_of(scheme, scripted), connect_timeout=seconds
        )
        took = time.monotonic() - began
        assert f"within {seconds:g} s" in str(error)
        assert seconds - 0.01 <= took
        # The system starts a timer late at times, and a busy machine a process; a deadline for each byte would end
        # nothing before PATIENCE is over.
        assert took < PATIENCE / 2
        assert scripted.ended.acquire(timeout=PATIENCE)  # the proxy sees that the client has left


GARBAGE: list[tuple[str, Script]] = [
    ("64 random bytes", sends(bytes(range(64, 128)))),
    ("64 more", sends(bytes(range(191, 127, -1)))),
    ("a page", sends(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno!")),
    ("a page of HTTP/0.9", sends(b"<html><body>no!</body></html>")),
    ("1 MB", sends(b"\xa5" * 2**20)),
    ("1 MB of line ends", sends(b"\r\n" * 2**19)),
    ("reset", sends(b"", reset=True)),
    ("end", sends(b"")),
    ("version 4", sends(b"\x04\x00")),
    ("no method", sends(b"\x05\xff")),
    ("not offered", sends(b"\x05\x00")),
]


@pytest.mark.row("P3", "P9", "H63", "H64")
@pytest.mark.parametrize("script", [script for _, script in GARBAGE], ids=[text for text, _ in GARBAGE])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_garbage_ends_in_a_typed_error(scheme: str, script: Script, runtime: Any) -> None:
    with listening(script) as scripted:
        error = await Way(runtime).fails(
            ANYONE, "127.0.0.1", 9, proxy=url_of(scheme, scripted), connect_timeout=PATIENCE
        )
    assert f"through {scheme}://***@127.0.0.1:" in str(error)


RIGHT = {
    "socks4": (b"\0\x5a" + bytes(6),),
    "socks5": (b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x03\x01h\x00\x00"),
    "http": (b"HTTP/1.1 200 OK\r\n\r\n",),
}


@pytest.mark.row("P3", "P9", "H63")
@pytest.mark.parametrize("scheme", RIGHT)
async def test_an_end_behind_each_byte_is_a_typed_error(scheme: str, runtime: Any) -> None:
    """Both kinds of ends, in turn, behind each byte of what is right."""
    whole = [(number, length) for number, reply in enumerate(RIGHT[scheme]) for length in range(len(reply))]
    ends = iter([(place, reset) for place in whole for reset in (False, True)])

    def script(sock: socket.socket) -> None:
        (last, length), reset = next(ends)
        for earlier in RIGHT[scheme][:last]:
            sock.recv(65536)
            sock.sendall(earlier)
        sends(RIGHT[scheme][last][:length], reset=reset)(sock)

    with listening(script) as scripted:
        for _ in range(2 * len(whole)):
            await Way(runtime).fails(
                (SOCKSProtocolError, HTTPConnectError), "127.0.0.1", 9, proxy=url_of(scheme, scripted)
            )


def answers(*steps: bytes, then_waits: bool = True) -> Script:
    """Return a script that answers each message by a step, and then waits, so that nothing ends but by a decision."""

    def script(sock: socket.socket) -> None:
        for step in steps:
            if not sock.recv(65536):
                raise EOFError
            sock.sendall(step)
        if then_waits:
            wait_for_end(sock)

    return script


@pytest.mark.row("P3", "P9", "H64")
@pytest.mark.parametrize(
    ("scheme", "steps", "kind", "code", "says"),
    [
        ("socks5", [b"\x05\x00", b"\x05\x05"], SOCKSFailure, 5, "connection refused"),
        ("socks5", [b"\x05\x00", b"\x05\x01\x00\x01"], SOCKSFailure, 1, "general failure"),
        ("socks5", [b"\x05\x00", b"\x05\x04\x00\x00"], SOCKSFailure, 4, "host unreachable"),
        ("socks5", [b"\x05\x00", b"\x05\xf2"], SOCKSFailure, 0xF2, "introduction"),
        ("socks5", [b"\x05\x00", b"\x05\x42"], SOCKSFailure, 0x42, "unknown code"),
        ("socks5", [b"\x05\xff"], SOCKSFailure, 0xFF, "it wants a user name"),
        ("socks5", [b"\x05\x02"], SOCKSProtocolError, None, "0x02, and 0x00 alone was offered"),
        ("socks5", [b"\x04\x00"], SOCKSProtocolError, None, "0x04, expected 0x05"),
        ("socks5", [b"\x05\x00", b"\x04\x00"], SOCKSProtocolError, None, "0x04, expected 0x05"),
        ("socks5", [b"\x05\x00", b"\x05\x00\x00\x07\x00"], SOCKSProtocolError, None, "address type 0x07"),
        ("socks4", [b"\x00\x5b"], SOCKSFailure, 0x5B, "rejected"),
        ("socks4", [b"\x00\xf2"], SOCKSFailure, 0xF2, "unknown code"),
        ("socks4", [b"\x05\xff"], SOCKSProtocolError, None, "it speaks SOCKS5"),
        ("http", [b"HTTP/1.1 407 No\r\n"], HTTPConnectError, 407, "wants a user name"),
        ("http", [b"HTTP/1.1 299999 Yes\r\n"], HTTPConnectError, None, "not a status line"),
    ],
)
async def test_two_bytes_decide_or_a_line(
    scheme: str, steps: list[bytes], kind: Any, code: int | None, says: str, runtime: Any
) -> None:
    """The proxy says no more and waits: who waited for the rest would end with a TimeoutError."""
    with listening(answers(*steps)) as scripted:
        url = url_of(scheme, scripted, known=False)
        error = await Way(runtime).fails(kind, "127.0.0.1", 9, proxy=url, connect_timeout=PATIENCE)
        assert type(error) is kind
        assert getattr(error, "code", getattr(error, "status", None)) == code
        assert says in str(error)
        assert scripted.ended.acquire(timeout=PATIENCE)


@pytest.mark.row("P1", "P9", "H65")
@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_bound_name_of_255_bytes_does_no_harm(is_slow: bool, runtime: Any) -> None:
    """Control characters in it reach no log, and the bytes behind it are the target's."""
    reply = b"\x05\x00\x00\x03\xff" + b"\x1b\r\n\0\xff" * 51 + b"\xff\xff" + b"hello"

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"\x05\x00")
        sock.recv(65536)
        (byte_by_byte if is_slow else at_once)(sock, reply)
        wait_for_end(sock)

    with listening(script) as scripted:
        connection = await Way(runtime).open("host.example", 9, proxy=url_of("socks5", scripted, known=False))
        assert await connection.read(5) == b"hello"
        await connection.close()


LONG = ".".join(["a" * 63] * 4)  # 255 bytes


@pytest.mark.row("P1", "P9", "H66")
@pytest.mark.parametrize("scheme", NAMED)
async def test_what_no_host_can_be_is_refused_before_anything_is_sent(
    scheme: str, runtime: Any, nobody_resolves: None
) -> None:
    bad = ["", "a" * 64, f"{LONG}a", "ü" * 64, "a..b", "a\0b", "a\r\nb", "a b", ".a", "a@b", "fe80::1%lo"]
    refused = {"socks4": "host.example", "socks4a": "::1"}
    with listening(silent) as scripted:
        for host in [*bad, *([refused[scheme]] if scheme in refused else [])]:
            await Way(runtime).fails(ValueError, host, 9, proxy=url_of(scheme, scripted))
        assert scripted.connections == 0


@pytest.mark.row("P1", "H66")
async def test_socks4_is_never_given_a_name(runtime: Any, nobody_resolves: None) -> None:
    with listening(silent) as scripted:
        for host in ("host.example", "::1"):
            await Way(runtime).fails(ValueError, host, 9, proxy=url_of("socks4", scripted))
        assert scripted.connections == 0


@pytest.mark.row("P1", "H66")
@pytest.mark.parametrize("scheme", NAMED)
async def test_a_name_of_255_bytes_is_asked_for(scheme: str, runtime: Any) -> None:
    good = Good({LONG: "127.0.0.1"})
    with tcp_listener() as (listener, port), listening(good) as scripted:
        await both_ways(Way(runtime), listener, LONG, proxy=open_url(scheme, scripted))
        assert good.asked == [(LONG, port)]


@pytest.mark.row("P2", "H66")
async def test_credentials_that_cannot_be_told_are_refused_when_they_are_given(runtime: Any) -> None:
    with listening(silent) as scripted:
        place = f"@127.0.0.1:{scripted.port}"
        for user in ("", "horsey:", ":x", f"{'u' * 256}:x", f"horsey:{'x' * 256}"):
            await Way(runtime).fails(
                ValueError, "127.0.0.1", 9, proxy=f"socks5://{user}{place}" if user else "socks5://@h:1"
            )
        for user in ("%00:x", f"{'u' * 256}:x"):
            await Way(runtime).fails(ValueError, "127.0.0.1", 9, proxy=f"socks4a://{user}{place}")
        assert scripted.connections == 0
    longest = (b"u" * 255, b"p" * 255)
    with tcp_listener() as (listener, _), listening(Good(auth=longest)) as scripted:
        user = ":".join(one.decode() for one in longest)
        await both_ways(Way(runtime), listener, "127.0.0.1", proxy=f"socks5://{user}@127.0.0.1:{scripted.port}")


@pytest.mark.row("P3")
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_is_not_there_is_told_apart_from_its_target(scheme: str, runtime: Any) -> None:
    with listening(Good()) as scripted, closed_port() as closed:
        error = await Way(runtime).fails(ANYONE, "127.0.0.1", closed, proxy=open_url(scheme, scripted))
        codes = {"socks4": 0x5B, "socks4a": 0x5B, "socks5": 5, "http": 502}
        assert getattr(error, "code", getattr(error, "status", None)) == codes[scheme]
        await Way(runtime).fails(ConnectionRefusedError, "127.0.0.1", 9, proxy=f"{scheme}://127.0.0.1:{closed}")
