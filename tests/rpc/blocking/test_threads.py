# SPDX-License-Identifier: MIT
"""Many threads on one session: whoever waits reads for all, and nobody is forgotten.

TIELINE_LONG=1 runs the full 100 000 calls of eight threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from tests.rpc.blocking.peers import Task, entries, followers, for_ever, is_led, no_entries, pair, raw_pair, until
from tieline import ClosedError, ConnectionLost, Limits, Methods
from tieline.blocking import ClientSession, ServerSession, connect, serve

THREADS = 8
CALLS = 100_000 if os.environ.get("TIELINE_LONG") else 4000

SERVER = """
import tieline.blocking
methods = tieline.Methods()
methods.method(name="double")(lambda value: 2 * value)

@methods.method
async def never(): await __import__("asyncio").Event().wait()

with tieline.blocking.serve(methods, "tcp://127.0.0.1:0") as server:
    print(server.url, flush=True)
    input()
"""


def test_eight_threads_share_a_session_and_each_call_is_answered_once() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        with connect(process.stdout.readline().strip()) as session:
            before = threading.active_count()
            together = threading.Barrier(THREADS + 1)
            answered = [0] * THREADS

            def work(number: int) -> None:
                together.wait(10)
                for value in range(number, CALLS, THREADS):
                    assert session.call("double", value) == 2 * value
                    answered[number] += 1

            tasks = [Task(work, number) for number in range(THREADS)]
            together.wait(10)
            assert threading.active_count() == before + THREADS
            for task in tasks:
                task.thread.join(600)
                task.result()
            assert sum(answered) == CALLS
            assert session.stats.messages_out == session.stats.messages_in == CALLS
            assert threading.active_count() == before
            assert no_entries(session), entries(session)
        process.communicate("\n")
        assert process.returncode == 0


def test_the_lead_goes_to_another_thread_when_its_holder_has_its_answer() -> None:
    with raw_pair() as (session, server):
        first = Task(session.call, "first")
        until(lambda: is_led(session))
        second = Task(session.call, "second")
        until(lambda: followers(session, 1))
        assert [server.line()["method"] for _ in range(2)] == ["first", "second"]
        server.send({"jsonrpc": "2.0", "id": 0, "result": 1})
        assert first.result() == 1
        server.send({"jsonrpc": "2.0", "id": 1, "result": 2})
        assert second.result() == 2
        assert no_entries(session), entries(session)


def test_a_thread_that_parks_gets_its_answer_from_the_one_that_reads() -> None:
    with raw_pair() as (session, server):
        first = Task(session.call, "first")
        until(lambda: is_led(session))
        second = Task(session.call, "second")
        until(lambda: followers(session, 1))
        server.send({"jsonrpc": "2.0", "id": 1, "result": 2})
        assert second.result() == 2
        assert is_led(session)
        server.send({"jsonrpc": "2.0", "id": 0, "result": 1})
        assert first.result() == 1


@pytest.mark.row("S8", "R8")
def test_a_deadline_that_comes_while_another_thread_reads_is_kept() -> None:
    """Trap 8: the reader had planned to wait for longer."""
    with raw_pair() as (session, server):
        first = Task(session.call, "first", timeout=None)
        until(lambda: is_led(session))
        for seconds in (0.2, 0.01):  # the first finds the reader in a plain read, which nobody can call back
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                session.call("second", timeout=seconds)
            assert seconds <= time.monotonic() - began < seconds + 5
        server.send({"jsonrpc": "2.0", "id": 0, "result": 1})
        assert first.result() == 1
        assert no_entries(session), entries(session)


def test_a_limited_wait_of_a_thread_that_parks_ends_in_time() -> None:
    with raw_pair() as (session, server):
        first = Task(session.call, "first", timeout=None)
        until(lambda: is_led(session))
        request = session.send_request("second")
        with pytest.raises(TimeoutError):
            request.result(0.02)
        assert not session.poll(0)
        assert not session.poll(0.02)
        with pytest.raises(TimeoutError):
            session.wait_closed(0.02)
        server.send({"jsonrpc": "2.0", "id": 1, "result": 2})
        assert request.result() == 2
        server.send({"jsonrpc": "2.0", "id": 0, "result": 1})
        assert first.result() == 1


def test_two_threads_may_wait_for_the_same_request() -> None:
    with raw_pair() as (session, server):
        request = session.send_request("first")
        tasks = [Task(request.result) for _ in range(3)]
        until(lambda: followers(session, 2))
        server.answer("for all")
        assert [task.result() for task in tasks] == ["for all"] * 3
        assert no_entries(session), entries(session)


# --- the end ---------------------------------------------------------------------------------------------------------


def waiting(session: ClientSession, count: int = 4) -> list[Task]:
    """Have so many threads wait: for calls, and for anything."""
    tasks = [Task(session.call, "never", timeout=None) for _ in range(count - 1)]
    tasks.append(Task(session.poll, None))
    until(lambda: is_led(session) and followers(session, count - 1))
    return tasks


@pytest.mark.row("S13", "R13", "R18")
@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing_from_another_thread_wakes_everybody(way: str) -> None:
    """Trap 18."""
    with raw_pair() as (session, server):
        tasks = waiting(session)
        assert [server.line()["method"] for _ in range(3)] == ["never"] * 3
        began = time.monotonic()
        getattr(session, way)()
        errors = [task.error() for task in tasks]
        assert time.monotonic() - began < 4
        assert [type(error) for error in errors[:-1]] == [ClosedError] * 3
        assert errors[-1] is None
        assert server.ended()
        session.wait_closed(10)
        assert no_entries(session), entries(session)


@pytest.mark.row("S13")
def test_a_lone_reader_in_a_plain_read_is_woken_too() -> None:
    for way in ("close", "abort"):
        with raw_pair() as (session, _):
            task = Task(session.call, "never", timeout=None)
            until(partial(is_led, session))
            getattr(session, way)()
            assert isinstance(task.error(), ClosedError)


@pytest.mark.row("S7", "H54")
def test_a_server_that_is_killed_is_told_to_all_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        with connect(process.stdout.readline().strip()) as session:
            tasks = [Task(session.call, "never") for _ in range(THREADS)]
            until(lambda: is_led(session) and followers(session, THREADS - 1))
            process.kill()
            began = time.monotonic()
            errors = [task.error() for task in tasks]
            assert time.monotonic() - began < 2
            assert all(isinstance(error, ConnectionLost) for error in errors), errors
            with pytest.raises(ConnectionLost):
                session.call("double", 1)
            assert no_entries(session), entries(session)


def test_closing_at_any_moment_leaves_nobody_waiting() -> None:
    for number in range(30):
        with pair() as session:
            go = threading.Barrier(THREADS + 1)

            def work(session: ClientSession = session, go: threading.Barrier = go) -> int:
                go.wait(10)
                for count in range(10_000):
                    try:
                        session.call("add", count, 1)
                    except (ClosedError, ConnectionLost):
                        return count
                return -1

            tasks = [Task(work) for _ in range(THREADS)]
            go.wait(10)
            for _ in range(number % 7):
                session.call("add", 1, 2)
            session.close() if number % 2 else session.abort()
            assert all(task.result() >= 0 for task in tasks)
            session.wait_closed(10)


# --- both ways at once -----------------------------------------------------------------------------------------------

SIZE = 10_000_000 if os.environ.get("TIELINE_LONG") else 3_000_000
LARGE = Limits(max_message=2 * SIZE, max_response=2 * SIZE, max_pending_size=4 * SIZE)


@pytest.mark.row("R12")
def test_both_ends_may_send_much_at_once() -> None:
    """Trap 12: a sender reads while it waits, or both wait for ever."""
    methods, ours = Methods(), Methods()
    data = "x" * SIZE

    @methods.method
    def swap(session: ServerSession, value: str) -> str:
        assert session.call("give", value) == value
        return value

    @ours.method
    def give(value: str) -> str:
        return value

    url = "tcp://127.0.0.1:0"
    with serve(methods, url, limits=LARGE) as server, connect(server.url, ours, limits=LARGE) as session:
        assert session.call("swap", data) == data
        tasks = [Task(session.call, "swap", data) for _ in range(3)]
        assert [task.result() == data for task in tasks] == [True] * 3
        assert no_entries(session), entries(session)


def test_a_peer_that_writes_before_it_reads_does_not_block_a_sender() -> None:
    methods = Methods()
    got: list[int] = []
    methods.method(name="take")(lambda value: got.append(len(value)))
    with raw_pair(methods, limits=LARGE) as (session, server):
        note = {"jsonrpc": "2.0", "method": "take", "params": ["y" * SIZE]}
        talk = Task(server.send, note)
        request = session.send_request("take", ["x" * SIZE])
        listen = Task(lambda: (talk.result(), server.answer("done")))
        assert request.result() == "done"
        listen.result()
        assert got == [SIZE]


def test_a_thread_may_send_while_another_one_reads() -> None:
    """The one that reads is called to write what the socket did not take at once."""
    with raw_pair(limits=LARGE) as (session, server):
        first = Task(session.call, "first", timeout=None)
        until(lambda: is_led(session))
        for _ in range(3):
            sender = Task(session.notify, "note", "x" * SIZE)
            if not first.thread.is_alive():
                first.result()
            seen = server.line()
            while seen["method"] == "first":
                seen = server.line()
            assert len(seen["params"][0]) == SIZE
            sender.result()
        server.send({"jsonrpc": "2.0", "id": 0, "result": 1})
        assert first.result() == 1
        assert no_entries(session), entries(session)


@pytest.mark.row("S10")
def test_a_peer_that_takes_nothing_is_cut_and_the_sender_goes_on() -> None:
    with raw_pair(limits=Limits(max_message=2 * SIZE, write_timeout=0.2)) as (session, _):
        with pytest.raises(ConnectionLost):
            for_ever(session.notify, "note", "x" * SIZE)
        assert "took no byte" in str(session.close_reason)
        session.wait_closed(10)
        assert no_entries(session), entries(session)
