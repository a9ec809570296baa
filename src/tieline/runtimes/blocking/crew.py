# SPDX-License-Identifier: MIT
"""The threads that wait on one connection: one may lead, others are parked, and one runs jobs.

A job is what runs outside of the lock: a handler, or a callback of a user's. Jobs run one after the other, in the order
in which they came. One that waits on the connection lets its thread run further ones inside of it.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.blocking.turns import Turns

if TYPE_CHECKING:
    import logging
    from _thread import LockType
    from collections.abc import Callable

    from tieline.runtimes.blocking.moved import Awaited

__all__ = ["DEEPEST", "Crew", "new_parker"]

# Jobs that wait run others inside of them, up to so many: each takes a part of the stack.
DEEPEST: Final = 32


class Crew(Turns):
    """The threads of one connection.

    Attributes:
        jobs: What is to be run outside of the lock, in order.
    """

    __slots__ = ("_depth", "_followers", "_is_led", "_runner", "_runner_parker", "jobs")

    def __init__(self) -> None:
        self.jobs: deque[Callable[[], object]] = deque()
        super().__init__()

    def _new_locks(self) -> None:
        super()._new_locks()
        self._is_led = False
        self._followers: list[LockType] = []  # what they are parked in: locks of their own
        self._runner = 0  # the thread that runs jobs; 0 = none
        self._runner_parker: LockType | None = None
        self._depth = 0

    # --- parking -------------------------------------------------------------------------------------------------

    def _park(self, parker: LockType, waiter: Awaited) -> None:
        self._followers.append(parker)
        if waiter.parkers is None:
            waiter.parkers = []
        waiter.parkers.append(parker)
        if self._runner == threading.get_ident():
            self._runner_parker = parker

    def unpark(self, parkers: list[LockType]) -> None:
        """Wake those who are parked there."""
        for parker in parkers:
            if parker in self._followers:  # else it has been woken already
                self._followers.remove(parker)
                parker.release()

    def _unpark_self(self, parker: LockType, waiter: Awaited) -> None:
        with self.lock:
            if parker in self._followers:
                self._followers.remove(parker)
            parker.acquire(blocking=False)  # it may have been released when the time was over: the next wait uses it
            if waiter.parkers and parker in waiter.parkers:
                waiter.parkers.remove(parker)
            if self._runner_parker is parker:
                self._runner_parker = None

    def _hand_over(self) -> None:
        """See that somebody goes on, when there is something to do."""
        if self._followers and (self.jobs or not self._is_led):  # who leads sees to what is behind them
            self._promote()
        elif (self.jobs or self.behind) and self._is_led:
            self._call_leader()

    def _promote(self) -> None:
        """Wake one of those who are parked, to lead: the last, who is likely to wait the longest."""
        self._followers.pop().release()

    # --- jobs ----------------------------------------------------------------------------------------------------

    def plan(self, job: Callable[[], object]) -> None:
        """Have *job* run outside of the lock, by one of those who wait."""
        self.jobs.append(job)
        if self._runner:
            parker = self._runner_parker
            if parker is not None:
                self.unpark([parker])
        elif not self._is_led and self._followers:
            self._promote()

    @property
    def is_deepest(self) -> bool:
        """Whether no job can begin inside of those that run: others have to end first."""
        return self._depth >= DEEPEST

    def _may_run(self) -> bool:
        return not self._runner or (self._runner == threading.get_ident() and self._depth < DEEPEST)

    def call_behind(self, fn: Callable[[], object]) -> None:
        """Have *fn* called when there are no jobs left: by whoever would read on, where there are any now."""
        if self.jobs:
            self.behind.append(fn)
        else:
            self.call_soon(fn)

    def _may_go_behind(self) -> bool:
        """Return whether what is planned behind the jobs is to be called now: those too deep to run wait for it."""
        return bool(self.behind) and (not self.jobs or self._depth >= DEEPEST)

    def _go_behind(self) -> None:
        self.behind.popleft()()

    def run_jobs(self) -> None:
        """Run the jobs that there are now, unless another thread does; to be called without the lock."""
        jobs = self.jobs
        if not jobs or self._owns_lock():
            return
        with self.lock:
            if not self._may_run():
                return
            outer, self._runner = self._runner, threading.get_ident()
            depth, self._depth = self._depth, self._depth + 1
            count = len(jobs)
        try:
            while jobs and (count > 0 or (self.transport is not None and self.transport.is_gone)):
                count -= 1
                jobs.popleft()()
        finally:
            with self.lock:
                self._depth = depth
                self._runner = outer
                if not outer and (jobs or self.behind or (self.transport is not None and self.transport.is_gone)):
                    self._hand_over()

    def call_back(self, fn: Callable[[Any], object], argument: object) -> None:
        """Call a user's callback; what it raises is logged."""
        try:
            fn(argument)
        except Exception:
            _logger().exception("callback %r failed", fn)


def new_parker() -> LockType:
    """Return a lock to park in: locked, and released by whoever wakes the thread."""
    parker = threading.Lock()
    parker.acquire()
    return parker


def _logger() -> logging.Logger:
    import logging

    return logging.getLogger("tieline.blocking")
