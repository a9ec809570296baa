# SPDX-License-Identifier: MIT
"""Handlers start in arrival order, whatever kind they are, and each in a context of its own."""

from __future__ import annotations

import json
from contextlib import nullcontext
from contextvars import ContextVar
from functools import partial
from itertools import count, pairwise
from math import inf
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import TCP_URL, pair, raw_client, raw_server, until
from tieline import ConnectionLost, Governance, Limits, Methods, RPCError, RPCRequest, ServerSession, serve
from tieline.runtimes.asyncio.host import current_host
from tieline.runtimes.link import TURN_SECONDS

START: ContextVar[str] = ContextVar("START", default="clean")


def mixed() -> tuple[Methods, list[int]]:
    """Return handlers of every kind and the order in which they started."""
    methods = Methods()
    started: list[int] = []

    @methods.method
    def plain(n: int) -> int:
        started.append(n)
        return n

    @methods.method
    async def ready(n: int) -> int:
        started.append(n)
        return n

    @methods.method
    async def slow(n: int) -> int:
        started.append(n)
        await aio.sleep(0)
        return n

    @methods.method
    async def fails(n: int) -> None:
        started.append(n)
        raise LookupError

    return methods, started


def order_of(kinds: int) -> list[str]:
    """Return names of methods in an order that has each kind behind each other kind, and behind itself."""
    names = ["plain", "ready", "slow", "fails"]
    return [names[(n * n // 3 + n // 5) % len(names)] for n in range(kinds)]


@pytest.mark.row("S9")
async def test_handlers_of_one_chunk_start_in_arrival_order_whatever_kind_they_are():
    methods, started = mixed()
    names = order_of(60)
    assert {(a, b) for a, b in pairwise(names)} >= {
        ("plain", "ready"), ("ready", "plain"), ("slow", "plain"), ("plain", "slow"), ("slow", "slow"),
    }  # fmt: skip
    async with serve(methods, TCP_URL) as server, raw_client(server) as peer:
        peer.send(*({"jsonrpc": "2.0", "id": n, "method": name, "params": [n]} for n, name in enumerate(names)))
        answers = [await peer.line() for _ in names]
    assert started == list(range(60))
    assert sorted(answer["id"] for answer in answers) == list(range(60))


@pytest.mark.row("S9")
@pytest.mark.asyncio_only("trio runs tasks that are ready in any order")
@pytest.mark.parametrize("turn", ["long", "short"])
@pytest.mark.parametrize("kind", ["ready", "waits"])
@pytest.mark.parametrize(("before", "calls"), [(1, 1), (28, 1), (28, 2), (64, 1), (100, 1), (128, 1), (200, 1)])
async def test_what_came_before_an_answer_is_begun_before_the_caller_goes_on(
    before: int, calls: int, kind: str, turn: str, monkeypatch: pytest.MonkeyPatch
):
    begun: list[int] = []
    methods = Methods()
    gate = aio.Event()

    @methods.method
    async def ready(n: int) -> None:
        begun.append(n)

    @methods.method
    async def waits(n: int) -> None:
        begun.append(n)
        await gate.wait()

    async def ask() -> list[int]:
        await session.call("ask")
        return [*begun]

    async with raw_server(methods=methods) as (session, peer), aio.TaskGroup() as group:
        callers = [group.create_task(ask()) for _ in range(calls)]
        requests = [await peer.line() for _ in callers]
        messages: list[object] = [{"jsonrpc": "2.0", "method": kind, "params": [n]} for n in range(before)]
        messages += ({"jsonrpc": "2.0", "id": request["id"], "result": "done"} for request in requests)
        if turn == "short":
            host = current_host()
            now, looks = host.now, count(1)
            # Two looks at the clock end a turn: it takes seven events, or less where others look as well.
            monkeypatch.setattr(host, "now", lambda: now() + next(looks) * 0.6 * TURN_SECONDS)
        peer.send(b"\n".join(json.dumps(message).encode() for message in messages))  # in one write
        seen = [await caller for caller in callers]
        monkeypatch.undo()
        gate.set()
    assert seen == [[*range(before)]] * calls


@pytest.mark.row("S9", "S11")
@pytest.mark.parametrize(
    ("error", "waiting"),
    [(None, 0), (RPCError(1, "no"), 0), (TimeoutError("too late"), 10), (ConnectionLost("it was"), 10)],
)
@pytest.mark.parametrize("calls", [1, 2])
async def test_only_where_the_peer_ends_a_call_handlers_in_front_need_no_places(
    error: Exception | None, waiting: int, calls: int
):
    methods = Methods()

    @methods.method
    async def waits() -> None:
        await aio.Event().wait()

    async with raw_server(methods=methods) as (session, peer):
        engine = session._engine
        assert engine is not None
        peer.send(*[{"jsonrpc": "2.0", "method": "waits"}] * 30)
        await until(lambda: engine.handling.waiting == 10)
        waiters: list[Any] = [engine.host.new_waiter() for _ in range(calls)]
        engine.handle_events([(waiter, None, error) for waiter in waiters], inf)
        left = engine.handling.waiting
        for waiter in waiters:
            with pytest.raises(type(error)) if error else nullcontext():
                await waiter
        session.abort()
    assert left == waiting


@pytest.mark.row("S9", "S11")
@pytest.mark.asyncio_only("trio runs tasks that are ready in any order")
async def test_a_peer_that_costs_too_much_gets_no_places_by_an_answer():
    methods = Methods()

    @methods.method
    async def waits() -> None:
        await aio.Event().wait()

    limits = Limits(governance=Governance(cost_soft_limit=1, cost_hard_limit=1e9, cost_sleep=0))
    async with raw_server(methods=methods, limits=limits) as (session, peer):
        engine = session._engine
        assert engine is not None
        session.bump_cost(1e6)
        peer.send(*[{"jsonrpc": "2.0", "method": "waits"}] * 30)
        await until(lambda: engine.handling.waiting)
        assert engine.machine.is_strained
        waiting = engine.handling.waiting
        engine.handle_events([(engine.host.new_waiter(), None, None)], inf)
        left = engine.handling.waiting
        session.abort()
    assert left == waiting


@pytest.mark.row("S9")
async def test_handlers_of_a_batch_and_of_two_chunks_start_in_arrival_order():
    methods, started = mixed()
    async with serve(methods, TCP_URL) as server, raw_client(server) as peer:
        calls = [{"jsonrpc": "2.0", "id": n, "method": name, "params": [n]} for n, name in enumerate(order_of(40))]
        peer.send(calls[:10], *calls[10:25], calls[25:30])
        await until(lambda: started)
        peer.send(*calls[30:])
        await until(lambda: len(started) == 40)
    assert started == list(range(40))


@pytest.mark.row("S9", "S4")
async def test_handlers_start_in_order_also_behind_an_overridden_handle_request():
    started: list[object] = []

    class Sees(ServerSession):
        async def handle_request(self, request: RPCRequest) -> object:
            started.append(request.request_id)
            await aio.sleep(0)
            return None

    async with serve(Sees, TCP_URL) as server, raw_client(server) as peer:
        peer.send(*({"jsonrpc": "2.0", "id": n, "method": "any"} for n in range(30)))
        for _ in range(30):
            await peer.line()
    assert started == list(range(30))


@pytest.mark.row("S9")
async def test_an_ordered_notification_starts_when_the_one_before_has_finished():
    methods = Methods()
    told: list[str] = []

    @methods.method(ordered=True)
    async def note(n: int) -> None:
        told.append(f"{n} begins")
        for _ in range(3 - n):
            await aio.sleep(0)
        if n == 1:
            raise LookupError  # which stops nothing
        told.append(f"{n} ends")

    @methods.method(ordered=True)
    def plain(n: int) -> None:
        told.append(f"{n} plain")

    @methods.method
    async def other() -> str:
        told.append("other")
        return "answer"

    async with pair(methods) as both:
        for n in range(3):
            await both.client.notify("note", n)
        await both.client.notify("plain", 3)
        assert await both.client.call("other") == "answer"  # which does not wait for them
        await until(lambda: "3 plain" in told)
        told.remove("other")
        assert told == ["0 begins", "0 ends", "1 begins", "2 begins", "2 ends", "3 plain"]
        await both.client.notify("note", 0)  # and it begins anew
        await until(lambda: len(told) == 8)


@pytest.mark.row("S9")
async def test_only_notifications_are_ordered_not_requests_of_the_same_method():
    methods = Methods()
    gate = aio.Event()
    started: list[int] = []

    @methods.method(ordered=True)
    async def note(n: int) -> int:
        started.append(n)
        await gate.wait()
        return n

    async with pair(methods) as both:
        await both.client.notify("note", 0)
        await both.client.notify("note", 1)
        calls = [both.client.send_request("note", [n]) for n in (2, 3)]
        await until(lambda: len(started) == 3)
        assert started == [0, 2, 3]
        gate.set()
        assert await aio.gather(*calls) == [2, 3]
        await until(lambda: started == [0, 2, 3, 1])


@pytest.mark.row("S9")
async def test_ordered_notifications_that_still_wait_when_the_connection_goes_are_dropped():
    methods = Methods()
    told: list[str] = []

    @methods.method(ordered=True)
    async def note(n: int) -> None:
        told.append(f"{n} begins")
        try:
            await aio.Event().wait()
        finally:
            told.append(f"{n} ends")

    async with pair(methods) as both:
        for n in range(5):
            await both.client.notify("note", n)
        await until(lambda: told)
        both.peer.abort()
        await both.peer.wait_closed()
        await until(lambda: not both.peer.stats.running)
    assert told == ["0 begins", "0 ends"]


@pytest.mark.row("S4", "S9")
@pytest.mark.parametrize("kind", ["plain", "ready", "slow", "note", "seen"])
async def test_what_a_handler_sets_in_its_context_reaches_no_other_handler(kind: str):
    methods = Methods()
    seen: list[str] = []

    @methods.method
    def plain() -> None:
        seen.append(START.get())
        START.set("plain")

    @methods.method
    async def ready() -> None:
        plain()

    @methods.method
    async def slow() -> None:
        plain()
        await aio.sleep(0)
        assert START.get() == "plain"

    @methods.method(ordered=True)
    async def note() -> None:
        await slow()

    class Sees(ServerSession):
        async def handle_request(self, request: RPCRequest) -> object:
            if kind == "seen":
                return plain()
            return await super().handle_request(request)

    session_class = Sees if kind == "seen" else ServerSession
    async with pair(methods, session_class=session_class) as both:
        for _ in range(3):
            await both.client.notify(kind)
        batch = both.client.new_batch()
        for name in ("plain", "ready", "slow", "plain"):
            batch.add_request(name)
        both.client.send_batch(batch)
        await batch
        await until(lambda: len(seen) == 7)
    assert set(seen) == {"clean"}


@pytest.mark.row("S4", "S9")
@pytest.mark.parametrize("kind", ["plain", "slow"])
@pytest.mark.parametrize("reads", [1, 6])
async def test_a_handler_that_lets_the_reading_go_on_hands_its_context_to_nobody(kind: str, reads: int):
    methods = Methods()
    seen: list[str] = []

    @methods.method
    def plain() -> None:
        seen.append(START.get())
        START.set("plain")

    @methods.method
    async def slow() -> None:
        plain()
        await aio.sleep(0)

    limits = Limits(max_pending=1)  # so reading stops at each of them, and goes on when that has been answered
    messages = [{"jsonrpc": "2.0", "id": n, "method": "slow" if n < 2 else kind} for n in range(6)]
    new_session = partial(ServerSession, methods=methods, limits=limits)
    async with serve(new_session, TCP_URL) as server, raw_client(server) as peer:
        for read in range(reads):
            part = messages[read::reads]
            peer.send(*part)
            for _ in part:
                await peer.line()
    assert seen == ["clean"] * 6
