# SPDX-License-Identifier: MIT
"""Arguments of packet clients that are refused before any I/O, by name."""

from __future__ import annotations

import socket
from math import nan
from typing import Any

import pytest

import tieline.blocking
from tests.clients.datagram_peers import BYTES
from tests.clients.test_async_streams import LINES
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


@pytest.mark.parametrize("address", ["127.0.0.1", ("h",), ("h", "1"), 3, (1, "h"), ("h", 1, 2)])
def test_where_to_connect_from_is_a_host_and_a_port(address: Any) -> None:
    tries: list[Any] = [
        lambda: TCPNetworkClient(("h", 1), LINES, local_address=address),
        lambda: AsyncTCPNetworkClient(("h", 1), LINES, local_address=address),
        lambda: UDPNetworkClient(("h", 1), BYTES, local_address=address),
        lambda: AsyncUDPNetworkClient(("h", 1), BYTES, local_address=address),
    ]
    for attempt in tries:
        with pytest.raises(TypeError, match=r"local_address must be \(host, port\), not "):
            attempt()
