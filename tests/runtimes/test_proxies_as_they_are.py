# SPDX-License-Identifier: MIT
"""How real proxies behave and misbehave, played to the byte by scripts, on every runtime, blocking code too.

Each row is one that was seen: what a real server answers to each message of ours, and how it goes on. No two of them
fail alike.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests import aio
from tests.runtimes.proxied import SECRET, USER, Way, each_runtime, nobody_resolves
from tests.runtimes.scripted_proxies import PATIENCE, Good, listening, silent, wait_for_end
from tests.runtimes.sockets import Recorder, closed_port, tcp_listener
from tieline import SOCKS5, HTTPConnectProxy, SOCKS4a, SOCKSFailure, SOCKSProtocolError, SOCKSUserAuth

__all__ = ["nobody_resolves"]

pytestmark = [each_runtime, pytest.mark.asyncio_only("each_runtime has them all, trio too")]

HELLO, HELLO_USER = b"\x05\x01\x00", b"\x05\x01\x02"
PASSWORD = b"\x01" + bytes([len(USER)]) + USER.encode() + bytes([len(SECRET)]) + SECRET.encode()
NAME = b"host.example"
ASK = b"\x05\x01\x00\x03" + bytes([len(NAME)]) + NAME + b"\x00\x50"
ASK6 = b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50"
ASK4 = b"\x04\x01\x00\x50\xc0\x00\x02\x01\x00"
ASK4A = b"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + NAME + b"\x00"
ZERO = b"\x05\x00\x00\x01" + bytes(6)
LONG = ".".join(["a" * 63] * 4)
ASK_LONG = b"\x05\x01\x00\x03\xff" + LONG.encode() + b"\x00\x50"


@dataclass(frozen=True)
class Row:
    """A proxy of the table: what it gets, as one message each, and what it answers.

    Attributes:
        name: Which one it is, and what is the matter.
        steps: Messages and answers.
        error: As which error that ends; None = in a connection.
        code: The reply code that it tells.
        ends: Whether the proxy then closes; else it waits, for ever.
        scheme: The protocol.
        host: The target.
        known: Whether user name and password are given.
    """

    name: str
    steps: tuple[tuple[bytes, bytes], ...]
    error: type[Exception] | None = None
    code: int | None = None
    ends: bool = True
    scheme: str = "socks5"
    host: str = NAME.decode()
    known: bool = False

    def __str__(self) -> str:
        return self.name

    def play(self, sock: socket.socket) -> None:
        """Be that proxy. Each message must come in one piece, and nothing before the answer to the one before."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for expected, answer in self.steps:
            assert sock.recv(65536) == expected
            sock.sendall(answer)
        if not self.ends:
            wait_for_end(sock)


def refused(name: str, reply: bytes, code: int, **settings: Any) -> Row:
    return Row(name, ((HELLO, b"\x05\x00"), (ASK, reply)), SOCKSFailure, code, **settings)


def wrong_password(name: str, reply: bytes, code: int) -> Row:
    return Row(name, ((HELLO_USER, b"\x05\x02"), (PASSWORD, reply)), SOCKSFailure, code, known=True)


def old(name: str, asked: bytes, reply: bytes, error: type[Exception] | None, code: int | None = None) -> Row:
    scheme, host = ("socks4a", NAME.decode()) if asked is ASK4A else ("socks4", "192.0.2.1")
    return Row(name, ((asked, reply),), error, code, scheme=scheme, host=host)


NAME_REPLY = b"\x00\x03" + bytes([len(NAME)]) + NAME + b"\x00\x50"

FAILURES = [
    *(refused(f"microsocks: code {code}", bytes([5, code]) + ZERO[2:], code) for code in (1, 3, 4, 5)),
    wrong_password("microsocks: wrong password", b"\x01\x02", 2),
    wrong_password("microsocks: empty password", b"\x01\x01", 1),
    old("microsocks: SOCKS4", ASK4, b"\x05\xff", SOCKSProtocolError),
    Row("ssh -D: the target refuses", ((HELLO, b"\x05\x00"), (ASK, b"")), SOCKSProtocolError),
    old("ssh -D: the target refuses, SOCKS4", ASK4, b"", SOCKSProtocolError),
    old("ssh -D: the target refuses, SOCKS4a", ASK4A, b"", SOCKSProtocolError),
    Row("ssh -D: a password", ((HELLO_USER, b""),), SOCKSProtocolError, known=True),
    *(refused(f"dante: code {code}", bytes([5, code]) + ZERO[2:], code) for code in (1, 2, 3, 5)),
    refused("dante: no such name, with the name", b"\x05\x04" + NAME_REPLY, 4),
    wrong_password("dante: wrong password", b"\x01\x01", 1),
    old("dante: stale address in a failure of SOCKS4", ASK4, b"\x00\x5b\x1f\x90\x7f\x00\x00\x01", SOCKSFailure, 0x5B),
    old("dante: no SOCKS4a", ASK4A, b"\x00\x5b" + bytes(6), SOCKSFailure, 0x5B),
    wrong_password("v2ray: wrong password", b"\x01\xff", 0xFF),
    old("v2ray: SOCKS4 where a password is wanted", ASK4, b"\x00\x5b" + bytes(6), SOCKSFailure, 0x5B),
    Row(
        "pproxy: wrong password",
        ((HELLO_USER, b"\x05\x02"), (PASSWORD, b"")),
        SOCKSProtocolError,
        known=True,
    ),
    Row(
        "pproxy: a method that was not offered",
        ((HELLO_USER, b"\x05\x00"),),
        SOCKSProtocolError,
        known=True,
        ends=False,
    ),
    *(refused(f"tor: code {code:#x}", bytes([5, code]) + ZERO[2:], code, ends=False) for code in (1, 4, 6, 0xF0, 0xF6)),
    old("tor: SOCKS4", ASK4, b"\x00\x5b" + bytes(6), SOCKSFailure, 0x5B),
    old("tor: SOCKS4a", ASK4A, b"\x00\x5b" + bytes(6), SOCKSFailure, 0x5B),
    refused("socksv5: two bytes and an end", b"\x05\x05", 5),
    wrong_password("socksv5: wrong password", b"\x01\x01", 1),
    refused("i2pd: code 8, with the name", b"\x05\x08" + NAME_REPLY, 8),
    old("i2pd: SOCKS4", ASK4, b"\x00\x5b" + ASK4[2:8], SOCKSFailure, 0x5B),
    refused("the longest name in a failure", b"\x05\x04\x00\x03\xff" + bytes(257), 4),
    refused("IPv6 in a failure", b"\x05\x05\x00\x04" + bytes(18), 5),
]


@pytest.mark.row("P3", "P9", "H64")
@pytest.mark.parametrize("row", FAILURES, ids=str)
async def test_each_way_to_fail_is_told_as_what_it_is(row: Row, runtime: Any) -> None:
    with listening(row.play) as scripted:
        user = f"{USER}:{SECRET}@" if row.known else ""
        error = await Way(runtime).fails(
            row.error, row.host, 80, proxy=f"{row.scheme}://{user}127.0.0.1:{scripted.port}", connect_timeout=PATIENCE
        )
        assert type(error) is row.error
        assert getattr(error, "code", None) == row.code
        if row.code is not None:
            assert f"0x{row.code:02X}" in str(error)
        assert f"cannot connect to tcp://{row.host}:80 through {row.scheme}://" in str(error)


def granted(name: str, asked: bytes, reply: bytes, **settings: Any) -> Row:
    return Row(name, ((HELLO, b"\x05\x00"), (asked, reply + b"hello")), **settings)


SUCCESSES = [
    granted("microsocks, ssh -D, tor: 0.0.0.0:0", ASK, ZERO, ends=False),
    granted("dante, socksv5: a real address", ASK, b"\x05\x00\x00\x01\xc0\x00\x02\x07\x1f\x90", ends=False),
    granted(
        "v2ray: an IPv4 address for an IPv6 target", ASK6, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38",
        ends=False, host="::1",
    ),
    granted("pproxy: an echo of the name", ASK, b"\x05\x00" + NAME_REPLY, ends=False),
    granted("pproxy: an echo of the longest name", ASK_LONG, b"\x05\x00" + ASK_LONG[2:], ends=False, host=LONG),
    granted("an IPv6 address", ASK, b"\x05\x00\x00\x04" + bytes(18), ends=False),
    Row(
        "tor: any password",
        ((HELLO_USER, b"\x05\x02"), (PASSWORD, b"\x01\x00"), (ASK, ZERO + b"hello")),
        known=True, ends=False,
    ),
]  # fmt: skip


@pytest.mark.row("P1", "P9", "H65")
@pytest.mark.parametrize("row", SUCCESSES, ids=str)
async def test_whatever_address_a_success_names_is_nothing_to_us(row: Row, runtime: Any) -> None:
    with listening(row.play) as scripted:
        user = f"{USER}:{SECRET}@" if row.known else ""
        connection = await Way(runtime).open(row.host, 80, proxy=f"socks5://{user}127.0.0.1:{scripted.port}")
        assert await connection.read(5) == b"hello"
        assert connection.fact("peername")[:2] == scripted.address
        await connection.close()
        assert scripted.connections == 1


LOST = [
    Row("v2ray: a success before it has tried", ((HELLO, b"\x05\x00"), (ASK, ZERO))),
    Row("pproxy: the same", ((HELLO, b"\x05\x00"), (ASK, b"\x05\x00" + NAME_REPLY))),
    old("pproxy: the same in SOCKS4a", ASK4A, b"\x00\x5a" + bytes(6), None),
]


@pytest.mark.row("P9", "H65")
@pytest.mark.parametrize("row", LOST, ids=str)
async def test_a_success_that_was_none_shows_at_the_first_read(row: Row, runtime: Any) -> None:
    with listening(row.play) as scripted:
        connection = await Way(runtime).open(row.host, 80, proxy=f"{row.scheme}://127.0.0.1:{scripted.port}")
        assert await connection.at_end()
        await connection.close()


@pytest.mark.row("P6", "P9", "H63")
@pytest.mark.parametrize("scheme", ["socks4a", "socks5"])
async def test_a_proxy_that_is_still_trying_is_given_up_in_our_own_time(scheme: str, runtime: Any) -> None:
    """As microsocks, ssh -D, socksv5 and tor do where nobody answers: they have said yes to all before, and wait."""

    def script(sock: socket.socket) -> None:
        if scheme == "socks5":
            assert sock.recv(65536) == HELLO
            sock.sendall(b"\x05\x00")
        assert sock.recv(65536) == {"socks5": ASK, "socks4a": ASK4A}[scheme]
        wait_for_end(sock)

    with listening(script) as scripted:
        began = time.monotonic()
        url = f"{scheme}://127.0.0.1:{scripted.port}"
        await Way(runtime).fails(TimeoutError, NAME.decode(), 80, proxy=url, connect_timeout=0.1)
        assert time.monotonic() - began < PATIENCE / 2
        assert scripted.ended.acquire(timeout=PATIENCE)


@pytest.mark.row("P7", "P9", "H67")
async def test_tor_looks_names_up_and_its_odd_refusal_is_understood(runtime: Any, nobody_resolves: None) -> None:
    """A look-up that fails is answered with an address of type 0; nothing of it is waited for."""
    way = Way(runtime)
    look_up = b"\x05\xf0\x00\x03" + bytes([len(NAME)]) + NAME + b"\x00\x00"
    reverse = b"\x05\xf1\x00\x01\xc0\x00\x02\x01\x00\x00"
    for answers, asked, method, argument in [
        ((b"\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x00", "192.0.2.1"), look_up, "resolve", NAME.decode()),
        ((b"\x05\x00\x00\x04" + bytes(15) + b"\x01\x00\x00", "::1"), look_up, "resolve", NAME.decode()),
        ((b"\x05\x00" + NAME_REPLY, NAME.decode()), reverse, "resolve_ptr", "192.0.2.1"),
        ((b"\x05\x04\x00\x00" + bytes(6), 4), look_up, "resolve", NAME.decode()),
        ((b"\x05\x04\x00\x00", 4), reverse, "resolve_ptr", "192.0.2.1"),
        ((b"\x05\x07", 7), look_up, "resolve", NAME.decode()),  # no Tor
    ]:
        answer, outcome = answers
        row = Row("tor", ((HELLO, b"\x05\x00"), (asked, answer)), ends=False)
        with listening(row.play) as scripted:
            proxy = way.socks(scripted.address, SOCKS5)
            try:
                found = await way.done(getattr(proxy, method)(argument, timeout=PATIENCE))
            except SOCKSFailure as exc:
                found = exc.code
        assert found == outcome
    with listening(silent) as scripted:
        proxy = way.socks(scripted.address, SOCKS5)
        with pytest.raises(TimeoutError, match=r"no answer from .* within 0\.05 s"):
            await way.done(proxy.resolve(NAME.decode(), timeout=0.05))
    with pytest.raises(ValueError, match="only SOCKS5 has RESOLVE"):
        await way.done(way.socks(("127.0.0.1", 1), SOCKS4a).resolve(NAME.decode()))


@pytest.mark.row("P5", "H67")
async def test_what_is_spoken_is_found_out_without_asking_for_anything_else(
    runtime: Any, nobody_resolves: None
) -> None:
    way = Way(runtime)
    good = Good(auth=(USER.encode(), SECRET.encode()))
    auth = SOCKSUserAuth(USER, SECRET)
    with listening(good) as scripted, listening(Good(speaks="4")) as older, closed_port() as nobody:
        for method in ("auto_detect_address", "auto_detect_at_address"):
            proxy = await way.done(getattr(way.socks, method)(scripted.address, auth))
            assert type(proxy) is way.socks
            assert (proxy.protocol, proxy.auth, proxy.address) == (SOCKS5, auth, scripted.address)
        assert (good.asked, good.users) == ([], [])
        for method in ("auto_detect_host", "auto_detect_at_host"):
            proxy = await way.done(getattr(way.socks, method)("127.0.0.1", [nobody, older.port, scripted.port], None))
            assert (proxy.protocol, proxy.address) == (SOCKS4a, older.address)
            assert await way.done(getattr(way.socks, method)("127.0.0.1", [nobody], None)) is None
    with listening(silent) as scripted:
        assert await way.done(way.socks.auto_detect_address(scripted.address, None, timeout=0.02)) is None


@pytest.mark.row("P5", "P7")
async def test_what_a_proxy_is_and_can_do_is_found_out(runtime: Any, nobody_resolves: None) -> None:
    way = Way(runtime)
    auth = (USER.encode(), SECRET.encode())
    with listening(Good(auth=auth)) as scripted:
        report = await way.done(way.check(f"socks5://{USER}:{SECRET}@127.0.0.1:{scripted.port}"))
        assert [name for name in report.protocols if report.speaks(name)] == [
            "SOCKS5", "SOCKS4a", "SOCKS4", "HTTP CONNECT",
        ]  # fmt: skip
        assert (report.open.answer, report.password.answer) == (False, True)
        assert (report.names.answer, report.ipv6.answer) == (True, True)
        assert SECRET not in repr(report)
        report = await way.done(way.check(HTTPConnectProxy(scripted.address)))
        assert (report.open.answer, report.names.reason) == (False, "it wants a user name and a password")
    with closed_port() as nobody, pytest.raises(ConnectionRefusedError):
        await way.done(way.check(f"socks5://127.0.0.1:{nobody}"))
    with pytest.raises(ValueError, match="the URL of a proxy must be"):
        await way.done(way.check("127.0.0.1:9050"))


@pytest.mark.row("P4", "P6")
async def test_a_proxy_connects_by_itself(runtime: Any, nobody_resolves: None) -> None:
    """With a protocol of the user's own, which is told the address where it can be."""
    way = Way(runtime)
    with tcp_listener() as (listener, port), listening(Good({NAME.decode(): "127.0.0.1"})) as scripted:
        proxy = way.socks(scripted.address, SOCKS5)
        settings = {} if way.is_blocking else {"nursery": aio.nursery()}
        transport, protocol = await way.done(
            proxy.create_connection(Recorder, NAME.decode(), port, timeout=PATIENCE, **settings)
        )
        peer, _ = await aio.to_thread(listener.accept)
        with peer:
            assert protocol._address == (proxy.host, proxy.port) == (NAME.decode(), port)
            transport.write(b"hello")
            assert await aio.to_thread(peer.recv, 100) == b"hello"
            transport.close()
            if way.is_blocking:
                transport.wait_closed(PATIENCE)
            await protocol.lost
        if way.is_blocking:
            with closed_port() as closed, pytest.raises(SOCKSFailure):
                proxy.create_connection(Recorder, "127.0.0.1", closed, resolve=True)
            transport, slotted = proxy.create_connection(Slotted, "127.0.0.1", port, resolve=True)
            assert not hasattr(slotted, "_address")
            transport.abort()
            transport.wait_closed(PATIENCE)


class Slotted:
    """A protocol with no room for an address."""

    __slots__ = ()

    def connection_made(self, transport: Any) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> None: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
