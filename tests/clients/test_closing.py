# SPDX-License-Identifier: MIT
"""Closing a client of Unix sockets, which reads nothing before somebody receives: that its peer has ended is seen."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest

from tests.clients.test_async_streams import LINES, pair
from tieline.clients import AsyncUnixStreamClient, UnixStreamClient
from tieline.socket import SocketAncillary

pytestmark = pytest.mark.row("K19", "K20")


def be_patient(client: Any) -> Any:
    """Have *client* linger longer than any test waits, and return its link."""
    link = client._engine.link
    link.machine.limits = replace(link.machine.limits, linger=3600.0)
    return link


def end(peer: socket.socket, how: str) -> None:
    if how == "closed":
        peer.close()
    elif how == "said more":
        peer.sendall(b"which nobody receives\n")
        peer.shutdown(socket.SHUT_WR)
    else:
        peer.shutdown(socket.SHUT_WR)


ENDS = ["closed", "half-closed", "said more"]


@pytest.mark.parametrize("how", ENDS)
async def test_a_peer_that_has_ended_is_not_waited_for(how: str) -> None:
    with pair() as (ours, theirs):
        client = AsyncUnixStreamClient(ours, LINES)
        await client.wait_connected()
        link = be_patient(client)
        end(theirs, how)
        await client.aclose()
        assert link._reading_over, "closed by force: nobody has seen the end of the peer's stream"


@pytest.mark.parametrize("how", ENDS)
def test_so_in_blocking_code(how: str) -> None:
    with pair() as (ours, theirs):
        client = UnixStreamClient(ours, LINES)
        link = be_patient(client)
        end(theirs, how)
        client.close()
        assert link._reading_over, "closed by force: nobody has seen the end of the peer's stream"


async def test_it_is_so_too_when_what_goes_beside_packets_is_wanted() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.sendall(b"hello\n")
            assert await client.recv_packet(ancillary_data=SocketAncillary()) == "hello"
            link = be_patient(client)
            theirs.shutdown(socket.SHUT_WR)
        assert link._reading_over
