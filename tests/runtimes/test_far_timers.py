# SPDX-License-Identifier: MIT
"""Timers of asyncio's hosts: none is early, none later than the loop's own, and nothing stays when all are lifted."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from weakref import ref

import pytest

from tieline.runtimes.asyncio.far_timers import LOOK, FarTimers
from tieline.runtimes.asyncio.host import current_host
from tieline.runtimes.host import Timer
from tieline.testing import VirtualClock, VirtualClockLoop


def timers() -> tuple[VirtualClock, FarTimers]:
    clock = VirtualClock()
    return clock, FarTimers(clock.call_at, clock.now)


@pytest.mark.parametrize("seconds", [-1, 0, 0.5 * LOOK, LOOK, 1.5 * LOOK, 2 * LOOK, 2.5 * LOOK, 30, 300])
def test_each_goes_off_when_it_is_due(seconds: float) -> None:
    clock, far = timers()
    gone_off: list[float] = []
    far.call_at(clock.time + 1000, lambda: None)  # so there are looks without it, too
    for begin in (0.0, 0.4 * LOOK, 1.1 * LOOK):
        clock.advance(begin)
        due = clock.time + seconds
        far.call_at(due, lambda: gone_off.append(clock.time))
        clock.advance(max(0.0, seconds - 0.001))
        assert not gone_off or seconds <= 0
        clock.advance(0.002)
        assert len(gone_off) == 1
        assert gone_off.pop() == pytest.approx(max(due, clock.time - 0.002), abs=0.0011)


@pytest.mark.parametrize("after", [0, 0.9 * LOOK, 1.1 * LOOK, 4.9 * LOOK])
def test_one_that_is_lifted_does_not_go_off(after: float) -> None:
    clock, far = timers()
    gone_off: list[str] = []
    lifted = far.call_at(clock.time + 5 * LOOK, lambda: gone_off.append("lifted"))
    far.call_at(clock.time + 5 * LOOK, lambda: gone_off.append("kept"))
    clock.advance(after)
    lifted.cancel()
    lifted.cancel()  # harmless
    clock.advance(10 * LOOK)
    assert gone_off == ["kept"]


def test_many_that_come_and_go_take_one_timer_of_the_loop() -> None:
    clock, far = timers()
    for _ in range(1000):
        far.call_at(clock.time + 30, lambda: None).cancel()
        clock.advance(0.01)
        assert len(clock.armed()) <= 1
        assert not far.waiting
    clock.advance(LOOK)
    assert clock.armed() == []  # no look where nothing waits


def test_those_that_are_due_soon_are_the_loops() -> None:
    clock, far = timers()
    far.call_at(clock.time + LOOK / 2, lambda: None)
    assert clock.armed() == [clock.time + LOOK / 2]
    assert not far.waiting


def test_one_that_is_lifted_keeps_nothing_alive() -> None:
    class Called:
        def __call__(self) -> None: ...

    clock, far = timers()
    called = Called()
    known = ref(called)
    timer = far.call_at(clock.time + 30, called)
    gc.disable()
    try:
        del called
        assert known() is not None
        timer.cancel()
        assert known() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("lifted", ["itself", "another"])
def test_timers_may_come_and_go_while_they_are_looked_through(lifted: str) -> None:
    clock = VirtualClock()
    gone_off: list[str] = []
    made: list[Timer] = []

    def call_at(when: float, fn: Callable[[], object]) -> Timer:
        if len(made) == 2 and when == due:  # within the look: as a signal handler might
            made[0 if lifted == "itself" else 1].cancel()
            made.append(far.call_at(when + 30, lambda: gone_off.append("third")))
        return clock.call_at(when, fn)

    far = FarTimers(call_at, clock.now)
    due = clock.time + 1.5 * LOOK
    made += [far.call_at(due, partial(gone_off.append, name)) for name in ("first", "second")]
    clock.advance(60)
    assert gone_off == [{"itself": "second", "another": "first"}[lifted], "third"]


def test_a_look_that_is_interrupted_is_not_the_last() -> None:
    clock = VirtualClock()
    gone_off: list[str] = []
    interrupts = [KeyboardInterrupt()]

    def call_at(when: float, fn: Callable[[], object]) -> Timer:
        if when == due and interrupts:
            raise interrupts.pop()
        return clock.call_at(when, fn)

    far = FarTimers(call_at, clock.now)
    due = clock.time + 2.5 * LOOK
    far.call_at(due, lambda: gone_off.append("due"))
    with pytest.raises(KeyboardInterrupt):
        clock.advance(LOOK)
    clock.advance(2 * LOOK)
    assert gone_off == ["due"]


@pytest.mark.parametrize("seconds", [0.0, 1.5 * LOOK])
def test_a_timer_keeps_nothing_of_the_context_it_was_planned_in(seconds: float) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen: list[str] = []

    async def main() -> None:
        variable.set("the planner's")
        done = asyncio.Event()

        def called() -> None:
            seen.append(variable.get())
            done.set()

        host = current_host()
        host.call_at(host.now() + seconds, called)
        await done.wait()

    loop = VirtualClockLoop(jumps=True)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert seen == ["none"]
