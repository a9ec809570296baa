# SPDX-License-Identifier: MIT
"""Limits of time for what most often needs not wait: one that is never waited under costs no timer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

__all__ = ["TimeLimitOver", "within"]

_Result = TypeVar("_Result")


class TimeLimitOver(TimeoutError):
    """The limit of `within` was over; no other error of that class is this one."""


async def within(timeout: float | None, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Return what *coroutine* returns, within *timeout* seconds from where it first has to wait; None = no limit.

    It runs in the task that awaits this.

    Raises:
        TimeLimitOver: It was cancelled, since it has taken longer.
        Exception: What it raises.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        rest = _Rest(coroutine, coroutine.send(None))
    except StopIteration as done:
        at_once: _Result = done.value
        return at_once
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            result: _Result = await rest
            return result
    except TimeoutError:
        if not limit.expired():  # the system's own ETIMEDOUT, or another's limit
            raise
        if task is not None and task.cancelling() > before:  # by its first step: before the limit was there to see it
            raise asyncio.CancelledError from None
        raise TimeLimitOver from None
    finally:
        coroutine.close()  # harmless, but where the limit could not begin


class _Rest:
    """What is left of a coroutine that waits for something.

    Args:
        coroutine: The coroutine.
        awaited: What it has handed to its task to wait for.
    """

    __slots__ = ("_awaited", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine
        try:
            while True:
                try:
                    sent = yield self._taken()
                except BaseException as exc:
                    self._awaited = coroutine.throw(exc)
                else:
                    self._awaited = coroutine.send(sent)
        except StopIteration as done:
            return done.value

    def _taken(self) -> Any:
        """Return what is awaited, and forget it: a future that fails knows this frame, and must not be known by it."""
        awaited, self._awaited = self._awaited, None
        return awaited
