# SPDX-License-Identifier: MIT
"""A loop of asyncio whose clock stands still until it is moved, or jumps; sockets are the system's own."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, Final

from tieline.testing.clock import check_passing

__all__ = ["VirtualClockLoop"]

# That what is due may take until all that follows from it has happened.
TURNS: Final = 30


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A standard asyncio event loop with virtual time, which only `move_to` and `advance` move.

    Run a test on it with ``asyncio.Runner(loop_factory=VirtualClockLoop)``. Code that waits for a time waits until the
    test moves the clock, unless the clock *jumps*. On trio, use ``trio.testing.MockClock``.

    Args:
        jumps: Whether the time jumps to the next timer when nothing else is left to do, so that a program that waits
            for an hour finishes at once. Only for in-memory connections: sockets and threads need real time.

    Attributes:
        at: The time in seconds.
    """

    def __init__(self, *, jumps: bool = False) -> None:
        self.at = 100.0
        super().__init__(_JumpingSelector(self) if jumps else None)

    def time(self) -> float:
        """Return the time in seconds."""
        return self.at

    async def advance(self, seconds: float) -> None:
        """Let so much time pass; see `move_to`.

        Raises:
            ValueError: *seconds* is negative, or no finite number.
        """
        check_passing(seconds)
        await self.move_to(self.at + seconds)

    async def move_to(self, when: float) -> None:
        """Let the time be *when*, with every timer on the way going off at its own time."""
        while due := [one for one in self._armed() if one <= when]:
            self.at = max(self.at, min(due))
            await self.turns()
        self.at = when
        await self.turns()

    async def turns(self, count: int = TURNS) -> None:
        """Let happen what is due, without time passing."""
        for _ in range(count):
            await asyncio.sleep(0)

    def _armed(self) -> list[float]:
        keeps: Any = self  # where asyncio keeps them is not declared
        timers: list[asyncio.TimerHandle] = keeps._scheduled
        return [timer.when() for timer in timers if not timer.cancelled()]


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that lets the time of its loop jump where another one would wait for it to pass."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self._loop.at += timeout
        return ready
