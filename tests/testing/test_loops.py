# SPDX-License-Identifier: MIT
"""A loop of asyncio whose time jumps."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tieline.testing import VirtualClock, VirtualClockLoop


def test_on_a_clock_that_jumps_a_day_is_over_at_once() -> None:
    async def day() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.gather(asyncio.sleep(86400), asyncio.sleep(1))
        return loop.time() - start

    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(jumps=True)) as runner:
        assert runner.run(day()) == pytest.approx(86400)


def test_on_a_clock_that_jumps_what_is_ready_comes_before_time_passes() -> None:
    async def read() -> bytes:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"ready")
            async with asyncio.timeout(3600):
                return await asyncio.get_running_loop().sock_recv(ours, 10)

    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(jumps=True)) as runner:
        assert runner.run(read()) == b"ready"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_time_goes_on_and_comes_to_no_end(seconds: float) -> None:
    clock = VirtualClock()
    with pytest.raises(ValueError, match="seconds must be a finite number >= 0"):
        clock.advance(seconds)
    assert clock.time == 100.0
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualClockLoop)
        with pytest.raises(ValueError, match="seconds must be a finite number >= 0"):
            runner.run(loop.advance(seconds))
