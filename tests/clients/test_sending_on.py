# SPDX-License-Identifier: MIT
"""Who sends on and on to a peer that has gone learns of it, though nothing makes that task wait for anything else."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

import tieline
from tests.clients.test_async_streams import LINES, pair
from tests.clients.test_lax_tls import peer
from tieline.clients import AsyncTCPNetworkClient, AsyncUnixStreamClient
from tieline.errors import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.certificates import Certificates

# Far more than what may be on its way, and few enough to end soon where nobody is told.
MANY = 50_000
LINE = "x" * 200

DEAF_CHILD = "import os, sys, time; os.close(0); print('deaf', flush=True); time.sleep(60)"


async def send_on(send: Callable[..., Awaitable[None]], *what: str) -> None:
    for _ in range(MANY):
        await send(*what)


@pytest.mark.row("K20")
async def test_packets_to_a_peer_that_has_gone() -> None:
    with pair() as (ours, theirs):
        async with AsyncUnixStreamClient(ours, LINES) as client:
            theirs.close()
            with pytest.raises(ConnectionLost):
                await send_on(client.send_packet, LINE)


@pytest.mark.row("K20")
async def test_packets_over_tls_to_a_peer_that_has_gone(certificates: Certificates) -> None:
    with peer(certificates, says=b"hello\n", ends=True) as (address, settings, _):
        async with AsyncTCPNetworkClient(address, LINES, **settings) as client:
            assert await client.recv_packet() == "hello"
            with pytest.raises(ConnectionLost):
                await send_on(client.send_packet, LINE)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes to children there")
async def test_packets_to_a_child_that_reads_nothing_more() -> None:
    command = tieline.Command([sys.executable, "-c", DEAF_CHILD], grace=0.1)
    async with tieline.connect(command, protocol=LINES) as client:
        assert await client.recv_packet() == "deaf"
        with pytest.raises(ConnectionLost):
            await send_on(client.send_packet, LINE)


async def test_notifications_to_a_peer_that_has_gone() -> None:
    ours, theirs = socket.socketpair()
    async with tieline.ClientSession(sock=ours) as session:
        theirs.close()
        with pytest.raises(ConnectionLost):
            await send_on(session.notify, "news", LINE)
