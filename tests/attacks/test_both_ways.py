# SPDX-License-Identifier: MIT
"""Both ends call each other over one connection, as fast as they can: nothing stalls.

The other end is a process of its own. TIELINE_LONG=1 runs the full five seconds.
"""

import os
from typing import Any

import pytest

import tieline
from tests import aio
from tests.attacks.attacked import AttackedServer
from tests.attacks.victims import Pace, pound

SECONDS = 5.0 if os.environ.get("TIELINE_LONG") else 0.6
SIZE = 100_000

methods = tieline.Methods()


@methods.method
def size_of(value: Any) -> int:
    return len(value)


@methods.method
def echo(value: Any) -> Any:
    return value


@methods.method
async def bounce(session: tieline.SessionBase, times: int) -> int:
    return 0 if not times else 1 + await session.call("bounce", times - 1)


def check_pace(side: str, pace: Pace | dict[str, Any], *, busy: bool = False) -> None:
    """See that calls of one side went on and on, and none failed (but for SERVER_BUSY where that may be)."""
    seen = pace if isinstance(pace, dict) else vars(pace)
    refused = {text: count for text, count in seen["errors"].items() if not (busy and "-102" in text)}
    assert not refused, (side, refused)
    assert seen["done"] > 0, (side, seen)
    assert seen["longest"] <= 1.0, f"{side}: no answer for {seen['longest']:.2f} s; per 100 ms: {seen['tenths']}"


@pytest.mark.row("S10")
@pytest.mark.parametrize("method", ["size_of", "echo"])
async def test_both_ends_flat_out_with_100_kb_arguments(method: str, way: str, twin: AttackedServer) -> None:
    seconds = SECONDS if method == "size_of" else SECONDS / 3
    async with twin.connect("v2", way, methods) as session:
        theirs, ours = await aio.gather(
            session.call("pound", method, SIZE, 8, seconds, timeout=60), pound(session, method, SIZE, 8, seconds)
        )
        # Answers of 100 KB that wait make an end refuse requests: reading must go on all the same.
        check_pace("server", theirs, busy=method == "echo")
        check_pace("client", ours, busy=method == "echo")
        assert await session.call("add", 1, 2) == 3
        assert session.stats.pending == 0


@pytest.mark.row("S10")
@pytest.mark.parametrize("workers", [64, 500])
async def test_both_ends_flat_out_with_their_bounds_reached(workers: int, twin: AttackedServer) -> None:
    limits = tieline.Limits(max_pending=4)
    async with tieline.connect(twin.urls["narrow"]["tcp"], methods, limits=limits) as session:
        theirs, ours = await aio.gather(
            session.call("pound", "size_of", SIZE, workers, 0.3, timeout=60),
            pound(session, "size_of", SIZE, workers, 0.3),
        )
        check_pace("server", theirs, busy=True)
        check_pace("client", ours, busy=True)
        assert await session.call("add", 1, 2) == 3


@pytest.mark.row("S10")
async def test_64_handlers_that_call_back_over_their_connection(way: str, twin: AttackedServer) -> None:
    async with twin.connect("v2", way, methods) as session, aio.timeout(20):
        for _ in range(10):
            answers = await aio.gather(*(session.call("call_back", "echo", number) for number in range(64)))
            assert answers == list(range(64))


@pytest.mark.row("S10")
async def test_big_arguments_both_ways_through_handlers_that_call_back(way: str, twin: AttackedServer) -> None:
    text = "b" * SIZE
    async with twin.connect("v2", way, methods) as session, aio.timeout(30):
        answers = await aio.gather(*(session.call("call_back", "size_of", text) for _ in range(64)))
        assert answers == [SIZE] * 64


@pytest.mark.row("S10")
async def test_handlers_of_both_ends_call_back_at_once(twin: AttackedServer) -> None:
    """At most 16 + 16 + 24 requests are unanswered on either side: within the bound of 64."""
    async with tieline.connect(twin.urls["v2"]["tcp"], methods) as session, aio.timeout(30):
        theirs, ours, bounced = await aio.gather(
            session.call("pound", "bounce", 3, 8, 0.5, timeout=60),
            pound(session, "bounce", 3, 8, 0.5),
            aio.gather(*(session.call("bounce", 7) for _ in range(6))),
        )
        check_pace("server", theirs)
        check_pace("client", ours)
        assert bounced == [7] * 6


@pytest.mark.row("S10", "J11")
@pytest.mark.parametrize(("kind", "count"), [("narrow", 64), ("v2", 640)])
async def test_calls_over_the_bound_of_a_server_that_calls_back_are_refused(
    kind: str, count: int, twin: AttackedServer
) -> None:
    """More calls at once than it accepts, from whose handlers it calls back: each is answered, or gets SERVER_BUSY."""
    async with tieline.connect(twin.urls[kind]["unix"], methods) as session, aio.timeout(20):
        calls = [session.call("call_back", "echo", number) for number in range(count)]
        outcomes = await aio.gather(*calls, return_exceptions=True)
        answered = [number for number, outcome in enumerate(outcomes) if outcome == number]
        refused = [one.code for one in outcomes if isinstance(one, tieline.RPCError)]
        assert len(answered) + len(refused) == count
        assert len(answered) >= 4
        assert set(refused) == {tieline.JSONRPC.SERVER_BUSY}
        assert await session.call("add", 1, 2) == 3


@pytest.mark.row("S10")
async def test_both_bounds_reached_by_handlers_that_call_back(twin: AttackedServer) -> None:
    """4 calls at once each way, 4 accepted each way: the windows fit, so nothing is refused."""
    limits = tieline.Limits(max_pending=4, max_calls=4)
    async with tieline.connect(twin.urls["narrow"]["tcp"], methods, limits=limits) as session, aio.timeout(20):
        answers = await aio.gather(*(session.call("call_back", "echo", number) for number in range(200)))
        assert answers == list(range(200))
