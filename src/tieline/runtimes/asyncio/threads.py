# SPDX-License-Identifier: MIT
"""An asyncio loop in a thread of its own, for code that blocks, and a pool of threads beside it."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tieline.errors import ClosedError, LocalProtocolError
from tieline.runtimes.forks import STAYING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tieline.runtimes.serving import Serving

__all__ = ["LoopThread"]

# Seconds of one wait. CPython misses a signal (Ctrl-C) that comes just before it goes to sleep in a lock, and would
# handle it when it wakes up.
LONGEST_SLEEP: Final = 1.0


def no_owner() -> None:
    """Return None: a thread works for nobody, as long as nobody has said so."""


class LoopThread:
    """A loop that runs in a private thread until `stop`.

    Args:
        name: What the threads are called.
        workers: How many threads the pool has at most; they are made when they are needed.

    A KeyboardInterrupt or SystemExit that a handler raises, in the pool or in the loop, does not end the loop: it comes
    out of `raise_ending`, which the thread calls that serves. So what runs can still be shut down in order.

    Attributes:
        longest_sleep: Seconds of one wait at most.
        at_end: What is called when the loop has been stopped, for those who wait for it.
        owner: Returns what the thread works for, for those who reach it by the thread; None = nothing, or it is gone.
    """

    longest_sleep: ClassVar[float] = LONGEST_SLEEP

    def __init__(self, name: str, workers: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"{name} worker")
        # A program that forgets to stop it can end all the same.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()
        self._is_stopped = self._is_left = False
        self._why = "the server is not running"  # the text of errors, once it is stopped
        self._running: set[int] = set()  # the threads of the pool that are at work
        self._ended: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()  # what they have done
        self._is_called = False  # to look at it
        self._tasks: list[asyncio.Task[Any]] = []  # a loop holds its tasks weakly
        self._ending: BaseException | None = None  # what a handler has raised to end the program
        self._until_ending: set[asyncio.Task[Any]] = set()  # what goes on until then
        self.at_end: set[Callable[[], object]] = set()
        self.owner: Callable[[], Any] = no_owner
        self._thread.start()
        STAYING.add(self)

    def left_behind(self) -> None:
        """Take note, in a process that was just forked, that the threads and their loop stay with the other one.

        Nothing is said to the loop, which both processes can wake. Threads that are not here may have held the lock.
        """
        self._lock = threading.Lock()
        self._is_stopped = self._is_left = True
        self._why = "the server runs in the process that this one was forked from"

    def check_is_here(self) -> None:
        """Refuse to serve in a process that was forked from the one that serves.

        Raises:
            LocalProtocolError: This is one.
        """
        if self._is_left:
            raise LocalProtocolError(self._why)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                try:
                    while self._is_to_go_on(runner.get_loop()):
                        pass
                finally:
                    with self._lock:  # it may also end by itself
                        self._is_stopped = True
        finally:
            for tell in list(self.at_end):
                tell()

    def _is_to_go_on(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Run the loop; return whether it has only been left to tell that the program is to end."""
        try:
            loop.run_forever()
        except (KeyboardInterrupt, SystemExit) as exc:
            self._ending = self._ending or exc
            for task in self._until_ending:
                task.cancel()
            return not self._is_stopped
        return False

    async def until_ending(self, function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run a coroutine function, but no longer than until a handler wants the program to end."""
        task = asyncio.current_task()
        assert task is not None
        self._until_ending.add(task)
        try:
            if self._ending is None:
                await function()
        finally:
            self._until_ending.discard(task)

    def raise_ending(self) -> None:
        """Raise what a handler has raised to end the program, if one has; once. For the thread that serves."""
        error, self._ending = self._ending, None
        if error is not None:
            raise error

    @property
    def is_elsewhere(self) -> bool:
        """Whether the loop runs, and in another thread than the caller."""
        return not self._is_stopped and threading.get_ident() != self._thread.ident

    def call(self, function: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, **kwargs: Any) -> Any:
        """Run a coroutine function in the loop, wait for it, and return what it returns.

        When the caller is interrupted (Ctrl-C) the coroutine is cancelled.

        Raises:
            ClosedError: The loop has been stopped.
            LocalProtocolError: The caller runs in the loop, which would wait for itself.
            Exception: What the coroutine raises.
        """
        if threading.current_thread() is self._thread:
            raise LocalProtocolError("this waits for the loop that it is called in: await the asynchronous method")
        call = _Call(self._loop, partial(function, *args, **kwargs))
        self.at_end.add(call.end)
        try:
            with self._lock:  # so nothing begins behind the stop
                if self._is_stopped:
                    raise ClosedError(self._why)
                self._loop.call_soon_threadsafe(call.begin)
            call.wait()
        except BaseException:  # Ctrl-C
            self.call_soon(call.cancel)
            raise
        finally:
            self.at_end.discard(call.end)
        if not (call.is_done or self.is_elsewhere):
            raise ClosedError(self._why)
        return call.result()

    def begin(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Have a coroutine function run in the loop, and do not wait for it. Safe in signal handlers."""
        self.call_soon(lambda: self._tasks.append(self._loop.create_task(function(*args))))

    def call_soon(self, function: Callable[[], object]) -> bool:
        """Have a plain function called in the loop; return whether that still runs. Safe in signal handlers."""
        if not self._is_stopped:
            try:
                self._loop.call_soon_threadsafe(function)
            except RuntimeError:
                if not self._is_stopped:
                    raise
                # It was closed behind the question: a lock would not be safe in signal handlers.
            else:
                return True
        return False

    async def in_pool(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run *function* in a thread of the pool, in a copy of the context, and return what it returns.

        When cancelled it returns; the function goes on.

        Raises:
            KeyboardInterrupt, SystemExit: So did the function: the program is to end.
            RuntimeError: What the function raised is no other `Exception`, or StopIteration: it is the cause.
        """
        context = copy_context()
        waiter: asyncio.Future[tuple[Any, BaseException | None]] = self._loop.create_future()

        def run() -> None:
            self._running.add(threading.get_ident())
            try:
                result = context.run(function, *args)
            except BaseException as exc:  # some could not be put into a future, and would never arrive
                self._ended.append((waiter, None, exc))
            else:
                self._ended.append((waiter, result, None))
            finally:
                self._running.discard(threading.get_ident())
            if not self._is_called:
                self._is_called = True
                self.call_soon(self._tell_ended)

        job = self._pool.submit(run)
        try:
            result, error = await waiter
        except asyncio.CancelledError:
            job.cancel()  # nothing is to begin for nobody
            raise
        if error is None:
            return result
        if isinstance(error, Exception | KeyboardInterrupt | SystemExit) and not isinstance(error, StopIteration):
            raise error
        raise RuntimeError(f"a handler raised {type(error).__name__}") from error

    def _tell_ended(self) -> None:
        """Tell all whose functions have ended: to call the loop takes longer than a small function does."""
        self._is_called = False  # before the look: what ends behind it calls anew
        while self._ended:
            waiter, result, error = self._ended.popleft()
            if not waiter.done():
                waiter.set_result((result, error))

    def stop(self) -> None:
        """Stop the loop and wait for its thread; what still runs in the pool is left to itself.

        Harmless twice, and to be called again when it was interrupted (Ctrl-C). In a process that was forked there is
        nothing to stop.
        """
        if self._is_left:
            return
        with self._lock:
            self._is_stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if not self._running:
            self._pool.shutdown(wait=True)

    def forgotten(self, server: object, served: Serving) -> None:
        """Warn that *server*, by which *served* serves here, was not shut down; cut what is left of it, and end.

        Waits for nothing. No warning where nothing is left, as when `serve_forever` has shut it down. Nothing at all
        in a process that was forked: the server is the other one's.
        """
        if self._is_left:
            return
        try:
            if not served.is_over:
                warnings.warn(f"unclosed server {server!r}", ResourceWarning, stacklevel=3, source=server)
        finally:  # the warning may be an error
            self.begin(self._give_up, served.shutdown)

    async def _give_up(self, shutdown: Callable[[float], Coroutine[Any, Any, Any]]) -> None:
        try:
            await shutdown(0)
        finally:
            self._is_stopped = True
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._loop.stop()


class _Call:
    """A coroutine function that runs in the loop, for a thread that waits for it.

    Its lock is the system's, and the loop only ever releases it. A future of `concurrent.futures` has one of Python's
    own, which a thread that is interrupted (Ctrl-C) can keep: the loop would wait for it for ever.
    """

    __slots__ = ("_function", "_is_over", "_loop", "_ready", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._loop = loop
        self._function = function
        self._ready = threading.Lock()
        self._ready.acquire()
        self._is_over = False
        self._task: asyncio.Task[Any] | None = None

    # --- in the thread that waits --------------------------------------------------------------------------------

    def wait(self) -> None:
        """Wait until it is done, or until the loop has stopped."""
        while not self._is_over:
            self._ready.acquire(timeout=LONGEST_SLEEP)

    @property
    def is_done(self) -> bool:
        """Whether it has come to something, be it an error, and was not cancelled."""
        return self._task is not None and self._task.done() and not self._task.cancelled()

    def result(self) -> Any:
        """Return what it has returned, or raise what it has raised; once."""
        task, self._task = self._task, None
        assert task is not None
        try:
            return task.result()
        except asyncio.CancelledError:
            raise CancelledError from None  # the thread that waits is no task, which alone could be cancelled
        finally:
            del task  # its error's traceback would refer to it

    # --- in the loop ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Run it."""
        self._task = task = self._loop.create_task(self._run())
        task.add_done_callback(self._ended)

    async def _run(self) -> Any:
        return await self._function()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # it is for who waits, and no news for the log if nobody does any more
        self.end()

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        if self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        """Have whoever waits go on; in any thread."""
        if not self._is_over:
            self._is_over = True
            self._ready.release()
