# SPDX-License-Identifier: MIT
"""Tasks and what they wait for, on trio; see `tieline.runtimes.tasks`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Self, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled

from tieline.finite import check_seconds, time_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import TracebackType

    from tieline.endpoints.socket_addresses import SocketAddress

__all__ = ["TrioTasks"]

Result = TypeVar("Result")


class CancelScope:
    """See `tieline.runtimes.tasks.CancelScope`: trio's own; *until* is its deadline."""

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


class TimeLimit:
    """A limit of time for a part of a task."""

    __slots__ = ("_scope", "_seconds")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = time_after(0.0, "seconds", seconds)
        self._scope = trio.CancelScope(deadline=trio.current_time() + self._seconds)

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.__exit__(exc_type, exc, traceback)  # it raises what is no cancellation
        if self._scope.cancelled_caught:
            raise TimeoutError(f"not done within {self._seconds:g} s") from exc


class TaskGroup:
    """A nursery, whose tasks can be cancelled without the body of it."""

    __slots__ = ("_nursery", "_scopes")

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: set[trio.CancelScope] = set()

    def start_soon(self, fn: Callable[..., Awaitable[object]], /, *args: object) -> None:
        scope = trio.CancelScope()
        self._nursery.start_soon(self._run, scope, fn, args)
        self._scopes.add(scope)

    async def _run(
        self, scope: trio.CancelScope, fn: Callable[..., Awaitable[object]], args: tuple[object, ...]
    ) -> None:
        try:
            with scope:
                await fn(*args)
        finally:
            self._scopes.discard(scope)

    def cancel(self) -> None:
        for scope in self._scopes:
            scope.cancel()


class TrioTasks:
    """A part of `TrioBackend`."""

    __slots__ = ()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(check_seconds("seconds", seconds))

    def timeout(self, seconds: float | None) -> TimeLimit:
        return TimeLimit(seconds)

    def cancel_scope(self, until: float | None = None) -> CancelScope:
        return CancelScope(until)

    def event(self) -> trio.Event:
        return trio.Event()

    def lock(self) -> trio.Lock:
        return trio.Lock()

    @asynccontextmanager
    async def task_group(self) -> AsyncGenerator[TaskGroup, None]:
        async with trio.open_nursery() as nursery:
            yield TaskGroup(nursery)

    async def shield(self, fn: Callable[..., Awaitable[Result]], /, *args: object) -> Result:
        results: list[Result] = []  # to type checkers a scope may swallow what is within it
        with trio.CancelScope(shield=True):
            results.append(await fn(*args))
        await checkpoint_if_cancelled()
        return results[0]

    async def run_in_thread(self, fn: Callable[..., Result], /, *args: object) -> Result:
        return await self.shield(trio.to_thread.run_sync, fn, *args)

    async def resolve(self, host: str, port: int) -> list[SocketAddress]:
        from tieline.endpoints.socket_addresses import socket_address  # lazily: few ask for addresses alone
        from tieline.runtimes.trio.sockets import resolve

        return [socket_address(address.sockaddr) for address in await resolve(host, port)]
