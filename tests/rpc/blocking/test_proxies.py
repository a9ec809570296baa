# SPDX-License-Identifier: MIT
"""Blocking sessions through proxies."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import sys
import threading
import time
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.rpc.blocking.peers import METHODS
from tests.runtimes.scripted_proxies import Good, Scripted, listening, sends, silent, trickling
from tests.runtimes.sockets import closed_port, open_sockets
from tieline import SOCKS5, TLS, HTTPConnectError, SOCKSFailure, SOCKSProtocolError, SOCKSProxy
from tieline.blocking import connect, serve

URL = "tcp://127.0.0.1:0"
NAMES = {"wallet.example": "127.0.0.1", "host.example": "127.0.0.1"}
SCHEMES = ["socks4a", "socks5", "http"]


def url_of(scheme: str, scripted: Scripted) -> str:
    return f"{scheme}://127.0.0.1:{scripted.port}"


@pytest.mark.row("P1", "P6", "P7", "H67")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_calls_go_through_a_proxy_and_no_name_is_looked_up(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **settings: Any) -> Any:
        assert host == "127.0.0.1", f"{host!r} was looked up"
        return real(host, *args, **settings)

    good = Good(NAMES)
    with serve(METHODS, URL) as server, listening(good) as scripted:
        port = int(server.url.rsplit(":", 1)[1])
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with connect(f"tcp://wallet.example:{port}", proxy=url_of(scheme, scripted)) as session:
            assert session.call("add", 1, 2) == 3
            assert session.call("echo", "x" * 300_000) == "x" * 300_000
            assert session.remote_address() == ("wallet.example", port)
            assert session.get_extra_info("peername") == scripted.address
        assert good.asked == [("wallet.example", port)]


@pytest.mark.row("P7", "H69")
def test_a_chain_of_proxies_and_tls_with_the_target(certificates: Certificates) -> None:
    hops = [Good(NAMES), Good(NAMES)]
    tls = TLS(certificate=certificates.server)
    with serve(METHODS, "tls://127.0.0.1:0", tls=tls) as server, listening(hops[0]) as one, listening(hops[1]) as two:
        port = int(server.url.rsplit(":", 1)[1])
        chain = [SOCKSProxy(one.address, SOCKS5), f"http://host.example:{two.port}"]
        with connect(f"tls://host.example:{port}", proxy=chain, tls=TLS(ca=certificates.ca)) as session:
            assert session.call("add", 1, 2) == 3
        assert [hop.asked for hop in hops] == [[("host.example", two.port)], [("host.example", port)]]
        with pytest.raises(
            ssl.SSLCertVerificationError, match=r"tls://host.* through socks5://.*, http://host.*verify"
        ):
            connect(f"tls://host.example:{port}", proxy=chain, tls=True).create_connection()


@pytest.mark.row("P3", "P9")
def test_proxies_that_refuse_say_so_and_leave_no_socket() -> None:
    cases: list[tuple[str, bytes, type[Exception]]] = [
        ("http", b"HTTP/1.1 403 No\r\n\r\n", HTTPConnectError),
        ("socks5", b"\5\0\5\1\0\1\0\0\0\0\0\0", SOCKSFailure),
        ("socks5", b"\4", SOCKSProtocolError),
        ("socks5", b"", SOCKSProtocolError),
    ]
    held = open_sockets()
    for scheme, reply, error in cases:
        with (
            listening(sends(reply)) as scripted,
            pytest.raises(error, match=r"cannot connect to .*wallet\.example.* through"),
        ):
            connect("tcp://wallet.example:1", proxy=url_of(scheme, scripted)).create_connection()
    assert open_sockets() == held
    with closed_port() as port, pytest.raises(ConnectionRefusedError):
        connect("tcp://wallet.example:1", proxy=f"socks5://127.0.0.1:{port}").create_connection()


@pytest.mark.row("H63")
@pytest.mark.parametrize(("scheme", "script"), [("socks5", silent), ("http", trickling)])
def test_a_proxy_that_takes_its_time_is_given_up_at_the_one_deadline(scheme: str, script: Any) -> None:
    with listening(script) as scripted:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"through .* within 0\.1 s"):
            connect("tcp://wallet.example:1", proxy=url_of(scheme, scripted), connect_timeout=0.1).create_connection()
        assert 0.1 <= time.monotonic() - began < 5


@pytest.mark.row("P3", "P6")
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_an_interrupt_in_the_dialogue_closes_the_socket(scheme: str) -> None:
    ended = threading.Event()

    def interrupt(sock: socket.socket) -> None:
        """Let the main thread get a Ctrl-C, again if it has missed one just before it went to sleep."""
        sock.recv(65536)
        sock.settimeout(5)
        while True:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            with contextlib.suppress(TimeoutError):
                assert sock.recv(1) == b""
                ended.set()
                return

    with listening(interrupt) as scripted:
        with pytest.raises(KeyboardInterrupt):
            connect("tcp://wallet.example:1", proxy=url_of(scheme, scripted), connect_timeout=60).create_connection()
        assert ended.wait(60)
