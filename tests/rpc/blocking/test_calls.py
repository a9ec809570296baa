# SPDX-License-Identifier: MIT
"""Calls, notifications and requests from one thread of blocking code."""

from __future__ import annotations

import concurrent.futures
import socket
import threading
import time
from typing import Any

import pytest

from tests.rpc.blocking.peers import METHODS, RawServer, Task, entries, no_entries, pair, raw_pair
from tieline import (
    ClosedError,
    ConnectionLost,
    JSONRPCv1,
    Limits,
    LocalProtocolError,
    Methods,
    OutgoingMessageTooLarge,
    RPCError,
    SessionBusy,
    StdlibCodec,
)
from tieline.blocking import BlockingRequest, ClientSession, connect, serve
from tieline.runtimes.blocking.waiters import Waiter


@pytest.mark.row("S3")
def test_calls_by_position_and_by_name_and_their_results() -> None:
    with pair() as session:
        assert session.call("add", 1, 2) == 3
        assert session.call("add", a=1, b=2) == 3
        assert session.call("echo", {"deep": [1, None, "x"]}, timeout=None) == {"deep": [1, None, "x"]}
        assert no_entries(session), entries(session)


@pytest.mark.row("S3")
def test_arguments_both_ways_are_refused_and_nothing_is_sent() -> None:
    with pair() as session:
        with pytest.raises(TypeError, match="by position or by name, not both"):
            session.call("add", 1, b=2)
        with pytest.raises(TypeError, match="by position or by name, not both"):
            session.notify("add", 1, b=2)
        assert session.stats.messages_out == 0


def test_an_error_of_the_peer_is_raised_and_the_session_goes_on() -> None:
    with pair() as session:
        with pytest.raises(RPCError, match="internal error") as caught:
            session.call("fail")
        assert caught.value.code == -32603
        with pytest.raises(RPCError, match="unknown method"):
            session.call("nope")
        assert session.call("add", 1, 2) == 3


@pytest.mark.row("S7")
def test_a_call_that_times_out_is_forgotten_and_its_late_answer_dropped() -> None:
    with raw_pair() as (session, server):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="no reply in time"):
            session.call("slow", timeout=0.02)
        assert 0.02 <= time.monotonic() - began < 5
        assert no_entries(session), entries(session)
        late = server.line()
        server.send({"jsonrpc": "2.0", "id": late["id"], "result": "late"})
        task = Task(server.answer, "right")
        assert session.call("next") == "right"
        assert task.result()["method"] == "next"
        assert session.stats.errors == 0


def test_the_default_timeout_is_that_of_the_limits() -> None:
    with raw_pair(limits=Limits(call_timeout=0.08)) as (session, _):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            session.call("slow")
        assert 0.08 <= time.monotonic() - began < 5


def test_an_answer_that_came_while_nobody_looked_is_not_too_late() -> None:
    with raw_pair() as (session, server):
        request = session.send_request("quick", timeout=0.001)
        server.answer("in time")
        engine = session._engine
        assert engine is not None
        while engine.host.now() < engine.machine.deadline:
            pass
        assert request.result() == "in time"


def test_what_cannot_be_sent_says_so_at_once() -> None:
    with serve(METHODS, "tcp://127.0.0.1:0") as server, connect(server.url, limits=Limits(max_message=1000)) as session:
        with pytest.raises(TypeError):
            session.call("echo", object())
        with pytest.raises(OutgoingMessageTooLarge):
            session.call("echo", "x" * 1000)
        assert session.stats.messages_out == 0
        assert session.call("add", 1, 2) == 3


def test_a_session_that_is_not_connected_says_so() -> None:
    session = connect("tcp://127.0.0.1:1")
    for use in (session.call, session.notify, session.send_request, session.send_notification):
        with pytest.raises(LocalProtocolError, match="not connected"):
            use("add")
    with pytest.raises(LocalProtocolError, match="not connected"):
        session.poll()
    session.close()
    session.abort()
    session.wait_closed()
    with pytest.raises(ClosedError):
        session.create_connection()


def test_a_session_connects_once() -> None:
    with pair() as session, pytest.raises(LocalProtocolError, match="serves one connection"):
        session.create_connection()


def test_a_closed_session_says_so() -> None:
    with pair() as session:
        session.close()
        for use in (session.call, session.notify, session.send_request, session.send_notification):
            with pytest.raises(ClosedError):
                use("add")
        with pytest.raises(ClosedError):
            session.poll()
        session.wait_closed()
        assert session.is_closing()
        assert session.close_reason is None


def test_a_notification_arrives() -> None:
    with raw_pair() as (session, server):
        session.notify("told", 1)
        session.notify("told", a=2)
        session.send_notification("told", [3])
        assert [server.line().get("params") for _ in range(3)] == [[1], {"a": 2}, [3]]


def test_a_notification_is_with_the_system_when_it_returns() -> None:
    with raw_pair() as (session, server):
        task = Task(server.line)
        session.notify("told", "x" * 20_000_000)
        transport: Any = session._connected().link.transport
        assert not transport.unsent
        assert len(task.result()["params"][0]) == 20_000_000


def test_the_protocol_class_and_the_codec_are_those_that_were_given() -> None:
    given: dict[str, Any] = {"rpc_protocol": JSONRPCv1, "codec": StdlibCodec()}
    with serve(METHODS, "tcp://127.0.0.1:0", **given) as server, connect(server.url, **given) as session:
        assert session.call("add", 1, 2) == 3
        assert issubclass(session.protocol, JSONRPCv1)
        assert isinstance(session.protocol.codec, StdlibCodec)


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_request_is_answered_while_somebody_waits() -> None:
    with pair() as session:
        seen: list[Any] = []
        first = session.send_request("add", [1, 2], seen.append)
        second = session.send_request("add", {"a": 3, "b": 4})
        assert isinstance(first, BlockingRequest)
        assert not first.done()
        assert second.result() == 7
        assert first.done()
        assert seen == [first]
        assert (first.result(), first.exception(), first.cancelled()) == (3, None, False)


def test_a_request_may_be_waited_for_with_a_limit_and_stays_open() -> None:
    with raw_pair() as (session, server):
        request = session.send_request("slow")
        with pytest.raises(TimeoutError, match=r"within 0\.01 s; the call is still open"):
            request.result(0.01)
        with pytest.raises(TimeoutError):
            request.exception(0)
        server.answer(5)
        assert request.result(10) == 5


@pytest.mark.row("S3")
def test_what_is_no_on_done_is_refused_before_anything_is_sent() -> None:
    wrong: Any = 5
    with raw_pair() as (session, _server):
        with pytest.raises(TypeError, match=r"^on_done must be callable, not int: all arguments of a call are one"):
            session.send_request("add", [1], wrong)
        with pytest.raises(TypeError, match=r"^on_done must be callable, not int$"):
            session.new_batch(wrong)
        batch = session.new_batch()
        batch.add_request("add", [1])
        with pytest.raises(TypeError, match=r"^on_done must be callable, not int$"):
            session.send_batch(batch, wrong)
        assert session.stats.messages_out == 0
        assert no_entries(session), entries(session)


@pytest.mark.row("S7")
def test_a_request_that_was_cancelled_is_forgotten() -> None:
    with raw_pair() as (session, server):
        seen: list[Any] = []
        request = session.send_request("slow", on_done=seen.append)
        assert request.cancel()
        assert not request.cancel()
        assert request.cancelled()
        assert request.done()
        assert seen == [request]
        with pytest.raises(concurrent.futures.CancelledError):
            request.result()
        with pytest.raises(concurrent.futures.CancelledError):
            request.exception()
        server.answer("late")
        assert session.poll(10)
        assert no_entries(session), entries(session)
        assert session.stats.errors == 0


def test_a_request_may_be_completed_by_hand() -> None:
    with raw_pair() as (session, _):
        request, other = session.send_request("a"), session.send_request("b")
        request.set_result("mine")
        other.set_exception(KeyError("mine"))
        assert request.result() == "mine"
        with pytest.raises(KeyError):
            other.result()
        assert isinstance(other.exception(), KeyError)
        assert no_entries(session), entries(session)


def test_a_callback_that_comes_late_is_called_at_once_and_one_that_fails_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: object) -> None:
        raise ValueError("broken")

    with pair() as session:
        request = session.send_request("add", [1, 2], broken)
        assert request.result() == 3
        seen: list[Any] = []
        request.add_done_callback(seen.append)
        assert seen == [request]
    assert [record.name for record in caplog.records] == ["tieline.blocking"]
    assert "failed" in caplog.text


def test_an_error_of_the_peer_comes_out_of_a_request_each_time() -> None:
    with pair() as session:
        request = session.send_request("fail")
        for _ in range(2):
            with pytest.raises(RPCError):
                request.result()
        assert isinstance(request.exception(), RPCError)


@pytest.mark.row("S10")
def test_over_the_window_a_request_is_refused_and_a_call_waits_for_room() -> None:
    with raw_pair(limits=Limits(max_calls=2)) as (session, server):
        first = session.send_request("first")
        session.send_request("second")
        with pytest.raises(SessionBusy):
            session.send_request("third")
        with pytest.raises(TimeoutError, match="no room"):
            session.call("third", timeout=0.02)

        def answer_three(server: RawServer) -> list[str]:
            return [server.answer("done")["method"] for _ in range(3)]

        task = Task(answer_three, server)
        assert session.call("third", timeout=20) == "done"
        assert task.result() == ["first", "second", "third"]
        for name in ("first", "second"):
            session.send_request(name)
        arguing = Task(lambda: [server.answer("done")["params"] for _ in range(3)])
        assert session.call("third", timeout=20, a=1) == "done"
        assert arguing.result() == [[], [], {"a": 1}]
        assert first.result() == "done"
        assert no_entries(session), entries(session)


# --- what a session tells --------------------------------------------------------------------------------------------


@pytest.mark.row("S12")
def test_what_a_session_tells_about_itself() -> None:
    with serve(METHODS, "tcp://127.0.0.1:0") as server:
        with connect(server.url) as session:
            session.call("add", 1, 2)
            stats = session.stats
            assert (stats.messages_in, stats.messages_out, stats.pending, stats.errors) == (1, 1, 0, 0)
            assert session.remote_address() == ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
            assert session.peer_certificate() is None
            assert session.proxy() is None
            assert session.has_room()
            assert repr(session) == f"<ClientSession {server.url} open, 0 calls in flight, 0 running>"
        assert repr(session) == f"<ClientSession {server.url} closed, closed by this side>"


def test_a_given_socket_is_used() -> None:
    with serve(METHODS, "tcp://127.0.0.1:0") as server:
        port = int(server.url.rsplit(":", 1)[1])
        with ClientSession(sock=socket.create_connection(("127.0.0.1", port))) as session:
            assert session.call("add", 1, 2) == 3


def test_async_handlers_are_refused_when_the_session_is_made() -> None:
    methods = Methods()

    @methods.method
    async def wait() -> None: ...

    with pytest.raises(TypeError, match="'wait' is async, and blocking code runs plain functions only"):
        connect("tcp://127.0.0.1:1", methods)

    class Session(ClientSession):
        async def handle_request(self, request: object) -> object: ...

    with pytest.raises(TypeError, match=r"Session\.handle_request is async"):
        connect("tcp://127.0.0.1:1", session_factory=Session)


def test_one_thread_needs_no_other_and_no_descriptor_but_its_socket() -> None:
    with raw_pair() as (session, server):
        threads = threading.active_count()
        request = session.send_request("a")
        server.answer(1)
        assert request.result() == 1
        assert session._engine is not None
        assert session._engine.host._readiness is None
        assert threading.active_count() == threads


def test_a_lost_connection_is_told_with_its_cause() -> None:
    with raw_pair() as (session, server):
        request = session.send_request("a")
        server.reset()
        with pytest.raises(ConnectionLost) as caught:
            request.result()
        assert isinstance(caught.value.__cause__ or session.close_reason, ConnectionError)
        with pytest.raises(ConnectionLost):
            session.call("b")
        with pytest.raises(ConnectionLost):
            session.poll()
        session.wait_closed(10)


def test_what_a_waiter_has_failed_with_is_raised_once_and_a_second_look_is_no_result() -> None:
    with pair() as session:
        assert session._engine is not None
        waiter = Waiter(session._engine.host)
        waiter.set_exception(LookupError())
        with pytest.raises(LookupError):
            waiter.result()
        for _ in range(2):
            with pytest.raises(LocalProtocolError, match="was raised already"):
                waiter.result()


def test_the_error_of_a_request_does_not_grow_with_those_who_ask_for_it() -> None:
    with pair() as session:
        request = session.send_request("fail")
        lengths: list[int] = []
        for _ in range(4):
            with pytest.raises(RPCError) as caught:
                request.result(10)
            lengths.append(len(caught.traceback))
        assert len({*lengths}) == 1, lengths
