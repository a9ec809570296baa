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
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import ConnectionLost
from tieline.runtimes.blocking import forks
from tieline.runtimes.blocking.readiness import Readiness
from tieline.runtimes.blocking.transport import LONGEST_READ, READ_SIZE, READS_PLAINLY, SocketTransport
from tieline.runtimes.blocking.waiters import Waiter

if TYPE_CHECKING:
    import logging
    import socket
    from _thread import LockType
    from collections.abc import Callable, Coroutine

    from tieline.runtimes.blocking.waiters import BlockingRequest

__all__ = ["Pump", "PumpTimer"]

# Jobs that wait run others inside of them, up to so many: each takes a part of the stack.
DEEPEST: Final = 32
# Timers wait for so many reads that find something: the answer that comes too late may be among it.
READS_BEFORE_TIMERS: Final = 16
# Locks take no more.
LONGEST_PARK: Final = min(threading.TIMEOUT_MAX, 1e6)


class PumpTimer:
    """A call that was planned."""

    __slots__ = ("_pump", "fn", "when")

    def __init__(self, pump: Pump, when: float, fn: Callable[[], object]) -> None:
        self._pump = pump
        self.when = when
        self.fn = fn

    def cancel(self) -> None:
        self._pump.cancel_timer(self)


class Pump:
    """Moves one connection.

    Attributes:
        lock: Guards all state of the connection.
        transport: The transport; None before the connection is made.
        jobs: What is to be run outside of the lock, in order.
        soon: What is to be called before the lock is given up; see `call_soon`.
        is_inside: The lock is held, and whoever holds it calls what is in `soon`.
        activity: Waiters for anything that comes from the peer.
        emptied: Waiters for the moment in which nothing is unsent.
    """

    __slots__ = (
        "__weakref__",
        "_depth",
        "_first_timer",
        "_followers",
        "_is_called",
        "_is_led",
        "_is_shared",
        "_late_reads",
        "_owns_lock",
        "_readiness",
        "_runner",
        "_runner_parker",
        "_timers",
        "_waits_until",
        "activity",
        "emptied",
        "is_inside",
        "jobs",
        "lock",
        "soon",
        "transport",
    )

    now = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.transport: SocketTransport | None = None
        self.jobs: deque[Callable[[], object]] = deque()
        self.activity: list[Waiter] = []
        self.emptied: list[Waiter] = []
        self.soon: deque[Callable[[], object]] = deque()
        self._timers: list[PumpTimer] = []
        self._first_timer = inf
        self._late_reads = 0
        self._readiness: Readiness | None = None
        self._is_shared = not READS_PLAINLY  # the leader must be able to be called
        self._new_locks()
        forks.PUMPS.add(self)

    def _new_locks(self) -> None:
        self.lock = threading.RLock()
        self._owns_lock: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]  # as Condition does
        self.is_inside = False
        self._is_led = False
        self._followers: list[LockType] = []
        self._waits_until = -inf  # until when the leader waits, if it can be called; -inf = it does not, or cannot
        self._is_called = False
        self._runner = 0  # the thread that runs jobs; 0 = none
        self._runner_parker: LockType | None = None
        self._depth = 0

    # --- for links: time and turns -------------------------------------------------------------------------------

    def call_at(self, when: float, fn: Callable[[], object]) -> PumpTimer:
        """Have *fn* called at *when* by whoever leads then, or when somebody next does."""
        timer = PumpTimer(self, when, fn)
        self._timers.append(timer)
        if when < self._first_timer:
            self._first_timer = when
            if when < self._waits_until:
                self._call_leader()
        return timer

    def cancel_timer(self, timer: PumpTimer) -> None:
        if timer in self._timers:
            self._timers.remove(timer)
            self._first_timer = min([one.when for one in self._timers], default=inf)

    def call_soon(self, fn: Callable[[], object]) -> None:
        """Have *fn* called by this thread, before it gives up the lock."""
        self.soon.append(fn)

    def plan(self, job: Callable[[], object]) -> None:
        """Have *job* run outside of the lock, by one of those who wait."""
        self.jobs.append(job)
        if self._runner:
            parker = self._runner_parker
            if parker is not None:
                self.unpark([parker])
        elif not self._is_led and self._followers:
            self._promote()

    def drain(self) -> None:
        """Call what was planned for soon. What is interrupted in there stays planned."""
        soon = self.soon
        while soon:
            try:
                soon[0]()
            except Exception:
                soon.popleft()
                raise
            soon.popleft()

    def do(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call *fn* with the lock held, and return what it returns.

        What interrupts the program in there (Ctrl-C) may have come between any two steps: the connection is given up.
        """
        with self.lock:
            was_inside, self.is_inside = self.is_inside, True
            try:
                return fn(*args, **kwargs)
            except Exception:
                raise
            except BaseException as exc:
                self.give_up(exc)
                raise
            finally:
                try:
                    if self.soon and not was_inside:
                        self.drain()
                finally:
                    self.is_inside = was_inside

    # --- for the transport ---------------------------------------------------------------------------------------

    def has_changed(self) -> None:
        """What the leader waits for has changed: it is to look again."""
        if self._waits_until > -inf:
            self._call_leader()

    def transport_ended(self) -> None:
        """The transport is of no use any more: let go of the socket, now or when the leader has come back."""
        self._tell(self.activity)
        self._tell(self.emptied)
        if self._is_led:
            assert self.transport is not None
            self.transport.shut_down()
            self.has_changed()
        else:
            self._release()

    def left_behind(self) -> None:
        """Take note, in a process that was just forked, that the connection stays with the other one.

        Nothing is said on it. Other threads are gone, and may have held the locks.
        """
        self._new_locks()
        transport, readiness = self.transport, self._readiness
        self._readiness = None
        if readiness is not None:
            readiness.close()
        if transport is not None:
            text = "the connection belongs to the process that this one was forked from"
            self.do(transport.fail, ConnectionLost(text))

    def _release(self) -> None:
        assert self.transport is not None
        self.transport.release()
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None
        for parker in self._followers[:]:
            self.unpark([parker])  # there is nothing to follow any more: they are to look for themselves

    def _call_leader(self) -> None:
        if not self._is_called and self._readiness is not None:
            self._is_called = True
            self._readiness.wake()

    # --- waiting -------------------------------------------------------------------------------------------------

    def wait(self, waiter: Waiter | BlockingRequest, until: float = inf) -> bool:
        """Wait until *waiter* is complete, or until that time; return whether it is.

        Meanwhile this thread does what there is to do for the connection: it reads and writes, and runs jobs. What
        came before *waiter* was complete has been run when this returns. When it is interrupted, others go on.
        """
        is_slow = False
        if not self._is_shared and until == inf:
            came = self._wait_alone(waiter)
            if came:
                return True
            is_slow = came is None
        leads = has_looked = has_run = is_left = False
        parker: LockType | None = None
        # A read puts what it gives in here within one C call: an interrupt (Ctrl-C) comes before or after it.
        read: list[bytes] = []
        seconds = 0.0
        recv: Callable[[int], bytes] | None = None
        lock = self.lock
        try:
            while True:
                with lock:
                    if leads:
                        self._is_led = leads = False
                        has_looked = True
                        self._take(read)
                    if self.soon:  # somebody was interrupted
                        self.do(self.drain)
                    is_over = waiter.is_done or (has_looked and until != inf and self.now() >= until)
                    if self.jobs and not (is_over and has_run) and self._may_run():
                        action = _RUN
                        has_run = True
                    elif is_over:
                        if self._followers or self.jobs:
                            self._hand_over()
                        is_left = True
                        return waiter.is_done
                    elif self._is_led or self.transport is None or self.transport.is_gone:
                        action = _PARK
                        has_looked = self._is_shared = True
                        seconds = until - self.now()
                        if not self._is_led:
                            seconds = min(seconds, self._wait_for_others())
                        parker = self._park(parker, waiter)
                    else:
                        leads = self._is_led = True
                        seconds = min(until, self._first_timer) - self.now()
                        transport = self.transport
                        if (
                            seconds > LONGEST_READ
                            and not (is_slow or self._is_shared or transport.unsent)
                            and transport.wants_data
                        ):
                            action = _READ
                            recv = transport.recv
                        else:
                            action = _WATCH
                if action is _READ:
                    assert recv is not None
                    try:
                        read.extend(map(recv, _ONE_READ))
                    except (BlockingIOError, InterruptedError):
                        is_slow = True
                    except OSError as exc:
                        self.do(self._fail, exc)
                elif action is _WATCH:
                    self._watch(seconds)
                elif action is _RUN:
                    self.run_jobs()
                else:
                    assert parker is not None
                    parker.acquire(timeout=-1.0 if seconds == inf else min(max(0.0, seconds), LONGEST_PARK))
                    self._unpark_self(parker, waiter)
        finally:
            if not is_left:
                self._leave(parker, waiter, read, leads=leads)

    def _wait_alone(self, waiter: Waiter | BlockingRequest) -> bool | None:
        """As `wait`, by one plain read, as long as nobody else is there: so it is nearly always, and costs the least.

        Return whether all is done; None when nothing came.
        """
        leads = is_slow = False
        read: list[bytes] = []
        try:
            with self.lock:
                transport = self.transport
                if (
                    self._is_led
                    or self.jobs
                    or waiter.is_done
                    or transport is None
                    or transport.unsent
                    or not transport.wants_data
                    or self._first_timer - self.now() < LONGEST_READ
                ):
                    return False
                leads = self._is_led = True
            try:
                read.extend(map(transport.recv, _ONE_READ))
            except (BlockingIOError, InterruptedError):
                is_slow = True
            except OSError as exc:
                self.do(self._fail, exc)
            with self.lock:
                self._is_led = leads = False
                self._take(read)
                if waiter.is_done and not (self.jobs or self._followers):
                    return True
            return None if is_slow else False
        finally:
            if leads:
                self._leave(None, waiter, read, leads=True)

    def wait_for(self, waiter: Waiter | BlockingRequest, timeout: float | None) -> bool:
        """As `wait`, for so many seconds; None = without end."""
        return self.wait(waiter, inf if timeout is None else self.now() + timeout)

    def flush(self) -> None:
        """Wait until all that was written is sent, or never will be."""
        transport = self.transport
        if transport is not None and transport.unsent:
            waiter = Waiter(self)
            with self.lock:
                if not transport.unsent:
                    return
                self.emptied.append(waiter)
            self.wait(waiter)

    def run(self, coroutine: Coroutine[Any, Any, Any], until: float = inf) -> Any:
        """Run a coroutine that awaits waiters of this connection only, and return what it returns.

        Raises:
            TimeoutError: It is not done by that time; the coroutine sees that as well.
        """
        error: BaseException | None = None
        while True:
            try:
                waiter = self.do(coroutine.send, None) if error is None else self.do(coroutine.throw, error)
            except StopIteration as stop:
                return stop.value
            error = None
            try:
                if not self.wait(waiter, until):
                    error = TimeoutError("not done in time")
            except BaseException as exc:  # the coroutine is to clean up
                error = exc

    # --- the parts of waiting ------------------------------------------------------------------------------------

    def _take(self, read: list[bytes]) -> None:
        """Hand on what the leader has read, if anything."""
        transport = self.transport
        assert transport is not None
        if read:
            self.is_inside = True
            try:
                transport.deliver(read.pop())
                if self.activity:
                    self._tell(self.activity)
            except BaseException as exc:
                self.give_up(exc)
                raise
            finally:
                try:
                    if self.soon:
                        self.drain()
                finally:
                    self.is_inside = False
        if transport.is_gone:
            self._release()

    def _fail(self, error: OSError) -> None:
        if self.transport is not None:
            self.transport.fail(error)

    def give_up(self, error: BaseException) -> None:
        """Cut a connection whose state is unknown: something has failed or was interrupted in the middle of a move."""
        if self.transport is not None:
            self.transport.fail(error)

    def _tell(self, waiters: list[Waiter]) -> None:
        told = waiters[:]
        waiters.clear()
        for waiter in told:
            if not waiter.is_done:
                waiter.set_result(None)

    def has_emptied(self) -> None:
        """Nothing is unsent any more."""
        if self.emptied:
            self._tell(self.emptied)

    def _watch(self, seconds: float) -> None:
        """Wait for at most so many seconds in a way in which others can call; then read, write and run timers."""
        with self.lock:
            if self._readiness is None:
                transport = self.transport
                assert transport is not None
                sock: socket.socket = transport.get_extra_info("socket")
                self._readiness = Readiness(sock)
            readiness = self._readiness
            transport = self.transport
            assert transport is not None
            if transport.is_gone:
                return
            self._waits_until = self.now() + seconds
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
                if self._first_timer <= self.now():
                    self._run_timers(has_read=readable)
            except BaseException as exc:
                self.give_up(exc)
                raise
            finally:
                try:
                    if self.soon:
                        self.drain()
                finally:
                    self.is_inside = False

    def _run_timers(self, *, has_read: bool) -> None:
        """Run the timers that are due, once nothing is left to be read; what has come before is not to be too late."""
        self._late_reads += 1
        if has_read and self._late_reads < READS_BEFORE_TIMERS:
            return
        self._late_reads = 0
        now = self.now()
        for timer in sorted([one for one in self._timers if one.when <= now], key=lambda one: one.when):
            if timer in self._timers:
                self.cancel_timer(timer)
                timer.fn()

    def _wait_for_others(self) -> float:
        """Run the timers, when the connection is gone and so nobody leads; return for how long to wait for others.

        Raises:
            ConnectionLost: There are none: whoever was to tell the waiters of the end has been interrupted.
        """
        self._run_timers(has_read=False)
        if not (self._runner or self._timers or self.jobs):
            raise ConnectionLost("the connection is down")
        return self._first_timer - self.now()

    def _park(self, parker: LockType | None, waiter: Waiter | BlockingRequest) -> LockType:
        if parker is None:
            parker = threading.Lock()
            parker.acquire()
        self._followers.append(parker)
        if waiter.parkers is None:
            waiter.parkers = []
        waiter.parkers.append(parker)
        if self._runner == threading.get_ident():
            self._runner_parker = parker
        return parker

    def unpark(self, parkers: list[LockType]) -> None:
        """Wake those who are parked there."""
        for parker in parkers:
            if parker in self._followers:  # else it has been woken already
                self._followers.remove(parker)
                parker.release()

    def _unpark_self(self, parker: LockType, waiter: Waiter | BlockingRequest) -> None:
        with self.lock:
            if parker in self._followers:
                self._followers.remove(parker)
            if waiter.parkers and parker in waiter.parkers:
                waiter.parkers.remove(parker)
            if self._runner_parker is parker:
                self._runner_parker = None

    def _hand_over(self) -> None:
        """See that somebody goes on, when there is something to do."""
        if self._followers and (self.jobs or not self._is_led):
            self._promote()
        elif self.jobs and self._is_led:
            self._call_leader()

    def _promote(self) -> None:
        """Wake one of those who are parked, to lead: the last, who is likely to wait the longest."""
        self._followers.pop().release()

    def _leave(
        self, parker: LockType | None, waiter: Waiter | BlockingRequest, read: list[bytes], *, leads: bool
    ) -> None:
        """Leave others able to go on, however a wait has ended."""
        if parker is not None:
            self._unpark_self(parker, waiter)
        with self.lock:
            if leads:
                self._is_led = False
                self._waits_until = -inf
                self._take(read)
            self._hand_over()

    # --- jobs ----------------------------------------------------------------------------------------------------

    def _may_run(self) -> bool:
        return not self._runner or (self._runner == threading.get_ident() and self._depth < DEEPEST)

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
                if not outer and (jobs or (self.transport is not None and self.transport.is_gone)):
                    self._hand_over()

    def call_back(self, fn: Callable[[Any], object], argument: object) -> None:
        """Call a user's callback; what it raises is logged."""
        try:
            fn(argument)
        except Exception:
            _logger().exception("callback %r failed", fn)


def _logger() -> logging.Logger:
    import logging

    return logging.getLogger("tieline.blocking")


_ONE_READ: Final = (READ_SIZE,)
_READ: Final = 0
_RUN: Final = 1
_WATCH: Final = 2
_PARK: Final = 3
