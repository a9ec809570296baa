# SPDX-License-Identifier: MIT
"""A stock asyncio loop whose clock stands still until a test moves it; sockets are the system's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.loops import Runtime
from tieline.testing import VirtualClockLoop

__all__ = ["ClockLoop", "on_clock"]

ClockLoop = VirtualClockLoop


def on_clock(async_fn: Callable[[ClockLoop], Awaitable[None]]) -> None:
    """Run ``async_fn(loop)``, with the checks of every asynchronous test. It must not wait for time to pass."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ClockLoop)
        await async_fn(loop)

    Runtime("asyncio with a clock", ClockLoop).run(run, limit=1e9)
