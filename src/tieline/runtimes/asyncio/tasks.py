# SPDX-License-Identifier: MIT
"""Tasks and what they wait for, on asyncio; see `tieline.runtimes.tasks`."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tieline.finite import check_seconds, time_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from tieline.endpoints.socket_addresses import SocketAddress

__all__ = ["AsyncioTasks"]

Result = TypeVar("Result")


class CancelScope:
    """See `tieline.runtimes.tasks.CancelScope`. Cheaper than `asyncio.timeout`, which takes a timer in any case.

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


class TimeLimit:
    """A limit of time for a part of a task."""

    __slots__ = ("_scope", "_seconds")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = time_after(0.0, "seconds", seconds)
        until = asyncio.get_running_loop().time() + self._seconds
        self._scope = CancelScope(until if until < inf else None)

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._scope.__exit__(exc_type, exc, traceback):
            raise TimeoutError(f"not done within {self._seconds:g} s") from exc


class TaskGroup:
    """asyncio's own, whose tasks can be cancelled together."""

    __slots__ = ("_group", "_tasks")

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._group.__aexit__(exc_type, exc, traceback)

    def start_soon(self, fn: Callable[..., Awaitable[object]], /, *args: object) -> None:
        running = _awaited(fn, args)
        try:
            task = self._group.create_task(running)
        except BaseException:
            running.close()  # the group is over
            raise
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()


class AsyncioTasks:
    """A part of `AsyncioBackend`."""

    __slots__ = ()

    async def sleep(self, seconds: float) -> None:
        if check_seconds("seconds", seconds) == inf:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> TimeLimit:
        return TimeLimit(seconds)

    def cancel_scope(self, until: float | None = None) -> CancelScope:
        return CancelScope(until)

    def event(self) -> asyncio.Event:
        return asyncio.Event()

    def lock(self) -> asyncio.Lock:
        return asyncio.Lock()

    def task_group(self) -> TaskGroup:
        return TaskGroup()

    async def shield(self, fn: Callable[..., Awaitable[Result]], /, *args: object) -> Result:
        running = asyncio.ensure_future(_awaited(fn, args))
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as exc:
                cancelled = exc
        try:
            result: Result = running.result()
            if cancelled is not None:
                raise cancelled
            return result
        finally:
            del cancelled  # its traceback knows this frame

    async def run_in_thread(self, fn: Callable[..., Result], /, *args: object) -> Result:
        async def run() -> Result:
            return await asyncio.to_thread(fn, *args)

        return await self.shield(run)

    async def resolve(self, host: str, port: int) -> list[SocketAddress]:
        from tieline.endpoints.socket_addresses import socket_address  # lazily: few ask for addresses alone
        from tieline.runtimes.asyncio.sockets import resolve

        return [socket_address(address.sockaddr) for address in await resolve(host, port)]


async def _awaited(fn: Callable[..., Awaitable[Any]], args: tuple[object, ...]) -> Any:
    return await fn(*args)
