# SPDX-License-Identifier: MIT
"""Batches that are not sent after all, and those who wait for a request of one nevertheless: nobody waits for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import RawPeer, pair, raw_server, turns
from tests.rpc.test_batches import answer, filled
from tieline import (
    ClientSession,
    ClosedError,
    ConnectionLost,
    LocalProtocolError,
    Methods,
    RPCBatchOut,
    RPCRequestOut,
    SessionBusy,
)

HOW = ["by a task", "by a callback"]
METHODS = Methods()


@METHODS.method
def add(a: int, b: int) -> int:
    return a + b


class Early:
    """Somebody who has begun to wait for a request before its batch was sent.

    Attributes:
        outcome: What it has come to; None while it is open.
    """

    def __init__(self, request: RPCRequestOut, how: str) -> None:
        self.outcome: object = None
        self._task = aio.create_task(self._wait(request)) if how == "by a task" else None
        if self._task is None:
            request.add_done_callback(lambda ended: setattr(self, "outcome", ended.exception() or ended.result()))

    async def _wait(self, request: RPCRequestOut) -> None:
        try:
            self.outcome = await request
        except Exception as exc:
            self.outcome = exc


@asynccontextmanager
async def waiting(how: str) -> AsyncIterator[tuple[ClientSession, RawPeer, RPCBatchOut, list[Any], Early]]:
    """Have a session with a batch of three requests, for the first of which somebody waits."""
    async with raw_server() as (client, peer):
        batch, requests = filled(client)
        early = Early(requests[0], how)
        await turns()
        assert early.outcome is None
        yield client, peer, batch, requests, early


@pytest.mark.row("S3", "S6")
@pytest.mark.parametrize("how", HOW)
async def test_the_end_of_the_session_ends_the_requests_of_batches_that_were_not_sent(how: str):
    async with waiting(how) as (client, _peer, _batch, requests, early):
        await client.aclose()
        await turns()
        assert isinstance(early.outcome, ClosedError)
        assert str(early.outcome) == "the session was closed before the batch was sent"
        assert requests[0].done()
        with pytest.raises(ClosedError, match="before the batch was sent"):
            await requests[1]


@pytest.mark.row("S3", "S6")
async def test_who_waited_for_the_end_before_is_told_as_well():
    async with raw_server() as (client, _peer):
        ending = aio.create_task(client.wait_closed())
        await turns()
        _batch, requests = filled(client)
        early = Early(requests[0], "by a task")
        await turns()
        await client.aclose()
        await aio.wait_for(ending, 10)
        await turns()
        assert isinstance(early.outcome, ClosedError)


@pytest.mark.row("S3", "S6")
@pytest.mark.parametrize("how", HOW)
async def test_a_connection_that_is_lost_ends_them_and_says_why(how: str):
    async with waiting(how) as (client, peer, _batch, requests, early):
        peer.reset()
        await client.wait_closed()
        await turns()
        assert isinstance(early.outcome, ConnectionLost)
        assert early.outcome.__cause__ is not None
        with pytest.raises(ConnectionLost, match="before the batch was sent"):
            await requests[2]


@pytest.mark.row("S3")
@pytest.mark.parametrize("how", HOW)
async def test_those_who_waited_before_the_batch_was_sent_get_its_answers(how: str):
    async with waiting(how) as (client, peer, batch, _requests, early):
        client.send_batch(batch)
        peer.send([answer(member["id"], f"value {number}") for number, member in enumerate(await peer.line())])
        await batch
        await turns()
        assert early.outcome == "value 0"
        await client.aclose()
        await turns()
        assert early.outcome == "value 0"


@pytest.mark.row("S3")
@pytest.mark.parametrize("how", HOW)
async def test_one_that_could_not_be_sent_is_open_still_and_can_be_sent_again(how: str):
    async with waiting(how) as (client, peer, batch, _requests, early):
        unwritable: list[object] = [object()]
        batch.add_request("x", unwritable)
        with pytest.raises(TypeError):
            client.send_batch(batch)
        await turns()
        assert early.outcome is None
        unwritable[0] = 1
        client.send_batch(batch)
        peer.send([answer(member["id"], 7) for member in await peer.line()])
        await batch
        await turns()
        assert early.outcome == 7


@pytest.mark.row("S3")
async def test_whoever_gives_up_one_that_could_not_be_sent_cancels_it():
    async with raw_server() as (client, _peer):
        batch, requests = filled(client)
        batch.add_request("x", [object()])
        told: list[Any] = []
        requests[0].add_done_callback(told.append)
        with pytest.raises(TypeError):
            client.send_batch(batch)
        assert not told
        batch.cancel()
        await turns()
        assert told == [requests[0]]
        assert all(request.cancelled() for request in batch.requests())


@pytest.mark.row("S3")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("fault", ["body", "unwritable", "too many", "cancelled member"])
async def test_a_block_that_sends_nothing_ends_its_requests(fault: str, how: str):
    kept: list[Any] = []

    async def block(client: ClientSession) -> None:
        async with client.batch() as batch:
            request = batch.add_request("x", [1])
            other = batch.add_request("x", [2])
            early = Early(request, how)
            await turns()
            kept.extend([batch, request, other, early])
            match fault:
                case "body":
                    _ = 1 / 0
                case "unwritable":
                    batch.add_request("x", [object()])
                case "too many":
                    for _ in range(client.limits.max_calls or 0):
                        batch.add_request("x")
                case _:
                    other.cancel()

    wanted = {"body": ZeroDivisionError, "unwritable": TypeError, "too many": SessionBusy}
    async with raw_server() as (client, _peer):
        with pytest.raises(wanted.get(fault, LocalProtocolError)):
            await block(client)
        batch, request, other, early = kept
        await turns()
        assert isinstance(early.outcome, LocalProtocolError)
        assert str(early.outcome).startswith("the batch was not sent: ")
        assert request.done()
        assert other.done()
        if fault != "cancelled member":
            with pytest.raises(LocalProtocolError, match="the batch was not sent"):
                await other
        with pytest.raises(LocalProtocolError, match="complete or cancelled"):
            client.send_batch(batch)


@pytest.mark.row("S3")
async def test_a_batch_that_its_block_has_given_up_is_not_sent_later_though_nobody_has_looked_at_it():
    async with raw_server() as (client, peer):
        with suppress(ZeroDivisionError):
            async with client.batch() as batch:
                batch.add_request("x")
                raise ZeroDivisionError
        with pytest.raises(LocalProtocolError, match="complete or cancelled"):
            client.send_batch(batch)
        client.send_notification("next")
        assert (await peer.line())["method"] == "next"


@pytest.mark.row("S3")
async def test_a_block_that_is_cancelled_before_it_sends_ends_its_requests():
    async with raw_server() as (client, _peer):
        outcomes: list[Early] = []

        async def block() -> None:
            async with client.batch() as batch:
                outcomes.append(Early(batch.add_request("x"), "by a task"))
                await aio.Event().wait()

        task = aio.create_task(block())
        await turns()
        task.cancel()
        with suppress(BaseException):
            await task
        await turns()
        assert isinstance(outcomes[0].outcome, LocalProtocolError)


async def test_batches_that_nobody_has_any_more_are_not_remembered():
    async with raw_server() as (client, _peer):
        engine: Any = client._engine
        for _ in range(10):
            _batch, requests = filled(client)
            requests[0].add_done_callback(print)
        assert [len(unsent.batches) for unsent in engine._closed_waiters] == [1]


@pytest.mark.row("S3")
async def test_a_batch_that_another_session_sent_does_not_end_with_the_one_that_made_it():
    async with waiting("by a callback") as (maker, _peer, batch, _requests, early), raw_server() as (sender, peer):
        sender.send_batch(batch)
        ids = [member["id"] for member in await peer.line()]
        await maker.aclose()
        await turns()
        assert early.outcome is None
        peer.send([answer(call_id, "late") for call_id in ids])
        assert (await batch).results == ("late",) * 3
        await turns()
        assert early.outcome == "late"


@pytest.mark.row("S3")
async def test_who_waits_for_a_request_goes_on_before_the_block_ends():
    async with raw_server() as (client, peer):
        seen: list[object] = []

        async def block() -> None:
            async with client.batch() as batch:
                for number in range(3):
                    batch.add_request("x", [number], lambda ended: seen.append(ended.result()))
            seen.append("block")

        task = aio.create_task(block())
        peer.send([answer(member["id"], number) for number, member in enumerate(await peer.line())])
        await task
        await turns()
        assert seen[-1 if not aio.on_trio() else 0] == "block"
        assert {*seen} == {0, 1, 2, "block"}


@pytest.mark.row("S3")
async def test_who_fills_a_batch_is_told_that_waiting_for_it_would_never_end() -> None:
    async with pair(METHODS) as ends:
        client = ends.client
        async with client.batch() as batch:
            request = batch.add_request("add", [1, 2])
            with pytest.raises(LocalProtocolError, match="sent when its block ends"):
                await request
            with pytest.raises(LocalProtocolError, match="has not been sent"):
                await batch
            early = Early(request, "by a task")
            await turns()
            assert early.outcome is None  # others may wait for what comes
        assert await request == 3
        await turns()
        assert early.outcome == 3


@pytest.mark.row("S3")
async def test_who_fills_a_batch_may_ask_for_what_is_complete() -> None:
    async with pair(METHODS) as ends:
        results: list[Any] = []
        with suppress(KeyError):
            async with ends.client.batch() as batch:
                request = batch.add_request("add", [1, 2])
                request.set_result(7)
                results.append(await request)
                raise KeyError
        assert results == [7]
