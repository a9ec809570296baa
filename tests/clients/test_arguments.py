# SPDX-License-Identifier: MIT
"""Arguments of packet clients that are refused before any I/O, by name."""

from __future__ import annotations

import socket
from math import nan
from typing import Any

import pytest

import tieline.blocking
from tests.clients.datagram_peers import BYTES, udp_peer
from tests.clients.test_async_streams import LINES
from tests.runtimes.sockets import tcp_listener
from tieline import TCP
from tieline.clients import (
    AsyncTCPNetworkClient,
    AsyncUDPNetworkClient,
    TCPNetworkClient,
    UDPNetworkClient,
    UnixStreamClient,
)


@pytest.mark.parametrize("seconds", [nan, -1, -0.5])
def test_a_time_to_connect_is_a_number_of_0_or_more(seconds: float) -> None:
    tries: list[Any] = [
        lambda: TCPNetworkClient(("h", 1), LINES, connect_timeout=seconds),
        lambda: UnixStreamClient("/nowhere", LINES, connect_timeout=seconds),
        lambda: UDPNetworkClient(("h", 1), BYTES, connect_timeout=seconds),
        lambda: tieline.blocking.connect("tcp://h:1", protocol=LINES, connect_timeout=seconds),
    ]
    for attempt in tries:
        with pytest.raises(ValueError, match="connect_timeout must be 0 or more seconds or None, not "):
            attempt()


def test_a_given_socket_of_datagrams_is_not_connected_within_a_time() -> None:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    with pytest.raises(TypeError, match="connect_timeout: only for connecting"):
        UDPNetworkClient(sock, BYTES, connect_timeout=1)
    assert sock.fileno() == -1


@pytest.mark.parametrize("address", ["127.0.0.1", ("h",), ("h", "1"), 3, (1, "h"), ("h", 1, 2), (None, 0)])
def test_where_to_connect_from_is_a_host_and_a_port(address: Any) -> None:
    tries: list[Any] = [
        lambda: TCPNetworkClient(("h", 1), LINES, local_address=address),
        lambda: AsyncTCPNetworkClient(("h", 1), LINES, local_address=address),
        lambda: UDPNetworkClient(("h", 1), BYTES, local_address=address),
        lambda: AsyncUDPNetworkClient(("h", 1), BYTES, local_address=address),
    ]
    for attempt in tries:
        with pytest.raises(TypeError, match=r"local_address must be \(host, port\), a str and an int, not "):
            attempt()


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        (("h", "80"), r"\(str, str\)"),
        ((b"h", 80), r"\(bytes, int\)"),
        ((["a", "b"], 1), r"\(list, int\)"),
        (("h",), r"\(str\)"),
        (["h", 80], "list"),
        ("h:80", r"str; connect.* takes URLs and endpoints"),
        (TCP("h", 80), r"TCP; connect.* takes URLs and endpoints"),
    ],
)
def test_an_address_that_is_none_is_told_by_what_is_in_it(address: Any, seen: str) -> None:
    tries: list[tuple[str, Any]] = [
        ("TCP", lambda: TCPNetworkClient(address, LINES)),
        ("TCP", lambda: AsyncTCPNetworkClient(address, LINES)),
        ("UDP", lambda: UDPNetworkClient(address, BYTES)),
        ("UDP", lambda: AsyncUDPNetworkClient(address, BYTES)),
    ]
    for kind, attempt in tries:
        with pytest.raises(TypeError, match=rf"{kind} takes \(host, port\), a str and an int, or .*, not {seen}$"):
            attempt()


def test_a_name_to_match_is_called_by_its_own_name() -> None:
    wrong: list[tuple[Any, type[Exception], str]] = [
        (b"a", TypeError, "server_hostname must be a str, not bytes"),
        ("a\0b", ValueError, "server_hostname must hold no spaces"),
        ("[::1]", ValueError, "server_hostname is an IPv6 address, which is given without brackets"),
        ("x" * 64, ValueError, "server_hostname 'x+' is not a valid name"),
    ]
    for name, kind, says in wrong:
        with pytest.raises(kind, match=says):
            TCPNetworkClient(("h", 1), LINES, ssl=True, server_hostname=name)


def test_from_any_address_as_the_socket_functions_say_it() -> None:
    with tcp_listener() as (listener, port), TCPNetworkClient(("127.0.0.1", port), LINES, local_address=("", 0)):
        listener.accept()[0].close()
    with udp_peer() as peer, UDPNetworkClient(peer.getsockname(), BYTES, local_address=("", 0)) as client:
        client.send_packet(b"x")
        assert peer.recvfrom(10) == (b"x", client.get_local_address())


async def test_from_any_address_as_the_socket_functions_say_it_on_each_runtime() -> None:
    with tcp_listener() as (listener, port):
        async with AsyncTCPNetworkClient(("127.0.0.1", port), LINES, local_address=("", 0)):
            listener.accept()[0].close()
    with udp_peer() as peer:
        async with AsyncUDPNetworkClient(peer.getsockname(), BYTES, local_address=("", 0)) as client:
            await client.send_packet(b"x")
            assert peer.recvfrom(10) == (b"x", client.get_local_address())
