# SPDX-License-Identifier: MIT
"""An asyncio loop in a thread of its own, for code that blocks, and a pool of threads beside it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tieline.errors import ClosedError, LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["LoopThread"]

# Seconds of one wait. CPython misses a signal (Ctrl-C) that comes just before it goes to sleep in a lock, and would
# handle it when it wakes up.
LONGEST_SLEEP: Final = 1.0


class LoopThread:
    """A loop that runs in a private thread until `stop`.

    Args:
        name: What the threads are called.
        workers: How many threads the pool has at most; they are made when they are needed.

    Attributes:
        longest_sleep: Seconds of one wait at most, for those who wait otherwise than by `call`.
        at_end: What is called when the loop has been stopped, for those who wait for it otherwise than by `call`.
    """

    longest_sleep: ClassVar[float] = LONGEST_SLEEP

    def __init__(self, name: str, workers: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"{name} worker")
        # A program that forgets to stop it can end all the same.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()
        self._is_stopped = False
        self._futures: set[Future[Any]] = set()
        self._running: set[int] = set()  # the threads of the pool that are at work
        self._ended: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()  # what they have done
        self._is_called = False  # to look at it
        self._tasks: list[asyncio.Task[Any]] = []  # a loop holds its tasks weakly
        self.at_end: set[Callable[[], object]] = set()
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()

    @property
    def is_elsewhere(self) -> bool:
        """Whether the loop runs, and in another thread than the caller."""
        return not self._is_stopped and threading.get_ident() != self._thread.ident

    def call(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
        """Run a coroutine function in the loop, wait for it, and return what it returns.

        When the caller is interrupted (Ctrl-C) the coroutine is cancelled.

        Raises:
            ClosedError: The loop has been stopped.
            LocalProtocolError: The caller runs in the loop, which would wait for itself.
            Exception: What the coroutine raises.
        """
        if threading.current_thread() is self._thread:
            raise LocalProtocolError("this waits for the loop that it is called in: await the asynchronous method")
        future = self._submit(function(*args, **kwargs))
        try:
            return _result_of(future)
        except CancelledError:
            if self._is_stopped:
                raise ClosedError("the server is not running") from None  # it says no more
            raise
        except BaseException:
            future.cancel()
            raise

    def _submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        with self._lock:
            if self._is_stopped:
                coroutine.close()
                raise ClosedError("the server is not running")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

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
            RuntimeError: What the function raised is no `Exception`, or StopIteration: it is the cause.
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
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
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
        """Stop the loop and wait for its thread; what still runs in the pool is left to itself. Harmless twice."""
        with self._lock:
            if self._is_stopped:
                return
            self._is_stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if not self._running:
            self._pool.shutdown(wait=True)
        for future in list(self._futures):
            future.cancel()  # those who wait for it are to find out
        for tell in list(self.at_end):
            tell()


def _result_of(future: Future[Any]) -> Any:
    """Wait for *future*, and return its result or raise what it has failed with."""
    while True:
        try:
            return future.result(LONGEST_SLEEP)
        except TimeoutError:
            is_over = future.done()
        if is_over:
            return future.result()  # or its own TimeoutError
