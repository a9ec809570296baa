# SPDX-License-Identifier: MIT
"""The short way of a call that nothing goes on beside: it is left in time, and nobody is forgotten on the way.

What happens while a thread is in its one read is done by the socket itself, in that thread, at that very moment: so
nothing here is a matter of luck.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.interrupting import InItsRead
from tests.rpc.blocking.peers import Task, entries, followers, no_entries, until
from tieline import ClosedError, ConnectionLost, Limits, Methods, RPCError, SessionBusy
from tieline.blocking import ClientSession
from tieline.runtimes.blocking.transport import LONGEST_READ
from tieline.testing import memory_sockets


def reply(number: int, result: object = "answer") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}, separators=(",", ":")).encode() + b"\n"


class Scene(InItsRead):
    """A session whose first call has been answered, so that the next one goes the short way; and the other end."""

    def __init__(self, methods: Methods | None = None, **limits: Any) -> None:
        super().__init__()
        ours, self.peer = memory_sockets()
        self.session = ClientSession(sock=ours, methods=methods, limits=Limits(**limits))
        self.session.create_connection()
        self.peer.sendall(reply(0))
        self.session.call("first")
        self.watch(self.session._connected().host.transport, ours)
        self.sent()

    def sent(self) -> list[Any]:
        """Return what has been sent."""
        self.peer.setblocking(False)
        try:
            return [json.loads(line) for line in self.peer.recv(65536).splitlines()]
        except BlockingIOError:
            return []


@contextmanager
def scene(methods: Methods | None = None, **limits: Any) -> Iterator[Scene]:
    it = Scene(methods, **limits)
    try:
        yield it
        if not it.session.is_closing():
            assert no_entries(it.session), entries(it.session)
    finally:
        it.session.abort()
        it.peer.close()


def test_a_call_takes_one_read_and_leaves_no_timer() -> None:
    with scene() as it:
        host = it.session._connected().host
        timers = len(host._timers)
        settings: list[dict[str, Any]] = [{}, {"timeout": 30}, {"timeout": None}]
        for number, more in enumerate(settings, 1):
            it.meanwhile = partial(it.peer.sendall, reply(number, number))
            assert it.session.call("add", 1, **more) == number
            assert it.reads == number
        assert len(host._timers) == timers
        assert it.session.stats.messages_in == it.session.stats.messages_out == 4


@pytest.mark.parametrize(
    "data",
    [
        b'{"jsonrpc":"2.0","id":1,"result":"answer"}',
        b'{"jsonrpc":"2.0","id":0,"result":"late"}\n',
        b'{"jsonrpc":"2.0","method":"take","params":[1]}\n',
        b"nonsense\n",
        b"",
    ],
    ids=["a part", "late", "a notification", "nonsense", "nothing else"],
)
def test_what_is_not_the_answer_is_read_like_everything_else(data: bytes) -> None:
    got: list[int] = []
    methods = Methods()
    methods.method(name="take")(got.append)
    with scene(methods) as it:
        rest = b"\n" if data.endswith(b"}") else reply(1)

        def come() -> None:
            it.peer.sendall(data + rest)

        it.meanwhile = come
        assert it.session.call("ask") == "answer"
        assert got == ([1] if b"take" in data else [])


def test_an_error_and_a_long_answer_go_the_other_way() -> None:
    with scene() as it:
        it.meanwhile = lambda: it.peer.sendall(b'{"jsonrpc":"2.0","id":1,"error":{"code":7,"message":"no"}}\n')
        with pytest.raises(RPCError, match="no"):
            it.session.call("ask")
        it.meanwhile = lambda: it.peer.sendall(reply(2, "x" * 5000))
        assert it.session.call("ask") == "x" * 5000


@pytest.mark.parametrize("way", ["close", "abort"])
def test_a_session_that_is_closed_while_it_reads_gives_no_answer_that_came_too_late(way: str) -> None:
    with scene() as it:

        def end() -> None:
            closing = Task(getattr(it.session, way))
            until(it.session.is_closing)
            if way == "abort":
                closing.result()

        it.meanwhile = end
        with pytest.raises(ClosedError):
            it.session.call("ask")
        it.session.wait_closed(10)


def test_an_answer_and_the_end_in_one_read() -> None:
    with scene() as it:

        def end() -> None:
            it.peer.sendall(reply(1))
            it.peer.close()

        it.meanwhile = end
        assert it.session.call("ask") == "answer"
        with pytest.raises(ConnectionLost):
            it.session.call("ask")


def test_the_end_in_the_place_of_the_answer() -> None:
    for way in ("close", "reset"):
        with scene() as it:
            it.sent()

            def end(it: Scene = it, way: str = way) -> None:
                it.sent()
                getattr(it.peer, way)()

            it.meanwhile = end
            with pytest.raises(ConnectionLost):
                it.session.call("ask")


def test_a_thread_that_comes_meanwhile_is_left_the_lead() -> None:
    with scene() as it:
        others: list[Task] = []

        def come() -> None:
            others.append(Task(it.session.call, "other"))
            until(lambda: followers(it.session, 1))
            it.peer.sendall(reply(1))

        it.meanwhile = come
        assert it.session.call("ask") == "answer"
        it.peer.sendall(reply(2, "other"))
        assert others[0].result() == "other"


def test_a_thread_that_waits_for_room_gets_it() -> None:
    with scene(max_calls=1) as it:
        others: list[Task] = []

        def come() -> None:
            with pytest.raises(SessionBusy):
                it.session.send_request("no room")
            others.append(Task(it.session.call, "other"))
            until(lambda: followers(it.session, 1))
            it.peer.sendall(reply(1))

        it.meanwhile = come
        assert it.session.call("ask") == "answer"
        it.peer.sendall(reply(2, "other"))
        assert others[0].result() == "other"


def test_one_that_polls_meanwhile_hears_that_something_came() -> None:
    with scene() as it:
        others: list[Task] = []

        def come() -> None:
            others.append(Task(it.session.poll, None))
            until(lambda: followers(it.session, 1))
            it.peer.sendall(reply(1))

        it.meanwhile = come
        assert it.session.call("ask") == "answer"
        assert others[0].result() is True


def test_a_callback_that_was_planned_meanwhile_is_called_before_the_call_returns() -> None:
    """Jobs of this thread's own: nobody else is there to run them."""
    with scene() as it:
        told: list[object] = []
        request = it.session.send_request("asked before")

        def come() -> None:
            request.add_done_callback(told.append)
            it.peer.sendall(reply(1) + reply(2))

        it.session._connected().host.transport.reads = None  # type: ignore[union-attr]  # by the other way
        come()
        assert it.session.call("ask") == "answer"
        assert told == [request]


def test_a_handler_that_calls_back_while_the_call_waits() -> None:
    methods = Methods()
    with scene(methods) as it:

        @methods.method
        def inner(value: int) -> object:
            it.meanwhile = lambda: it.peer.sendall(reply(2, value + 1))
            return it.session.call("from within", value)

        def come() -> None:
            it.peer.sendall(b'{"jsonrpc":"2.0","id":9,"method":"inner","params":[1]}\n')

        def answered() -> bool:
            return any(message.get("id") == 9 and message.get("result") == 2 for message in it.sent())

        it.meanwhile = come
        task = Task(it.session.call, "ask")
        until(answered)
        it.peer.sendall(reply(1, "outer"))
        assert task.result() == "outer"


@pytest.mark.parametrize("timeout", [0.06, 0.2])
def test_a_deadline_behind_the_read_is_kept_from_when_the_call_was_made(timeout: float) -> None:
    ours, peer = memory_sockets()
    with ClientSession(sock=ours) as session, peer:
        peer.sendall(reply(0))
        session.call("first")
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            session.call("late", timeout=timeout)
        assert timeout <= time.monotonic() - began
        peer.sendall(reply(1) + reply(2, "in time"))
        assert session.call("next", timeout=30) == "in time"
        assert no_entries(session), entries(session)


@pytest.mark.parametrize("call_timeout", [0.01, 0.05])
def test_a_default_time_that_is_shorter_than_one_read_is_kept(call_timeout: float) -> None:
    """A plain read cannot be left in time, so none is made: the answer that would come in there comes too late."""
    with scene(call_timeout=call_timeout) as it:
        host = it.session._connected().host
        # That of the first call would keep the second one from the short way.
        until(lambda: (it.session.poll(0), host._first_timer - host.now() >= LONGEST_READ)[1])
        it.meanwhile = partial(it.peer.sendall, reply(1))
        with pytest.raises(TimeoutError):
            it.session.call("ask")
        assert it.reads == 0
        it.meanwhile = None
        it.peer.sendall(reply(1) + reply(2, "in time"))
        assert it.session.call("ask", timeout=30) == "in time"


def test_an_answer_at_the_moment_of_the_deadline_is_either_and_never_both() -> None:
    """The answer is there when the read ends for lack of one: it is read before the time is looked at."""
    ours, peer = memory_sockets()
    with ClientSession(sock=ours) as session, peer:
        peer.sendall(reply(0))
        session.call("first")
        transport: Any = session._connected().host.transport

        def too_late(_: None) -> bytes:
            peer.sendall(reply(1))
            raise BlockingIOError

        transport.reads = map(too_late, [None])
        assert session.call("ask", timeout=0.051) == "answer"
        assert no_entries(session), entries(session)


def test_a_peer_that_is_gone_before_the_call_is_told() -> None:
    with scene() as it:
        it.peer.close()
        with pytest.raises(ConnectionLost):
            it.session.call("ask")
        assert it.reads <= 1


def test_arguments_that_cannot_be_encoded_leave_nothing_behind() -> None:
    with scene() as it:
        with pytest.raises(TypeError):
            it.session.call("ask", object())
        assert it.sent() == []
        it.meanwhile = lambda: it.peer.sendall(reply(1))
        assert it.session.call("ask") == "answer"


class Stop(BaseException):
    """As a KeyboardInterrupt."""


def test_an_interrupt_in_the_read_forgets_the_call_and_drops_its_answer() -> None:
    with scene() as it:

        def interrupt() -> None:
            raise Stop

        it.meanwhile = interrupt
        with pytest.raises(Stop):
            it.session.call("ask")
        assert no_entries(it.session), entries(it.session)
        it.meanwhile = lambda: it.peer.sendall(reply(1, "late") + reply(2))
        assert it.session.call("next") == "answer"
