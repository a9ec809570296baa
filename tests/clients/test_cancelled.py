# SPDX-License-Identifier: MIT
"""Packet clients and servers, cancelled at every suspension: nothing is left, and the client works or is closed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.cancelling import run_cancelled
from tests.runtimes.sockets import open_sockets
from tests.servers.scene import DATAGRAMS, JSON, address_of, until
from tieline.clients import (
    AsyncTCPNetworkClient,
    AsyncUDPNetworkClient,
    AsyncUnixDatagramClient,
    AsyncUnixStreamClient,
)
from tieline.errors import ClientClosedError
from tieline.servers import (
    AsyncTCPNetworkServer,
    AsyncUDPNetworkServer,
    AsyncUnixDatagramServer,
    AsyncUnixStreamServer,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="open sockets are counted by /proc")

KINDS: dict[str, tuple[Any, Any, Any]] = {
    "tcp": (AsyncTCPNetworkServer, AsyncTCPNetworkClient, JSON),
    "unix": (AsyncUnixStreamServer, AsyncUnixStreamClient, JSON),
    "udp": (AsyncUDPNetworkServer, AsyncUDPNetworkClient, DATAGRAMS),
    "datagrams": (AsyncUnixDatagramServer, AsyncUnixDatagramClient, DATAGRAMS),
}
STREAMS = ("tcp", "unix")
MOST_STEPS = 100
_numbers = itertools.count()


async def echo(client: Any) -> None:
    async for packet in client:
        await aio.sleep(0)
        await client.send_packet(packet)


async def echo_datagram(packet: Any, peer: Any) -> None:
    await aio.sleep(0)
    await peer.send_packet(packet)


def server_of(kind: str, folder: Path) -> Any:
    make, _, protocol = KINDS[kind]
    place: Any = ("127.0.0.1", 0) if kind in ("tcp", "udp") else str(folder / "server")
    return make(echo if kind in STREAMS else echo_datagram, place, protocol)


def client_of(kind: str, server: Any, folder: Path) -> Any:
    _, make, protocol = KINDS[kind]
    own = {"local_path": str(folder / f"client {next(_numbers)}")} if kind == "datagrams" else {}
    return make(address_of(server), protocol, **own)


# --- what is cancelled -----------------------------------------------------------------------------------------------


async def connect(client: Any) -> None:
    await client.wait_connected()


async def exchange(client: Any) -> None:
    await client.send_packet(["exchange"])
    assert await client.recv_packet() == ["exchange"]


async def exchange_many(client: Any) -> None:
    await client.send_packets([[1], [2]])
    seen = await client.recv_packets()
    while len(seen) < 2:
        seen += await client.recv_packets()
    assert seen == [[1], [2]]


async def iterate(client: Any) -> None:
    await client.send_packets([[1], [2]])
    left = 2
    async for packet in client:
        assert packet in ([1], [2])
        left -= 1
        if not left:
            break


async def wait_in_vain(client: Any) -> None:
    with pytest.raises(TimeoutError):
        async with aio.timeout(0.01):
            await client.recv_packet()


async def end(client: Any) -> None:
    await client.send_packet(["last"])
    await client.send_eof()
    assert await client.recv_packet() == ["last"]


async def close(client: Any) -> None:
    await client.send_packet(["unread"])
    await client.aclose()


async def enter(client: Any) -> None:
    async with client:
        await exchange(client)


ENDING = (end, close, enter)
ORDERS: list[Callable[[Any], Coroutine[Any, Any, None]]] = [
    connect, exchange, exchange_many, iterate, wait_in_vain, end, close, enter,
]  # fmt: skip
CASES = [(kind, order) for kind in KINDS for order in ORDERS if order is not end or kind in STREAMS]


async def works(client: Any) -> None:
    """See that a client still exchanges packets; some that a cancelled order has left behind may come before."""
    wanted = ["works", next(_numbers)]
    await client.send_packet(wanted)
    for _ in range(5):
        if await client.recv_packet() == wanted:
            return
    raise AssertionError("its packet never came back")


@pytest.mark.row("H60", "K4")
@pytest.mark.parametrize("together", [False, True], ids=["while", "together"])
@pytest.mark.parametrize(("kind", "order"), CASES, ids=[f"{kind}-{order.__name__}" for kind, order in CASES])
async def test_a_client_cancelled_at_any_suspension_leaves_nothing_and_works_or_is_closed(
    kind: str, order: Callable[[Any], Coroutine[Any, Any, None]], together: bool, tmp_path: Path
) -> None:
    async with server_of(kind, tmp_path) as server:
        async with client_of(kind, server, tmp_path) as first:  # what is opened once for all is open then
            await works(first)
        sockets, tasks = open_sockets(), len(aio.all_tasks())
        step, more = 0, True
        while more:
            client = client_of(kind, server, tmp_path)
            more = await run_cancelled(lambda client=client: order(client), step, together=together)  # type: ignore[misc]  # a lambda with a default
            assert order is not enter or not client.is_connected(), "nobody would close it"
            if client.is_closing():
                assert order in ENDING
                with pytest.raises(ClientClosedError):
                    await client.send_packet(["never"])
            elif order is not end:
                await aio.wait_for(works(client), 30)
            await client.aclose()
            assert client.is_closing()
            step += 1
            assert step < MOST_STEPS
        # A socket of datagrams is connected and closed without a wait, where tasks can start eagerly (CPython 3.12).
        assert step > 1 or kind in ("udp", "datagrams")
        await until(lambda: getattr(server, "connections", 0) == 0)
        await until(lambda: open_sockets() <= sockets and len(aio.all_tasks()) <= tasks, "sockets or tasks are left")


@pytest.mark.row("H60", "D5")
@pytest.mark.parametrize("together", [False, True], ids=["while", "together"])
@pytest.mark.parametrize("kind", KINDS)
async def test_serving_cancelled_at_any_suspension_leaves_nothing(kind: str, together: bool, tmp_path: Path) -> None:
    async def serving() -> None:
        async with server_of(kind, tmp_path) as server, client_of(kind, server, tmp_path) as client:
            await works(client)
            ending = aio.create_task(server.serve_forever(handle_signals=False))
            try:
                await aio.sleep(0)
                await server.shutdown(0.0)
            finally:
                ending.cancel()
            await aio.wait([ending])

    await serving()
    held, tasks = open_sockets(), len(aio.all_tasks())
    step, more = 0, True
    while more:
        more = await run_cancelled(serving, step, together=together)
        step += 1
        assert step < MOST_STEPS
        await until(lambda: open_sockets() <= held and len(aio.all_tasks()) <= tasks, "sockets or tasks are left")
    assert step > 3
    await serving()
