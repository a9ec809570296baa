# SPDX-License-Identifier: MIT
"""The requests of a batch, each by itself: awaited, watched, completed by hand, given to asyncio's own tools."""

from __future__ import annotations

from asyncio import FIRST_COMPLETED, InvalidStateError, as_completed, ensure_future, gather, shield, wait, wait_for
from functools import partial
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import raw_server, turns, until
from tests.rpc.test_batches import answer, filled
from tieline import LocalProtocolError, RPCRequestOut


async def outcome_of(request: RPCRequestOut) -> Any:
    return await request


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
@pytest.mark.parametrize("how", ["one array", "one by one"])
async def test_a_member_that_is_complete_is_so_for_good_however_it_was_answered(how: str):
    async with raw_server() as (client, peer):
        batch, requests = filled(client)
        client.send_batch(batch)
        answers = [answer(member["id"], n) for n, member in enumerate(await peer.line())]
        peer.send(*([answers] if how == "one array" else answers))
        await batch
        for number, request in enumerate(requests):
            assert (request.done(), request.cancelled(), request.cancel()) == (True, False, False)
            assert (request.exception(), request.result()) == (None, number)
            with pytest.raises((InvalidStateError, LocalProtocolError)):
                request.set_result(7)
            with pytest.raises((InvalidStateError, LocalProtocolError)):
                request.set_exception(ValueError())
            told: list[object] = []
            request.add_done_callback(told.append)
            await until(partial(told.__contains__, request))
            assert told == [request]
        assert batch.results == (0, 1, 2)


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
        batch, requests = filled(client, 6)
        gathered = ensure_future(gather(requests[0], requests[1]))
        waited = ensure_future(wait([requests[1], requests[2]]))  # type: ignore[type-var]  # it asks for futures; these can what it does with them
        first = ensure_future(wait(requests[2:4], return_when=FIRST_COMPLETED))  # type: ignore[type-var]  # likewise
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
        assert done <= {*requests[2:4]}
        assert await limited == 4
        assert await shielded == 5
        assert sorted([await each for each in completed]) == [0, 1]
        assert (await batch).results == (0, 1, 2, 3, 4, 5)
