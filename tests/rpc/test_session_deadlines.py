# SPDX-License-Identifier: MIT
"""Deadlines and cancellation of calls: no timer each, no cancellation swallowed, nothing left behind."""

from __future__ import annotations

import gc
import random
import tracemalloc
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import Pair, entries, no_entries, pair, raw_server, turns, until
from tests.runtimes.sockets import open_sockets
from tieline import ClientSession, Limits, Methods, RPCError


def methods_with_gate() -> tuple[Methods, aio.Event]:
    methods = Methods()
    gate = aio.Event()

    @methods.method
    async def hang() -> str:
        await gate.wait()
        return "late"

    @methods.method
    async def turn(n: int) -> int:
        for _ in range(n):
            await aio.sleep(0)
        return n

    @methods.method
    def now(n: int) -> int:
        return n

    @methods.method
    def fails() -> None:
        raise RPCError(1, "as asked")

    return methods, gate


def timers() -> list[Any]:
    """Return the timers that are still to go off."""
    found = aio.live_timers()
    if found is None:
        pytest.skip("only stock asyncio shows its timers")
    return found


@pytest.mark.row("S8")
async def test_a_thousand_open_calls_have_one_timer_at_most():
    before = len(timers())
    async with raw_server() as (client, _peer):
        idle = len(timers())
        assert idle == before  # an idle session has none
        requests = [client.send_request("x") for _ in range(400)]
        requests += [client.send_request("x", timeout=5 + n) for n in range(400)]
        requests += [client.send_request("x", timeout=None) for _ in range(100)]
        tasks = [aio.create_task(client.call("x", timeout=40 - n / 10)) for n in range(100)]
        await turns()
        assert client.stats.pending == 1000
        assert len(timers()) <= before + 1
        client.abort()
        await aio.gather(*requests, *tasks, return_exceptions=True)
        await client.wait_closed()
        assert len(timers()) == before


@pytest.mark.row("S8")
async def test_answered_calls_leave_no_timer_that_goes_off_again_and_again():
    methods, _gate = methods_with_gate()
    before = len(timers())
    async with pair(methods, client_limits=Limits(call_timeout=0.08)) as both:
        assert await both.client.call("now", 1) == 1
        assert await both.client.call("now", 1, timeout=0.05) == 1
        assert len(timers()) == before + 1
        await until(lambda: len(timers()) == before)


@pytest.mark.row("S8")
async def test_timeouts_end_when_they_are_due_and_in_their_order():
    async with raw_server(limits=Limits(call_timeout=0.08)) as (client, _peer):
        ended: list[str] = []

        async def call(name: str, **timeout: Any) -> None:
            started = aio.now()
            with pytest.raises(TimeoutError):
                await client.call(name, **timeout)
            ended.append(name)
            took = aio.now() - started
            wanted = timeout.get("timeout", 0.08)
            assert took >= wanted * 0.999
            assert took < wanted * 9 / 8 + 0.25  # a loaded machine is late, but not by much

        # Those that are near each other in their order: what a late look finds together ends the oldest first.
        await aio.gather(
            call("e", timeout=0.4), call("a", timeout=0.0), call("b", timeout=0.03), call("c", timeout=0.06), call("d")
        )
        assert ended == ["a", "b", "c", "d", "e"]
        assert no_entries(client)
        assert not client.is_closing()  # it stays open


@pytest.mark.row("S8", "S7")
async def test_many_timed_out_and_cancelled_calls_leave_nothing_behind():
    methods, gate = methods_with_gate()
    limits = Limits(max_pending=20_000)
    async with pair(methods, limits=limits, client_limits=Limits(call_timeout=0.05)) as both:
        await both.client.call("now", 1)
        tasks, sockets = aio.all_tasks(), open_sockets()
        for round_ in range(10):
            requests = [both.client.send_request("turn", [1], timeout=0) for _ in range(250)]
            requests += [both.client.send_request("turn", [1]) for _ in range(250)]
            calls = [aio.create_task(both.client.call("turn", 1, timeout=0.0001)) for _ in range(250)]
            calls += [aio.create_task(both.client.call("turn", 1)) for _ in range(250)]
            await turns(1 + round_ % 3)
            for request in requests[250:]:
                request.cancel()
            for task in calls[250:]:
                task.cancel()
            await aio.gather(*requests, *calls, return_exceptions=True)
            assert both.client.stats.pending == 0
        await until(lambda: no_entries(both.client) and no_entries(both.peer))
        assert aio.all_tasks() - tasks == set()
        assert open_sockets() == sockets
        assert both.client.stats.errors == both.peer.stats.errors == 0
        assert await both.client.call("now", 2) == 2
        gate.set()


@pytest.mark.row("S8")
async def test_calls_that_come_and_go_for_ever_keep_no_memory():
    methods, _gate = methods_with_gate()
    async with pair(methods) as both:

        async def some(count: int) -> None:
            for _ in range(count):
                await both.client.call("now", 1)
                with pytest.raises(TimeoutError):
                    await both.client.call("turn", 1, timeout=0)
                request = both.client.send_request("turn", [1])
                request.cancel()

        await some(100)
        gc.collect()
        tracemalloc.start()
        try:
            await some(10)
            before = tracemalloc.get_traced_memory()[0]
            await some(300)
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 30_000, f"{grown} bytes more after 900 calls"


RACES = 300


@pytest.mark.row("S8", "H60")
async def test_no_cancellation_is_swallowed_in_races_with_answers_and_timeouts():
    """A call is cancelled around the turn in which its answer comes: it is answered or cancelled, never both."""
    methods, _gate = methods_with_gate()
    seeded = random.Random(8)
    seen = {"answered": 0, "cancelled": 0, "timed out": 0}
    async with pair(methods) as both:
        for _ in range(RACES):
            asked = seeded.choice([True, True, False])
            seen[await race(both, seeded, asked=asked)] += 1
        await until(lambda: no_entries(both.client) and no_entries(both.peer))
        assert await both.client.call("now", 1) == 1
    assert seen["cancelled"] > RACES / 10
    assert seen["answered"] > RACES / 10


async def race(both: Pair, seeded: random.Random, *, asked: bool) -> str:
    """Let one call meet one cancellation (if *asked*) and perhaps a timeout; return which came through."""
    ended_before = False

    async def caller() -> str:
        nonlocal ended_before
        outcome = "answered"
        try:
            async with aio.timeout(seeded.choice([None, None, 0, 0.0002])):
                timeout = seeded.choice([None, 30.0, 0.0, 0.0002])
                await both.client.call("turn", seeded.randrange(4), timeout=timeout)
        except TimeoutError:
            outcome = "timed out"
        if aio.on_trio():  # there a cancellation that was asked for comes through at the next wait
            await aio.sleep(0)
        # Nobody has cancelled so far, or the cancellation would have come through by now.
        ended_before = True
        assert aio.cancelling() == 0
        return outcome

    task = aio.create_task(caller())
    for _ in range(seeded.randrange(8)):
        await aio.sleep(0)
    was_done = task.done()
    cancelled = asked and task.cancel()
    try:
        outcome = await task
    except aio.Cancelled:
        assert cancelled
        assert not ended_before
        return "cancelled"
    assert ended_before
    assert was_done or not cancelled, "the cancellation was swallowed"
    return outcome


@pytest.mark.row("S8")
async def test_an_outer_timeout_leaves_the_task_uncancelled():
    async with raw_server() as (client, _peer):
        for how in (client.call, lambda method: aio.wait_for(client.call(method), 0.01)):
            with pytest.raises(TimeoutError):
                async with aio.timeout(0.01):
                    await how("x")
            assert aio.cancelling() == 0
        with pytest.raises(TimeoutError):
            async with aio.timeout(10):
                await client.call("x", timeout=0.01)
        assert aio.cancelling() == 0
        await aio.sleep(0)  # it would come out here
        assert no_entries(client)


@pytest.mark.row("S8")
async def test_a_task_group_with_one_failing_call_cancels_the_others_and_ends():
    methods, _gate = methods_with_gate()
    async with pair(methods) as both:

        async def group() -> None:
            async with aio.TaskGroup() as tasks:
                for _ in range(5):
                    tasks.create_task(both.client.call("hang"))
                await turns(20)
                tasks.create_task(both.client.call("fails"))

        with pytest.raises(ExceptionGroup) as caught:
            await group()
        assert [type(error) for error in caught.value.exceptions] == [RPCError]
        assert no_entries(both.client)
        assert both.client.stats.pending == 0


@pytest.mark.row("S8")
async def test_handlers_may_use_timeouts_and_shields_as_everywhere_else():
    methods = Methods()

    @methods.method
    async def timed() -> str:
        try:
            async with aio.timeout(0.01):
                await aio.Event().wait()
        except TimeoutError:
            return "timed out" if aio.cancelling() == 0 else "broken"
        return "no"

    @methods.method
    async def timed_at_once() -> str:
        try:
            async with aio.timeout(0):
                await aio.sleep(0)
                await aio.sleep(0)
        except TimeoutError:
            return "timed out"
        return "no"

    @methods.method
    async def grouped() -> list[int]:
        async with aio.TaskGroup() as group:
            tasks = [group.create_task(aio.sleep(0, n)) for n in range(3)]
        return [task.result() for task in tasks]

    async with pair(methods) as both:
        assert await both.client.call("timed") == "timed out"
        assert await both.client.call("timed_at_once") == "timed out"
        assert await both.client.call("grouped") == [0, 1, 2]


@pytest.mark.row("S8")
async def test_what_a_session_holds_for_open_calls_is_shown_by_the_counts_used_here():
    """The counts that the other tests find at zero do count."""
    methods, _gate = methods_with_gate()
    async with pair(methods, client_limits=Limits(max_calls=4)) as both:
        client: ClientSession = both.client
        client.send_request("hang", timeout=9).add_done_callback(lambda done: done.exception())
        batch = client.new_batch()
        batch.add_request("hang")
        client.send_batch(batch)
        for _ in range(2):
            client.send_request("hang").add_done_callback(lambda done: done.exception())
        waiting = aio.create_task(client.call("hang"))
        await until(lambda: both.peer.stats.running == 4)
        assert entries(client) == {
            "open calls": 4, "explicit deadlines": 1, "batches": 1, "requests": 0, "ids in flight": 0, "handlers": 0,
            "senders waiting": 1,
        }  # fmt: skip
        assert entries(both.peer) == {
            "open calls": 0, "explicit deadlines": 0, "batches": 0, "requests": 4, "ids in flight": 4, "handlers": 4,
            "senders waiting": 0,
        }  # fmt: skip
        waiting.cancel()
