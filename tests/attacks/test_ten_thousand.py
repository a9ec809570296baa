# SPDX-License-Identifier: MIT
"""Ten thousand calls that time out or are cancelled leave nothing behind, on neither side."""

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import tieline
from tests import aio
from tests.attacks.attacked import AttackedServer
from tests.attacks.raw import fresh
from tieline.wire.jsonrpc.outgoing import RPCRequestOut

TOTAL = 10_000
AT_ONCE = 500

Session = tieline.ClientSession


def live_timers() -> int:
    """Return how many timers are still to go off (stock asyncio only; other loops show none)."""
    return len(aio.live_timers() or ())


async def timed_out(session: Session, gate: str) -> None:
    with pytest.raises(TimeoutError):
        await session.call("wait_at", gate, timeout=0.02)


async def timed_out_request(session: Session, gate: str) -> None:
    try:
        request = session.send_request("wait_at", [gate], timeout=0.02)
    except tieline.SessionBusy:
        return
    with pytest.raises(TimeoutError):
        await request


async def timed_out_around(session: Session, gate: str) -> None:
    with pytest.raises(TimeoutError):
        async with aio.timeout(0.02):
            await session.call("wait_at", gate)


async def cancelled(session: Session, gate: str) -> None:
    task = aio.create_task(session.call("wait_at", gate))
    await aio.sleep(0)
    await aio.sleep(0)
    task.cancel()
    with pytest.raises(aio.Cancelled):
        await task


async def cancelled_request(session: Session, gate: str) -> None:
    request = session.send_request("wait_at", [gate])
    await aio.sleep(0)
    assert request.cancel()


async def timed_out_batch(session: Session, gate: str) -> None:
    async with session.batch(timeout=0.02) as batch:
        for _ in range(10):
            batch.add_request("wait_at", [gate])
    assert [type(result) for result in batch.results] == [TimeoutError] * 10


# What is done, how many calls that makes, and how often. Waiting for timeouts takes long, so only one of them is done
# ten thousand times.
KINDS: list[tuple[Callable[[Session, str], Awaitable[Any]], int, int]] = [
    (timed_out, 1, TOTAL),
    (timed_out_request, 1, TOTAL // 5),
    (timed_out_around, 1, TOTAL // 5),
    (cancelled, 1, TOTAL),
    (cancelled_request, 1, TOTAL),
    (timed_out_batch, 10, TOTAL // 5),
]


@pytest.mark.row("S7", "S8", "H60")
@pytest.mark.parametrize(("kind", "calls", "total"), KINDS, ids=[kind.__name__ for kind, *_ in KINDS])
async def test_nothing_is_left_of_ten_thousand_calls(
    kind: Callable[[Session, str], Awaitable[Any]], calls: int, total: int, twin: AttackedServer
) -> None:
    before = twin.ask("settle")
    timers = live_timers()
    tasks = len(aio.all_tasks())
    gate = fresh("ten thousand")
    limits = tieline.Limits(call_timeout=30.0)
    async with tieline.connect(twin.urls["v2"]["tcp"], limits=limits) as session:
        for _ in range(total // AT_ONCE):
            await aio.gather(*(kind(session, gate) for _ in range(AT_ONCE // calls)))
        assert session.stats.pending == 0
        assert len(aio.all_tasks()) == tasks + aio.on_trio()  # where a task reads
        twin.ask("open_gate", gate)  # the server answers now, late
        assert await session.call("add", 1, 2) == 3
        assert session.stats.pending == 0
        assert session.stats.errors == 0
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, RPCRequestOut)]
    assert live_timers() <= timers
    after = twin.settled_like(before)
    for name in ("fds", "tasks", "sessions", "running", "pending", "timers"):
        assert after[name] <= before[name], (name, before, after)
    assert after["records"] == before["records"]


@pytest.mark.row("S8")
async def test_calls_with_the_default_timeout_leave_no_timer(twin: AttackedServer) -> None:
    timers = live_timers()
    gate = fresh("default")
    async with tieline.connect(twin.urls["v2"]["unix"], limits=tieline.Limits(call_timeout=0.1)) as session:
        for _ in range(5):
            outcomes = await aio.gather(*(session.call("wait_at", gate) for _ in range(100)), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 100
        assert session.stats.pending == 0
        twin.ask("open_gate", gate)
        assert await session.call("add", 1, 2, timeout=10) == 3
        assert live_timers() <= timers + 1
    assert live_timers() <= timers
