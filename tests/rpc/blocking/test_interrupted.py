# SPDX-License-Identifier: MIT
"""Ctrl-C in the middle of things, and forked processes: a session is usable or closed, never wedged."""

from __future__ import annotations

import _thread
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from tests.interrupting import interrupted_at
from tests.rpc.blocking.peers import (
    METHODS,
    Task,
    entries,
    followers,
    is_led,
    no_entries,
    pair,
    raw_pair,
    slow_methods,
    until,
)
from tieline import ClosedError, ConnectionLost, RPCBatchOut, RPCRequestOut, TielineError
from tieline.blocking import ClientSession, connect, serve
from tieline.runtimes.asyncio import threads
from tieline.runtimes.blocking import pump

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def interrupt() -> None:
    """Let the main thread get a Ctrl-C."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def interrupt_until(condition: Callable[[], object]) -> None:
    """Let the main thread get a Ctrl-C that it notices: CPython misses one just before it goes to sleep in a lock."""
    while not condition():
        interrupt()
        patience = time.monotonic() + 1
        while not condition() and time.monotonic() < patience:
            time.sleep(0)


@posix
def test_an_interrupted_call_is_forgotten_and_the_session_goes_on() -> None:
    with raw_pair() as (session, server):

        def interrupt_reader() -> None:
            server.line()
            until(lambda: is_led(session))
            interrupt()

        for _ in range(3):
            task = Task(interrupt_reader)
            with pytest.raises(KeyboardInterrupt):
                session.call("interrupted", timeout=None)
            task.result()
            assert no_entries(session), entries(session)
        task = Task(server.answer, "usable")
        assert session.call("next") == "usable"
        task.result()


@posix
def test_a_long_call_that_is_interrupted_while_it_is_sent_goes_out_whole() -> None:
    size = 20_000_000  # more than the system takes at once
    with raw_pair() as (session, server):

        def is_half_sent() -> bool:
            engine = session._engine
            transport = None if engine is None else engine.host.transport
            return transport is not None and bool(transport.unsent) and is_led(session)

        def interrupt_sender() -> None:
            until(is_half_sent)
            interrupt()

        task = Task(interrupt_sender)
        with pytest.raises(KeyboardInterrupt):
            session.call("long", "x" * size, timeout=None)
        task.result()
        assert session.stats.pending == 0
        reading = Task(lambda: (len(server.line()["params"][0]), server.answer("usable")["method"]))
        assert session.call("next", timeout=None) == "usable"
        assert reading.result() == (size, "next")


@posix
@pytest.mark.row("S7")
def test_so_are_the_calls_of_a_batch_when_its_end_is_interrupted() -> None:
    with raw_pair() as (session, server):
        members: list[RPCRequestOut] = []

        def interrupt_reader() -> list[int]:
            ids = [call["id"] for call in server.line()]
            until(lambda: is_led(session))
            interrupt()
            return ids

        def leave() -> None:
            with session.batch(timeout=None) as batch:
                members.extend(batch.add_request("interrupted", [n]) for n in range(3))

        task = Task(interrupt_reader)
        with pytest.raises(KeyboardInterrupt):
            leave()
        ids = task.result()
        assert all(member.cancelled() for member in members)
        assert session.stats.pending == 0
        assert no_entries(session), entries(session)
        server.send([{"jsonrpc": "2.0", "id": each, "result": "late"} for each in ids])  # and is dropped
        task = Task(server.answer, "usable")
        assert session.call("next") == "usable"
        task.result()


@posix
def test_an_interrupted_leader_leaves_the_lead_to_others() -> None:
    with raw_pair() as (session, server):

        def work() -> object:
            until(lambda: is_led(session))
            other = Task(session.call, "other", timeout=None)
            until(lambda: followers(session, 1))
            interrupt()
            assert [server.line()["method"] for _ in range(2)] == ["interrupted", "other"]
            server.send({"jsonrpc": "2.0", "id": 1, "result": "got it"})
            return other.result()

        task = Task(work)
        with pytest.raises(KeyboardInterrupt):
            session.call("interrupted", timeout=None)
        assert task.result() == "got it"
        assert no_entries(session), entries(session)


@posix
def test_an_interrupted_follower_leaves_nothing_behind() -> None:
    with raw_pair() as (session, server):
        leader = Task(session.call, "leads", timeout=None)
        until(lambda: is_led(session))

        def work() -> None:
            until(lambda: followers(session, 1))
            interrupt_until(lambda: followers(session, 0))

        task = Task(work)
        with pytest.raises(KeyboardInterrupt):
            session.call("interrupted", timeout=None)
        task.result()
        server.send({"jsonrpc": "2.0", "id": 0, "result": "got it"})
        assert leader.result() == "got it"
        assert no_entries(session), entries(session)


@posix
def test_an_interrupted_close_is_a_close_all_the_same() -> None:
    methods, began, go_on = slow_methods()

    with raw_pair(methods) as (session, server):
        runner = Task(session.poll, 10)
        server.send({"jsonrpc": "2.0", "id": 1, "method": "slow"})
        assert began.wait(10)

        def work() -> None:
            until(session.is_closing)
            interrupt()

        task = Task(work)
        with pytest.raises(KeyboardInterrupt):
            session.close(force_after=30)
        task.result()
        assert server.ended()
        go_on.set()
        runner.result()


# --- signals that come just before a system call: nothing wakes the thread for them ----------------------------------


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the main thread look for what did not wake it more often than once a second."""
    monkeypatch.setattr(pump, "LONGEST_SLEEP", 0.1)
    monkeypatch.setattr(threads, "LONGEST_SLEEP", 0.1)


def note_interrupt() -> None:
    """Let the main thread get a Ctrl-C of which the system knows nothing: who looks will notice, and nobody wakes."""
    _thread.interrupt_main()


@pytest.mark.usefixtures("_looks_often")
def test_a_leader_notices_an_interrupt_that_did_not_wake_it() -> None:
    with raw_pair() as (session, server):

        def work() -> None:
            server.line()
            until(lambda: is_led(session) and session._engine is not None and session._engine.host._readiness)
            note_interrupt()

        task = Task(work)
        with pytest.raises(KeyboardInterrupt):
            session.call("interrupted", timeout=None)
        task.result()
        assert no_entries(session), entries(session)


@pytest.mark.usefixtures("_looks_often")
def test_a_follower_notices_an_interrupt_that_did_not_wake_it() -> None:
    with raw_pair() as (session, server):
        leader = Task(session.call, "leads", timeout=None)
        until(lambda: is_led(session))

        def work() -> None:
            until(lambda: followers(session, 1))
            note_interrupt()

        task = Task(work)
        with pytest.raises(KeyboardInterrupt):
            session.call("interrupted", timeout=None)
        task.result()
        server.send({"jsonrpc": "2.0", "id": 0, "result": "got it"})
        assert leader.result() == "got it"
        assert no_entries(session), entries(session)


@pytest.mark.usefixtures("_looks_often")
def test_who_serves_for_ever_notices_an_interrupt_that_did_not_wake_it() -> None:
    server = serve(METHODS, "tcp://127.0.0.1:0")

    def work() -> None:
        until(lambda: signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)  # it has begun
        note_interrupt()

    task = Task(work)
    with server, pytest.raises(KeyboardInterrupt):
        server.serve_forever()
    task.result()


# --- at every line ---------------------------------------------------------------------------------------------------


def interrupted_everywhere(session: ClientSession, place: int, others: list[Task]) -> bool:
    """Interrupt a call at that place, see that nobody hangs, and return whether there was such a place."""
    was_interrupted = interrupted_at(partial(session.call, "add", 1, 2), place)
    errors = [task.error() for task in others]
    assert all(error is None or isinstance(error, TielineError) for error in errors), (place, errors)
    try:
        assert session.call("add", 3, 4, timeout=5) == 7
        assert errors == [None] * len(others), place
        assert no_entries(session), (place, entries(session))
    except (ClosedError, ConnectionLost):
        assert session.is_closing()
        session.wait_closed(5)
    return was_interrupted


def test_a_call_may_be_interrupted_at_every_line_and_nothing_hangs() -> None:
    """The session is usable or closed afterwards."""
    usable = 0
    for place in itertools.count():
        with pair() as session:
            session.call("add", 1, 2)
            was_interrupted = interrupted_everywhere(session, place, [])
            usable += not session.is_closing()
        if not was_interrupted:
            break
    assert usable >= 15


def test_a_batch_may_be_interrupted_at_every_line_and_nothing_hangs() -> None:
    """It is unsent, or it ends; and what comes out is the interrupt. Who watches members before it is sent is told."""
    usable = 0
    for place in itertools.count():
        with pair() as session:
            session.call("add", 1, 2)
            batch = session.new_batch()
            members = [batch.add_request("add", [1, n]) for n in range(3)]
            watched: list[RPCRequestOut] = []
            for member in members:
                member.add_done_callback(watched.append)
            if place % 2:
                members[1].done()
            was_interrupted = interrupted_at(partial(session.send_batch, batch), place)
            if batch.is_sent:
                with suppress(ConnectionLost):
                    batch.result(5)
                assert batch.done(), place
                assert len(batch.results) == 3
                assert all(member.done() for member in members), place
            try:
                assert session.call("add", 3, 4, timeout=5) == 7
                assert no_entries(session), (place, entries(session))
                usable += 1
            except (ClosedError, ConnectionLost):
                assert session.is_closing()
                session.wait_closed(5)
            session.close(5)
            assert {*watched} == {*members}, place
            assert len(watched) == 3, place
        if not was_interrupted:
            break
    assert usable >= 3
    assert place > 30


def test_a_batch_that_is_interrupted_once_it_is_entered_ends_with_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pair() as session:
        session.call("add", 1, 2)
        batch = session.new_batch()
        member = batch.add_request("add", [1, 2])
        with monkeypatch.context() as patch:
            patch.setattr(RPCBatchOut, "sent", interrupted)
            with pytest.raises(KeyboardInterrupt):
                session.send_batch(batch)
        assert batch.done()
        assert member.done()
        for outcome in (batch.result, member.result):
            with pytest.raises(ConnectionLost, match="broken off: KeyboardInterrupt"):
                outcome()
        assert no_entries(session), entries(session)
        session.wait_closed(5)
        session.close(5)


def test_a_connection_that_is_down_and_whose_end_nobody_was_told_is_closed_all_the_same() -> None:
    with serve(METHODS, "tcp://127.0.0.1:0") as server:
        session = connect(server.url)
        session.create_connection()
        assert session._engine is not None
        transport = session._engine.host.transport
        assert transport is not None
        transport._protocol = None  # as where whoever was to tell has failed
        transport.abort()
        session.wait_closed(5)
        session.close(0.05)


def test_a_call_may_be_interrupted_at_every_line_while_other_threads_wait() -> None:
    def work(session: ClientSession) -> None:
        for number in range(10):
            assert session.call("add", number, 1) == number + 1

    with serve(METHODS, "tcp://127.0.0.1:0") as server:
        for place in itertools.count(0, 2):
            with connect(server.url) as session:
                session.call("add", 1, 2)
                others = [Task(work, session) for _ in range(3)]
                if not interrupted_everywhere(session, place, others):
                    break
    assert place > 60


FORK = """
import os, tieline, tieline.blocking
methods = tieline.Methods()
methods.method(name="add")(lambda a, b: a + b)
with tieline.blocking.serve(methods, "tcp://127.0.0.1:0") as server, tieline.blocking.connect(server.url) as session:
    print(session.call("add", 1, 2), flush=True)
    request = session.send_request("add", [1, 3])
    process = os.fork()
    if not process:
        for use in (lambda: session.call("add", 1, 2), request.result, session.poll):
            try:
                use()
            except tieline.ConnectionLost:
                print("lost", session.close_reason, flush=True)
        session.close()
        os._exit(0)
    os.waitpid(process, 0)
    print(request.result(), session.call("add", 2, 3))
"""


# A child is let go of by a timer of its own: where it waits for a thread that it has not, nothing else ends it.
FORKED_SERVER = """
import faulthandler, os, sys, tieline, tieline.blocking
from tieline import TielineError
from tieline.clients import TCPNetworkClient
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer

handled = []

def echo(client):
    handled.append(client)
    for packet in client:
        client.send_packet(packet)

methods = tieline.Methods()
methods.method(name="add")(lambda a, b: a + b)
lines = StreamProtocol(StringLineSerializer())
URL = "tcp://127.0.0.1:0"

def forked(child):
    process = os.fork()
    if not process:
        faulthandler.dump_traceback_later(20, exit=True)
        child()
        sys.stdout.flush()
        os._exit(0)
    print(os.waitpid(process, 0)[1], flush=True)

def told(use):
    try:
        print(use(), flush=True)
    except TielineError as exc:
        print(f"{type(exc).__name__}: {exc}", flush=True)

with (
    tieline.blocking.serve(methods, URL) as server,
    tieline.blocking.serve(echo, URL, protocol=lines) as packets,
    tieline.blocking.connect(server.url) as session,
):
    assert session.call("add", 1, 2) == 3
    (peer,) = server.sessions

    def child():
        for use in (lambda: server.sessions, lambda: server.broadcast("x"), lambda: peer.call("x")):
            told(use)
        for each in (server, packets):
            told(each.serve_forever)
            each.close()
            each.shutdown(1)
            each.serve_forever()  # it has been told its end
        with tieline.blocking.serve(methods, URL) as own, tieline.blocking.connect(own.url) as caller:
            assert caller.call("add", 2, 3) == 5

    def child_of_handler(client):
        for use in (lambda: client.send_packet("x"), client.recv_packet, client.recv_packets, client.send_eof):
            told(use)
        client.close()
        client.abort()

    forked(child)
    where = packets.get_addresses()[0]
    with TCPNetworkClient((where.host, where.port), lines) as client:
        client.send_packet("x")
        assert client.recv_packet(timeout=10) == "x"
        forked(lambda: child_of_handler(handled[0]))
        client.send_packet("y")
        assert client.recv_packet(timeout=10) == "y"
    process = os.fork()
    if not process:
        faulthandler.dump_traceback_later(20, exit=True)
        sys.exit(5)  # out of all three
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
    assert session.call("add", 3, 4) == 7
    with TCPNetworkClient((where.host, where.port), lines) as client:
        client.send_packet("x")
        assert client.recv_packet(timeout=10) == "x"
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_no_part_in_the_server() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED_SERVER], capture_output=True, text=True, timeout=80, check=False
    )
    why = "the server runs in the process that this one was forked from"
    told = [f"{name}: {why}" for name in ["ClosedError"] * 3 + ["LocalProtocolError"] * 2]
    told_clients = [f"ClientClosedError: {why}"] * 4
    assert done.stdout.splitlines() == [*told, "0", *told_clients, "0", "5", "done"], done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_no_part_in_the_connection() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60, check=True
    )
    told = "lost the connection belongs to the process that this one was forked from"
    assert done.stdout.splitlines() == ["3", told, told, told, "4 5"]
