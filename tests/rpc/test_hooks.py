# SPDX-License-Identifier: MIT
"""runtimes/hooks.py: what a server tells, about which session, and what can be counted of it."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import pytest

from tests import aio
from tests.rpc.message_sessions import PING, Node
from tests.rpc.sessions import TCP_URL, raw_client, until
from tieline import (
    ConnectionLost,
    Counts,
    Governance,
    Hooks,
    Limits,
    MethodCounts,
    Methods,
    NetstringFramer,
    NewlineFramer,
    RPCError,
    ServerSession,
    SessionBase,
    Statistics,
    connect,
    serve,
)
from tieline.blocking import serve as blocking_serve
from tieline.runtimes import hooks

methods = Methods()


@methods.method
def add(a: int, b: int) -> int:
    return a + b


@methods.method
async def add_later(a: int, b: int) -> int:
    await aio.sleep(0)
    return a + b


@methods.method
async def hang() -> None:
    await aio.Event().wait()


@methods.method
def refuse() -> None:
    raise RPCError(7, "no")


class Log(Hooks):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.sessions: set[int] = set()

    def note(self, session: Any, *what: Any) -> None:
        self.sessions.add(id(session))
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
        assert seconds >= 0
        self.note(session, "ended", method, getattr(error, "code", error and type(error).__name__))

    def limit_hit(self, session: Any, error: Exception) -> None:
        self.note(session, "limit", type(error).__name__)


# A method, and the code of the error with which it ends.
ENDS: list[tuple[str, list[Any], int | None]] = [
    ("add", [1, 2], None),
    ("add", [1], -32602),
    ("add_later", [1, 2], None),
    ("refuse", [], 7),
    ("nobody", [], -32601),
]


@pytest.mark.parametrize(("name", "args", "code"), ENDS)
@pytest.mark.parametrize("in_batch", [False, True])
async def test_a_call_is_told_with_its_end(name: str, args: list[Any], code: int | None, in_batch: bool) -> None:
    log = Log()
    async with serve(methods, TCP_URL, hooks=log) as server:
        async with connect(server.url) as client:
            if in_batch:
                async with client.batch() as batch:
                    batch.add_request(name, args)
            else:
                with suppress(RPCError):
                    await client.call(name, *args)
            assert log.seen == [("opened",), ("started", name), ("ended", name, code)]
        await until(lambda: not server.sessions)
    assert log.seen[3:] == [("closed", "EndOfStream")]
    assert len(log.sessions) == 1


@pytest.mark.parametrize("in_batch", [False, True])
@pytest.mark.parametrize("framer", [NewlineFramer, NetstringFramer])
@pytest.mark.parametrize(
    ("name", "code", "cause"),
    [
        ("fail", -32603, LookupError),
        ("give", -32603, TypeError),
        ("refuse_badly", -32603, TypeError),
        ("say_much", -32600, None),
    ],
)
async def test_what_the_peer_was_told_in_the_place_of_an_answer_is_told(
    name: str, code: int, cause: type[Exception] | None, framer: Any, in_batch: bool
) -> None:
    others = Methods()

    @others.method
    def fail() -> None:
        raise LookupError

    @others.method
    def give() -> object:
        return object()

    @others.method
    async def refuse_badly() -> None:
        raise RPCError(7, "no", data=object())

    @others.method
    def say_much() -> str:
        return "x" * 2000

    class Ends(Hooks):
        def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
            ends.append(error)

    ends: list[BaseException | None] = []
    limits = Limits(max_response=1000)
    serving = serve(others, TCP_URL, hooks=Ends(), limits=limits, framer=framer)
    async with serving as server, connect(server.url, framer=framer) as client:
        if in_batch:
            async with client.batch() as batch:
                batch.add_request(name)
            (told,) = batch.results
        else:
            with pytest.raises(RPCError) as caught:
                await client.call(name)
            told = caught.value
    (end,) = ends
    assert isinstance(end, RPCError)
    assert isinstance(told, RPCError)
    assert (end.code, end.message) == (told.code, told.message)
    assert end.code == code
    assert cause is None or isinstance(end.__cause__, cause)


async def test_a_notification_is_told_as_well() -> None:
    log = Log()
    async with serve(methods, TCP_URL, hooks=log) as server, connect(server.url) as client:
        await client.notify("add", 1, 2)
        await until(lambda: len(log.seen) == 3)
        assert log.seen[1:] == [("started", "add"), ("ended", "add", None)]


async def test_calls_that_are_open_end_with_the_connection() -> None:
    log = Log()
    async with serve(methods, TCP_URL, hooks=log) as server, raw_client(server) as peer:
        peer.send({"jsonrpc": "2.0", "method": "hang", "id": 1})
        await until(lambda: ("started", "hang") in log.seen)
        peer.reset()
        await until(lambda: not server.sessions)
        assert log.seen[2:] == [("ended", "hang", "ConnectionLost"), ("closed", "StreamReset")]


async def test_limits_and_refusals_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    log = Log()
    # Over the soft limit nothing waits, and who is told that it is over need not have left.
    limits = Limits(governance=Governance(error_base_cost=6000, cost_decay_per_sec=0, cost_sleep=0), linger=0.05)
    async with serve(methods, TCP_URL, limits=limits, hooks=log) as server:
        async with connect(server.url) as client:
            for _ in range(2):
                with pytest.raises((RPCError, ConnectionLost)):
                    await client.call("nobody")
            await client.wait_closed()
        await until(lambda: not server.sessions)
        assert [what for what in log.seen if what[0] in ("limit", "closed")] == [
            ("limit", "ExcessiveResourceUsage"),
            ("closed", "ExcessiveResourceUsage"),
        ]
        log.seen.clear()
        async with connect(server.url) as client:
            await client.wait_closed()
        assert log.seen == [("refused", "excessive resource usage (limit 10000)")]


async def test_sessions_of_messages_tell_of_their_connections_and_messages() -> None:
    log = Log()
    async with serve(Node, TCP_URL, hooks=log) as server:
        async with connect(server.url, session_factory=Node) as client:
            await client.send_message(PING)
            await until(lambda: client.seen)
        await until(lambda: not server.sessions)
    name = "handle_message"
    assert log.seen == [("opened",), ("started", name), ("ended", name, None), ("closed", "EndOfStream")]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_message_is_told_with_what_its_handler_has_raised(is_async: bool) -> None:
    class Plain(Node):
        def handle_message(self, message: Any) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # it may be plain
            raise ValueError("no")

    class Async(Node):
        async def handle_message(self, message: Any) -> None:
            await aio.sleep(0)
            raise ValueError("no")

    log = Log()
    async with serve(Async if is_async else Plain, TCP_URL, hooks=log) as server:
        async with connect(server.url, session_factory=Node) as client:
            await client.send_message(PING)
            await until(lambda: len(log.seen) == 3)
        await until(lambda: not server.sessions)
    assert log.seen[1:3] == [("started", "handle_message"), ("ended", "handle_message", "ValueError")]


@pytest.mark.row("S6")
@pytest.mark.parametrize("name", ["connection_opened", "call_started", "call_ended", "connection_closed"])
@pytest.mark.parametrize("error", [ValueError, aio.CancelledError, GeneratorExit])
async def test_hooks_that_fail_change_nothing(
    name: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Log):
        def note(self, session: Any, *what: Any) -> None:
            super().note(session, *what)
            if what[0] == name.partition("_")[2]:
                raise error

    broken = Broken()
    async with serve(methods, TCP_URL, hooks=broken) as server:
        async with connect(server.url) as client:
            assert await client.call("add", 1, 2) == 3
            assert await client.call("add_later", 1, 2) == 3
        await until(lambda: not server.sessions)
    assert [what[0] for what in broken.seen] == ["opened", "started", "ended", "started", "ended", "closed"]
    assert caplog.records[0].getMessage() == f"the hook {name} failed"


async def test_a_hook_that_fails_at_each_call_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Hooks):
        def call_started(self, session: Any, method: str) -> None:
            raise ValueError("no")

    async with serve(methods, TCP_URL, hooks=Broken()) as server, connect(server.url) as client:
        start = aio.now()
        for _ in range(50):
            await client.call("add", 1, 2)
        seconds = aio.now() - start
    assert 1 <= len(caplog.records) <= 2 + seconds


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_answer_that_nobody_gets_any_more_ends_its_call_with_the_connection(is_async: bool) -> None:
    def cut(session: ServerSession) -> int:
        session.abort()
        return 1

    async def cut_later(session: ServerSession) -> int:
        return cut(session)

    own = Methods()
    own.method(name="cut")(cut_later if is_async else cut)
    log = Log()
    async with serve(own, TCP_URL, hooks=log) as server, connect(server.url) as client:
        with pytest.raises(ConnectionLost):
            await client.call("cut")
        await until(lambda: len(log.seen) == 4)
    assert log.seen == [("opened",), ("started", "cut"), ("ended", "cut", "ConnectionLost"), ("closed", "NoneType")]


async def test_several_are_told_and_one_that_fails_does_not_hide_it_from_the_others() -> None:
    class Broken(Hooks):
        def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
            raise ValueError("no")

    first, second = Log(), Log()
    async with serve(methods, TCP_URL, hooks=[first, Broken(), second]) as server, connect(server.url) as client:
        await client.call("add", 1, 2)
        assert first.seen == second.seen == [("opened",), ("started", "add"), ("ended", "add", None)]


@pytest.mark.parametrize("made", [serve, blocking_serve], ids=["serve", "blocking.serve"])
@pytest.mark.parametrize(
    ("given", "seen"), [(7, "int"), (Counts, "the class Counts"), ([Counts(), None], "NoneType"), ("x", "str")]
)
def test_what_is_no_hooks_is_refused(made: Any, given: Any, seen: str) -> None:
    with pytest.raises(TypeError, match=f"hooks must be Hooks, or several in a list, not {seen}"):
        made(methods, TCP_URL, hooks=given)


def test_the_server_is_told_when_it_is_made() -> None:
    class Made(Hooks):
        def __init__(self) -> None:
            self.servers: list[Any] = []

        def server_made(self, server: Any) -> None:
            self.servers.append(server)

    made = Made()
    assert made.servers == [serve(methods, TCP_URL, hooks=made)]


@pytest.mark.parametrize("made", [serve, blocking_serve], ids=["serve", "blocking.serve"])
def test_a_hook_that_fails_when_the_server_is_made_keeps_nobody_from_it(
    made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []

    class Fails(Hooks):
        def server_made(self, server: Any) -> None:
            raise ZeroDivisionError

    class Hears(Hooks):
        def server_made(self, server: Any) -> None:
            told.append(server)

    server = made(methods, TCP_URL, hooks=[Fails(), Hears()])
    if made is blocking_serve:  # which is told when there is an asynchronous one in it
        server.listen()
        server.shutdown()
    assert len(told) == 1
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("tieline.Server", "the hook server_made failed")
    ]
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


async def test_counts() -> None:
    counts = Counts()
    async with serve(methods, TCP_URL, hooks=counts) as server:
        async with connect(server.url) as client:
            for _ in range(3):
                await client.call("add_later", 1, 2)
            with pytest.raises(RPCError):
                await client.call("refuse")
            found = counts.methods
            assert (counts.opened, counts.closed, counts.refused, counts.limits_hit) == (1, 0, 0, 0)
            added = found["add_later"]
            assert (added.started, added.ended, added.errors) == (3, 3, 0)
            assert added.seconds >= added.longest >= 0  # uvloop counts milliseconds
            assert (found["refuse"].ended, found["refuse"].errors) == (1, 1)
        await until(lambda: not server.sessions)
        assert counts.closed == 1
    assert MethodCounts() == MethodCounts(0, 0, 0, 0.0, 0.0)


@pytest.mark.parametrize("kind", [Counts, Statistics])
@pytest.mark.parametrize("runs", ["async", "blocking"])
async def test_names_that_peers_make_up_crowd_out_none_that_is_registered(
    kind: type[Counts], runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "MAX_METHODS", 3)
    counts = kind()
    names = ["a", "b", "c", "d", "add", "refuse", "add_later"]

    async def all_called(url: str) -> None:
        async with connect(url) as client:
            for name in names * 2:
                with suppress(RPCError):
                    await client.call(name)

    if runs == "async":
        async with serve(methods, TCP_URL, hooks=counts) as server:
            await all_called(server.url)
    else:
        with blocking_serve(methods, TCP_URL, hooks=counts) as blocking_server:
            await all_called(blocking_server.url)
    found = {name: (one.started, one.ended, one.errors) for name, one in counts.methods.items()}
    assert found == dict.fromkeys(["a", "b", "c", hooks.OTHERS, "add", "refuse", "add_later"], (2, 2, 2))
    if isinstance(counts, Statistics):
        told = [method["name"] for method in counts.snapshot()["methods"]]
        assert told == ["add", "add_later", "refuse", hooks.OTHERS, "a", "b", "c"]
        assert all(sum(n for _, n in method["durations"]) == 2 for method in counts.snapshot()["methods"])


def test_registered_names_are_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "MAX_METHODS", 2)
    counts = Counts()
    for name in ("add", "refuse", "hang", "add_later", "nobody"):
        counts.call_started(SessionBase(methods=methods), name)
    assert list(counts.methods) == ["add", "refuse", hooks.OTHERS, "nobody"]
    assert counts.methods[hooks.OTHERS].started == 2


def test_names_that_peers_make_up_are_bounded() -> None:
    counts = Counts()
    for number in range(hooks.MAX_METHODS + 50):
        counts.call_started(None, f"method {number}")
        counts.call_ended(None, f"method {number}", 0.5, None)
    found = counts.methods
    assert len(found) == hooks.MAX_METHODS + 1
    assert found[hooks.OTHERS] == MethodCounts(50, 50, 0, 25.0, 0.5)
    assert list(counts._methods)[-1] == hooks.OTHERS  # no more are kept
    counts.connection_refused(None, "full")
    counts.limit_hit(None, ValueError())
    assert (counts.refused, counts.limits_hit) == (1, 1)
