# SPDX-License-Identifier: MIT
"""Senders wait over the high-water mark and go on at the low one: to the byte, on the loops' own transports."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests import aio
from tests.rpc.sessions import transport_of, turns, until
from tieline import ClientSession, Limits

AROUND = [-1, 0, 1]

pytestmark = pytest.mark.row("S10")


@asynccontextmanager
async def stuck(high: int, low: int) -> AsyncIterator[tuple[ClientSession, socket.socket]]:
    """Give a session whose peer has taken nothing for so long that not one byte more goes out, and the peer's end."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        try:
            while True:
                ours.send(bytes(100))
        except BlockingIOError:
            pass
        session = ClientSession(sock=ours, limits=Limits(write_high_water=high, write_low_water=low))
        await session.create_connection(nursery=aio.nursery())
        yield session, theirs
        session.abort()
        await session.wait_closed()


def notification_of(size: int) -> str:
    """Return the argument that makes a notification of *size* bytes, its newline included."""
    empty = json.dumps({"jsonrpc": "2.0", "method": "m", "params": [""]}, separators=(",", ":"))
    return "x" * (size - len(empty) - 1)


@pytest.mark.parametrize("by", AROUND)
async def test_write_high_water(by: int) -> None:
    async with stuck(1000, 100) as (session, _theirs):
        session.send_notification("m", [notification_of(1000 + by)])
        await turns()
        assert transport_of(session).get_write_buffer_size() == 1000 + by
        assert session.has_room() is (by <= 0)
        notifying = aio.create_task(session.notify("m"))
        await turns()
        assert notifying.done() is (by <= 0)
        session.abort()
        await aio.wait({notifying})
        assert (notifying.exception() is None) is (by <= 0)


async def drained(session: ClientSession, theirs: socket.socket) -> int:
    """Let the peer read until the system takes something more; return how much then waits, a part of it."""
    transport = transport_of(session)
    for _ in range(20):  # uvloop looks at the marks when a write is out as a whole, so there are several
        session.send_notification("m", [notification_of(1000)])
        await turns()
    assert not session.has_room()

    def took_some() -> bool:
        try:
            theirs.recv(1000)
        except BlockingIOError:
            pass
        return bool(transport.get_write_buffer_size() < 20_000)

    await until(took_some)
    await turns()
    rest: int = transport.get_write_buffer_size()
    return rest


@pytest.mark.parametrize("by", AROUND)
async def test_write_low_water(by: int) -> None:
    async with stuck(15_000, 0) as (session, theirs):
        rest = await drained(session, theirs)
        assert rest > 1, "the system takes so much at a time, always the same"
        assert not session.has_room()
    async with stuck(15_000, rest - by) as (session, theirs):
        assert await drained(session, theirs) == rest
        assert session.has_room() is (by <= 0)
