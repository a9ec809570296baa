# SPDX-License-Identifier: MIT
"""Operations that are cancelled at each of their suspensions in turn, on every runtime."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from tests import aio

__all__ = ["run_cancelled"]


class CancelledAt:
    """Awaits a coroutine and has its task cancelled at the *step*-th suspension; counts them."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], step: int, *, together: bool) -> None:
        self.coroutine = coroutine
        self.step = step
        self.together = together
        self.steps = 0

    def __await__(self) -> Generator[Any, Any, object]:
        task = aio.current_task()
        assert task is not None
        feed: Callable[[], Any] = lambda: self.coroutine.send(None)  # noqa: E731  # one of several steps
        while True:
            try:
                awaited = feed()
            except StopIteration as end:
                return end.value
            if self.steps == self.step:
                if self.together:
                    aio.cancel_when_woken(task, awaited)
                else:
                    aio.cancel_soon(task)
            self.steps += 1
            try:
                value = yield awaited
            except BaseException as exc:
                error = exc
                feed = lambda error=error: self.coroutine.throw(error)  # type: ignore[misc]  # noqa: E731  # a lambda with a default, one of several steps
            else:
                feed = lambda value=value: self.coroutine.send(value)  # type: ignore[misc]  # noqa: E731  # a lambda with a default, one of several steps


async def run_cancelled(make: Callable[[], Coroutine[Any, Any, object]], step: int, *, together: bool) -> bool:
    """Run what *make* makes, cancelled at a step; return whether it has that many steps."""
    sweep = CancelledAt(make(), step, together=together)

    async def run() -> object:
        return await sweep

    task = aio.create_task(run())
    await aio.wait_for(aio.wait([task]), 10)
    if not task.cancelled():
        # Its last await was over: either it was too short for the step, or it was done in the same turn.
        error = task.exception()
        assert error is None, error
        assert sweep.steps <= step + 1 or together or aio.on_trio()
    return sweep.steps > step
