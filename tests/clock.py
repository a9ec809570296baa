# SPDX-License-Identifier: MIT
"""A stock asyncio loop whose clock stands still until a test moves it; sockets are the system's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.loops import Runtime

__all__ = ["ClockLoop", "on_clock"]

TURNS = 30  # that what is due may take until all that follows from it has happened


class ClockLoop(asyncio.SelectorEventLoop):
    """A loop with a time of its own, in seconds."""

    def __init__(self) -> None:
        self.at = 100.0
        super().__init__()

    def time(self) -> float:
        return self.at

    async def move_to(self, when: float) -> None:
        """Let the time be *when*, with every timer on the way going off at its own time."""
        while due := [timer.when() for timer in self._scheduled if not timer.cancelled() and timer.when() <= when]:  # type: ignore[attr-defined]  # where asyncio keeps its timers
            self.at = max(self.at, min(due))
            await self.turns()
        self.at = when
        await self.turns()

    async def turns(self) -> None:
        """Let happen what is due, without time passing."""
        for _ in range(TURNS):
            await asyncio.sleep(0)


def on_clock(async_fn: Callable[[ClockLoop], Awaitable[None]]) -> None:
    """Run ``async_fn(loop)``, with the checks of every asynchronous test. It must not wait for time to pass."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ClockLoop)
        await async_fn(loop)

    Runtime("asyncio with a clock", ClockLoop).run(run, limit=1e9)
