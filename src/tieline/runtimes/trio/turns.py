# SPDX-License-Identifier: MIT
"""Turns and timers on trio: one task that calls what is planned.

asyncio's loop has both built in. Here a task per nursery does it, and only while there is something to wait for.
"""

from __future__ import annotations

import logging
from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, enable_ki_protection

from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Turns"]

log = logging.getLogger("tieline.trio")

# So many cancelled timers are kept before they are looked for and thrown out.
MANY_CANCELLED: Final = 64


class _Timer:
    """A call that was planned."""

    __slots__ = ("_turns", "fn")

    def __init__(self, turns: Turns, fn: Callable[[], object]) -> None:
        self._turns = turns
        self.fn: Callable[[], object] | None = fn

    def cancel(self) -> None:
        if self.fn is not None:
            self.fn = None
            self._turns.timer_cancelled()


class Turns:
    """Calls functions in later turns and at given times, in a task that is started when it is needed.

    That task is shielded: connections are told of their end by it, also when their nursery is cancelled. So it must
    end by itself: it does when nobody holds it, and no call is planned.

    Args:
        spawn: Starts an async function as a task.
        now: Tells the time.
        on_fatal: Is given a KeyboardInterrupt or SystemExit that a planned call raised.
    """

    __slots__ = (
        "_cancelled",
        "_count",
        "_heap",
        "_holders",
        "_now",
        "_on_fatal",
        "_parking",
        "_runs",
        "_scope",
        "_soon",
        "_spawn",
    )

    def __init__(
        self,
        spawn: Callable[[Callable[[], object]], bool],
        now: Callable[[], float],
        on_fatal: Callable[[BaseException], object],
    ) -> None:
        self._spawn = spawn
        self._now = now
        self._on_fatal = on_fatal
        self._soon: list[Callable[[], object]] = []
        self._heap: list[tuple[float, int, _Timer]] = []
        self._count = self._cancelled = 0
        self._holders = 0
        self._parking = Parking()
        self._runs = False
        self._scope: trio.CancelScope | None = None

    def call_soon(self, fn: Callable[[], object], /) -> None:
        """Call *fn* in the next turn, behind all that is planned for it already."""
        self._soon.append(fn)
        if self._runs:
            self._parking.wake()
        else:
            self._start()

    def call_at(self, when: float, fn: Callable[[], object], /) -> _Timer:
        """Call *fn* at *when*."""
        timer = _Timer(self, fn)
        self._count += 1
        heappush(self._heap, (when, self._count, timer))
        if not self._runs:
            self._start()
        elif self._scope is not None and when < self._scope.deadline:
            self._scope.deadline = when
        return timer

    def timer_cancelled(self) -> None:
        """Take note that a timer was cancelled; for `_Timer` alone."""
        self._cancelled += 1
        if self._cancelled >= MANY_CANCELLED and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].fn is not None]
            heapify(self._heap)
            self._cancelled = 0
        if self._is_idle():
            self._parking.wake()  # it waited for this timer alone

    def hold(self) -> None:
        """Stay until `release`, once more."""
        self._holders += 1

    def release(self) -> None:
        """Undo one `hold`."""
        self._holders -= 1
        if not self._holders:
            self._parking.wake()

    def stop(self) -> None:
        """Forget all timers: nobody needs them any more."""
        for _, _, timer in self._heap:
            timer.fn = None
        self._heap.clear()
        self._cancelled = 0
        self._parking.wake()

    # --- the task ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._runs = True
        if not self._spawn(self._run):
            # The nursery is over. What lives in it has a task there until it was told of its end (`TrioHost.enter`), so
            # nobody is left to be told anything.
            self._runs = False
            self._soon.clear()
            self.stop()

    @enable_ki_protection
    async def _run(self) -> None:
        try:
            while True:
                with trio.CancelScope(deadline=self._first(), shield=True) as self._scope:
                    while self._soon or not self._is_idle():
                        if not self._soon and not self._is_due():
                            await self._parking.wait()
                        # trio runs what is ready in any order. Those who were woken together with this task may have
                        # more to say, which is to be there when the call is made.
                        await cancel_shielded_checkpoint()
                        self._take_turn()
                    self._heap.clear()  # of timers that were cancelled, and refer to this
                    self._cancelled = 0
                    return
                self._take_turn()  # the scope's deadline has come
        finally:
            self._scope = None
            self._runs = False

    def _is_idle(self) -> bool:
        return not self._holders and len(self._heap) == self._cancelled

    def _first(self) -> float:
        """Return when the next timer goes off; infinity without one."""
        heap = self._heap
        while heap and heap[0][2].fn is None:
            heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else inf

    def _is_due(self) -> bool:
        return bool(self._heap) and self._heap[0][0] <= self._now()

    def _take_turn(self) -> None:
        soon, self._soon = self._soon, []
        for fn in soon:
            self._call(fn)
        if not self._heap:
            return
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            timer = heappop(self._heap)[2]
            if timer.fn is None:
                self._cancelled -= 1
            else:
                fn, timer.fn = timer.fn, None
                self._call(fn)

    def _call(self, fn: Callable[[], object]) -> None:
        try:
            fn()
        except Exception:
            log.exception("a planned call failed: %r", fn)
        except BaseException as exc:
            self._on_fatal(exc)
