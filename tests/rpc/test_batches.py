# SPDX-License-Identifier: MIT
"""Outgoing batches: filled, sent, answered in every way that peers answer, refused, cancelled, lost."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from math import inf
from types import TracebackType
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import RawPeer, no_entries, pair, raw_server, turns, until
from tieline import (
    ClientSession,
    ClosedError,
    ConnectionLost,
    JSONRPCv1,
    Limits,
    LocalProtocolError,
    Methods,
    OutgoingMessageTooLarge,
    ProcessEnded,
    RPCBatchOut,
    RPCError,
    RPCRequestOut,
    SessionBusy,
    StreamTruncated,
    WebSocketClosed,
)


def methods_with_log() -> tuple[Methods, list[object]]:
    methods = Methods()
    seen: list[object] = []

    @methods.method
    def double(n: int) -> int:
        seen.append(n)
        return 2 * n

    @methods.method
    async def slow(n: int) -> int:
        await aio.sleep(0)
        seen.append(n)
        return 2 * n

    @methods.method
    def fail() -> None:
        raise RPCError(5, "as asked")

    @methods.method
    def unwritable() -> object:
        return object()

    return methods, seen


def filled(client: ClientSession, count: int = 3) -> tuple[RPCBatchOut, list[RPCRequestOut]]:
    batch = client.new_batch()
    return batch, [batch.add_request("x", [n]) for n in range(count)]


async def sent(client: ClientSession, peer: RawPeer, count: int = 3, **settings: Any) -> tuple[RPCBatchOut, list[Any]]:
    """Send a batch and return it with the ids that the peer read."""
    batch, _requests = filled(client, count)
    client.send_batch(batch, **settings)
    return batch, [member["id"] for member in await peer.line()]


def answer(call_id: object, result: object = None) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": call_id, "result": result}


# --- against our own server ------------------------------------------------------------------------------------------


@pytest.mark.row("S3", "J3", "J10")
async def test_a_batch_gives_its_results_in_order_values_and_errors():
    methods, seen = methods_with_log()
    async with pair(methods) as both:
        done: list[object] = []
        batch = both.client.new_batch(done.append)
        first = batch.add_request("slow", [1], done.append)
        batch.add_request("fail")
        batch.add_notification("double", [50])
        batch.add_request("double", {"n": 3})
        batch.add_request("unwritable")
        batch.add_request("no such")
        assert len(batch) == 6
        assert len(batch.requests()) == 5
        assert batch.is_request_batch()
        with pytest.raises(LocalProtocolError, match="not complete"):
            _ = batch.results
        both.client.send_batch(batch)
        assert await batch is batch
        values = [result.code if isinstance(result, RPCError) else result for result in batch.results]
        assert values == [2, 5, 6, -32603, -32601]
        assert first.result() == 2
        assert sorted(map(str, seen)) == ["1", "3", "50"]
        await until(lambda: len(done) == 2)
        assert {id(one) for one in done} == {id(first), id(batch)}
        assert both.client.stats.messages_out == both.client.stats.messages_in == 1
        assert no_entries(both.client)
        assert no_entries(both.peer)


@pytest.mark.row("S3")
async def test_the_context_sends_at_its_end_and_waits():
    methods, _seen = methods_with_log()
    async with pair(methods) as both:
        async with both.client.batch() as batch:
            one = batch.add_request("double", [1])
            batch.add_notification("double", [2])
            two = batch.add_request("fail")
            assert both.client.stats.messages_out == 0
        assert batch.results[0] == one.result() == 2
        assert batch.results[1] is two.exception()


@pytest.mark.row("S3")
async def test_a_block_is_entered_once() -> None:
    methods, _seen = methods_with_log()
    async with pair(methods) as both:
        block = both.client.batch()
        async with block as batch:
            member = batch.add_request("double", [1])
            with pytest.raises(LocalProtocolError, match="was entered before"):
                await block.__aenter__()
        assert await member == 2


async def test_with_raise_errors_the_first_error_comes_out():
    methods, _seen = methods_with_log()

    async def run(client: ClientSession) -> None:
        async with client.batch(raise_errors=True) as batch:
            batch.add_request("double", [1])
            batch.add_request("fail")
            batch.add_request("no such")

    async with pair(methods) as both:
        with pytest.raises(RPCError, match="as asked"):
            await run(both.client)
        async with both.client.batch(raise_errors=True) as batch:
            batch.add_request("double", [1])
        assert batch.results == (2,)


@pytest.mark.row("S7")
async def test_an_error_that_was_raised_keeps_nothing_alive():
    methods, _seen = methods_with_log()
    batches: list[weakref.ref[RPCBatchOut]] = []

    async def run(client: ClientSession) -> None:
        async with client.batch(raise_errors=True) as batch:
            batches.append(weakref.ref(batch))
            batch.add_request("fail")

    async with pair(methods) as both:
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(RPCError, match="as asked"):
                await run(both.client)
            await turns()
            assert batches[0]() is None, "a cycle keeps the batch, and with it the session"
        finally:
            gc.enable()


@pytest.mark.row("S3")
async def test_a_body_that_fails_sends_nothing():
    methods, seen = methods_with_log()

    async def run(client: ClientSession) -> None:
        async with client.batch() as batch:
            batch.add_request("double", [1])
            raise LookupError

    async with pair(methods) as both:
        with pytest.raises(LookupError):
            await run(both.client)
        await turns()
        assert both.client.stats.messages_out == 0
        assert not seen


@pytest.mark.row("S3", "J3")
async def test_an_empty_batch_is_refused_and_one_of_notifications_is_complete_at_once():
    methods, seen = methods_with_log()
    async with pair(methods) as both:
        with pytest.raises(LocalProtocolError, match="empty"):
            both.client.send_batch(both.client.new_batch())
        told: list[RPCBatchOut] = []
        batch = both.client.new_batch()
        batch.add_notification("double", [1])
        batch.add_notification("slow", [2])
        both.client.send_batch(batch, told.append)
        assert batch.done()
        assert batch.results == ()
        await aio.wait_for(aio.shield(aio.ensure_future(wait(batch))), 1)
        assert told == [batch]
        await until(lambda: seen == [1, 2])
        assert both.peer.stats.messages_out == 0


async def wait(batch: RPCBatchOut) -> RPCBatchOut:
    return await batch


@pytest.mark.row("S3")
async def test_a_batch_is_sent_once():
    methods, _seen = methods_with_log()
    async with pair(methods) as both:
        batch, _requests = filled(both.client)
        both.client.send_batch(batch)
        for again in (
            lambda: both.client.send_batch(batch),
            lambda: batch.add_request("x"),
            lambda: batch.add_notification("x"),
        ):
            with pytest.raises(LocalProtocolError, match="has been sent"):
                again()
        await batch


@pytest.mark.row("S3")
@pytest.mark.parametrize("where", ["the same batch", "another batch", "a call"])
async def test_a_request_that_nobody_awaited_is_no_argument(where: str):
    methods, seen = methods_with_log()
    async with pair(methods) as both:
        client = both.client
        async with client.batch() as batch:
            batch.add_request("double", [1])  # behind this, batches may go the short way
        batch = client.new_batch()
        request = batch.add_request("double", [2])
        asked = batch if where == "the same batch" else client.new_batch()
        asked.add_request("double", [{"n": request}])
        send = client.send_request if where == "a call" else client.send_batch
        what: Any = ("double", [request]) if where == "a call" else (asked,)
        with pytest.raises(TypeError):
            send(*what)
        assert (seen, asked.is_sent, client.stats.messages_out) == ([1], False, 1)
        async with client.batch() as batch:
            batch.add_request("double", [3])
        assert batch.results == (6,)


@pytest.mark.row("S3", "J11")
async def test_a_batch_that_cannot_be_sent_leaves_nothing_and_may_be_sent_later():
    methods, seen = methods_with_log()
    async with pair(methods, client_limits=Limits(max_calls=3, max_message=2000)) as both:
        for bad, expected in (([object()], TypeError), (["x" * 3000], OutgoingMessageTooLarge), (5, TypeError)):
            batch = both.client.new_batch()
            batch.add_request("double", [1])
            batch.add_request("double", bad)
            with pytest.raises(expected):
                both.client.send_batch(batch)
            assert no_entries(both.client)
        batch = both.client.new_batch()
        for n in range(3):
            batch.add_request("double", [n])
        other = both.client.send_request("slow", [9])
        with pytest.raises(SessionBusy):
            both.client.send_batch(batch)
        await other
        both.client.send_batch(batch)
        await batch
        assert batch.results == (0, 2, 4)
        assert seen == [9, 0, 1, 2]
    async with pair(methods, rpc_protocol=JSONRPCv1) as both:
        batch, _requests = filled(both.client)
        with pytest.raises(LocalProtocolError, match=r"JSON-RPC 1\.0 has no batches"):
            both.client.send_batch(batch)


# --- against odd peers -----------------------------------------------------------------------------------------------


@pytest.mark.row("J10")
@pytest.mark.parametrize("shape", ["one array", "shuffled", "several arrays", "one by one", "mixed"])
async def test_answers_may_come_as_the_peer_likes(shape: str):
    async with raw_server() as (client, peer):
        batch, (a, b, c) = await sent(client, peer)
        one, two, three = answer(a, "a"), answer(b, "b"), answer(c, "c")
        shapes: dict[str, list[Any]] = {
            "one array": [[one, two, three]],
            "shuffled": [[three, one, two]],
            "several arrays": [[two], [one, three]],
            "one by one": [three, two, one],
            "mixed": [two, [one], three],
        }
        peer.send(*shapes[shape])
        await batch
        assert batch.results == ("a", "b", "c")
        assert no_entries(client)
        assert client.stats.errors == 0


@pytest.mark.row("J10", "J3")
async def test_members_complete_as_their_answers_come():
    async with raw_server() as (client, peer):
        batch, requests = filled(client)
        client.send_batch(batch)
        ids = [member["id"] for member in await peer.line()]
        peer.send(answer(ids[1], "b"))
        assert await requests[1] == "b"
        assert not batch.done()
        assert not requests[0].done()
        peer.send([answer(ids[0], "a"), answer(ids[2], "c")])
        assert (await batch).results == ("a", "b", "c")


@pytest.mark.row("J10")
async def test_a_refusal_of_the_whole_batch_fails_every_member_with_it():
    async with raw_server() as (client, peer):
        batch, ids = await sent(client, peer)
        peer.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batches here", "data": 7}})
        await batch
        for result, call_id in zip(batch.results, ids, strict=True):
            assert isinstance(result, RPCError)
            assert (result.code, result.message, result.data) == (-32600, "no batches here", 7)
            assert result.request_id == call_id
        assert no_entries(client)


@pytest.mark.row("J10")
async def test_a_missing_member_fails_only_itself_when_its_time_is_over():
    async with raw_server() as (client, peer):
        batch, (a, _b, c) = await sent(client, peer, timeout=30)
        peer.send([answer(a, "a"), answer(c, "c")])
        await until(lambda: client.stats.pending == 1)
        engine = client._engine
        assert engine is not None
        engine.handle_events(engine.machine.handle_deadline(engine.host.now() + 31), inf)
        await batch
        assert batch.results[0] == "a"
        assert batch.results[2] == "c"
        assert isinstance(batch.results[1], TimeoutError)
        assert no_entries(client)
        assert not client.is_closing()


@pytest.mark.row("J10", "S3")
async def test_timeouts_of_batches_take_every_form():
    async with raw_server(limits=Limits(call_timeout=0.02)) as (client, peer):
        default, _ = await sent(client, peer)
        own, _ = await sent(client, peer, timeout=0.01)
        never, ids = await sent(client, peer, timeout=None)
        for batch in (default, own):
            await batch
            assert all(isinstance(result, TimeoutError) for result in batch.results)
        async with client.batch(timeout=0.01) as batch:
            batch.add_request("x")
        assert isinstance(batch.results[0], TimeoutError)
        assert not never.done()
        peer.send([answer(call_id, 1) for call_id in ids])
        assert (await never).results == (1, 1, 1)


@pytest.mark.row("J10", "S3", "S12")
async def test_a_batch_beside_which_nothing_goes_on_has_a_time_and_counts():
    async with raw_server(limits=Limits(call_timeout=0.3)) as (client, peer):
        first = client.send_request("first", timeout=None)
        peer.send(answer((await peer.line())["id"], 1))
        assert await first == 1
        before = client.stats.bytes_out
        async with client.batch() as batch:
            for name in ("x", "y"):
                batch.add_request(name)
        assert [type(result) for result in batch.results] == [TimeoutError] * 2
        assert client.stats.bytes_out - before == len(await peer.reader.readline())


@pytest.mark.row("J10")
async def test_a_reply_with_odd_ids_answers_what_it_names_and_nothing_else():
    async with raw_server() as (client, peer):
        batch, (a, b, c) = await sent(client, peer)
        odd = [answer(value, "wrong") for value in (str(a), float(a), None, [a], {"id": a}, False, 999)]
        peer.send([*odd, answer(b, "b"), answer(b, "twice")])
        await until(batch.requests()[1].done)
        assert not batch.requests()[0].done()
        peer.send([answer(c, "c"), answer(a, "a")])
        assert (await batch).results == ("a", "b", "c")
        assert not client.is_closing()


# --- the end of batches ----------------------------------------------------------------------------------------------


@pytest.mark.row("J3", "S7", "H60")
@pytest.mark.parametrize("how", ["cancel", "task", "member", "timeout"])
async def test_a_batch_that_is_cancelled_takes_its_open_members_with_it(how: str):
    async with raw_server() as (client, peer):
        batch, ids = await sent(client, peer)
        peer.send(answer(ids[0], "a"))
        await batch.requests()[0]
        if how == "cancel":
            assert batch.cancel()
            assert not batch.cancel()
            with pytest.raises(aio.RequestCancelled):
                await batch
        elif how == "task":
            task = aio.create_task(wait(batch))
            await turns()
            task.cancel()
            with pytest.raises(aio.Cancelled):
                await task
        elif how == "timeout":
            with pytest.raises(TimeoutError):
                async with aio.timeout(0.01):
                    await batch
        else:
            for request in batch.requests()[1:]:
                request.cancel()
            await batch
        await turns()
        assert batch.done()
        assert batch.results[0] == "a"
        assert all(isinstance(result, aio.RequestCancelled) for result in batch.results[1:])
        assert no_entries(client)
        peer.send([answer(call_id, "late") for call_id in ids])
        peer.send({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert (await peer.line())["error"]["code"] == -32601
        assert client.stats.errors == 0


@pytest.mark.row("J3", "S7")
async def test_a_batch_is_complete_when_it_is_told_that_who_waited_for_it_was_cancelled():
    async with raw_server() as (client, _):
        told: list[tuple[bool, tuple[object, ...]]] = []
        batch = client.new_batch(lambda batch: told.append((batch.done(), batch.results)))
        batch.add_request("a")
        batch.add_request("b")
        client.send_batch(batch)

        async def wait() -> None:
            await batch

        task = aio.create_task(wait())
        await turns()
        task.cancel()
        with pytest.raises(aio.Cancelled):
            await task
        await turns()
        [(is_done, results)] = told
        assert is_done
        assert len(results) == 2
        assert all(isinstance(result, aio.RequestCancelled) for result in results)


@pytest.mark.row("J3", "S7")
async def test_who_has_waited_for_a_batch_and_is_cancelled_finds_there_what_has_come():
    async with raw_server() as (client, peer):
        batch, ids = await sent(client, peer)
        peer.send(answer(ids[0], "a"))
        await batch.requests()[0]
        found: list[object] = []

        async def wait_and_look() -> None:
            try:
                await batch
            finally:
                found.extend(batch.results)

        task = aio.create_task(wait_and_look())
        await turns()
        task.cancel()
        with pytest.raises(aio.Cancelled):
            await task
        assert found[0] == "a"
        assert all(isinstance(result, aio.RequestCancelled) for result in found[1:])
        assert len(found) == 3


@pytest.mark.row("S7", "J3")
async def test_a_loss_fails_the_batch_and_its_open_members():
    async with raw_server() as (client, peer):
        told: list[RPCBatchOut] = []
        batch, ids = await sent(client, peer, on_done=told.append)
        unwatched, _ = await sent(client, peer)  # whose failure nobody looks at: no complaint
        peer.send(answer(ids[0], "a"))
        await batch.requests()[0]
        peer.reset()
        with pytest.raises(ConnectionLost):
            await batch
        assert batch.results[0] == "a"
        assert all(isinstance(result, ConnectionLost) for result in batch.results[1:])
        assert all(isinstance(result, ConnectionLost) for result in unwatched.results)
        await until(lambda: told)
        assert told == [batch]
        assert no_entries(client)


@pytest.mark.row("J3")
async def test_set_result_and_set_exception_reach_all_open_members():
    async with raw_server() as (client, peer):
        for order, value in (("set_result", 5), ("set_exception", LookupError("enough"))):
            batch, ids = await sent(client, peer)
            peer.send(answer(ids[0], "a"))
            await batch.requests()[0]
            getattr(batch, order)(value)
            await batch
            assert batch.results == ("a", value, value)


@pytest.mark.row("J3")
async def test_a_callback_that_fails_does_not_leave_the_batch_waiting_for_ever():
    methods, _seen = methods_with_log()

    def fail(_batch: object) -> None:
        raise LookupError

    async with pair(methods) as both:
        with aio.reported() as reported:
            batch = both.client.new_batch(fail)
            batch.add_request("double", [1])
            both.client.send_batch(batch)
            assert await aio.wait_for(wait(batch), 1) is batch
            await turns()
    assert [type(error) for error in reported] == [LookupError]


@pytest.mark.row("J3")
async def test_the_log_of_trio_names_the_callback_that_has_failed(caplog: pytest.LogCaptureFixture):
    if not aio.on_trio():
        return  # asyncio's own log does
    methods, _seen = methods_with_log()

    def forgetful(_request: object) -> None:
        raise LookupError

    async with pair(methods) as both:
        with aio.reported():
            for order in ("before", "after"):
                request = both.client.send_request("double", [1], forgetful if order == "before" else None)
                assert await request == 2
                if order == "after":
                    request.add_done_callback(forgetful)
                await turns()
    told = [record.getMessage() for record in caplog.records if record.name == "tieline.trio"]
    assert len(told) == 2
    assert all("forgetful" in line and "'double' id=" in line for line in told), told


async def test_a_batch_that_is_complete_is_gone_without_a_collection():
    methods, _ = methods_with_log()
    async with pair(methods) as both:
        gc.collect()
        gc.disable()
        try:
            async with both.client.batch() as batch:
                batch.add_request("double", [1])
                batch.add_request("fail")
            assert (await batch) is batch
            gone = [weakref.ref(batch), *map(weakref.ref, batch.requests())]
            del batch
            await until(lambda: not any(one() for one in gone), "a cycle keeps it alive")
        finally:
            gc.enable()


class Unreachable(ConnectionLost):
    """A user's, whose constructor takes other things than its text."""

    def __init__(self, who: str, why: str) -> None:
        super().__init__(f"{who}: {why}")
        self.who = who


LOST_BY_HAND = [
    ConnectionLost("gone"),
    ClosedError("closed"),
    StreamTruncated(5),
    ProcessEnded("it died", 3, "its last words"),
    WebSocketClosed(1001, "bye"),
    Unreachable("a", "b"),
]


@pytest.mark.parametrize("error", LOST_BY_HAND, ids=lambda error: type(error).__name__)
async def test_who_made_a_batch_gets_an_error_like_the_one_that_was_set_with_all_that_it_tells(error: Exception):
    error.__cause__ = cause = OSError("the cause")
    async with raw_server() as (client, _):
        batches: list[RPCBatchOut] = []

        async def ask() -> None:
            async with client.batch() as batch:
                batch.add_request("never")
                batches.append(batch)

        task = aio.create_task(ask())
        await until(lambda: batches and batches[0].is_sent)
        [batch] = batches
        batch.set_exception(error)
        with pytest.raises(type(error)) as caught:
            await task
        assert batch.results == (error,)
        assert caught.value is not error, "the tracebacks of those who have it are their own"
        assert (str(caught.value), vars(caught.value)) == (str(error), vars(error))
        assert caught.value.__cause__ is cause
        assert error.__traceback__ is None


async def test_the_error_of_a_request_does_not_grow_with_those_who_ask_for_it():
    async with raw_server() as (client, peer):
        request = client.send_request("fail")
        peer.send({"jsonrpc": "2.0", "id": (await peer.line())["id"], "error": {"code": 1, "message": "no"}})
        lengths: list[int] = []
        for _ in range(4):
            with pytest.raises(RPCError) as caught:
                await request
            lengths.append(len(caught.traceback))
        assert len({*lengths}) == 1, lengths
        with_history = ValueError("raised before")
        try:
            raise with_history
        except ValueError:
            history = with_history.__traceback__
        assert history is not None
        request = client.send_request("by hand")
        request.set_exception(with_history)
        with pytest.raises(ValueError, match="raised before") as told:
            await request
        assert history in steps(told.value.__traceback__)


def steps(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
