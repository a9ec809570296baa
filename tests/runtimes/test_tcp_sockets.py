# SPDX-License-Identifier: MIT
"""runtimes/tcp_sockets.py: what dialling and listening do not show by themselves."""

import socket
import sys

import pytest

from tests.runtimes.sockets import (
    V4,
    V6,
)
from tieline.runtimes.tcp_sockets import numeric_address

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the full accept queue of Linux is what is shown")


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
