# SPDX-License-Identifier: MIT
"""A part of a task that others can cancel, on trio; see `tieline.runtimes.tasks.CancelScope`."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Self

import trio

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CancelScope"]


class CancelScope:
    """trio's own, as the other runtime has it; *until* is its deadline."""

    __slots__ = ("_scope",)

    def __init__(self, until: float | None = None) -> None:
        self._scope = trio.CancelScope(deadline=inf if until is None else until)

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return bool(self._scope.__exit__(exc_type, exc, traceback))

    def cancel(self) -> None:
        self._scope.cancel()
