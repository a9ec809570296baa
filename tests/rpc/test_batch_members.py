# SPDX-License-Identifier: MIT
"""The requests of a batch, each by itself: awaited, watched, completed by hand, given to asyncio's own tools."""

from __future__ import annotations

import gc
import weakref
from asyncio import (
    FIRST_COMPLETED,
    CancelledError,
    InvalidStateError,
    as_completed,
    ensure_future,
    gather,
    isfuture,
    shield,
    wait,
    wait_for,
)
from functools import partial
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import raw_server, turns, until
from tests.rpc.test_batches import answer, filled
from tieline import LocalProtocolError, RPCError, RPCRequestOut


async def outcome_of(request: RPCRequestOut) -> Any:
    return await request


def made(requests: list[Any]) -> dict[int, RPCRequestOut]:
    """Return what was made of members."""
    found: dict[int, RPCRequestOut] = requests[0].outcomes.requests
    return found


@pytest.mark.row("J3", "S3")
async def test_members_are_awaited_before_and_after_the_answer_by_any_number_of_tasks():
    async with raw_server() as (client, peer):
        batch, requests = filled(client)
        early = aio.create_task(outcome_of(requests[0]))
        await turns()
        client.send_batch(batch)
        late = [aio.create_task(outcome_of(requests[number])) for number in (0, 1)]
        await turns()
        ids = [member["id"] for member in await peer.line()]
        assert [request.request_id for request in requests] == ids
        peer.send([answer(call_id, f"value {call_id}") for call_id in ids])
        wanted = [f"value {call_id}" for call_id in ids]
        assert [await early, *[await task for task in late]] == [wanted[0], *wanted[:2]]
        assert (await batch).results == tuple(wanted)
        assert [await request for request in requests] == wanted
        assert [request.result() for request in requests] == wanted


@pytest.mark.row("J3")
@pytest.mark.parametrize("how", ["one array", "shuffled", "one by one", "several arrays", "with an error"])
async def test_a_member_that_is_complete_is_so_for_good_however_it_was_answered(how: str):
    async with raw_server() as (client, peer):
        batch, requests = filled(client, 4)
        client.send_batch(batch)
        answers: list[Any] = [answer(member["id"], n) for n, member in enumerate(await peer.line())]
        failure = {"jsonrpc": "2.0", "id": answers[3]["id"], "error": {"code": 1, "message": "no"}}
        match how:
            case "one array":
                peer.send(answers)
            case "shuffled":
                peer.send(answers[::-1])
            case "several arrays":
                peer.send(answers[:2], answers[2:])
            case "with an error":
                peer.send([*answers[:3], failure])
            case _:
                peer.send(*answers)
        await batch
        assert not made(requests), "nobody has asked for more than the results"
        for number, request in enumerate(requests):
            assert (request.done(), request.cancelled(), request.cancel()) == (True, False, False)
            if how == "with an error" and number == 3:
                assert isinstance(request.exception(), RPCError)
                with pytest.raises(RPCError):
                    await request
            else:
                assert (request.exception(), request.result()) == (None, number)
            with pytest.raises((InvalidStateError, LocalProtocolError)):
                request.set_result(7)
            with pytest.raises((InvalidStateError, LocalProtocolError)):
                request.set_exception(ValueError())
            told: list[object] = []
            request.add_done_callback(told.append)
            await until(partial(told.__contains__, request))
            assert told == [request]
        assert batch.results[:3] == (0, 1, 2)


@pytest.mark.row("J3", "J11")
@pytest.mark.parametrize(("count", "size"), [(2, 1), (300, 1), (9, 10_000)])
async def test_however_many_and_large_the_results_are_they_are_kept_as_they_came(count: int, size: int):
    async with raw_server() as (client, peer):
        batch, requests = filled(client, count)
        client.send_batch(batch)
        peer.send([answer(member["id"], "x" * size) for member in await peer.line()])
        assert (await batch).results == ("x" * size,) * count
        assert not made(requests)


@pytest.mark.row("J3")
async def test_a_member_that_is_complete_before_the_batch_is_sent_is_told_when_it_is():
    async with raw_server() as (client, _peer):
        for order in ("cancel", "set_result"):
            batch, requests = filled(client)
            getattr(requests[1], order)(*([5] if order == "set_result" else []))
            with pytest.raises(LocalProtocolError, match="complete or cancelled already"):
                client.send_batch(batch)


@pytest.mark.row("J3", "S7")
async def test_one_member_is_taken_back_and_the_others_are_answered():
    async with raw_server() as (client, peer):
        batch, requests = filled(client)
        client.send_batch(batch)
        ids = [member["id"] for member in await peer.line()]
        task = aio.create_task(outcome_of(requests[1]))
        await turns()
        task.cancel()
        with pytest.raises(aio.Cancelled):
            await task
        assert requests[1].cancelled()
        peer.send([answer(call_id, call_id) for call_id in ids])
        first, second, third = (await batch).results
        assert (first, third) == (ids[0], ids[2])
        assert isinstance(second, aio.RequestCancelled)
        assert client.stats.errors == 0


@pytest.mark.row("J3")
@pytest.mark.asyncio_only("they are asyncio's own tools")
async def test_asyncio_s_own_tools_take_members():
    async with raw_server() as (client, peer):
        batch, added = filled(client, 6)
        requests: list[Any] = added  # `wait` asks for futures; these can what it does with them
        gathered = ensure_future(gather(requests[0], requests[1]))
        waited = ensure_future(wait([requests[1], requests[2]]))
        first = ensure_future(wait(requests[2:4], return_when=FIRST_COMPLETED))
        limited = ensure_future(wait_for(requests[4], 10))
        shielded = shield(requests[5])
        completed = as_completed(requests[:2])
        await turns()
        client.send_batch(batch)
        ids = [member["id"] for member in await peer.line()]
        peer.send([answer(call_id, number) for number, call_id in enumerate(ids)])
        assert await gathered == [0, 1]
        done, pending = await waited
        assert (done, pending) == ({requests[1], requests[2]}, set())
        done, _ = await first
        assert done
        assert done <= {*requests[2:4]}
        assert await limited == 4
        assert await shielded == 5
        assert sorted([await each for each in completed]) == [0, 1]
        assert (await batch).results == (0, 1, 2, 3, 4, 5)


@pytest.mark.row("J3", "S7")
@pytest.mark.asyncio_only("they are asyncio's own tools")
async def test_asyncio_s_own_tools_cancel_members_and_take_those_that_are_complete():
    async with raw_server() as (client, peer):
        batch, requests = filled(client, 4)
        client.send_batch(batch)
        ids = [member["id"] for member in await peer.line()]
        peer.send(answer(ids[0], "a"))
        await until(requests[0].done)
        assert isfuture(requests[0])
        assert await wait_for(requests[0], 0) == "a"
        assert ensure_future(requests[0]) is requests[0]
        with pytest.raises(TimeoutError):
            await wait_for(requests[1], 0)
        gathered = gather(requests[0], requests[2])
        gathered.cancel()
        with pytest.raises(CancelledError):
            await gathered
        ensure_future(requests[3]).cancel()
        assert [request.cancelled() for request in requests] == [False, True, True, True]
        assert client.stats.pending == 0
        assert (await batch).results[0] == "a"


@pytest.mark.row("J3")
@pytest.mark.asyncio_only("they are asyncio's own tools")
async def test_gathering_members_of_which_some_are_cancelled_comes_to_an_end():
    async with raw_server() as (client, peer):
        batch, requests = filled(client, 4)
        client.send_batch(batch)
        ids = [member["id"] for member in await peer.line()]
        requests[0].cancel()
        requests[1].cancel("not wanted")
        gathered = gather(*requests, return_exceptions=True)
        await turns()
        requests[2].cancel()
        peer.send(answer(ids[3], "d"))
        assert await wait([gathered], timeout=5) == ({gathered}, set())
        *cancelled, last = gathered.result()
        assert [type(one) for one in cancelled] == [CancelledError] * 3
        assert [str(one) for one in cancelled] == ["", "not wanted", ""]
        assert last == "d"


@pytest.mark.parametrize("is_watched", [False, True])
async def test_a_batch_that_is_never_sent_leaves_no_garbage(is_watched: bool):
    async with raw_server() as (client, _peer):
        gc.collect()
        gc.disable()
        try:
            batch = client.new_batch()
            request = batch.add_request("x", [1], (lambda _: None) if is_watched else None)
            gone: list[weakref.ref[Any]] = [weakref.ref(batch), weakref.ref(request)]
            del batch, request
            assert [one() for one in gone] == [None, None]
        finally:
            gc.enable()
