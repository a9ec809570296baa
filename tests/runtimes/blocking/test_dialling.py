# SPDX-License-Identifier: MIT
"""Dialling in blocking code: every address, one deadline, and errors as everywhere else."""

from __future__ import annotations

import errno
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.runtimes.blocking.recorder import Recorder
from tests.runtimes.sockets import (
    V4,
    V6,
    black_hole,
    closed_port,
    full_unix_listener,
    open_sockets,
    stale,
    tcp_listener,
)
from tieline import TCP, UnixStream
from tieline.endpoints.urls import StreamEndpoint
from tieline.runtimes.blocking import dialling
from tieline.runtimes.blocking.host import BlockingHost

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="what a full queue does is Linux's own")


def dial(
    endpoint: StreamEndpoint, timeout: float | None = 10, sock: socket.socket | None = None
) -> tuple[Any, Recorder]:
    host = BlockingHost()
    transport, protocol = dialling.dial(Recorder, endpoint, host, timeout=timeout, sock=sock, shutdown_timeout=1)
    protocol.host = host  # type: ignore[attr-defined]  # the test's own
    return transport, protocol


def end(protocol: Recorder) -> None:
    protocol.host.do(protocol.transport.abort)  # type: ignore[attr-defined]  # as above
    assert protocol.told == ["made", "lost"]


def name(monkeypatch: pytest.MonkeyPatch, host: str, *addresses: tuple[int, str, int]) -> list[str]:
    """Let *host* resolve to *addresses*, or to an error if there are none; return the list of names looked up."""
    asked: list[str] = []

    def getaddrinfo(host_: str, port: int, **_: Any) -> list[Any]:
        asked.append(host_)
        if host_ != host or not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        tails: dict[int, tuple[int, ...]] = {V4: (), V6: (0, 0)}
        return [(family, socket.SOCK_STREAM, 6, "", (ip, one, *tails[family])) for family, ip, one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.row("D1", "D2")
@pytest.mark.parametrize(("family", "host"), [(V4, "127.0.0.1"), (V6, "::1"), (V4, "localhost")])
def test_a_tcp_endpoint_is_connected_with_the_usual_options(family: int, host: str) -> None:
    with tcp_listener(family) as (listener, port):
        transport, protocol = dial(TCP(host, port))
        assert protocol.told == ["made"]
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        listener.accept()[0].close()
        end(protocol)


@pytest.mark.row("D2")
def test_numeric_addresses_skip_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = name(monkeypatch, "unused")
    with tcp_listener() as (_, port):
        end(dial(TCP("127.0.0.1", port, local_addr=("127.0.0.1", 0)))[1])
    assert asked == []


@pytest.mark.row("D2")
@pytest.mark.parametrize("live", [V4, V6])
@pytest.mark.parametrize("first", [V4, V6])
def test_one_dead_address_does_not_hide_a_live_one(monkeypatch: pytest.MonkeyPatch, live: int, first: int) -> None:
    with tcp_listener(live) as (_, port), closed_port(V6 if live == V4 else V4) as dead:
        both = [(V4, "127.0.0.1", port if live == V4 else dead), (V6, "::1", port if live == V6 else dead)]
        name(monkeypatch, "twofold", *(both if first == V4 else both[::-1]))
        transport, protocol = dial(TCP("twofold", port, happy_eyeballs_delay=50))
        assert transport.get_extra_info("peername")[1] == port
        end(protocol)


@linux_only
@pytest.mark.row("D2")
def test_a_silent_address_is_overtaken_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole(V6) as silent, tcp_listener(V4) as (_, port):
        name(monkeypatch, "half", (V6, "::1", silent), (V4, "127.0.0.1", port))
        held = open_sockets()
        start = time.monotonic()
        transport, protocol = dial(TCP("half", port, happy_eyeballs_delay=0.05))
        assert 0.04 <= time.monotonic() - start < 5
        assert transport.get_extra_info("peername") == ("127.0.0.1", port)
        assert open_sockets() == held + 1
        end(protocol)


@linux_only
@pytest.mark.row("D2", "D3")
def test_the_deadline_is_over_all_and_says_what_failed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole(V6) as silent, closed_port() as dead:
        name(monkeypatch, "half", (V4, "127.0.0.1", dead), (V6, "::1", silent))
        held = open_sockets()
        with pytest.raises(TimeoutError, match=r"cannot connect to .*half.* within 0\.05 s") as caught:
            dial(TCP("half", silent), timeout=0.05)
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        with pytest.raises(TimeoutError):
            dial(TCP("half", silent, happy_eyeballs_delay=None), timeout=0.05)
        assert open_sockets() == held


@pytest.mark.row("D3")
def test_refused_by_every_address_is_connection_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port(V4) as four, closed_port(V6) as six:
        name(monkeypatch, "twofold", (V4, "127.0.0.1", four), (V6, "::1", six))
        with pytest.raises(ConnectionRefusedError, match="twofold") as caught:
            dial(TCP("twofold", four))
        assert isinstance(caught.value.__cause__, ExceptionGroup)
        assert len(caught.value.__cause__.exceptions) == 2
        with pytest.raises(ConnectionRefusedError, match=f"127.0.0.1:{four}") as caught:
            dial(TCP("127.0.0.1", four))
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.row("D3")
def test_an_unknown_host_and_what_can_only_be_listened_on_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    name(monkeypatch, "other")
    with pytest.raises(socket.gaierror, match="cannot resolve host 'nowhere'"):
        dial(TCP("nowhere", 1))
    with pytest.raises(ValueError, match="can only listen"):
        dial(TCP(None, 1))


def test_no_time_at_all_is_a_timeout() -> None:
    with black_hole() as port, pytest.raises(TimeoutError) as caught:
        dial(TCP("127.0.0.1", port), timeout=0)
    assert caught.value.errno == errno.ETIMEDOUT


def test_a_local_address_that_cannot_be_had_is_named() -> None:
    with tcp_listener() as (_, port), closed_port() as taken:
        there = rf"127\.0\.0\.1:{port}"
        with pytest.raises(OSError, match=rf"in use \(127\.0\.0\.1:{taken} to {there}\)"):
            dial(TCP("127.0.0.1", port, local_addr=("127.0.0.1", taken)))
        with pytest.raises(OSError, match=rf"no local address is of the family .* \(\[::1\]:0 to {there}\)"):
            dial(TCP("127.0.0.1", port, local_addr=("::1", 0)))


def test_a_socket_that_would_talk_to_itself_counts_as_refused() -> None:
    with closed_port() as port:
        pass
    # With its own address as the local one, a socket connects to itself.
    with pytest.raises(ConnectionRefusedError):
        dial(TCP("127.0.0.1", port, local_addr=("127.0.0.1", port)))


def test_a_factory_that_fails_leaves_no_socket() -> None:
    def fail() -> Recorder:
        raise ZeroDivisionError

    with tcp_listener() as (_, port):
        held = open_sockets()
        with pytest.raises(ZeroDivisionError):
            dialling.dial(fail, TCP("127.0.0.1", port), BlockingHost(), timeout=10, shutdown_timeout=1)
        assert open_sockets() == held


def test_a_protocol_that_fails_at_once_leaves_no_socket() -> None:
    class Failing(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            raise ZeroDivisionError

    with tcp_listener() as (_, port):
        held = open_sockets()
        with pytest.raises(ZeroDivisionError):
            dialling.dial(Failing, TCP("127.0.0.1", port), BlockingHost(), timeout=10, shutdown_timeout=1)
        assert open_sockets() == held


@pytest.mark.row("R20")
def test_a_peer_that_resets_at_once_is_no_failure_to_connect() -> None:
    """Trap 20."""
    with tcp_listener() as (listener, port):
        sock = socket.create_connection(("127.0.0.1", port))
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        transport, protocol = dial(TCP("127.0.0.1", port), sock=sock)
        assert protocol.told == ["made"]
        end(protocol)
        assert transport.is_closing()


# --- Unix sockets ----------------------------------------------------------------------------------------------------


@pytest.mark.row("D4")
def test_unix_endpoints_and_their_failures(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(FileNotFoundError, match=str(path)):
        dial(UnixStream(path))
    stale(path)
    with pytest.raises(ConnectionRefusedError, match=str(path)):
        dial(UnixStream(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        transport, protocol = dial(UnixStream(path))
        assert transport.get_extra_info("peername") == str(path)
        end(protocol)


@linux_only
@pytest.mark.row("D4")
def test_a_full_accept_queue_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with full_unix_listener(str(path)):
        held = open_sockets()
        with pytest.raises(TimeoutError) as caught:
            dial(UnixStream(path), timeout=0.02)
        assert "accept queue is full" in str(caught.value.__cause__)
        assert open_sockets() == held
