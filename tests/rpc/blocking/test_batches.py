# SPDX-License-Identifier: MIT
"""Batches from blocking code."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from typing import Any

import pytest

from tests.rpc.blocking.peers import Task, entries, no_entries, pair, raw_pair, until
from tests.rpc.test_batches import LOST_BY_HAND
from tieline import ClosedError, ConnectionLost, LocalProtocolError, RPCError
from tieline.blocking import BlockingBatch
from tieline.wire.jsonrpc.calls import CallTable


@pytest.mark.row("S3")
def test_a_batch_is_sent_at_the_end_of_its_with_and_its_results_are_there() -> None:
    with pair() as session:
        with session.batch() as batch:
            first = batch.add_request("add", [1, 2])
            batch.add_notification("add", [5, 6])
            batch.add_request("fail")
            batch.add_request("echo", {"value": "x"})
            assert session.stats.messages_out == 0
        assert first.result() == 3
        results = batch.results
        assert results[0] == 3
        assert isinstance(results[1], RPCError)
        assert results[2] == "x"
        assert session.stats.messages_out == 1
        assert no_entries(session), entries(session)


@pytest.mark.row("S3")
def test_a_block_is_entered_once() -> None:
    with pair() as session:
        block = session.batch()
        with block as batch:
            member = batch.add_request("add", [1, 2])
            with pytest.raises(LocalProtocolError, match="has been entered before"), block:
                pass
        assert member.result() == 3
        with pytest.raises(LocalProtocolError, match="has been entered before"), block:
            pass


def test_the_first_error_may_be_raised_and_a_body_that_fails_sends_nothing() -> None:
    with pair() as session:
        with pytest.raises(RPCError), session.batch(raise_errors=True) as batch:
            batch.add_request("fail")
        sent = session.stats.messages_out
        with pytest.raises(ZeroDivisionError), session.batch() as batch:
            batch.add_request("add", [1, 1 // 0])
        assert session.stats.messages_out == sent


@pytest.mark.row("S7")
def test_an_error_that_was_raised_keeps_nothing_alive() -> None:
    def run(session: Any) -> weakref.ref[Any]:
        with suppress(RPCError), session.batch(raise_errors=True) as batch:
            batch.add_request("fail")
        return weakref.ref(batch)

    with pair() as session:
        gc.collect()
        gc.disable()
        try:
            assert run(session)() is None, "a cycle keeps the batch, and with it the session"
        finally:
            gc.enable()


@pytest.mark.row("S3")
def test_nobody_waits_for_ever_for_a_request_of_a_batch_that_is_not_sent() -> None:
    with pair() as session:
        told: list[Any] = []
        with suppress(ZeroDivisionError), session.batch() as batch:
            request = batch.add_request("add", [1, 2])
            batch.add_request("add", [3, 4], told.append)
            early = Task(request.result)
            until(lambda: batch.outcomes.requests)
            _ = 1 // 0
        with pytest.raises(LocalProtocolError, match="the batch was not sent: ZeroDivisionError"):
            early.result()
        assert told == batch.requests()[1:]
        with pytest.raises(LocalProtocolError, match="the batch was not sent"):
            told[0].result()
        left = session.new_batch()
        late = Task(left.add_request("add", [1, 2]).result)
        until(lambda: left.outcomes.requests)
    with pytest.raises(ClosedError, match="before the batch was sent"):
        late.result()


def test_a_batch_by_hand_and_whom_it_tells() -> None:
    with pair() as session:
        seen: list[Any] = []
        batch = session.new_batch(seen.append)
        with pytest.raises(LocalProtocolError, match="not been sent"):
            batch.result()
        batch.add_request("add", [1, 2], seen.append)
        session.send_batch(batch)
        with pytest.raises(LocalProtocolError, match="has been sent"):
            session.send_batch(batch)
        assert batch.result() is batch
        assert batch.results == (3,)
        assert [type(one) for one in seen] == [type(batch.requests()[0]), BlockingBatch]
        empty = session.new_batch()
        with pytest.raises(LocalProtocolError, match="must not be empty"):
            session.send_batch(empty)
        only_told = session.new_batch()
        only_told.add_notification("echo", [1])
        session.send_batch(only_told)
        assert only_told.result().results == ()


def test_a_batch_may_be_waited_for_with_a_limit_and_cancelled() -> None:
    with raw_pair() as (session, server):
        batch = session.new_batch()
        batch.add_request("a")
        batch.add_request("b")
        session.send_batch(batch)
        with pytest.raises(TimeoutError):
            batch.result(0.01)
        assert batch.cancel()
        assert batch.done()
        server.line()
        assert no_entries(session), entries(session)


def test_a_batch_whose_connection_goes_says_so_to_all_who_wait() -> None:
    with raw_pair() as (session, server):
        batch = session.new_batch()
        batch.add_request("a")
        session.send_batch(batch)
        tasks = [Task(batch.result) for _ in range(3)]
        server.line()
        server.close()
        assert all(isinstance(task.error(), ConnectionLost) for task in tasks)


def test_a_batch_that_is_answered_late_times_out_by_itself() -> None:
    with raw_pair() as (session, _):
        with session.batch(timeout=0.02) as batch:
            batch.add_request("a")
        assert isinstance(batch.results[0], TimeoutError)


@pytest.mark.row("S3", "J3")
def test_members_are_waited_for_in_threads_of_their_own() -> None:
    with raw_pair() as (session, server):
        batch = session.new_batch()
        requests: list[Any] = [batch.add_request("a", [number]) for number in range(3)]
        early = Task(requests[0].result)
        session.send_batch(batch)
        tasks = [Task(request.result) for request in requests]
        ids = [member["id"] for member in server.line()]
        with pytest.raises(TimeoutError):
            requests[1].result(0.01)
        with pytest.raises(TimeoutError):
            requests[1].exception(timeout=0.01)
        server.send([{"jsonrpc": "2.0", "id": call_id, "result": call_id} for call_id in ids])
        assert [task.result() for task in tasks] == ids
        assert early.result() == ids[0]
        assert batch.result().results == tuple(ids)
        assert [request.exception() for request in requests] == [None] * 3
        assert no_entries(session), entries(session)


def test_what_a_member_comes_to_is_seen_by_threads_that_ask_just_then() -> None:
    with pair() as session:
        for _ in range(100):
            batch = session.new_batch()
            requests: list[Any] = [batch.add_request("echo", [number]) for number in range(8)]
            session.send_batch(batch)
            tasks = [Task(request.result, 10) for request in requests[:4]]
            batch.result(10)
            assert batch.results == tuple(range(8))
            assert len(requests[0].outcomes.requests) <= 4
            assert [task.result() for task in tasks] == [0, 1, 2, 3]


def test_a_watched_batch_that_is_never_sent_leaves_no_garbage() -> None:
    with raw_pair() as (session, _):
        batch = session.new_batch()
        batch.add_request("a", None, lambda _: None)
        gone = weakref.ref(batch)
        del batch
        assert gone() is None


@pytest.mark.parametrize("error", LOST_BY_HAND, ids=lambda error: type(error).__name__)
def test_who_waits_for_a_batch_gets_an_error_like_the_one_that_was_set_with_all_that_it_tells(error: Exception) -> None:
    error.__cause__ = cause = OSError("the cause")
    with raw_pair() as (session, _):
        batch = session.new_batch()
        batch.add_request("never")
        session.send_batch(batch)
        batch.set_exception(error)
        for _ in range(2):
            with pytest.raises(type(error)) as caught:
                batch.result()
            assert caught.value is not error
            assert (str(caught.value), vars(caught.value)) == (str(error), vars(error))
            assert caught.value.__cause__ is cause


@pytest.mark.row("S3")
def test_facts_of_a_session_that_any_thread_may_ask_for_leave_its_open_batch_as_it_is() -> None:
    def fail(_table: object, name: str) -> None:
        raise AssertionError(f"{name} is made without the lock")

    with raw_pair() as (session, _peer):
        with suppress(TimeoutError):
            session.call("first", timeout=0)  # the first call has its table made
        batch = session.new_batch()
        batch.add_request("a")
        batch.add_request("b")
        session.send_batch(batch)
        one_batch = type(session._connected().machine.calls)
        assert one_batch is not CallTable
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(one_batch, "__getattr__", fail)
            assert session.stats.pending == 2
            assert "2 calls in flight" in repr(session)
            assert session.has_room()
        session.abort()


@pytest.mark.row("S3")
def test_who_fills_a_batch_is_told_that_waiting_for_it_would_never_end() -> None:
    with pair() as session:
        with session.batch() as batch:
            request: Any = batch.add_request("add", [1, 2])
            for wait in (request.result, request.exception):
                with pytest.raises(LocalProtocolError, match="sent when its block ends"):
                    wait()
            other = Task(request.result)  # it may wait for what comes
        assert other.result() == request.result() == 3
