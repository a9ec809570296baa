# SPDX-License-Identifier: MIT
"""runtimes/tcp_sockets.py: what dialling and listening do not show by themselves."""

import socket

import pytest

from tests.runtimes.sockets import V4, V6, linux_only
from tieline.endpoints.tcp import TCP
from tieline.runtimes.tcp_sockets import any_addresses, listening_socket, listening_sockets, numeric_address


@linux_only
@pytest.mark.row("D2")
def test_an_ipv6_zone_becomes_a_scope() -> None:
    index = socket.if_nametoindex("lo")
    address = numeric_address("fe80::1%lo", 80, family=0, proto=0)
    assert address is not None
    assert address.sockaddr == ("fe80::1", 80, 0, index)
    assert address == numeric_address(f"fe80::1%{index}", 80, family=V6, proto=0)
    plain = numeric_address("::1", 80, family=0, proto=0)
    assert plain is not None
    assert numeric_address("::1", 80, family=V4, proto=0) is None
    assert numeric_address("localhost", 80, family=0, proto=0) is None


def test_what_listens_tells_its_family_and_kind_as_any_socket_does() -> None:
    hosts = [any_addresses(0, family=V4, proto=0)]
    (sock,) = listening_sockets(TCP(None, 0, family=V4), hosts, listening_socket)
    with sock, sock.dup() as again:
        assert again.family is sock.family is V4
        assert again.type is sock.type is socket.SOCK_STREAM
        sock.setblocking(True)
        with socket.create_connection(sock.getsockname()), sock.accept()[0] as accepted:
            assert (accepted.family, accepted.type) == (V4, socket.SOCK_STREAM)
