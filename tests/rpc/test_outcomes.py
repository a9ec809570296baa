# SPDX-License-Identifier: MIT
"""Whatever a handler does: its caller gets an answer, nobody else notices, and the log tells it once."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from tests import aio
from tests.rpc.sessions import TCP_URL, no_entries, pair, raw_client, turns, until
from tieline import (
    ConnectionLost,
    Hooks,
    Limits,
    Methods,
    ReplyAndDisconnect,
    RPCError,
    ServerSession,
    StrictCodec,
    blocking,
    connect,
    serve,
)
from tieline.rpc.outcomes import MAX_METHODS, PEERS_AT_ONCE, PEERS_WITHIN, FailureLog

SECRET = "the password is swordfish"


class OwnBase(BaseException):
    """What no except clause expects."""


class Unmade(RPCError):
    """An error of a user's, whose constructor leaves out that of its base class."""

    def __init__(self, account: str) -> None:
        self.account = account


class UnmadeFarewell(ReplyAndDisconnect):
    """Likewise."""

    def __init__(self) -> None:
        self.since = 0


class Logged:
    """What is logged of."""

    log = logging.getLogger("tieline.test")

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer_name(self) -> str:
        return self._peer


def circular() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


def recurse() -> None:
    recurse()


def deep(levels: int) -> list[Any]:
    nest: list[Any] = []
    for _ in range(levels):
        nest = [nest]
    return nest


def raises(make: Callable[[], BaseException]) -> Callable[[], object]:
    def fail() -> object:
        raise make()

    return fail


# What a handler does -> what the peer reads: a failure without its text.
FAILURES: dict[str, Callable[[], object]] = {
    "ValueError": raises(lambda: ValueError(SECRET)),
    "StopIteration": raises(lambda: StopIteration(SECRET)),
    "StopAsyncIteration": raises(lambda: StopAsyncIteration(SECRET)),
    "TimeoutError": raises(lambda: TimeoutError(SECRET)),
    "MemoryError": raises(lambda: MemoryError(SECRET)),
    "RecursionError": recurse,
    "ExceptionGroup": raises(lambda: ExceptionGroup(SECRET, [RPCError(1, "inside"), OSError(SECRET)])),
    "CancelledError": raises(lambda: aio.CancelledError(SECRET)),
    "GeneratorExit": raises(lambda: GeneratorExit(SECRET)),
    "BaseException": raises(lambda: OwnBase(SECRET)),
    "BaseExceptionGroup": raises(lambda: BaseExceptionGroup(SECRET, [OwnBase(SECRET)])),
    "ConnectionLost": raises(lambda: ConnectionLost(SECRET)),
    "object": object,
    "circular": circular,
    "huge integer": lambda: 10**5000,
    "deep": lambda: deep(100_000),
    "surrogate": lambda: "\ud800" + SECRET,
    "error with bad data": raises(lambda: RPCError(5, "as it is", data=object())),
    "error without its constructor": raises(lambda: Unmade(SECRET)),
    "coroutine": lambda: aio.sleep(0),
}  # fmt: skip

KINDS = ["plain", "ready", "slow"]


def handlers(act: Callable[[], object]) -> tuple[Methods, list[str]]:
    """Return handlers of every kind that all do *act*, a well-behaved one, and who has run."""
    methods = Methods()
    ran: list[str] = []

    @methods.method
    def plain() -> object:
        ran.append("plain")
        return act()

    @methods.method
    async def ready() -> object:
        ran.append("ready")
        return act()

    @methods.method
    async def slow() -> object:
        await aio.sleep(0)
        ran.append("slow")
        return act()

    @methods.method
    async def good(n: int) -> int:
        await aio.sleep(0)
        return n

    return methods, ran


@pytest.mark.row("S5", "S6", "H57", "H58", "H59")
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failing_handler_answers_without_its_text_and_disturbs_nobody(
    failure: str, caplog: pytest.LogCaptureFixture
):
    methods, ran = handlers(FAILURES[failure])
    async with pair(methods) as both:
        for number, kind in enumerate(KINDS, start=1):
            calls = [both.client.send_request("good", [n]) for n in range(3)]
            failing = both.client.send_request(kind)
            calls += [both.client.send_request("good", [n]) for n in range(3, 6)]
            with pytest.raises(RPCError) as caught:
                await failing
            assert await aio.gather(*calls) == list(range(6))
            assert caught.value.code == -32603
            assert caught.value.message == "internal error processing request"
            assert caught.value.data is None
            assert ran == [kind]
            assert both.peer.stats.errors == number
            ran.clear()
        for kind in KINDS:
            await both.client.notify(kind)
        await until(lambda: sorted(ran) == sorted(KINDS))
        assert await both.client.call("good", 7) == 7  # and the connection goes on
        await until(lambda: no_entries(both.peer))
    # Call and notification within a second: one record for each method, with the traceback.
    records = [record for record in caplog.records if record.name.startswith("tieline")]
    assert len(records) == len(KINDS)
    for record, kind in zip(records, KINDS, strict=True):
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert repr(kind) in record.getMessage()
        assert SECRET not in record.getMessage()


@pytest.mark.row("S5")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: aio.sleep(0), "a plain function returned a coroutine, which nobody awaits"),
        (lambda: RPCError(5, SECRET), "an RPCError was returned: raise it"),
        (object, "a value of type object cannot be sent as JSON: send a dict, list, str, number, dataclass or Struct"),
    ],
    ids=["coroutine", "error", "object"],
)
async def test_the_log_says_once_what_is_wrong_with_a_result(
    make: Callable[[], object], text: str, kind: str, caplog: pytest.LogCaptureFixture
):
    methods, _ran = handlers(make)
    async with pair(methods) as both:
        with pytest.raises(RPCError, match="internal error"):
            await both.client.call(kind)
    (record,) = caplog.records
    assert record.exc_info is not None
    problem = record.exc_info[1]
    assert isinstance(problem, TypeError)
    assert str(problem) == text
    assert problem.__context__ is None, "the log would show two tracebacks of one failure"


@pytest.mark.row("S5", "H58")
async def test_a_failing_notification_disturbs_nobody(caplog: pytest.LogCaptureFixture):
    methods, ran = handlers(raises(lambda: aio.CancelledError(SECRET)))
    async with pair(methods) as both:
        for kind in KINDS:
            await both.client.notify(kind)
        assert await both.client.call("good", 1) == 1
        await until(lambda: sorted(ran) == sorted(KINDS))
        assert both.peer.stats.errors == 3
        assert no_entries(both.peer)
    assert len(caplog.records) == 3


@pytest.mark.row("S5")
@pytest.mark.parametrize("kind", KINDS)
async def test_an_rpc_error_goes_out_as_it_is_and_is_no_failure(kind: str, caplog: pytest.LogCaptureFixture):
    methods, _ran = handlers(raises(lambda: RPCError(-7, "no such account", data={"account": [1, None]})))
    async with pair(methods) as both:
        with pytest.raises(RPCError) as caught:
            await both.client.call(kind)
        error = caught.value
        assert (error.code, error.message, error.data) == (-7, "no such account", {"account": [1, None]})
        assert both.peer.stats.errors == 0
        assert await both.client.call("good", 1) == 1
    assert not caplog.records


@pytest.mark.row("S5")
async def test_one_error_object_may_answer_many_calls():
    constant = RPCError(3, "busy")
    methods, _ran = handlers(raises(lambda: constant))
    async with pair(methods) as both:
        requests = [both.client.send_request(kind) for kind in KINDS * 3]
        for request in requests:
            with pytest.raises(RPCError) as caught:
                await request
            assert caught.value.request_id == request.request_id
    assert constant.request_id is None


@pytest.mark.row("S5", "H59")
@pytest.mark.parametrize("value", [b"bytes", {1, 2}, {1: 1, "1": 2}, float("nan")], ids=repr)
async def test_what_a_strict_codec_refuses_becomes_an_internal_error(value: object):
    methods, _ran = handlers(lambda: value)
    async with pair(methods, codec=StrictCodec()) as both:
        with pytest.raises(RPCError) as caught:
            await both.client.call("plain")
        assert caught.value.code == -32603
        assert await both.client.call("good", 1) == 1


@pytest.mark.row("S5")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("result", ["last words", RPCError(9, "go away", data=1)], ids=["value", "error"])
async def test_reply_and_disconnect_answers_flushes_and_closes(result: object, kind: str):
    methods, _ran = handlers(raises(lambda: ReplyAndDisconnect(result)))
    async with serve(methods, TCP_URL) as server, raw_client(server) as peer:
        answer = await peer.ask({"jsonrpc": "2.0", "id": 1, "method": kind})
        if isinstance(result, RPCError):
            assert answer["error"] == {"code": 9, "message": "go away", "data": 1}
        else:
            assert answer["result"] == result
        assert await peer.ended()
        await until(lambda: not server.sessions)


@pytest.mark.row("S5")
async def test_reply_and_disconnect_lets_a_large_answer_and_running_handlers_finish():
    methods, _ran = handlers(raises(lambda: ReplyAndDisconnect("x" * 900_000)))
    async with pair(methods) as both:
        other = both.client.send_request("good", [5])
        assert len(await both.client.call("ready")) == 900_000
        assert await other == 5
        await both.client.wait_closed()


@pytest.mark.row("S5", "S6")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_farewell_without_its_constructor_says_null_and_closes(kind: str):
    methods, _ran = handlers(raises(UnmadeFarewell))
    async with serve(methods, TCP_URL) as server, raw_client(server) as peer:
        answer = await peer.ask({"jsonrpc": "2.0", "id": 1, "method": kind})
        assert answer == {"jsonrpc": "2.0", "id": 1, "result": None}
        assert await peer.ended()
        await until(lambda: not server.sessions)


@pytest.mark.row("S5")
async def test_reply_and_disconnect_of_a_notification_closes():
    methods, _ran = handlers(raises(lambda: ReplyAndDisconnect("nobody reads it")))
    async with serve(methods, TCP_URL) as server, raw_client(server) as peer:
        peer.send({"jsonrpc": "2.0", "method": "plain"})
        assert await peer.ended()


@pytest.mark.row("S5", "H58")
@pytest.mark.asyncio_only("a task of trio cannot be cancelled by those who have not made it")
async def test_a_handler_whose_task_is_cancelled_from_outside_is_answered():
    methods = Methods()
    tasks: list[Any] = []

    @methods.method
    async def hang() -> None:
        from asyncio import current_task

        task = current_task()
        assert task is not None
        tasks.append(task)
        await aio.Event().wait()

    async with pair(methods) as both:
        request = both.client.send_request("hang")
        await until(lambda: tasks)
        tasks[0].cancel()
        with pytest.raises(RPCError, match="internal error"):
            await request
        assert no_entries(both.peer)


@pytest.mark.row("S5")
async def test_a_peer_that_goes_is_no_failure_of_the_handlers_that_are_cancelled(caplog: pytest.LogCaptureFixture):
    methods = Methods()
    told: list[str] = []

    @methods.method
    async def hang() -> None:
        told.append("started")
        try:
            await aio.Event().wait()
        finally:
            told.append("ended")

    async with serve(methods, TCP_URL) as server:
        async with raw_client(server) as peer:
            peer.send({"jsonrpc": "2.0", "id": 1, "method": "hang"})
            await until(lambda: told)
            (session,) = server.sessions
            peer.reset()
        await until(lambda: "ended" in told)
        await until(lambda: not server.sessions)
        assert session.stats.errors == 0
    assert not caplog.records


@pytest.mark.row("S5", "H57")
async def test_the_log_tells_a_failure_once_a_second_per_method_and_how_many_it_left_out(
    caplog: pytest.LogCaptureFixture,
):
    log, owner = FailureLog(), Logged("peer")
    error = ValueError("boom")
    for n in range(100):
        log.failed(owner, "a", error, now=10 + n / 200)  # half a second
    log.failed(owner, "b", error, now=10.1)
    log.failed(owner, "a", error, now=11.0)
    log.failed(owner, "a", error, now=99.0)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "handler of 'a' failed, called by peer",
        "handler of 'b' failed, called by peer",
        "handler of 'a' failed, called by peer (99 more failures of it were not logged)",
        "handler of 'a' failed, called by peer",
    ]
    assert all(record.exc_info and record.exc_info[1] is error for record in caplog.records)


@pytest.mark.row("S5")
async def test_the_log_forgets_methods_before_a_peer_can_fill_the_memory_with_names(caplog: pytest.LogCaptureFixture):
    log = FailureLog()
    for n in range(3 * MAX_METHODS):
        log.failed(Logged("peer"), f"{n}" + "x" * 1000, ValueError(), now=0.0)
        assert len(log._next) <= MAX_METHODS
    assert max(len(record.getMessage()) for record in caplog.records) < 150


@pytest.mark.row("S5", "H57")
async def test_many_failures_of_one_method_leave_one_record(caplog: pytest.LogCaptureFixture):
    methods, _ran = handlers(raises(lambda: ValueError(SECRET)))
    async with pair(methods, limits=Limits(max_pending=1000)) as both:
        requests = [both.client.send_request("plain") for _ in range(300)]
        for request in requests:
            with pytest.raises(RPCError):
                await request
        assert both.peer.stats.errors == 300
    assert len(caplog.records) == 1


@pytest.mark.row("S5", "S6")
@pytest.mark.parametrize("hook", ["request_handler", "notification_handler", "handle_request"])
@pytest.mark.parametrize("error", [ValueError, aio.CancelledError, OwnBase, StopIteration])
async def test_a_failing_override_is_as_harmless_as_a_failing_handler(hook: str, error: type[BaseException]):
    def fail(_self: ServerSession, _what: object) -> object:
        raise error

    methods, _ran = handlers(lambda: "fine")
    failing = type("Failing", (ServerSession,), {hook: fail})
    async with pair(methods, session_class=failing) as both:
        await both.client.notify("plain")
        if hook == "notification_handler":
            assert await both.client.call("plain") == "fine"
        else:
            with pytest.raises(RPCError, match="internal error"):
                await both.client.call("plain")
        await turns()
        assert not both.client.is_closing()
        assert no_entries(both.peer)


@pytest.mark.row("S5", "S6")
@pytest.mark.parametrize("error", [ValueError, aio.CancelledError, GeneratorExit, OwnBase])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_failing_connection_lost_is_logged_and_the_session_is_over_all_the_same(
    error: type[BaseException], waits: bool, caplog: pytest.LogCaptureFixture
):
    class Fails(ServerSession):
        async def connection_lost(self) -> None:
            if waits:
                await aio.sleep(0)
            raise error(SECRET)

    async with pair(session_class=Fails) as both:
        await both.peer.aclose()
        await both.peer.wait_closed()
        assert not both.server.sessions
        async with raw_client(both.server) as other:  # and the server serves on
            assert (await other.ask({"jsonrpc": "2.0", "id": 1, "method": "absent"}))["error"]["code"] == -32601
    (record,) = caplog.records[:1]
    assert "connection_lost" in record.getMessage()


# --- peers that break a rule -----------------------------------------------------------------------------------------


def test_lines_about_peers_that_broke_a_rule_are_held_to_a_rate(caplog: pytest.LogCaptureFixture) -> None:
    log = FailureLog()
    for number in range(100):
        log.peer_erred(Logged(f"10.0.0.{number}"), "broke the protocol: x", 1000.0)
    assert len(caplog.records) == PEERS_AT_ONCE
    caplog.clear()
    later = 1000.0 + PEERS_WITHIN / PEERS_AT_ONCE  # the time of one more is over
    log.peer_erred(Logged("10.0.1.1"), "is cut: y", later)
    log.peer_erred(Logged("10.0.1.2"), "is cut: y", later)
    log.peer_erred(Logged("10.0.1.3"), "is cut: y", 900.0)  # a clock that goes back gives nothing
    untold = 100 - PEERS_AT_ONCE
    [record] = caplog.records
    assert record.getMessage() == f"10.0.1.1 is cut: y ({untold} more such connections since the last line)"
    assert record.levelno == logging.WARNING
    caplog.clear()
    for _ in range(100):
        log.peer_erred(Logged("10.0.2.1"), "is cut: z", 1e6)
    assert len(caplog.records) == PEERS_AT_ONCE


def test_what_users_have_written_and_fails_each_time_is_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    log, owner = FailureLog(), Logged("x")
    for now in (0.0, 0.5, 0.9, 1.0):
        log.told(owner, "group", "the group of %s could not be told", owner.peer_name, ValueError("no"), now)
        log.told(owner, "hook", "the hook %s failed", "y", ValueError("no"), now)
    assert [record.getMessage() for record in caplog.records] == [
        "the group of x could not be told",
        "the hook y failed",
        "the group of x could not be told (2 more times, not logged)",
        "the hook y failed (2 more times, not logged)",
    ]
    assert all(record.exc_info for record in caplog.records)


class Nameless(ServerSession):
    """Names its peer, and itself, by what is not known yet."""

    account: Any = None

    def peer_name(self) -> str:
        return str(self.account.name)

    def __repr__(self) -> str:
        return str(self.account.name)

    async def connection_lost(self) -> None:
        raise LookupError(SECRET)


class Choosy(ServerSession):
    """Its logger has a filter that fails."""

    logger = logging.getLogger("tieline.test.choosy")

    @staticmethod
    def refuse(_record: logging.LogRecord) -> bool:
        raise LookupError(SECRET)

    logger.addFilter(refuse)


class Named(ServerSession):
    """The name of a logger in the place of one."""

    logger: ClassVar[Any] = "choosy"


@pytest.mark.row("S5", "S6")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("session_class", [Nameless, Choosy, Named])
async def test_a_failure_that_cannot_be_logged_is_answered_all_the_same(
    session_class: type[ServerSession], kind: str, caplog: pytest.LogCaptureFixture
):
    methods, _ran = handlers(raises(lambda: ValueError(SECRET)))
    async with pair(methods, session_class=session_class) as both:
        with pytest.raises(RPCError) as caught:
            await both.client.call(kind)
        assert caught.value.code == -32603
        assert await both.client.call("good", 1) == 1
    await until(lambda: not both.server.sessions)
    failures = [record for record in caplog.records if record.name == "tieline"]
    assert len(failures) == 1 + (session_class is Nameless)
    assert all(record.getMessage().startswith("what follows could not be logged (") for record in failures)
    assert failures[0].exc_info is not None
    assert str(failures[0].exc_info[1]) == SECRET


async def test_what_no_stream_could_print_is_logged_as_escapes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    methods = Methods()
    methods.method(name="fail")(raises(lambda: RPCError(3, "bad \ud800 text")))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("tieline.ServerSession")
    logger.addHandler(handler)
    try:
        async with pair(methods) as both:
            with pytest.raises(RPCError, match="internal error"):
                await both.client.call("fail")
    finally:
        logger.removeHandler(handler)
    stream.seek(0)
    assert r"bad \ud800 text (code 3)" in stream.read()
    assert "Logging error" not in capsys.readouterr().err


# --- answers that are raised again and again -------------------------------------------------------------------------


class Refusals:
    """Methods that raise one and the same value, however often they are called."""

    def __init__(self) -> None:
        self.error = RPCError(7, "no more tea")
        self.farewell = ReplyAndDisconnect("bye")
        self.seen: list[bool] = []  # whether a hook found where the error came from
        self.methods = Methods()
        for method in (self.plain, self.at_once, self.later, self.leave, self.nothing):
            self.methods.method(method)

    def plain(self, _argument: str) -> None:
        raise self.error

    async def at_once(self, _argument: str) -> None:
        raise self.error

    async def later(self, _argument: str) -> None:
        await aio.sleep(0)
        raise self.error

    def leave(self, _argument: str) -> None:
        raise self.farewell

    def nothing(self) -> None:
        """Raise none."""


@pytest.mark.row("S5")
@pytest.mark.parametrize("way", ["alone", "together", "batch", "told"])
@pytest.mark.parametrize("name", ["plain", "at_once", "later"])
async def test_an_error_that_is_one_value_gathers_no_frames_of_those_who_raised_it(name: str, way: str) -> None:
    refusals = Refusals()

    class Sees(Hooks):
        def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
            assert error is not None
            refusals.seen.append(error.__traceback__ is not None)

    async with (
        serve(refusals.methods, TCP_URL, hooks=Sees() if way == "told" else None) as server,
        connect(server.url) as client,
    ):
        if way == "batch":
            async with client.batch() as batch:
                for _ in range(3):
                    batch.add_request(name, ["x"])
            assert [str(result) for result in batch.results] == ["no more tea (code 7)"] * 3
        elif way == "together":
            requests = [client.send_request(name, ["x"]) for _ in range(3)]
            for request in requests:
                with pytest.raises(RPCError, match="no more tea"):
                    await request
        else:
            for _ in range(3):
                with pytest.raises(RPCError, match="no more tea"):
                    await client.call(name, "x")
        assert refusals.error.__traceback__ is None
    assert refusals.seen == ([True] * 3 if way == "told" else [])


@pytest.mark.row("S5")
@pytest.mark.parametrize("way", ["alone", "together"])
@pytest.mark.parametrize("name", ["plain", "at_once", "later"])
async def test_a_failure_that_is_one_value_has_the_frames_of_the_last_time_only(name: str, way: str) -> None:
    refusals = Refusals()
    error: Exception = ValueError(SECRET)
    refusals.error = error  # type: ignore[assignment]  # what is raised by mistake
    lengths: list[int] = []
    async with serve(refusals.methods, TCP_URL) as server, connect(server.url) as client:
        for _ in range(3):
            requests = [client.send_request(name, ["x"]) for _ in range(1 if way == "alone" else 3)]
            for request in requests:
                with pytest.raises(RPCError, match="internal error"):
                    await request
            lengths.append(len([*traceback.walk_tb(error.__traceback__)]))
    assert lengths[0] == lengths[1] == lengths[2] > 1


@pytest.mark.row("S5")
async def test_a_farewell_that_is_one_value_gathers_none_either() -> None:
    refusals = Refusals()
    async with serve(refusals.methods, TCP_URL) as server:
        for _ in range(2):
            async with connect(server.url) as client:
                assert await client.call("leave", "x") == "bye"
            assert refusals.farewell.__traceback__ is None


@pytest.mark.row("S5")
def test_of_a_server_in_blocking_code_it_gathers_none_either() -> None:
    refusals = Refusals()
    with blocking.serve(refusals.methods, TCP_URL) as server, blocking.connect(server.url) as client:
        for name in ("plain", "at_once"):
            for _ in range(2):
                with pytest.raises(RPCError, match="no more tea"):
                    client.call(name, "x")
                client.call("nothing")  # the server's thread is through with the first
                assert refusals.error.__traceback__ is None
