# SPDX-License-Identifier: MIT
"""Room to send: calls wait for it in order, time out in it, and leave it to others when they go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests import aio
from tests.promptness import prompt
from tests.rpc.sessions import Pair, RawPeer, no_entries, pair, raw_server, turns, until
from tieline import ClientSession, ClosedError, ConnectionLost, Limits, Methods, SessionBusy

SMALL = Limits(write_high_water=1000, write_low_water=100, write_timeout=None)


@asynccontextmanager
async def one_at_a_time(**limits: Any) -> AsyncIterator[tuple[Pair, list[int], aio.Event]]:
    """Give a pair whose client may have one open call, what its server has seen, and what lets it answer."""
    methods = Methods()
    seen: list[int] = []
    gate = aio.Event()

    @methods.method
    async def echo(n: int) -> int:
        seen.append(n)
        await gate.wait()
        return n

    async with pair(methods, client_limits=Limits(max_calls=1, **limits)) as both:
        yield both, seen, gate


async def clogged(client: ClientSession, peer: RawPeer) -> None:
    """Make the client's transport full, with a peer that reads nothing."""
    peer.writer.transport.pause_reading()
    while client.has_room():
        client.send_notification("fill", ["x" * 100_000])
        await aio.sleep(0)


@pytest.mark.row("S10")
async def test_calls_beyond_the_window_wait_and_go_out_in_the_order_in_which_they_came():
    async with one_at_a_time() as (both, seen, gate):
        tasks = [aio.create_task(both.client.call("echo", n)) for n in range(20)]
        await until(lambda: seen)
        await turns()
        assert seen == [0]
        assert not both.client.has_room()
        gate.set()
        assert await aio.gather(*tasks) == list(range(20))
        assert seen == list(range(20))
        assert both.client.has_room()


@pytest.mark.row("S10")
@pytest.mark.parametrize("by_name", [True, False])
async def test_a_call_that_has_waited_for_room_has_its_arguments(by_name: bool):
    async with one_at_a_time() as (both, seen, gate):
        first = aio.create_task(both.client.call("echo", 1))
        await until(lambda: seen)
        second = aio.create_task(both.client.call("echo", n=2) if by_name else both.client.call("echo", 2))
        await turns()
        gate.set()
        assert await aio.gather(first, second) == [1, 2]
        assert await both.client.call("echo", n=3, timeout=10) == 3


@pytest.mark.row("S10")
async def test_a_notification_waits_for_the_peer_to_read_and_for_no_call_to_be_answered():
    limits = Limits(max_calls=1, write_high_water=1000, write_low_water=100, write_timeout=None)
    async with raw_server(limits=limits) as (client, peer):
        call = client.send_request("never answered")
        await client.notify("at once")
        peer.writer.transport.pause_reading()
        machine = client._connected().machine
        while not machine.flow.paused:
            client.send_notification("fill", ["x" * 100_000])
            await aio.sleep(0)
        late = aio.create_task(client.notify("late"))
        await turns()
        assert not late.done()
        peer.writer.transport.resume_reading()
        while (await peer.line())["method"] != "late":
            pass
        await late
        assert not call.done()
        call.cancel()


@pytest.mark.row("S10")
async def test_a_task_that_calls_in_a_loop_does_not_starve_another_that_waits():
    async with one_at_a_time() as (both, seen, gate):
        gate.set()

        async def caller(n: int) -> None:
            while len(seen) < 100:
                await both.client.call("echo", n)

        await aio.gather(caller(0), caller(1), caller(2))
        assert seen[:99] == [0, 1, 2] * 33


@pytest.mark.row("S10")
async def test_a_waiting_call_times_out_from_its_start_and_leaves_no_entry():
    async with one_at_a_time() as (both, seen, gate):
        first = aio.create_task(both.client.call("echo", 0))
        await until(lambda: seen)
        second = aio.create_task(both.client.call("echo", 1, timeout=None))
        with pytest.raises(TimeoutError, match="no room to send in time"):
            await both.client.call("echo", 2, timeout=0.01)
        gate.set()
        assert (await first, await second) == (0, 1)
        assert seen == [0, 1]
        assert no_entries(both.client)


@pytest.mark.row("S10", "S8")
async def test_the_default_timeout_holds_for_waiting_as_well():
    async with one_at_a_time(call_timeout=0.02) as (both, seen, _gate):
        first = aio.create_task(both.client.call("echo", 0, timeout=None))
        await until(lambda: seen)
        with pytest.raises(TimeoutError):
            await both.client.call("echo", 1)
        first.cancel()
        with pytest.raises(aio.Cancelled):
            await first
        assert no_entries(both.client)


@pytest.mark.row("S10", "H60")
async def test_a_call_that_is_cancelled_hands_its_room_on():
    async with one_at_a_time() as (both, seen, gate):
        open_call = aio.create_task(both.client.call("echo", 0))
        await until(lambda: seen)
        waiting = [aio.create_task(both.client.call("echo", n)) for n in (1, 2, 3)]
        await turns()
        waiting[0].cancel()  # while it waits for room
        open_call.cancel()  # while it waits for its answer
        await until(lambda: len(seen) == 2)
        assert seen == [0, 2]
        gate.set()
        assert await aio.gather(*waiting[1:]) == [2, 3]
        assert no_entries(both.client)


@pytest.mark.row("S10", "H60")
async def test_a_call_that_is_cancelled_in_the_moment_it_gets_room_hands_it_on():
    async with one_at_a_time() as (both, seen, gate):
        request = both.client.send_request("echo", [0])
        waiting = [aio.create_task(both.client.call("echo", n)) for n in (1, 2)]
        await until(lambda: seen)
        request.cancel()  # wakes the first that waits, whose task has not run yet
        waiting[0].cancel()
        await until(lambda: 2 in seen)
        assert seen == [0, 2] or aio.on_trio()  # there it sends what it does not wait for any more
        gate.set()
        assert await waiting[1] == 2
        assert no_entries(both.client)


@pytest.mark.row("S10")
async def test_a_call_that_cannot_be_encoded_hands_its_room_on():
    async with one_at_a_time() as (both, seen, gate):
        first = aio.create_task(both.client.call("echo", 0))
        await until(lambda: seen)
        bad = aio.create_task(both.client.call("echo", object()))
        last = aio.create_task(both.client.call("echo", 2))
        await turns()
        gate.set()
        assert await first == 0
        with pytest.raises(TypeError):
            await bad
        assert await last == 2


@pytest.mark.row("S10")
async def test_one_who_was_overtaken_by_send_request_keeps_its_place():
    async with one_at_a_time() as (both, seen, gate):
        request = both.client.send_request("echo", [0])
        waiting = [aio.create_task(both.client.call("echo", n)) for n in (1, 2)]
        await until(lambda: seen)
        request.cancel()  # there is room for the first that waits, and now there is none:
        both.client.send_request("echo", [9]).add_done_callback(lambda done: done.exception())
        gate.set()
        assert await aio.gather(*waiting) == [1, 2]
        assert seen == [0, 9, 1, 2]


@pytest.mark.row("S10", "S3")
async def test_send_request_and_send_batch_do_not_wait_but_say_that_the_window_is_full():
    async with one_at_a_time() as (both, seen, gate):
        batch = both.client.new_batch()
        batch.add_request("echo", [1])
        batch.add_request("echo", [2])
        with pytest.raises(SessionBusy) as refused:
            both.client.send_batch(batch)
        request = both.client.send_request("echo", [0])
        with pytest.raises(SessionBusy) as refused:
            both.client.send_request("echo", [1])
        assert refused.value.limit == 1
        await both.client.notify("echo", 7)  # notifications are not counted
        gate.set()
        assert await request == 0
        await until(lambda: len(seen) == 2)
        assert seen == [0, 7]


@pytest.mark.row("S10")
async def test_calls_and_notifications_wait_while_the_peer_reads_nothing_and_go_on_when_it_does():
    async with raw_server(limits=SMALL) as (client, peer):
        await clogged(client, peer)
        call = aio.create_task(client.call("late", timeout=None))
        note = aio.create_task(client.notify("late too"))
        sent = client.stats.messages_out
        await turns()
        assert not call.done()
        assert not note.done()
        assert client.stats.messages_out == sent
        peer.writer.transport.resume_reading()
        while (message := await peer.line())["method"] == "fill":
            pass
        messages = [message, await peer.line()]
        assert {message["method"] for message in messages} == {"late", "late too"}
        await note
        peer.send({"jsonrpc": "2.0", "id": 0, "result": 5})
        assert await call == 5


@pytest.mark.row("S10")
async def test_a_notification_does_not_wait_behind_calls_that_only_want_answers():
    async with one_at_a_time() as (both, seen, gate):
        calls = [aio.create_task(both.client.call("echo", n)) for n in (0, 1)]
        await until(lambda: seen)
        await both.client.notify("echo", 5)
        await until(lambda: 5 in seen)
        gate.set()
        assert await aio.gather(*calls) == [0, 1]


@pytest.mark.row("S7", "S10")
@pytest.mark.parametrize("how", ["close", "abort", "reset"])
async def test_who_waits_for_room_is_told_at_once_when_the_connection_ends(how: str):
    async with raw_server(limits=SMALL) as (client, peer):
        await clogged(client, peer)
        waiting = [aio.create_task(client.call("late", timeout=None)) for _ in range(3)]
        waiting.append(aio.create_task(client.notify("late")))
        await turns()
        if how == "reset":
            peer.reset()
        else:
            getattr(client, how)()
        started = aio.now()
        done = await aio.gather(*waiting, return_exceptions=True)
        assert aio.now() - started < prompt(1)
        expected = ConnectionLost if how == "reset" else ClosedError
        assert [type(error) for error in done] == [expected] * 4
        client.abort()
        assert no_entries(client)


@pytest.mark.row("S8", "S10")
async def test_those_who_wait_share_one_timer():
    if aio.live_timers() is None:
        pytest.skip("only stock asyncio shows its timers")
    async with one_at_a_time() as (both, seen, _gate):
        first = both.client.send_request("echo", [0])
        await until(lambda: seen)
        before = len(aio.live_timers() or ())
        tasks = [aio.create_task(both.client.call("echo", n, timeout=5 + n)) for n in range(500)]
        await turns()
        assert len(aio.live_timers() or ()) <= before + 1
        for task in tasks:
            task.cancel()
        await aio.gather(*tasks, return_exceptions=True)
        assert len(aio.live_timers() or ()) <= before
        first.cancel()


@pytest.mark.row("S10")
async def test_different_timeouts_of_those_who_wait_each_end_in_time():
    async with one_at_a_time() as (both, seen, _gate):
        first = both.client.send_request("echo", [0])
        await until(lambda: seen)

        async def waiting(timeout: float) -> None:
            started = aio.now()
            with pytest.raises(TimeoutError):
                await both.client.call("echo", 1, timeout=timeout)
            assert aio.now() - started >= timeout * 0.99

        patient = aio.create_task(waiting(60))  # for which none of the others may have to wait
        await turns()
        await aio.gather(*(waiting(timeout) for timeout in (0.06, 0.02, 0.04, 0.0)))
        assert not patient.done()
        patient.cancel()
        first.cancel()
        assert no_entries(both.client)
