# SPDX-License-Identifier: MIT
"""What the peer asks of a blocking session: who runs the handlers, when, and what they may do."""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.rpc.blocking.peers import Task, entries, for_ever, is_led, no_entries, pair, raw_pair, slow_methods, until
from tieline import (
    ClosedError,
    ConnectionLost,
    LocalProtocolError,
    Method,
    Methods,
    ReplyAndDisconnect,
    RPCError,
    RPCRequest,
)
from tieline.blocking import ClientSession, SessionBase
from tieline.rpc.blocking import engine
from tieline.runtimes.blocking.crew import DEEPEST


def call(number: int, method: str, *params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def note(method: str, *params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def test_the_peer_calls_back_while_we_wait() -> None:
    methods = Methods()

    @methods.method
    def triple(value: int) -> int:
        return 3 * value

    with pair(methods) as session:
        assert session.call("ask_back", "triple", [5]) == 15
        assert no_entries(session), entries(session)


@pytest.mark.row("S9")
def test_what_came_before_an_answer_has_been_handled_also_behind_a_call_back() -> None:
    methods = Methods()
    heard: list[str] = []
    methods.method(name="name")(lambda: "Ann")
    methods.method(name="news")(heard.append)
    with raw_pair(methods) as (session, server):
        calling = Task(lambda: (session.call("greet"), heard.copy()))
        greet = server.line()
        server.send(call(0, "name"))
        assert server.line()["result"] == "Ann"
        news, answer = note("news", "of Ann"), {"jsonrpc": "2.0", "id": greet["id"], "result": "hello"}
        server.send(json.dumps(news).encode() + b"\n" + json.dumps(answer).encode())  # so that one read has both
        assert calling.result() == ("hello", ["of Ann"])


def test_a_handler_may_call_over_its_own_session_while_its_caller_waits() -> None:
    methods = Methods()

    @methods.method
    def down(session: SessionBase, depth: int) -> int:
        return 1 + (session.call("ask_back", "down", [depth - 1]) if depth else 0)

    with pair(methods) as session:
        assert session.call("ask_back", "down", [6]) == 7
        assert no_entries(session), entries(session)


def test_handlers_inside_of_handlers_go_so_deep_and_no_deeper() -> None:
    """Each takes a part of the stack; a peer must not be able to use it up."""
    methods = Methods()
    depths: list[int] = []
    now = 0

    @methods.method
    def nest(session: SessionBase) -> None:
        nonlocal now
        now += 1
        depths.append(now)
        try:
            session.call("wait", timeout=0.05)
        except TimeoutError:
            pass
        finally:
            now -= 1

    with raw_pair(methods) as (session, server):
        count = DEEPEST + 5
        for number in range(count):
            server.send(call(number, "nest"))
        while len(depths) < count:
            session.poll(5)
        answers: set[int] = set()
        while len(answers) < count:
            line = server.line()
            if "result" in line:
                answers.add(line["id"])
        assert max(depths) == DEEPEST
        assert no_entries(session), entries(session)


@pytest.mark.parametrize("levels", [DEEPEST - 1, DEEPEST, DEEPEST + 1, DEEPEST + 5])
def test_calls_back_and_forth_without_an_end_are_refused_at_the_limit(
    levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 0.1)
    methods = Methods()
    heard: list[str] = []
    methods.method(name="news")(heard.append)

    @methods.method
    def down(session: SessionBase, left: int) -> int:
        return 1 + session.call("up", left - 1, timeout=None) if left else 0

    with raw_pair(methods) as (session, server):

        def serve() -> None:
            """Call the client back at each of its calls, and answer that with what the call back comes to."""
            asked: list[int] = []
            for line in iter(server.line, None):
                if "method" in line:
                    asked.append(line["id"])
                    server.send(call(len(asked), "down", *line["params"]))
                else:
                    if "error" in line and not line["error"]["message"].startswith("internal"):
                        server.send(note("news", "too deep"))  # and is no request, so it waits
                    server.send({**line, "id": asked[line["id"] - 1]})

        serving = Task(serve)
        if levels <= DEEPEST:
            assert session.call("up", levels - 1, timeout=10) == levels - 1
        else:
            with pytest.raises(RPCError, match=r"limit 32 handlers inside of one another") as caught:
                session.call("up", levels - 1, timeout=10)
            assert caught.value.code == -102
            while not heard:
                session.poll(5)
        assert no_entries(session), entries(session)
        session.close()
        serving.result()


def test_what_comes_when_handlers_are_so_deep_is_handled_when_others_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 0.5)
    methods = Methods()
    ended = 0

    @methods.method
    def nest(session: SessionBase, number: int) -> None:
        nonlocal ended
        if number == DEEPEST - 1:  # so deep are they by now
            server.send(*[call(late, "nest", late) for late in range(DEEPEST, DEEPEST + 20)])
        with suppress(TimeoutError):
            session.call("wait", timeout=0.04)
        ended += 1

    with raw_pair(methods) as (session, server):
        server.send(*[call(number, "nest", number) for number in range(DEEPEST)])
        while ended < DEEPEST + 20:
            session.poll(5)
        lines = [server.line() for _ in range(2 * ended)]
        assert not [line for line in lines if "error" in line]
        assert no_entries(session), entries(session)


@pytest.mark.row("S9")
def test_handlers_run_one_at_a_time_in_the_order_of_their_requests() -> None:
    methods = Methods()
    seen: list[int] = []
    threads: set[int] = set()
    busy = threading.Lock()

    @methods.method
    def take(value: int) -> None:
        assert busy.acquire(blocking=False)
        threads.add(threading.get_ident())
        seen.append(value)
        busy.release()

    with raw_pair(methods) as (session, server):
        tasks = [Task(session.call, "end", timeout=None) for _ in range(4)]
        until(lambda: is_led(session))
        for value in range(500):
            server.send(note("take", value))
        requests = [server.line() for _ in range(4)]
        for request in requests:
            server.send({"jsonrpc": "2.0", "id": request["id"], "result": None})
        for task in tasks:
            task.result()
        assert seen == list(range(500))
        assert threads <= {task.thread.ident for task in tasks}


def test_what_came_before_the_answer_is_handled_before_the_call_returns() -> None:
    methods = Methods()
    seen: list[int] = []
    methods.method(name="take")(seen.append)
    with raw_pair(methods) as (session, server):
        request = session.send_request("end")
        server.send(note("take", 1), note("take", 2))
        server.answer("done")
        assert request.result() == "done"
        assert seen == [1, 2]


def test_a_slow_handler_holds_up_nobody_elses_answer() -> None:
    methods, began, go_on = slow_methods()

    with raw_pair(methods) as (session, server):
        runner = Task(session.call, "first")
        server.send(call(1, "slow"))
        assert began.wait(10)
        other = Task(session.call, "second")
        assert [server.line()["method"] for _ in range(2)] == ["first", "second"]
        server.send({"jsonrpc": "2.0", "id": 1, "result": "quick"})
        assert other.result() == "quick"
        go_on.set()
        assert server.line() == {"jsonrpc": "2.0", "id": 1, "result": "late"}
        server.send({"jsonrpc": "2.0", "id": 0, "result": "done"})
        assert runner.result() == "done"
        assert no_entries(session), entries(session)


def test_a_handler_that_waits_in_one_thread_is_served_by_another_that_reads() -> None:
    methods = Methods()

    @methods.method
    def outer(session: SessionBase) -> int:
        return session.call("ask", 1) + 1  # type: ignore[no-any-return]  # a number, as the peer answers

    @methods.method
    def inner(value: int) -> int:
        return 10 * value

    with raw_pair(methods) as (session, server):
        tasks = [Task(session.call, f"wait{number}", timeout=None) for number in range(3)]
        assert {server.line()["method"] for _ in range(3)} == {"wait0", "wait1", "wait2"}
        server.send(call(1, "outer"))
        ask = server.line()
        assert ask["method"] == "ask"
        server.send(call(2, "inner", 4))
        assert server.line() == {"jsonrpc": "2.0", "id": 2, "result": 40}
        server.send({"jsonrpc": "2.0", "id": ask["id"], "result": 5})
        assert server.line() == {"jsonrpc": "2.0", "id": 1, "result": 6}
        for number in range(3):
            server.send({"jsonrpc": "2.0", "id": number, "result": None})
        for task in tasks:
            task.result()
        assert no_entries(session), entries(session)


# --- poll ------------------------------------------------------------------------------------------------------------


def test_poll_handles_what_is_there_and_tells_whether_anything_came() -> None:
    methods = Methods()
    seen: list[int] = []
    methods.method(name="take")(seen.append)
    with raw_pair(methods) as (session, server):
        assert not session.poll()
        assert not session.poll(0.01)
        server.send(note("take", 1), call(7, "take", 2))
        while len(seen) < 2:
            assert session.poll(10)
        assert server.line() == {"jsonrpc": "2.0", "id": 7, "result": None}
        assert not session.poll(0)
        server.close()
        with pytest.raises(ConnectionLost):
            for_ever(session.poll, None)


def test_nothing_is_handled_while_nobody_waits() -> None:
    methods = Methods()
    seen: list[int] = []
    methods.method(name="take")(seen.append)
    with raw_pair(methods) as (session, server):
        server.send(note("take", 1))
        session.send_notification("x")
        assert server.line()["method"] == "x"
        assert seen == []
        assert session.poll(10)
        assert seen == [1]


# --- outcomes --------------------------------------------------------------------------------------------------------


@pytest.mark.row("S5")
def test_the_outcomes_of_handlers(caplog: pytest.LogCaptureFixture) -> None:
    methods = Methods()

    def coroutine() -> Any:
        async def wait() -> None: ...

        return wait()

    def refuse() -> None:
        raise RPCError(7, "refused", data=[1])

    methods.method(name="refuse")(refuse)
    methods.method(name="crash")(lambda: {"a": 1}["secret"])
    methods.method(name="stop")(lambda: next(iter(())))
    methods.method(name="coroutine")(coroutine)
    methods.method(name="object")(object)
    with raw_pair(methods) as (session, server):

        def ask(method: str, *params: object) -> Any:
            server.send(call(1, method, *params))
            assert session.poll(10)
            return server.line()["error"]

        assert ask("refuse") == {"code": 7, "message": "refused", "data": [1]}
        for method in ("crash", "stop", "coroutine", "object"):
            error = ask(method)
            assert error["code"] == -32603
            assert "secret" not in error["message"]
        assert ask("refuse", 1)["code"] == -32602
        assert ask("nope")["code"] == -32601
        assert not session.is_closing()
        assert session.stats.errors >= 4
    assert "secret" in caplog.text


@pytest.mark.row("S5")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_comes_out_of_the_wait_and_the_peer_is_told(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    methods = Methods()

    @methods.method
    def end() -> None:
        raise error

    with raw_pair(methods) as (session, server):
        request = session.send_request("wait")
        server.send(call(1, "end"))
        with pytest.raises(error):
            request.result()
        assert server.line()["method"] == "wait"
        assert server.line()["error"]["code"] == -32603
        server.send({"jsonrpc": "2.0", "id": 0, "result": "all the same"})
        assert request.result() == "all the same"
        assert no_entries(session), entries(session)


@pytest.mark.row("S13")
def test_a_handler_may_close_or_abort_its_session() -> None:
    for way, ends in (("close", ClosedError), ("abort", ClosedError)):
        methods = Methods()

        @methods.method
        def end(session: SessionBase, way: str = way) -> None:
            getattr(session, way)()

        with raw_pair(methods) as (session, server):
            request = session.send_request("wait")
            server.send(call(1, "end"))
            with pytest.raises(ends):
                request.result()
            session.wait_closed(10)
            assert server.line()["method"] == "wait"
            assert server.line() is None
            assert no_entries(session), entries(session)


@pytest.mark.row("S5")
def test_a_handler_may_answer_and_end_the_session() -> None:
    methods = Methods()

    @methods.method
    def last() -> None:
        raise ReplyAndDisconnect("bye")

    with raw_pair(methods) as (session, server):
        server.send(call(1, "last"))
        while not session.is_closing():
            session.poll(10)
        assert server.line() == {"jsonrpc": "2.0", "id": 1, "result": "bye"}
        assert server.ended()
        session.wait_closed(10)


def test_a_close_waits_for_a_handler_in_another_thread_and_its_answer_goes_out() -> None:
    methods, began, go_on = slow_methods()

    with raw_pair(methods) as (session, server):
        runner = Task(session.poll, 10)
        server.send(call(1, "slow"))
        assert began.wait(10)
        closing = Task(session.close)
        until(session.is_closing)
        go_on.set()
        closing.result()
        runner.result()
        assert server.line() == {"jsonrpc": "2.0", "id": 1, "result": "late"}
        assert server.ended()


def test_a_close_does_not_wait_for_a_handler_for_ever() -> None:
    methods, began, go_on = slow_methods()

    with raw_pair(methods) as (session, server):
        runner = Task(session.poll, 10)
        server.send(call(1, "slow"))
        assert began.wait(10)
        session.close(force_after=0.05)
        assert server.ended()
        go_on.set()
        runner.result()
        assert no_entries(session), entries(session)


def test_ordered_notifications_wait_for_one_another_even_when_one_calls() -> None:
    methods = Methods()
    seen: list[str] = []

    @methods.method(ordered=True)
    def step(session: SessionBase, value: int) -> None:
        seen.append(f"begin {value}")
        session.call("wait")
        seen.append(f"end {value}")

    with raw_pair(methods) as (session, server):
        server.send(note("step", 1), note("step", 2))
        answers = Task(lambda: [server.answer(None) for _ in range(2)])
        while len(seen) < 4:
            session.poll(10)
        answers.result()
        assert seen == ["begin 1", "end 1", "begin 2", "end 2"]


# --- what sessions override ------------------------------------------------------------------------------------------


@pytest.mark.row("S4")
def test_what_a_session_class_overrides_is_asked_in_order_of_precedence() -> None:
    class ByName(ClientSession):
        def request_handler(self, name: str) -> Method | Callable[..., object] | None:
            return (lambda value: f"asked for {value}") if name == "known" else None

        def notification_handler(self, name: str) -> Method | Callable[..., object] | None:
            return told.append

    class Sees(ByName):
        def handle_request(self, request: RPCRequest) -> Any:
            return f"saw {request.method}" if request.method == "seen" else super().handle_request(request)

    told: list[object] = []
    for session_class, expected in ((ByName, None), (Sees, "saw seen")):
        with raw_pair(session_factory=session_class) as (session, server):
            server.send(note("anything", 1), call(1, "known", 2), call(2, "seen"))
            answers: list[Any] = []
            while len(answers) < 2:
                session.poll(0.05)
                if session.stats.messages_out > len(answers):
                    answers.append(server.line())
            assert answers[0]["result"] == "asked for 2"
            assert answers[1].get("result") == expected
            assert expected or answers[1]["error"]["code"] == -32601
            server.send(call(3, "unknown"))
            while session.stats.messages_out < 3:
                session.poll(0.05)
            assert server.line()["error"]["code"] == -32601
    assert told == [1, 1]


def test_a_handler_that_turns_out_to_be_async_fails_its_request_only(caplog: pytest.LogCaptureFixture) -> None:
    async def wait() -> None: ...

    class ByName(ClientSession):
        def request_handler(self, name: str) -> Method | Callable[..., object] | None:
            return wait

    methods = Methods()
    for settings in ({"session_factory": ByName}, {"methods": methods}):
        with raw_pair(**settings) as (session, server):
            methods.method(name="wait", replace=True)(wait)
            server.send(call(1, "wait"))
            assert session.poll(10)
            assert server.line()["error"]["code"] == -32603
            methods.method(name="wait", replace=True)(lambda: None)
    assert "async" in caplog.text


@pytest.mark.row("S13")
def test_connection_lost_is_called_once_whatever_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    class Session(ClientSession):
        lost = 0

        def connection_lost(self) -> None:
            self.lost += 1
            self.close()
            raise ValueError("broken")

    for end in ("close", "abort", "peer"):
        with raw_pair(session_factory=Session) as (session, server):
            server.close() if end == "peer" else getattr(session, end)()
            session.wait_closed(10)
            session.close()
            assert isinstance(session, Session)
            assert session.lost == 1
            assert no_entries(session), entries(session)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3


def test_context_variables_of_a_handler_do_not_leak() -> None:
    """Trap 3."""
    variable = contextvars.ContextVar("variable", default=0)
    methods = Methods()

    @methods.method
    def count() -> int:
        variable.set(variable.get() + 1)
        return variable.get()

    variable.set(5)
    with raw_pair(methods) as (session, server):
        server.send(call(1, "count"), call(2, "count"))
        while session.stats.messages_out < 2:
            session.poll(10)
        assert [server.line()["result"] for _ in range(2)] == [6, 6]
    assert variable.get() == 5


def test_start_tls_may_not_be_asked_for_while_something_is_under_way() -> None:
    with raw_pair() as (session, _):
        session.send_request("wait")
        with pytest.raises(LocalProtocolError, match="nothing is under way"):
            session.start_tls(True, server_hostname="host.example")
