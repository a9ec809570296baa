# SPDX-License-Identifier: MIT
"""What one task of asyncio waits for that is woken by a callback of a transport, at once.

A loop takes for a future whatever behaves like one towards a task. A real one costs three times as much: to make it
asks the loop whether it debugs, its result comes out of an exception, and its callbacks go by the loop.
"""

from __future__ import annotations

from asyncio import CancelledError, InvalidStateError
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator
    from contextvars import Context

__all__ = ["PromptWaiter"]


class PromptWaiter:
    """See `tieline.runtimes.host.Waiter`; `AsyncioHost.wake` has its task go on at once.

    That is within the callback that has brought what it waits for. A future has it go on one turn of the loop later,
    and a turn is a system call and a good part of what a round trip costs. Many that are woken together share a turn,
    and are cheaper as futures.

    `AsyncioHost.new_prompt_waiter` makes it, and sets what it has: a constructor would be one call more.

    Attributes:
        is_done: It is complete.
        value: What it was completed with; there once it is. The message of a cancellation.
        error: The exception that it was completed with instead; the class alone when it was cancelled.
        wake_up: How the task is woken; None when none waits.
        context: In which context; there while one waits.
        get_loop: Returns the loop; a task asks for it. An attribute, so that it may be none of Python.
    """

    __slots__ = (
        "__weakref__",
        "_asyncio_future_blocking",
        "context",
        "error",
        "get_loop",
        "is_done",
        "value",
        "wake_up",
    )

    is_done: bool
    value: Any
    error: BaseException | type[CancelledError] | None
    wake_up: Callable[[Any], object] | None
    context: Context
    get_loop: Callable[[], asyncio.AbstractEventLoop | None]

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.is_done:
            self._asyncio_future_blocking = True  # says to a task that it is no bare `yield`
            yield self
        return self.result()

    def done(self) -> bool:
        return self.is_done

    def set_result(self, result: Any, /) -> None:
        if self.is_done:
            raise InvalidStateError("the waiter is complete already")
        self.is_done = True
        self.value = result
        if self.wake_up is not None:
            self._wake_soon()

    def set_exception(self, exception: BaseException, /) -> None:
        self.set_result(None)
        self.error = exception

    def _wake_soon(self) -> None:
        """Have the task go on in the next turn."""
        wake_up, context, loop = self.wake_up, self.context, self.get_loop()
        self.wake_up = None  # it refers to the task, and its frame to this
        del self.context
        if loop is not None and wake_up is not None:
            loop.call_soon(wake_up, self, context=context)

    # --- what a task calls ---------------------------------------------------------------------------------------

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Take note that a task has begun to wait, and of how it is woken. Who watches beside hears of it together."""
        self.wake_up = fn if self.wake_up is None else partial(_call_both, self.wake_up, fn)
        self.context = copy_context() if context is None else context

    def cancel(self, msg: Any = None) -> bool:
        """Take note that the task is cancelled. Return whether it hears of that by the waiter."""
        if self.is_done:
            return False
        self.set_result(msg)
        self.error = CancelledError  # made when it is raised: with its traceback it would refer to all who waited
        return True

    def result(self) -> Any:
        """Return what it was completed with, or raise it. It is complete."""
        if self.error is None:
            return self.value
        if self.error is CancelledError:
            raise CancelledError if self.value is None else CancelledError(self.value)
        try:
            raise self.error
        finally:  # not again: its traceback refers to this frame, and to those of the task, which know the waiter
            self.error = InvalidStateError("what the waiter has failed with was raised already")


def _call_both(first: Callable[[Any], object], second: Callable[[Any], object], waiter: PromptWaiter) -> None:
    first(waiter)
    second(waiter)
