# SPDX-License-Identifier: MIT
"""A part of a task that others can cancel, on asyncio; see `tieline.runtimes.tasks.CancelScope`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CancelScope"]


class CancelScope:
    """Cheaper than `asyncio.timeout`, which does the same by a timer in any case.

    Args:
        until: When it is cancelled, by the loop's clock; None = by others alone.
    """

    __slots__ = ("_before", "_is_cancelled", "_task", "_timer", "_until")

    def __init__(self, until: float | None = None) -> None:
        self._until = until
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._before = 0
        self._is_cancelled = False

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        if task is not None:
            self._before = task.cancelling()
            if self._until is not None:
                self._timer = task.get_loop().call_at(self._until, self.cancel)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if task is None or not self._is_cancelled:
            return False
        # Somebody else may have cancelled the task as well: that goes on.
        return task.uncancel() <= self._before and exc_type is asyncio.CancelledError

    def cancel(self) -> None:
        task = self._task
        if task is not None and not self._is_cancelled and task is not asyncio.current_task():
            self._is_cancelled = True
            task.cancel()
