# SPDX-License-Identifier: MIT
"""Cancelled at every suspension of everything that suspends: nothing is left, and the connection works or is closed.

Two moments for each suspension: while the awaited thing is still open, and in the very turn in which it is completed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from tests import aio
from tests.cancelling import run_cancelled
from tests.rpc.sessions import TCP_URL, Pair, no_entries, pair, turns, until
from tests.runtimes.sockets import open_sockets
from tieline import ClosedError, ConnectionLost, Limits, Methods, connect, serve


def methods_for_all() -> Methods:
    methods = Methods()

    @methods.method
    async def turn(n: int) -> int:
        for _ in range(n):
            await aio.sleep(0)
        return n

    @methods.method
    def note() -> None: ...

    return methods


async def call(both: Pair) -> None:
    assert await both.client.call("turn", 2) == 2
    assert await both.client.call("turn", 0, timeout=5) == 0


async def call_with_timeout(both: Pair) -> None:
    async with aio.timeout(5):
        assert await both.client.call("turn", 2, timeout=5) == 2


async def call_waiting_for_room(both: Pair) -> None:
    requests = [both.client.send_request("turn", [2]) for _ in range(3)]
    try:
        assert await both.client.call("turn", 1) == 1
        assert await aio.gather(*requests) == [2, 2, 2]
    finally:
        for request in requests:
            request.cancel()


async def notify(both: Pair) -> None:
    await both.client.notify("note")
    await aio.sleep(0)
    await both.client.notify("note")


async def request(both: Pair) -> None:
    assert await both.client.send_request("turn", [2]) == 2


async def batch(both: Pair) -> None:
    async with both.client.batch() as calls:
        calls.add_request("turn", [2])
        calls.add_notification("note")
        calls.add_request("turn", [0])
        await aio.sleep(0)
    assert calls.results == (2, 0)


async def broadcast(both: Pair) -> None:
    await both.server.broadcast("note")
    await aio.sleep(0)


async def close(both: Pair) -> None:
    both.client.send_request("turn", [3]).add_done_callback(lambda done: done.cancelled() or done.exception())
    await both.client.aclose()


async def close_the_other(both: Pair) -> None:
    calling = both.client.send_request("turn", [3])
    calling.add_done_callback(lambda done: done.cancelled() or done.exception())
    await until(lambda: both.peer.stats.running)
    await both.peer.aclose()


async def shutdown(both: Pair) -> None:
    both.client.send_request("turn", [3]).add_done_callback(lambda done: done.cancelled() or done.exception())
    await both.server.shutdown()


ORDERS: list[Callable[[Pair], Awaitable[None]]] = [
    call, call_with_timeout, call_waiting_for_room, notify, request, batch, broadcast, close, close_the_other, shutdown,
]  # fmt: skip


@pytest.mark.row("H60", "S7", "S8", "R14")
@pytest.mark.parametrize("together", [False, True], ids=["while", "together"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.__name__)
async def test_cancelled_at_any_suspension_nothing_is_left_and_the_connection_works_or_is_closed(
    order: Callable[[Pair], Coroutine[Any, Any, None]], together: bool
):
    step, more = 0, True
    sockets, tasks = open_sockets(), len(aio.all_tasks())
    while more:
        async with pair(methods_for_all(), client_methods=methods_for_all(), client_limits=Limits(max_calls=3)) as both:
            more = await run_cancelled(lambda both=both: order(both), step, together=together)  # type: ignore[misc]  # a lambda with a default
            if order in (close, shutdown) or both.peer.is_closing():
                await aio.wait_for(both.client.wait_closed(), 5)
                await aio.wait_for(both.peer.wait_closed(), 5)
                with pytest.raises((ClosedError, ConnectionLost)):
                    await both.client.call("turn", 0)
            else:
                assert await both.client.call("turn", 1) == 1
                assert await both.peer.call("turn", 1) == 1
            await until(lambda both=both: no_entries(both.client) and no_entries(both.peer))  # type: ignore[misc]  # a lambda with a default
        step += 1
        assert step < 100
    assert step > 1
    await turns(5)
    assert open_sockets() == sockets
    assert len(aio.all_tasks()) == tasks


@pytest.mark.row("H60", "S1")
@pytest.mark.parametrize("together", [False, True], ids=["while", "together"])
@pytest.mark.parametrize("kind", ["tcp", "unix", "name"])
async def test_connecting_may_be_cancelled_at_any_suspension(kind: str, together: bool, tmp_path: Any):
    url = f"unix://{tmp_path}/s" if kind == "unix" else TCP_URL
    async with serve(methods_for_all(), url) as server:
        target = server.url.replace("127.0.0.1", "localhost") if kind == "name" else server.url

        async def dial() -> None:
            async with connect(target) as client:
                assert await client.call("turn", 1) == 1

        await dial()
        await until(lambda: not server.sessions)
        sockets = open_sockets()
        step, more = 0, True
        while more:
            more = await run_cancelled(dial, step, together=together)
            step += 1
            assert step < 100
            await until(lambda: not server.sessions)
            await until(lambda: open_sockets() == sockets)
        assert step > 1
        await dial()


@pytest.mark.row("H60", "S2")
@pytest.mark.parametrize("together", [False, True], ids=["while", "together"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_serving_may_be_cancelled_at_any_suspension(kind: str, together: bool, tmp_path: Any):
    async def serving() -> None:
        async with serve(methods_for_all(), f"unix://{tmp_path}/s" if kind == "unix" else TCP_URL) as server:
            await aio.sleep(0)
            async with connect(server.url) as client:
                assert await client.call("turn", 1) == 1
            ending = aio.create_task(server.serve_forever())
            await aio.sleep(0)
            server.close()
            await ending

    await serving()
    sockets = open_sockets()
    step, more = 0, True
    while more:
        more = await run_cancelled(serving, step, together=together)
        step += 1
        assert step < 100
        await until(lambda: open_sockets() == sockets)
    assert step > 3
    await serving()
