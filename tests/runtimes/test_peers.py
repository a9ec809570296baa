# SPDX-License-Identifier: MIT
"""runtimes/peers.py: in which group a peer is counted."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.runtimes.sockets import Accepted, Recorder, stop
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.runtimes.peers import peer_group


class Facts:
    """A transport that only tells."""

    def __init__(self, **facts: object) -> None:
        self.facts = facts

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.facts.get(name, default)


@pytest.mark.row("H53")
@pytest.mark.parametrize(
    ("peername", "group"),
    [
        (("192.0.2.7", 5000), "192.0.2.7"),
        (("192.0.2.7", 5001), "192.0.2.7"),
        (("::ffff:192.0.2.7", 5000, 0, 0), "192.0.2.7"),
        (("::ffff:c000:207", 5000, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5000, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::", 5000, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:3::1", 5000, 0, 0), "2001:db8:1:3::/64"),
        (("fe80::1%eth0", 5000, 0, 2), "fe80::/64"),
        (("::1", 5000, 0, 0), "::/64"),
        (("not:an:address", 5000), None),
        (("", 5000), None),
        (None, None),
        ("", None),
    ],
)
def test_an_address_is_counted_in_its_group(peername: object, group: str | None) -> None:
    transport: Any = Facts(peername=peername)
    assert peer_group(transport) == group


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
@pytest.mark.row("H53")
async def test_real_connections_are_counted_by_address_or_user(tmp_path: Path) -> None:
    accepted = Accepted()
    for endpoint, group in (
        (TCP("127.0.0.1", 0), "127.0.0.1"),
        (TCP("::1", 0), "::/64"),
        (UnixStream(tmp_path / "s"), f"user {os.getuid()}"),
        (UnixStream(f"@{tmp_path}"), f"user {os.getuid()}"),
    ):
        listener = await aio.listen(accepted, endpoint)
        transport, ours = await aio.dial(Recorder, listener.endpoints[0], timeout=10)
        theirs = await accepted.next()
        assert peer_group(theirs.transport) == group
        transport.close()
        await ours.lost
        await theirs.lost
        await stop(listener)


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
def test_what_the_system_does_not_tell_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        transport: Any = Facts(peername="", socket=one)
        assert peer_group(transport) == f"user {os.getuid()}"
        one.close()
        assert peer_group(transport) is None
        monkeypatch.delattr(socket, "SO_PEERCRED")
        assert peer_group(transport) == "local"
    with socket.socket() as tcp:
        transport = Facts(peername=None, socket=tcp)
        assert peer_group(transport) is None
