# SPDX-License-Identifier: MIT
"""Handlers that take too long, and handlers that close their own session by way of other tasks."""

from __future__ import annotations

import logging
import time

import pytest

import tieline
from tests import aio
from tests.rpc.sessions import pair, until
from tieline import Limits, Methods, RPCError, ServerSession

methods = Methods()


@methods.method
async def hang() -> str:
    await aio.Event().wait()
    return "never"


@methods.method
def add(a: int, b: int) -> int:
    return a + b


@methods.method
async def stubborn() -> str:
    """Bear one cancellation and go on."""
    try:
        await aio.Event().wait()
    except aio.Cancelled:
        return "in the end"
    return "never"


@methods.method
async def deaf(session: ServerSession) -> None:
    """Swallow cancellations until the third."""
    for _ in range(3):
        try:
            await aio.Event().wait()
        except aio.Cancelled:
            continue


SHORT = Limits(handler_timeout=0.05)


@pytest.mark.row("J11", "S11")
async def test_handler_timeout(caplog: pytest.LogCaptureFixture) -> None:
    async with pair(methods, limits=SHORT) as both:
        start = aio.now()
        with pytest.raises(RPCError, match="handler cancelled") as caught:
            await both.client.call("hang")
        assert caught.value.code == -102
        assert aio.now() - start >= 0.05
        assert await both.client.call("add", 1, 2) == 3
        assert both.peer.stats.running == 0
        assert both.peer.stats.cost == 0  # what is slow is this side
    [record] = caplog.records
    assert (record.levelno, record.getMessage().split(",")[0]) == (logging.ERROR, "handler of 'hang' failed")


@pytest.mark.parametrize(("takes", "timeout"), [(0.05, 5), (30, 0.2)])
async def test_a_handler_within_its_time_is_left_alone(takes: float, timeout: float) -> None:
    own = Methods()

    @own.method
    async def takes_a_while() -> str:
        await aio.sleep(takes)
        return "done"

    async with pair(own, limits=Limits(handler_timeout=timeout)) as both:
        if takes < timeout:
            assert await both.client.call("takes_a_while") == "done"
        else:
            with pytest.raises(RPCError):
                await both.client.call("takes_a_while")


async def test_nobody_looks_any_more_when_no_handler_runs() -> None:
    async with pair(methods, limits=SHORT) as both:
        with pytest.raises(RPCError, match="handler cancelled"):
            await both.client.call("hang")
        handling = both.peer._connected().handling
        await until(lambda: handling._timer is None)
        assert await both.client.call("add", 1, 2) == 3
        assert handling._timer is None


async def test_none_lets_handlers_run_for_ever() -> None:
    async with pair(methods, limits=Limits(handler_timeout=None)) as both:
        call = aio.create_task(both.client.call("hang"))
        await until(lambda: both.peer.stats.running)
        call.cancel()
        await aio.wait({call})
        both.client.abort()


async def test_a_handler_that_answers_when_it_is_cancelled_is_believed() -> None:
    async with pair(methods, limits=SHORT) as both:
        assert await both.client.call("stubborn") == "in the end"


async def test_a_handler_that_swallows_cancellation_is_cancelled_again_and_counts_until_it_ends() -> None:
    async with pair(methods, limits=SHORT) as both:
        call = both.client.send_request("deaf")
        await until(lambda: both.peer.stats.running)
        assert await call is None
        assert both.peer.stats.running == 0


async def test_a_notification_that_hangs_is_cancelled_too() -> None:
    async with pair(methods, limits=SHORT) as both:
        await both.client.notify("hang")
        await until(lambda: both.peer.stats.running)
        await until(lambda: not both.peer.stats.running)
        assert await both.client.call("add", 1, 2) == 3


# --- closing the own session by way of other tasks -------------------------------------------------------------------


@pytest.mark.row("S13", "H61")
@pytest.mark.parametrize("how", ["task group", "wait_for", "gather", "task"])
async def test_a_child_task_of_a_handler_closes_the_session_without_waiting_for_itself(how: str) -> None:
    own = Methods()

    @own.method
    async def leave(session: ServerSession) -> None:
        match how:
            case "task group":
                async with aio.TaskGroup() as group:
                    group.create_task(session.aclose(force_after=30))
            case "wait_for":
                await aio.wait_for(session.aclose(force_after=30), 30)
            case "gather":
                await aio.gather(session.aclose(force_after=30), session.aclose(force_after=30))
            case _:
                await aio.create_task(session.aclose(force_after=30))

    async with pair(own) as both, aio.timeout(5):
        with pytest.raises(tieline.ConnectionLost):
            await both.client.call("leave")
        await both.peer.wait_closed()


@pytest.mark.row("S13")
async def test_a_task_that_a_handler_left_behind_closes_like_anybody_else() -> None:
    own = Methods()
    left: list[aio.Task[None]] = []
    go = aio.Event()

    @own.method
    async def start(session: ServerSession) -> str:
        async def later() -> None:
            await go.wait()
            await session.aclose()

        left.append(aio.create_task(later()))
        return "started"

    async with pair(own) as both:
        assert await both.client.call("start") == "started"
        go.set()
        await left[0]
        await both.client.wait_closed()


async def test_a_handler_may_close_another_session_and_still_answers() -> None:
    own = Methods()

    async with pair(own) as both, pair() as other:

        @own.method
        async def close_the_other() -> str:
            await other.client.aclose()
            return "closed"

        assert await both.client.call("close_the_other") == "closed"


@pytest.mark.row("J11", "S11")
async def test_calls_that_wait_for_a_place_for_longer_than_their_time_are_told_so() -> None:
    one_at_once = Limits(handler_timeout=0.05, governance=tieline.Governance(initial_concurrent=1))
    slow = Methods()

    @slow.method
    async def late(stall: float) -> str:
        time.sleep(stall)  # noqa: ASYNC251  # the whole program stands still: that is the point
        await aio.sleep(0)
        return "done"

    async with pair(slow, limits=one_at_once) as both:
        calls = [both.client.send_request("late", [0.12], timeout=60) for _ in range(6)]
        for end in await aio.gather(*calls, return_exceptions=True):
            assert end == "done" or (isinstance(end, RPCError) and end.code == -102), repr(end)
        await until(lambda: not both.peer.stats.running)
