# SPDX-License-Identifier: MIT
"""Async handlers of one read: one task runs them one after another, and none may notice another."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from tests.rpc.sessions import TCP_URL, pair, raw_client, turns, until
from tieline import Limits, Methods, Server, ServerSession, serve
from tieline.rpc.call_engine import CallEngine
from tieline.runtimes.asyncio.host import AsyncioHost, current_host
from tieline.runtimes.link import TURN_SECONDS
from tieline.wire.jsonrpc.codecs import MsgspecCodec

SEEN: ContextVar[object] = ContextVar("SEEN", default="clean")
INTERNAL = -32603
ABSENT = -32601

eager = pytest.mark.skipif(
    not AsyncioHost.starts_eagerly, reason="an async handler starts in the next turn, behind what is answered at once"
)


def asks(*names: str) -> list[dict[str, Any]]:
    """Return a request of each of these methods, with their places as ids."""
    return [{"jsonrpc": "2.0", "id": number, "method": name} for number, name in enumerate(names)]


async def answers(server: Server, messages: list[Any], *, count: int | None = None) -> list[Any]:
    """Send *messages* in one write; return results and codes of errors, by the order of the ids."""
    async with raw_client(server) as peer:
        peer.send(*messages)
        lines = [await peer.line() for _ in range(len(messages) if count is None else count)]
        by_id = {line["id"]: line.get("result", line.get("error", {}).get("code")) for line in lines}
        assert len(by_id) == len(lines)
        return [by_id[number] for number in sorted(by_id)]


class Odd:
    """Refuses to be compared, as arrays do."""

    def __eq__(self, other: object) -> bool:
        raise LookupError

    __hash__ = object.__hash__


class Calls(Methods):
    """Handlers of every kind, and what has happened in them."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []
        self.tasks: dict[str, Any] = {}
        self.gate = asyncio.Event()

        @self.method
        async def ready() -> str:
            self.told.append("ready")
            return "ready"

        @self.method
        async def number() -> int:
            self.told.append("number")
            return 1

        @self.method
        def plain() -> int:
            self.told.append("plain")
            return 2

        @self.method(ordered=True)
        async def note() -> None:
            self.told.append("note")

        @self.method
        async def waits() -> str:
            self.told.append("waits")
            self.tasks["waits"] = asyncio.current_task()
            await self.gate.wait()
            return "waited"

        @self.method
        async def opens() -> None:
            self.gate.set()


# --- one after another -----------------------------------------------------------------------------------------------


@pytest.mark.row("S9", "S4", "R1")
async def test_a_handler_that_waits_holds_up_no_other():
    calls = Calls()
    async with serve(calls, TCP_URL) as server:
        names = ["ready", "waits", "number", "plain", "waits", "ready", "opens"]
        assert await answers(server, asks(*names)) == ["ready", "waited", 1, 2, "waited", "ready", None]
    assert calls.told == names[:-1]


@eager
@pytest.mark.row("S9")
async def test_results_that_are_encoded_later_leave_in_order_with_those_that_are_not():
    calls = Calls()
    async with serve(calls, TCP_URL) as server, raw_client(server) as peer:
        names = ["number", "ready", "number", "plain", "absent", "number", "ready", "plain"]
        peer.send(*asks(*names))
        assert [(await peer.line())["id"] for _ in names] == list(range(len(names)))


@pytest.mark.row("S9")
@pytest.mark.parametrize("names", [["number"] * 50, ["number", "plain", "ready", "note"] * 12, ["waits"] * 20])
async def test_a_walk_that_takes_too_long_goes_on_in_the_next_turn(names: list[str], monkeypatch: pytest.MonkeyPatch):
    calls = Calls()
    calls.gate.set()
    async with serve(calls, TCP_URL) as server, raw_client(server) as peer:
        host = current_host()
        now, looks = host.now, 0

        def later() -> float:
            nonlocal looks
            looks += 1
            return now() + looks * TURN_SECONDS  # each look at the clock ends a turn

        monkeypatch.setattr(host, "now", later)
        peer.send(*asks(*names))
        ids = [(await peer.line())["id"] for _ in names]
        monkeypatch.undo()
    assert calls.told == names
    assert sorted(ids) == list(range(len(names)))


@eager
@pytest.mark.row("S9")
@pytest.mark.parametrize("name", ["plain", "number"])
@pytest.mark.parametrize(("room", "most"), [(1, 3), (6, 7), (12, 15), (30, 31), (20, 23), (32, 39)])
async def test_slow_handlers_get_turns_that_are_not_twice_as_long_as_they_may_be(
    name: str, room: int, most: int, monkeypatch: pytest.MonkeyPatch
):
    calls = Calls()
    async with serve(calls, TCP_URL) as server, raw_client(server) as peer:
        peer.send(*asks("plain"))
        await peer.line()  # the connection stands
        host, handle_events, handled = current_host(), CallEngine.handle_events, []
        began = host.now()

        def later() -> float:
            return began + 1.001 * len(calls.told) * TURN_SECONDS / room  # as many take as long as a turn may

        def told(engine: CallEngine, events: Sequence[Any], until: float, /) -> int:
            handled.append(handle_events(engine, events, until))
            return handled[-1]

        monkeypatch.setattr(host, "now", later)
        monkeypatch.setattr(CallEngine, "handle_events", told)
        peer.send(asks(*[name] * 60))
        await peer.line()
        monkeypatch.undo()
    assert max(handled) == most  # it is looked at the clock behind 3, 7 and 15 of a turn, then every eighth
    assert sum(handled) == 60


@eager
async def test_what_a_handler_makes_the_methods_of_its_session_holds_for_the_next_request():
    for switch in ("switch", "switch at once"):
        for name in ("which", "which at once"):
            both = {text: Methods() for text in ("old", "new")}
            for text, methods in both.items():

                @methods.method
                async def which(text: str = text) -> str:
                    return text

                @methods.method(name="which at once")
                def plainly(text: str = text) -> str:
                    return text

                @methods.method(name="switch at once")
                def switch_at_once(session: ServerSession) -> None:
                    session.methods = both["new"]  # noqa: B023  # it runs before the next round

                @methods.method(name="switch")
                async def switch_later(session: ServerSession) -> None:
                    session.methods = both["new"]  # noqa: B023  # as above

            async with serve(both["old"], TCP_URL) as server:
                assert await answers(server, asks(name, switch, name)) == ["old", None, "new"]


# --- what one leaves behind ------------------------------------------------------------------------------------------


@pytest.mark.row("S4", "R3")
@pytest.mark.parametrize("value", ["set", Odd()], ids=["a text", "a value that cannot be compared"])
async def test_what_a_handler_sets_reaches_no_other_of_the_same_read(value: object):
    calls = Calls()

    @calls.method
    def sets() -> bool:
        before = SEEN.get()
        SEEN.set(value if before is start else "leaked")
        return before is start

    @calls.method(name="sets as a task")
    async def sets_as_a_task() -> bool:
        return sets()

    start = Odd()
    SEEN.set(start)
    async with serve(calls, TCP_URL) as server:
        for kind in ("sets", "sets as a task"):
            assert await answers(server, asks(kind, "number", kind, "plain", kind)) == [True, 1, True, 2, True]
            assert await answers(server, asks(kind, "plain", kind, kind, "absent")) == [True, 2, True, True, ABSENT]


class Telling(MsgspecCodec):
    """Tells what it sees where it encodes a result, and sets it."""

    def __init__(self, seen: list[object]) -> None:
        super().__init__()
        self._seen = seen

    def encode(self, obj: object) -> bytes:
        if isinstance(obj, dict) and "before" in obj:
            self._seen.append(SEEN.get())
            SEEN.set("a codec's")
        return super().encode(obj)


@pytest.mark.row("S4", "R3")
@pytest.mark.parametrize("names", [["sets"], ["sets", "plain", "fails", "sets", "plain"]], ids=["alone", "of many"])
async def test_what_a_handler_sets_is_not_seen_by_logs_nor_codecs_nor_what_they_set_by_it(
    names: list[str], caplog: pytest.LogCaptureFixture
):
    calls, at_codec, at_log = Calls(), list[object](), list[object]()

    @calls.method
    def sets() -> dict[str, object]:
        before = SEEN.get()
        SEEN.set("leaked")
        return {"before": before}

    @calls.method
    def fails() -> None:
        sets()
        raise LookupError

    def told(_: logging.LogRecord) -> bool:
        at_log.append(SEEN.get())
        return True

    caplog.handler.addFilter(told)
    async with serve(calls, TCP_URL, codec=Telling(at_codec)) as server:
        whole = await answers(server, asks(*names))
    assert [one for one in whole if isinstance(one, dict)] == [{"before": "clean"}] * names.count("sets")
    assert len(at_codec) >= names.count("sets")
    assert "leaked" not in at_codec
    assert len(at_log) == names.count("fails")
    assert "leaked" not in at_log


@pytest.mark.row("S4", "S9")
async def test_plain_handlers_that_leave_something_behind_take_no_longer_a_turn(monkeypatch: pytest.MonkeyPatch):
    calls = Calls()

    @calls.method
    def sets() -> None:
        calls.told.append("sets")
        SEEN.set("set")

    async with serve(calls, TCP_URL) as server, raw_client(server) as peer:
        peer.send(*asks("plain"))
        await peer.line()  # the connection stands
        host, handle_events, handled = current_host(), CallEngine.handle_events, []
        began = host.now()

        def later() -> float:
            return began + 1.001 * len(calls.told) * TURN_SECONDS / 6  # six take as long as a turn may

        def told(engine: CallEngine, events: Sequence[Any], until: float, /) -> int:
            handled.append(handle_events(engine, events, until))
            return handled[-1]

        monkeypatch.setattr(host, "now", later)
        monkeypatch.setattr(CallEngine, "handle_events", told)
        peer.send(asks(*["sets"] * 30))
        answered = await peer.line()
        monkeypatch.undo()
    assert [one["id"] for one in answered] == [*range(30)]
    assert handled[0] == 6  # the clock is looked at behind each of them
    assert max(handled) <= 7
    assert sum(handled) == 30


async def _cancels_itself() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "returned"


async def _cancels_itself_and_waits() -> None:
    await _cancels_itself()
    await asyncio.sleep(0)


async def _raises(error: BaseException) -> None:
    raise error


async def _has_time() -> str:
    async with asyncio.timeout(10):  # noqa: ASYNC100  # it finds its task in the first step, which is the point
        return "in time"


async def _has_no_time() -> str:
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        return "too late"
    return "never"


async def _has_children() -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0, text)) for text in "ab"]
    return [task.result() for task in tasks]


@pytest.mark.row("S5", "S9")
@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        (_cancels_itself, "returned"),
        (_cancels_itself_and_waits, INTERNAL),
        (lambda: _raises(asyncio.CancelledError()), INTERNAL),
        (lambda: _raises(StopIteration()), INTERNAL),
        (lambda: _raises(StopAsyncIteration()), INTERNAL),
        (lambda: _raises(GeneratorExit()), INTERNAL),
        (_has_time, "in time"),
        (_has_no_time, "too late"),
        (_has_children, ["a", "b"]),
    ],
)
async def test_whatever_one_handler_does_the_others_are_answered(handler: Callable[[], Any], answer: object):
    calls = Calls()

    @calls.method
    async def odd() -> object:
        return await handler()

    @calls.method
    async def is_sound() -> bool:
        task = asyncio.current_task()
        await asyncio.sleep(0)
        return task is not None and not task.cancelling() and task is asyncio.current_task()

    async with serve(calls, TCP_URL) as server:
        names = ["number", "odd", "is_sound", "odd", "plain", "odd", "number", "is_sound"]
        assert await answers(server, asks(*names)) == [1, answer, True, answer, 2, answer, 1, True]
        await until(lambda: not any(session.stats.running for session in server.sessions))


async def test_to_cancel_the_task_of_one_request_hits_no_other():
    calls = Calls()

    @calls.method
    async def cancel() -> None:
        calls.tasks["waits"].cancel()

    @calls.method
    async def sleeps() -> str:
        await asyncio.sleep(0)
        return "slept"

    async with serve(calls, TCP_URL) as server:
        names = ["number", "sleeps", "waits", "cancel", "sleeps", "number"]
        assert await answers(server, asks(*names)) == [1, "slept", INTERNAL, None, "slept", 1]


@pytest.mark.row("S4", "S9", "R3")
@pytest.mark.parametrize("new_table", [dict, weakref.WeakKeyDictionary], ids=["strongly", "weakly"])
async def test_what_is_kept_by_its_task_is_seen_by_no_other(new_table: Callable[[], Any]):
    calls = Calls()
    users: Any = new_table()

    @calls.method
    async def login() -> object:
        return users.setdefault(asyncio.current_task(), "root")

    @calls.method
    async def whoami() -> object:
        return users.get(asyncio.current_task(), "nobody")

    async with serve(calls, TCP_URL) as server:
        names = ["number", "login", "whoami", "login", "plain", "whoami"]
        assert await answers(server, asks(*names)) == [1, "root", "nobody", "root", 2, "nobody"]


async def test_the_task_of_a_handler_that_has_returned_is_done_and_to_cancel_it_hits_no_other():
    calls = Calls()

    @calls.method
    async def keeps() -> None:
        calls.tasks["kept"] = asyncio.current_task()

    @calls.method
    async def cancels() -> list[bool]:
        calls.tasks["kept"].cancel()
        return [calls.tasks["kept"].done(), calls.tasks["kept"] is asyncio.current_task()]

    @calls.method
    async def sleeps() -> str:
        await asyncio.sleep(0)
        return "slept"

    async with serve(calls, TCP_URL) as server:
        names = ["keeps", "sleeps", "cancels", "number"]
        assert await answers(server, asks(*names)) == [None, "slept", [True, False], 1]


@eager
async def test_handlers_that_leave_nothing_behind_share_a_task():
    calls = Calls()
    seen: list[int] = []

    @calls.method
    async def looks() -> None:
        task = asyncio.current_task()
        assert task is not None
        seen.append(id(task))

    async with serve(calls, TCP_URL) as server:
        await answers(server, asks(*["looks"] * 20))
    assert len(set(seen)) == 1


@pytest.mark.row("J11")
async def test_a_handler_in_the_midst_of_a_walk_has_its_time_limit():
    calls = Calls()
    async with serve(lambda: ServerSession(methods=calls, limits=Limits(handler_timeout=0.02)), TCP_URL) as server:
        assert await answers(server, asks("number", "waits", "number", "waits", "ready")) == [1, -102, 1, -102, "ready"]


async def test_the_task_of_a_handler_that_has_waited_is_gone_without_a_collection():
    calls = Calls()
    tasks: list[weakref.ref[Any]] = []

    @calls.method
    async def sleeps() -> None:
        tasks.append(weakref.ref(asyncio.current_task()))
        await asyncio.sleep(0)

    async with pair(calls) as both:
        gc.collect()
        gc.disable()
        try:
            async with both.client.batch() as batch:
                for name in ("sleeps", "number", "sleeps"):
                    batch.add_request(name)
            await until(lambda: not any(task() for task in tasks), "a cycle keeps the task alive")
        finally:
            gc.enable()


@pytest.mark.row("S13")
@pytest.mark.parametrize("left", ["task", "callback"])
async def test_what_a_handler_left_behind_closes_the_session_and_the_next_one_is_answered(left: str):
    calls = Calls()
    tasks: set[asyncio.Task[None]] = set()

    @calls.method
    async def bye(session: ServerSession) -> str:
        async def close() -> None:
            await until(lambda: "waits" in calls.told)
            closing = asyncio.create_task(session.aclose(force_after=30))
            await turns()
            calls.gate.set()
            await closing

        if left == "task":
            tasks.add(asyncio.create_task(close()))
        else:
            asyncio.get_running_loop().call_soon(lambda: tasks.add(asyncio.create_task(close())))
        return "bye"

    async with serve(calls, TCP_URL) as server, asyncio.timeout(5):
        assert await answers(server, asks("number", "bye", "waits", "number")) == [1, "bye", "waited", 1]
        await asyncio.gather(*tasks)


# --- closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("S13", "H61")
@pytest.mark.parametrize("how", ["first step", "after waiting", "child", "child after waiting", "at once"])
@pytest.mark.parametrize("before", [[], ["number"], ["number", "note"], ["note"], ["waits", "note", "number"]])
async def test_a_handler_closes_its_session_and_all_others_are_answered(how: str, before: list[str]):
    calls = Calls()
    closed = asyncio.Event()

    @calls.method
    async def bye(session: ServerSession) -> str:
        if "after" in how:
            await asyncio.sleep(0)
        calls.gate.set()
        if how == "at once":
            session.close()
        elif "child" in how:
            await asyncio.create_task(session.aclose(force_after=30))
        else:
            await session.aclose(force_after=30)
        closed.set()
        return "bye"

    messages = asks(*before, "bye", "number", "waits", "plain")
    for message in messages:
        if message["method"] == "note":
            del message["id"]
    # Who only begins to close goes on to be answered; who waits for the end cannot be.
    count = len(messages) - before.count("note") - (how != "at once")
    async with serve(calls, TCP_URL) as server:
        async with asyncio.timeout(5):
            found = await answers(server, messages, count=count)
            await closed.wait()
    assert found[-3:] == [1, "waited", 2]
    assert ("bye" in found) is (how == "at once")
