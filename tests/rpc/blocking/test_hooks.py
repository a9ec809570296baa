# SPDX-License-Identifier: MIT
"""Hooks of servers in blocking code: told in the private thread, about the sessions that handlers see."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.rpc.blocking.peers import until
from tieline import Counts, Hooks, Limits, LocalProtocolError, Methods, NewlineFramer, RPCError, Statistics
from tieline.blocking import MessageSession, ServerMessageSession, ServerSession, connect, serve

URL = "tcp://127.0.0.1:0"


class Log(Hooks):
    """Writes down what it is told, and in which thread."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.sessions: list[Any] = []
        self.threads: set[str] = set()

    def note(self, session: Any, *what: Any) -> None:
        self.sessions.append(session)
        self.threads.add(threading.current_thread().name)
        self.seen.append(what)

    def connection_opened(self, session: Any) -> None:
        assert session.remote_address()[0] == "127.0.0.1"
        self.note(session, "opened")

    def connection_closed(self, session: Any, reason: Exception | None) -> None:
        self.note(session, "closed", type(reason).__name__)

    def connection_refused(self, session: Any, reason: str) -> None:
        self.note(session, "refused", reason)

    def call_started(self, session: Any, method: str) -> None:
        self.note(session, "started", method)

    def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
        self.note(session, "ended", method, getattr(error, "code", None))

    def limit_hit(self, session: Any, error: Exception) -> None:
        self.note(session, "limit", type(error).__name__)


def service() -> tuple[Methods, list[ServerSession]]:
    methods = Methods()
    callers: list[ServerSession] = []

    @methods.method
    def add(session: ServerSession, a: int, b: int) -> int:
        callers.append(session)
        return a + b

    return methods, callers


def test_all_is_told_with_the_session_that_handlers_see() -> None:
    methods, callers = service()
    log, counts = Log(), Counts()
    with serve(methods, URL, hooks=[log, counts]) as server:
        with connect(server.url) as client:
            assert client.call("add", 1, 2) == 3
            with pytest.raises(RPCError):
                client.call("nobody")
            assert set(log.sessions) == set(callers) == set(server.sessions)
        until(lambda: len(log.seen) == 6)
    assert log.seen == [
        ("opened",),
        ("started", "add"),
        ("ended", "add", None),
        ("started", "nobody"),
        ("ended", "nobody", -32601),
        ("closed", "EndOfStream"),
    ]
    assert log.threads == {"tieline server"}
    assert (counts.opened, counts.closed, counts.methods["add"].ended) == (1, 1, 1)


def test_refusals_and_limits_are_told() -> None:
    methods, _ = service()
    log = Log()
    with serve(methods, URL, hooks=log, limits=Limits(max_connections=1, max_message=1000, linger=0.05)) as server:
        with connect(server.url, limits=Limits(max_message=10_000)) as client:
            assert client.call("add", 1, 2) == 3
            with connect(server.url) as other:
                other.wait_closed()
            client.notify("add", "x" * 2000)
            client.wait_closed()
        until(lambda: ("closed", "MessageTooLarge") in log.seen)
    assert ("refused", "server busy (limit 1 connections)") in log.seen
    assert ("limit", "MessageTooLarge") in log.seen


def test_a_hook_cannot_wait_for_the_thread_that_it_is_called_in() -> None:
    errors: list[Exception] = []

    class Waits(Hooks):
        def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
            try:
                session.notify("news")
            except LocalProtocolError as exc:
                errors.append(exc)

    methods, _ = service()
    with serve(methods, URL, hooks=Waits()) as server, connect(server.url) as client:
        assert client.call("add", 1, 2) == 3
        until(lambda: errors)


def test_sessions_of_messages_are_told_as_they_are_seen() -> None:
    seen: list[Any] = []

    class Lines(ServerMessageSession):
        def default_framer(self) -> NewlineFramer:
            return NewlineFramer(max_size=self.max_message)

        def handle_message(self, message: Any) -> None:
            seen.append(self)

    class Client(MessageSession):
        def default_framer(self) -> NewlineFramer:
            return NewlineFramer(max_size=1000)

    log = Log()
    with serve(Lines, URL, hooks=log) as server:
        with Client(server.url) as client:
            client.send_message(b"hello")
            until(lambda: len(log.seen) == 3)
        until(lambda: len(log.seen) == 4)
    assert [what[0] for what in log.seen] == ["opened", "started", "ended", "closed"]
    assert log.seen[1][1] == "handle_message"
    assert set(map(id, log.sessions)) == set(map(id, seen))


def test_without_hooks_there_is_nothing_to_tell() -> None:
    methods, _ = service()
    with serve(methods, URL) as server, connect(server.url) as client:
        assert client.call("add", 1, 2) == 3


@pytest.mark.parametrize("beside", [False, True])
def test_statistics_of_the_registry_that_are_given_as_hooks_as_well_count_once(beside: bool) -> None:
    methods, _ = service()
    statistics, counts = methods.offer_statistics(), Counts()
    with serve(methods, URL, hooks=[statistics, counts] if beside else statistics) as server:
        with connect(server.url) as client:
            assert client.call("add", 1, 2) == 3
        until(lambda: not server.sessions)
    found = statistics.snapshot()
    assert (found["connections"]["opened"], found["connections"]["closed"], found["connections"]["open"]) == (1, 1, 0)
    assert found["traffic"]["messages_in"] == 1
    [add] = found["methods"]
    assert (add["name"], add["started"], add["ended"], sum(count for _, count in add["durations"])) == ("add", 1, 1, 1)
    assert counts.opened == int(beside)


def test_statistics_that_are_of_no_registry_count_once() -> None:
    methods, _ = service()
    statistics = Statistics()
    with serve(methods, URL, hooks=statistics) as server:
        with connect(server.url) as client:
            assert client.call("add", 1, 2) == 3
            assert statistics.snapshot()["traffic"]["messages_in"] == 1
        until(lambda: not server.sessions)
    assert statistics.snapshot()["traffic"]["messages_in"] == 1


def test_a_session_knows_the_registry_that_is_served() -> None:
    methods, callers = service()
    with serve(methods, URL) as server, connect(server.url) as client:
        assert client.call("add", 1, 2) == 3
        [session] = server.sessions
        assert session.methods is callers[0].methods is methods
