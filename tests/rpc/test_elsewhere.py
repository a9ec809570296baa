# SPDX-License-Identifier: MIT
"""Sessions and clients that are used where they do not belong: in another event loop, or in another run of trio."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import trio

import tieline
from tests.clients.test_async_streams import LINES
from tieline import LocalProtocolError
from tieline.clients import AsyncTCPNetworkClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

USES: dict[str, Callable[[Any], Awaitable[object]]] = {
    "wait_closed": lambda session: session.wait_closed(),
    "aclose": lambda session: session.aclose(),
    "call": lambda session: session.call("anything"),
}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as said: nobody has closed it in its own loop
@pytest.mark.parametrize("use", ["wait_closed", "aclose"])
def test_a_session_whose_loop_was_closed_says_so(use: str) -> None:
    async def open_one() -> Any:
        session = tieline.connect(url)
        await session.create_connection()
        return session

    async def use_it() -> None:
        with pytest.raises(LocalProtocolError, match="the event loop in which it was made, which is closed"):
            await USES[use](session)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        loop = asyncio.new_event_loop()
        session = loop.run_until_complete(open_one())
        transport = session._engine.link.transport
        loop.close()
        asyncio.run(use_it())
        transport._sock.close()


@pytest.mark.parametrize("use", USES)
def test_a_session_of_trio_in_another_thread_says_so(use: str) -> None:
    opened, used = Event(), Event()
    sessions: list[Any] = []

    async def keep_one() -> None:
        async with trio.open_nursery() as nursery:
            session = tieline.connect(url)
            await session.create_connection(nursery=nursery)
            sessions.append(session)
            opened.set()
            await trio.to_thread.run_sync(used.wait)
            session.abort()

    async def use_it() -> None:
        with trio.fail_after(30), pytest.raises(LocalProtocolError, match="the run of trio in which it was made"):
            await USES[use](sessions[0])

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        keeping = pool.submit(trio.run, keep_one)
        try:
            assert opened.wait(30)
            trio.run(use_it)
        finally:
            used.set()
        keeping.result(30)


def test_a_packet_client_of_trio_in_another_thread_says_so() -> None:
    opened, used = Event(), Event()
    clients: list[Any] = []

    async def keep_one() -> None:
        async with AsyncTCPNetworkClient(where, LINES) as client:
            clients.append(client)
            opened.set()
            await trio.to_thread.run_sync(used.wait)
            client.abort()

    async def use_it() -> None:
        with trio.fail_after(30), pytest.raises(LocalProtocolError, match="the run of trio in which it was made"):
            await clients[0].aclose()

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        where = listener.getsockname()
        keeping = pool.submit(trio.run, keep_one)
        try:
            assert opened.wait(30)
            trio.run(use_it)
        finally:
            used.set()
        keeping.result(30)
