# SPDX-License-Identifier: MIT
"""Who reads, who waits, and who runs handlers: the threads that use one connection.

There is no thread of its own. Of the threads that wait, one leads: it reads for all, and runs the timers. The others
park in locks of their own until what they wait for is there, or until the lead is free. What the peer asks for is
queued, and run by one of those who wait, outside of the lock, one job after the other in the order in which it came. A
job may use the connection itself and wait: then the thread reads, or parks, inside of it, and runs further jobs there.

One lock guards the connection's state. It is held for moves in memory and for system calls that do not wait, never
while somebody's code runs.

A thread alone reads by a plain `recv` with a short time limit, which is one system call. A thread that comes while
another one is in there cannot call it back, and waits for that limit at most, once: from then on the leader waits in a
way in which it can be called.
"""

from __future__ import annotations

import threading
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import ConnectionLost
from tieline.finite import time_after
from tieline.runtimes import forks
from tieline.runtimes.blocking.crew import new_parker
from tieline.runtimes.blocking.lone_calls import LoneCalls
from tieline.runtimes.blocking.plain_reading import REFUSED
from tieline.runtimes.blocking.waiters import Waiter

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Coroutine

    from tieline.runtimes.blocking.moved import Awaited

__all__ = ["Pump"]

# Locks take no more.
LONGEST_PARK: Final = min(threading.TIMEOUT_MAX, 1e6)
# Seconds of one wait of the main thread. CPython misses a signal (Ctrl-C) that comes just before it goes to sleep, and
# would handle it when it wakes up.
LONGEST_SLEEP: Final = 1.0


class Pump(LoneCalls):
    """Moves one connection.

    Attributes:
        emptied: Waiters for the moment in which nothing is unsent.
        moves: Waiters for anything at all that is done by a thread that waits.
    """

    __slots__ = ("__weakref__", "emptied", "moves")

    def __init__(self) -> None:
        super().__init__()
        self.emptied: list[Waiter] = []
        self.moves: list[Waiter] = []
        forks.STAYING.add(self)

    # --- for the transport ---------------------------------------------------------------------------------------

    def transport_ended(self) -> None:
        """The transport is of no use any more: let go of the socket, now or when the leader has come back."""
        self._tell(self.activity)
        self._tell(self.emptied)
        self._tell(self.moves)
        if self._is_led:
            assert self.transport is not None
            self.transport.shut_down()
            self.has_changed()
        else:
            self._release()

    def sending_failed(self, finish: Callable[[], object]) -> None:
        """The transport takes nothing more: have it *finish*, now or when the leader has come back, who may read."""
        self._tell(self.emptied)
        if self._is_led:
            self.has_changed()
        else:
            self.call_soon(finish)

    def left_behind(self) -> None:
        """Take note, in a process that was just forked, that the connection stays with the other one.

        Nothing is said on it. Other threads are gone, and may have held the locks.
        """
        self._new_locks()
        self.do(self._forget_line)
        transport, readiness = self.transport, self._readiness
        self._readiness = None
        if readiness is not None:
            readiness.close()
        if transport is not None:
            self.do(transport.fail, ConnectionLost(forks.ELSEWHERE))

    def _forget_line(self) -> None:
        """Take note that whoever stood in line is not here, and leaves it to those who come."""

    # --- waiting -------------------------------------------------------------------------------------------------

    def wait(self, waiter: Awaited, until: float = inf) -> bool:
        """Wait until *waiter* is complete, or until that time; return whether it is.

        Meanwhile this thread does what there is to do for the connection: it reads and writes, and runs jobs. What
        came before *waiter* was complete has been run when this returns. When it is interrupted, others go on.
        """
        try:
            is_slow = until != inf
            while not (is_slow or self._is_shared):
                came = self._wait_alone(waiter)
                if came:
                    return True
                is_slow = came is None
            return self._wait_among_others(waiter, until)
        except BaseException:
            with self.lock:
                self._hand_over()
            raise

    def ask(self, waiter: Awaited, move: Callable[..., bool], *args: Any) -> bool:
        """Call *move*, which asks the peer for what completes *waiter*, and wait for that: `do` and `wait` in one.

        Return False when *move* does: then nothing was sent, and nothing is waited for.
        """
        if self._is_shared:
            if not self.do(move, *args):
                return False
        else:
            try:
                came: int | None = self._wait_alone(waiter, move, args)
            except BaseException:
                with self.lock:
                    self._hand_over()
                raise
            if came is REFUSED:
                return False
            if came:
                return True
        self.wait(waiter)
        return True

    def _wait_among_others(self, waiter: Awaited, until: float) -> bool:
        """Wait in a way in which other threads can call; see `wait`."""
        leads = has_looked = has_run_all = is_left = False
        parker: LockType | None = None
        seconds = 0.0
        try:
            while True:
                with self.lock:
                    if leads:
                        self._is_led = False
                        has_looked = True
                        self._take()
                        leads = False
                    if self.soon:  # somebody was interrupted
                        self.do(self.drain)
                    is_over = waiter.is_done or (has_looked and self.now() >= until)
                    # A thread that has what it wants leaves further jobs to others. Where there are none, nobody reads,
                    # so those are not many: they came with what others waited for, who had to leave them to this one.
                    has_done_its_part = has_run_all and bool(self._followers or self._is_led)
                    runs = bool(self.jobs) and not has_done_its_part and self._may_run()
                    if runs:
                        has_run_all = is_over  # once more, for what came before the end, and not for what comes later
                    elif is_over:
                        self._hand_over()
                        is_left = True
                        return waiter.is_done
                    elif not self._is_led and self._may_go_behind():
                        self.do(self._go_behind)
                        self._tell(self.activity)  # as behind a read: it was a part of one
                        continue
                    elif self._is_led or self.transport is None or self.transport.is_gone:
                        has_looked = self._is_shared = True
                        seconds = until - self.now()
                        if not self._is_led:
                            seconds = min(seconds, self._wait_for_others())
                        if parker is None:
                            parker = new_parker()
                        self._park(parker, waiter)
                        if self._is_led and self._may_go_behind():  # it began to lead while there were jobs
                            self._call_leader()
                    else:
                        leads = self._is_led = True
                        seconds = min(until, self._first_timer) - self.now()
                if seconds > LONGEST_SLEEP and threading.current_thread() is threading.main_thread():
                    seconds = LONGEST_SLEEP
                if runs:
                    self.run_jobs()
                elif leads:
                    self._watch(waiter, seconds)
                else:
                    assert parker is not None
                    parker.acquire(timeout=-1.0 if seconds == inf else min(max(0.0, seconds), LONGEST_PARK))
                    self._unpark_self(parker, waiter)
        finally:
            if not is_left:
                self._leave(waiter, parker, leads=leads)

    def wait_for(self, waiter: Awaited, timeout: float | None) -> bool:
        """As `wait`, for so many seconds; None = without end."""
        return self.wait(waiter, time_after(self.now(), "timeout", timeout))

    def flush(self) -> None:
        """Wait until all that was written is sent, or never will be."""
        transport = self.transport
        if transport is not None and transport.unsent:
            waiter = Waiter(self)
            with self.lock:
                if not transport.unsent:
                    return
                self.emptied.append(waiter)
            self.wait_emptied(waiter)

    def wait_emptied(self, waiter: Waiter, until: float = inf) -> bool:
        """As `wait`, for one of `emptied`: who waits no more does not stand there any longer."""
        is_done = False
        try:
            is_done = self.wait(waiter, until)
            return is_done
        finally:
            if not is_done:
                with self.lock:
                    if waiter in self.emptied:
                        self.emptied.remove(waiter)

    def run(self, coroutine: Coroutine[Any, Any, Any], until: float = inf) -> Any:
        """Run a coroutine that awaits waiters of this connection only, and return what it returns.

        Raises:
            TimeoutError: It is not done by that time; the coroutine sees that as well.
        """
        error: BaseException | None = None
        is_over = False
        try:
            while True:
                try:
                    waiter = self.do(coroutine.send, None) if error is None else self.do(_thrown, coroutine, [error])
                except StopIteration as stop:
                    is_over = True
                    return stop.value
                if waiter is error and error is not None:
                    raise error
                error = None
                try:
                    if not self.wait(waiter, until):
                        error = TimeoutError("not done in time")
                except BaseException as exc:  # the coroutine is to clean up
                    error = exc
        except BaseException:
            error = waiter = None  # the traceback refers to this frame
            raise
        finally:
            if not is_over:  # an interrupt may have come before it was told of anything
                self.do(coroutine.close)

    # --- the parts of waiting ------------------------------------------------------------------------------------

    def has_emptied(self) -> None:
        """Nothing is unsent any more."""
        if self.emptied:
            self._tell(self.emptied)

    def _watch(self, waiter: Awaited, seconds: float) -> None:
        """Wait for at most so many seconds in a way in which others can call; then read, write and run timers.

        Not if *waiter* is complete by now.
        """
        with self.lock:
            if self._readiness is None:
                transport = self.transport
                assert transport is not None
                self._readiness = transport.new_readiness()
            readiness = self._readiness
            transport = self.transport
            assert transport is not None
            if transport.is_deaf or waiter.is_done:  # since this thread looked
                return
            now = self.now()
            seconds = min(seconds, self._first_timer - now)  # another thread may have set one since this one looked
            self._waits_until = now + seconds
            reading, writing = transport.wants_data, bool(transport.unsent)
        try:
            readable, writable = readiness.wait(reading=reading, writing=writing, seconds=max(0.0, seconds))
        finally:
            with self.lock:
                self._waits_until = -inf
                self._is_called = False
        with self.lock:
            self.is_inside = True
            try:
                if writable:
                    transport.flush_some()
                if readable:
                    transport.read_some()
                    if self.activity:
                        self._tell(self.activity)
                is_due = self._first_timer <= self.now()
                if is_due:
                    self._run_timers(has_read=readable)
                if self.moves and (readable or writable or is_due):
                    self._tell(self.moves)
            except BaseException as exc:
                self.give_up(exc)
                raise
            finally:
                try:
                    if self.soon:
                        self.drain()
                finally:
                    self.is_inside = False

    def _wait_for_others(self) -> float:
        """Run the timers, when the connection is gone and so nobody leads; return for how long to wait for others.

        Raises:
            ConnectionLost: There are none: whoever was to tell the waiters of the end has been interrupted.
        """
        self.do(self._run_timers, has_read=False)
        seconds = self._first_timer - self.now()
        if self._is_turn_taken():
            return min(seconds, LONGEST_SLEEP)
        if not (self._runner or self._timers or self.jobs):
            raise ConnectionLost("the connection is down")
        return seconds

    def _is_turn_taken(self) -> bool:
        """Return whether a thread that was told of the end has yet to run, and will then tell those behind it."""
        return False

    def _leave(self, waiter: Awaited, parker: LockType | None = None, *, leads: bool) -> None:
        """Leave others able to go on, when a wait has been interrupted."""
        if parker is not None:
            self._unpark_self(parker, waiter)
        with self.lock:
            if leads:
                self._is_led = False
                self._waits_until = -inf
                self._take()


def _thrown(coroutine: Coroutine[Any, Any, Any], box: list[BaseException]) -> Any:
    """Throw the error in *box* into a coroutine; return what it awaits next, or the error where that comes out.

    It has interrupted a wait then, and no move: the connection is as it was. The box is empty behind that, for the
    traceback of the error refers to the frames of whoever has called this, and they to the box.
    """
    error = box.pop()
    try:
        return coroutine.throw(error)
    except BaseException as exc:
        if exc is not error:
            raise
        return exc
    finally:
        del error
