# SPDX-License-Identifier: MIT
"""Starting coroutines on trio: as tasks of a nursery, in order, and with as few tasks as possible.

trio runs what is ready in any order, and a new task costs more than all else that is done for a small request. So
there are workers. Each takes the coroutine that has waited longest and runs it to its end; while one of them waits for
something, another worker takes the next. Whichever worker runs first, the coroutines take their first steps in order.
"""

from __future__ import annotations

from collections import deque
from contextvars import copy_context
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio
from trio import current_effective_deadline
from trio.lowlevel import current_task, enable_ki_protection

from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from trio.lowlevel import Task

__all__ = ["StartedHandle", "Starter"]

# A worker that has nothing to do stays, so that the next coroutine need not wait for a new task: one for each context,
# while there are no more contexts than this.
SPARE_LANES: Final = 8

_MISSING: Final = object()


class StartedHandle:
    """A coroutine that was started; see `tieline.runtimes.host.Handle`."""

    __slots__ = ("_callbacks", "_cancelling", "_scope", "coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.coroutine: Coroutine[Any, Any, None] | None = coroutine  # until it is begun
        self._scope: trio.CancelScope | None = None
        self._callbacks: list[Callable[[Any], object]] | None = []
        self._cancelling = 0

    def cancel(self) -> None:
        """Ask it to end. One that has not begun never does."""
        self._cancelling += 1
        if self._scope is not None:
            self._scope.cancel()

    def cancelling(self) -> int:
        """Return how often it was asked to end. When it asks itself, the cancellation of the nursery counts as well."""
        return self._cancelling + (self._scope is not None and current_effective_deadline() == -inf)

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        """Have *fn* called with the handle when it has ended; at once if it has."""
        if self._callbacks is None:
            fn(self)
        else:
            self._callbacks.append(fn)

    async def run(self, scope: trio.CancelScope) -> None:
        """Run it to its end, in a task that *scope* is around."""
        coroutine, self.coroutine = self.coroutine, None
        assert coroutine is not None
        try:
            if self._cancelling:
                coroutine.close()
            else:
                self._scope = scope
                await coroutine
        finally:
            self._scope = None
            callbacks, self._callbacks = self._callbacks, None
            for fn in callbacks or ():
                fn(self)


class _Lane:
    """Coroutines that share a context, and the workers that run them.

    Attributes:
        context: What the workers begin with.
    """

    __slots__ = ("_coming", "_queue", "_spare", "_starter", "_workers", "context")

    def __init__(self, starter: Starter, context: Context) -> None:
        self.context = context
        self._starter = starter
        self._queue: deque[StartedHandle] = deque()
        self._coming = 0  # workers that are about to look at the queue
        self._workers = 0
        self._spare: list[Parking] = []

    def start(self, handle: StartedHandle) -> None:
        self._queue.append(handle)
        if not self._coming:
            self._summon()

    def _summon(self) -> None:
        """Have a worker look at the queue soon."""
        self._coming += 1
        if self._spare:
            self._spare.pop().wake()
        elif self._starter.spawn(self._work, self.context):
            self._workers += 1
        else:  # the nursery is over: nobody is left to do anything for
            self._coming -= 1
            while self._queue:
                abandoned = self._queue.popleft().coroutine
                assert abandoned is not None
                abandoned.close()
            self._starter.forget(self)

    @enable_ki_protection
    async def _work(self) -> None:
        starter, queue = self._starter, self._queue
        handles = starter.handles
        # Shielded: a coroutine is cancelled when its connection is gone, and that is told when the nursery is
        # cancelled too. So it is not mistaken for a failure of its own, and its peer gets no answer about it.
        scope = trio.CancelScope(shield=starter.shields)
        task, before = current_task(), copy_context()
        starter.scopes.add(scope)
        try:
            with scope:
                while True:
                    self._coming -= 1
                    while queue:
                        handle = queue.popleft()
                        if queue and not self._coming:
                            self._summon()  # this one may have to wait
                        handles[task] = handle
                        try:
                            await handle.run(scope)
                        finally:
                            del handles[task]
                        if scope.cancel_called or not _restored(before):
                            return
                    if self._spare or not starter.wants_spare:
                        return
                    parking = Parking()
                    self._spare.append(parking)
                    try:
                        await parking.wait()
                    except BaseException:
                        if parking in self._spare:
                            self._spare.remove(parking)
                        else:
                            self._coming -= 1  # it was called, but is cancelled
                        raise
        finally:
            starter.scopes.discard(scope)
            self._workers -= 1
            if queue and not self._coming:
                self._summon()
            if not self._workers:
                starter.forget(self)

    def dismiss(self) -> None:
        """Let the workers go that have nothing to do."""
        while self._spare:
            self._coming += 1
            self._spare.pop().wake()


class Starter:
    """Starts coroutines in one nursery.

    Args:
        spawn: Starts an async function as a task, with a copy of a context; False = the nursery is over.

    Attributes:
        handles: What runs, by the task that runs it.
        scopes: The cancel scopes around the workers.
        shields: Whether workers are shielded from the cancellation of the nursery.
    """

    __slots__ = ("_is_over", "_lanes", "handles", "scopes", "shields", "spawn")

    def __init__(self, spawn: Callable[[Callable[[], object], Context], bool]) -> None:
        self.spawn = spawn
        self.handles: dict[Task, StartedHandle] = {}
        self.scopes: set[trio.CancelScope] = set()
        self.shields = True
        self._is_over = False
        self._lanes: list[_Lane] = []

    @property
    def wants_spare(self) -> bool:
        """Whether a worker is to wait for more when there is nothing to do."""
        return not self._is_over and len(self._lanes) <= SPARE_LANES

    def start(self, coroutine: Coroutine[Any, Any, None], context: Context, /) -> StartedHandle:
        """Run *coroutine* in a task, in a context equal to *context*. Those of equal contexts start in order."""
        handle = StartedHandle(coroutine)
        for lane in self._lanes:
            if _is_same(lane.context, context):
                lane.start(handle)
                return handle
        lane = _Lane(self, context)
        self._lanes.append(lane)
        lane.start(handle)
        return handle

    def forget(self, lane: _Lane) -> None:
        """Take note that *lane* has no workers: for itself alone."""
        if lane in self._lanes:
            self._lanes.remove(lane)

    def dismiss(self) -> None:
        """Keep no worker without work from now on."""
        self._is_over = True
        for lane in list(self._lanes):
            lane.dismiss()

    def unshield(self) -> None:
        """Let the cancellation of the nursery reach what runs, and what will."""
        self.shields = False
        for scope in self.scopes:
            scope.shield = False


def _restored(before: Context) -> bool:
    """Undo what a coroutine has done to the variables of this task; return False when that cannot be done."""
    now = copy_context()
    if len(now) != len(before):
        return False  # there is no way to take a variable away
    for variable, value in now.items():
        if value is not (was := before.get(variable, _MISSING)):
            if was is _MISSING:
                return False
            variable.set(was)
    return True


def _is_same(one: Context, other: Context) -> bool:
    try:
        return one == other
    except Exception:  # where variables were set, their values are compared, and a user's class may fail at that
        return False
