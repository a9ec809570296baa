# SPDX-License-Identifier: MIT
"""Cases 32-36 and others against our client in blocking code: the tables of test_hostile_server.py."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests.attacks.attacked import AttackedServer
from tests.attacks.table import exactly
from tests.attacks.test_hostile_server import BAD_ANSWERS, BATCHES, GOOD, IGNORED, LATE, NEXT, ok
from tests.rpc.blocking.peers import RawServer, Task, entries, no_entries, raw_pair, until
from tests.rpc.blocking.test_messages import Lines, raw
from tests.runtimes.blocking.polled_scene import polled
from tests.runtimes.stories import Story
from tieline.blocking import ClientSession, connect


@contextmanager
def answering(*answers: bytes, **settings: Any) -> Iterator[ClientSession]:
    """Give a session whose server answers each line with the next of *answers*."""
    with raw_pair(**settings) as (session, server):

        def serve() -> None:
            for answer in answers:
                server.line()
                server.sock.sendall(answer)

        task = Task(serve)
        yield session
        task.result()
        assert no_entries(session), entries(session)


@pytest.mark.row("H10", "H19", "H21", "H23", "H25", "H32", "H33", "H34", "H36", "J8")
@pytest.mark.parametrize(("number", "noise"), IGNORED, ids=[f"{number} {noise[:60]!r}" for number, noise in IGNORED])
def test_what_answers_no_call_is_passed_over(number: int, noise: bytes) -> None:
    with answering(noise + GOOD, NEXT) as session:
        assert session.call("any", timeout=10) == "good"
        assert session.call("any", timeout=10) == "next"


@pytest.mark.row("H35")
@pytest.mark.parametrize("line", BAD_ANSWERS)
def test_an_answer_of_the_wrong_shape_ends_its_call(line: bytes) -> None:
    with answering(line, NEXT) as session:
        with pytest.raises(tieline.RemoteProtocolError):
            session.call("any", timeout=10)
        assert session.call("any", timeout=10) == "next"


@pytest.mark.row("H35")
@pytest.mark.parametrize("second", [GOOD.replace(b"good", b"late"), *BAD_ANSWERS[:3]])
def test_the_first_of_two_answers_counts(second: bytes) -> None:
    with answering(GOOD + second, NEXT) as session:
        assert session.call("any", timeout=10) == "good"
        assert session.call("any", timeout=10) == "next"


@pytest.mark.row("H36", "J10")
@pytest.mark.parametrize(("name", "answer", "wanted"), BATCHES, ids=[row[0] for row in BATCHES])
def test_answers_of_a_batch_are_matched_by_member(name: str, answer: bytes, wanted: list[object]) -> None:
    with answering(answer, ok(3) + b"\n") as session:
        with session.batch(timeout=0.1 if LATE in wanted else 10) as batch:
            for _ in range(3):
                batch.add_request("any")
        shown = [type(one) if isinstance(one, BaseException) else one for one in batch.results]
        assert all(seen is want or exactly(seen, want) for seen, want in zip(shown, wanted, strict=True)), shown
        assert session.call("any", timeout=10) == "r3"


@pytest.mark.row("H6")
def test_a_call_over_the_limit_is_not_sent() -> None:
    with answering(GOOD, limits=tieline.Limits(max_message=1000)) as session:
        big = session.new_batch()
        for _ in range(10):
            big.add_request("size_of", ["x" * 100])
        attempts: list[Callable[[], object]] = [
            lambda: session.call("size_of", "x" * 1000),
            lambda: session.notify("size_of", "x" * 1000),
            lambda: session.send_request("size_of", ["x" * 1000]),
            lambda: session.send_notification("size_of", ["x" * 1000]),
            lambda: session.send_batch(big),
        ]
        for attempt in attempts:
            with pytest.raises(tieline.OutgoingMessageTooLarge):
                attempt()
        assert session.stats.bytes_out == session.stats.pending == 0
        assert session.call("size_of", "x" * 800) == "good"


@pytest.mark.row("H54")
def test_a_hundred_calls_of_a_killed_server_get_connection_lost(tmp_path: Path) -> None:
    with (
        AttackedServer(tmp_path, "asyncio", has_bystander=False) as server,
        connect(server.urls["v2"]["tcp"]) as session,
    ):
        requests = [session.send_request("sleep", [30]) for _ in range(100)]
        os.kill(server.process.pid, signal.SIGKILL)
        for request in requests:
            assert isinstance(request.exception(10), tieline.ConnectionLost)
        assert no_entries(session), entries(session)


# --- trap 13: who waits for a connection that is gone is told, whatever it waits for ---------------------------------


def _room(session: ClientSession) -> None:
    with suppress(tieline.SessionBusy):  # another thread has
        session.send_request("fills the window", timeout=None)
    session.call("waits for room", timeout=None)


def _flush(session: ClientSession) -> None:
    while True:
        session.notify("note", "x" * 1_000_000)


def _batch(session: ClientSession) -> None:
    batch = session.new_batch()
    batch.add_request("any")
    session.send_batch(batch, timeout=None)
    batch.result()
    error = batch.results[0]
    assert isinstance(error, Exception)
    raise error


def _poll(session: Any) -> None:
    while True:
        session.poll(None)


WAITS: list[tuple[str, Callable[[ClientSession], object], bool]] = [
    ("call", lambda session: session.call("any", timeout=None), True),
    ("room", _room, True),
    ("flush", _flush, True),
    ("request", lambda session: session.send_request("any", timeout=None).result(), True),
    ("batch", _batch, True),
    ("poll", _poll, True),
    ("wait_closed", lambda session: session.wait_closed(), False),
    ("close", lambda session: session.close(30), False),
    ("start_tls", lambda session: session.start_tls(True, server_hostname="h"), True),
]
ENDS: dict[str, Callable[[Any, RawServer], None]] = {
    "reset": lambda _session, server: server.reset(),
    "abort": lambda session, _server: session.abort(),
}


def _until_they_wait(session: Any, tasks: list[Task]) -> None:
    """Wait until one of them reads, or all have gone already."""
    engine = session._engine
    until(lambda: engine.host._is_led or engine.is_over or not any(task.thread.is_alive() for task in tasks))


@pytest.mark.row("S7", "S13")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("name", "wait", "raises"), WAITS, ids=[row[0] for row in WAITS])
def test_whoever_waits_is_told_of_the_end_and_so_is_who_comes_later(
    name: str, wait: Callable[[ClientSession], object], raises: bool, end: str
) -> None:
    told: tuple[type[Exception], ...] = (tieline.ConnectionLost, tieline.ClosedError, tieline.LocalProtocolError)
    if name == "start_tls":
        told = (*told, ConnectionResetError)  # of the handshake
    for threads in (1, 3):
        with raw_pair(limits=tieline.Limits(max_calls=threads, linger=30)) as (session, server):
            tasks = [Task(wait, session) for _ in range(threads)]
            _until_they_wait(session, tasks)
            ENDS[end](session, server)
            for task in tasks:
                error = task.error()
                assert isinstance(error, told) if raises else error is None
            later = Task(wait, session).error()
            assert isinstance(later, told) if raises else later is None
            session.wait_closed(10)


@pytest.mark.row("S7", "S14")
@pytest.mark.parametrize("end", ENDS)
def test_whoever_waits_on_a_session_of_messages_is_told_as_well(end: str) -> None:
    def send(session: Any) -> None:
        while True:
            session.send_message(b"x" * 1_000_000)

    for wait in (_poll, send):
        with raw(Lines) as (session, server):
            tasks = [Task(wait, session) for _ in range(2)]
            _until_they_wait(session, tasks)
            ENDS[end](session, server)
            for task in [*tasks, Task(wait, session)]:
                assert isinstance(task.error(), tieline.ConnectionLost | tieline.ClosedError)


@pytest.mark.row("T7")
def test_whoever_polls_a_transport_that_is_gone_is_not_kept() -> None:
    with polled(Story) as s:
        s.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.peer.close()
        while s.transport.poll(None):
            pass
        assert isinstance(s.story.lost_with[0], ConnectionResetError)
        s.transport.wait_closed()
        assert not s.transport.poll(None)
