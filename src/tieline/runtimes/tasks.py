# SPDX-License-Identifier: MIT
"""Tasks and what they wait for: the part of a backend that programs use which run on whichever runtime there is.

A program that runs on one of them uses that one's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from tieline.endpoints.socket_addresses import SocketAddress

__all__ = ["CancelScope", "Event", "Lock", "TaskBackend", "TaskGroup"]

Result = TypeVar("Result")


class CancelScope(Protocol):
    """A part of a task that others can cancel: the body of its ``with`` then ends, and no error comes out.

    What cancels the task as a whole comes out as ever.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool: ...

    def cancel(self) -> None:
        """Cancel it, unless it is over; the task that is in it need not, since it can leave by itself."""


class Event(Protocol):
    """Something that happens once, and that any number of tasks wait for."""

    def set(self) -> None:
        """Set it, and wake all tasks that wait."""

    def is_set(self) -> bool:
        """Return whether it is set."""
        ...

    async def wait(self) -> object:
        """Wait until it is set."""


class Lock(Protocol):
    """What one task has at a time, in ``async with``; those that wait get it in their order."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> object: ...

    async def acquire(self) -> object:
        """Wait until it is free, and take it."""

    def release(self) -> None:
        """Release it, to the task that has waited longest."""

    def locked(self) -> bool:
        """Return whether it is taken."""
        ...


class TaskGroup(Protocol):
    """Tasks that are over when the ``async with`` that began them is.

    When one fails, or the body does, the others are cancelled, and the errors come out as an ``ExceptionGroup``.
    """

    def start_soon(self, fn: Callable[..., Awaitable[object]], /, *args: object) -> None:
        """Run ``fn(*args)`` in a task of its own, from the next turn on."""

    def cancel(self) -> None:
        """Cancel all tasks that were started. The body goes on."""


class TaskBackend(Protocol):
    """The part of `AsyncBackend` that programs use."""

    @property
    def name(self) -> str:
        """The runtime's name, "asyncio" or "trio"."""
        ...

    def now(self) -> float:
        """Return the time in seconds, by the clock of the running loop."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds*; 0 lets other tasks run.

        Raises:
            TypeError, ValueError: *seconds* is not a valid time.
        """

    def timeout(self, seconds: float | None) -> AbstractContextManager[object]:
        """Return a time limit for the body of a ``with``, from now on; None = none. A longer body is cancelled.

        Raises:
            TypeError, ValueError: *seconds* is not a valid time.
            TimeoutError: From the ``with``: the body was cancelled, since it took longer.
        """
        ...

    def cancel_scope(self, until: float | None = None) -> CancelScope:
        """Return a new scope for a part of the running task, which is cancelled at *until*, by the loop's clock."""
        ...

    def event(self) -> Event:
        """Return an event that is not set."""
        ...

    def lock(self) -> Lock:
        """Return a new lock."""
        ...

    def task_group(self) -> AbstractAsyncContextManager[TaskGroup]:
        """Return a group of tasks, for an ``async with``."""
        ...

    async def shield(self, fn: Callable[..., Awaitable[Result]], /, *args: object) -> Result:
        """Run ``fn(*args)`` to its end, even if the caller is cancelled meanwhile: that takes effect at the end.

        Exceptions of *fn* are raised in any case.
        """
        ...

    async def run_in_thread(self, fn: Callable[..., Result], /, *args: object) -> Result:
        """Run the plain ``fn(*args)`` in a thread, so that it may block.

        A thread cannot be stopped: if the caller is cancelled, it waits for the end of the thread, as with `shield`.
        """
        ...

    async def resolve(self, host: str, port: int) -> list[SocketAddress]:
        """Return the addresses of *host*, in the order of the resolver.

        Raises:
            socket.gaierror: It has none (an OSError).
        """
        ...
