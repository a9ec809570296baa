# SPDX-License-Identifier: MIT
"""The part of asyncio that tests use, on every runtime: a test that names nothing else runs on trio as well.

On asyncio it is asyncio itself. On trio it is the least that does the same: tasks live in the nursery of the test, and
whoever awaits a cancelled one gets asyncio's CancelledError, since trio's own cannot be made by hand. Streams are bare
sockets, so that no code of ours stands at both ends.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any, Self, TypeAlias, TypeVar, cast

import trio
import trio.lowlevel

from tieline import LocalProtocolError
from tieline.endpoints.urls import StreamEndpoint
from tieline.runtimes.asyncio.host import current_host

T = TypeVar("T")

RequestCancelled = (asyncio.CancelledError, LocalProtocolError)
"""What a request that was cancelled has come to: on trio nobody can make a Cancelled by hand."""
CancelledError = asyncio.CancelledError
"""What a task of a test that was cancelled is said to have ended with."""
ALL_COMPLETED, FIRST_COMPLETED = asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED
StreamReader: TypeAlias = Any
StreamWriter: TypeAlias = Any
Task: TypeAlias = asyncio.Task  # in annotations
new_event_loop = asyncio.new_event_loop
Protocol = asyncio.Protocol
"""A base class without anything of a loop."""

Cancelled = (asyncio.CancelledError, trio.Cancelled)
"""What a task is cancelled by, to be caught."""


def on_trio() -> bool:
    return trio.lowlevel.in_trio_task()


# --- time ------------------------------------------------------------------------------------------------------------


async def sleep(seconds: float, result: Any = None) -> Any:
    await (trio.sleep if on_trio() else asyncio.sleep)(seconds)
    return result


def live_timers() -> list[Any] | None:
    """Return the timers that are still to go off; None where the loop shows none (uvloop, trio).

    Those that wait in the host's table are among them; the loop's timer that looks through the table is not.
    """
    scheduled: list[Any] | None = getattr(running_loop(), "_scheduled", None)
    if scheduled is None:
        return None
    far = current_host().far_timers
    return [timer for timer in scheduled if not timer.cancelled() and timer._callback != far._look] + [*far.waiting]


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running loop of asyncio; None on trio."""
    return None if on_trio() else asyncio.get_running_loop()


def now() -> float:
    """Return the time by the runtime's clock."""
    return trio.current_time() if on_trio() else asyncio.get_running_loop().time()


@asynccontextmanager
async def timeout(seconds: float | None) -> AsyncIterator[None]:
    """Do as `asyncio.timeout` does."""
    if not on_trio():
        async with asyncio.timeout(seconds):
            yield
        return
    with trio.move_on_after(float("inf") if seconds is None else seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TimeoutError


async def wait_for(awaitable: Awaitable[T], seconds: float | None) -> T:
    async with timeout(seconds):
        return await awaitable


async def to_thread(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    if on_trio():
        return await trio.to_thread.run_sync(partial(fn, *args, **kwargs))
    return await asyncio.to_thread(fn, *args, **kwargs)


# --- tasks -----------------------------------------------------------------------------------------------------------


class Event:
    """An event that can be cleared."""

    def __init__(self) -> None:
        self._event: Any = trio.Event() if on_trio() else asyncio.Event()

    def is_set(self) -> bool:
        return bool(self._event.is_set())

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        if isinstance(self._event, asyncio.Event):
            self._event.clear()
        elif self._event.is_set():
            self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class Condition:
    """A condition without a lock: what is waited for is a function that awaits nothing."""

    def __init__(self) -> None:
        self._event: Event | None = None  # made by who waits first: it may have been made where nothing runs

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def notify_all(self) -> None:
        if self._event is not None:
            self._event.set()

    async def wait_for(self, predicate: Callable[[], object]) -> None:
        while not predicate():
            if self._event is None:
                self._event = Event()
            self._event.clear()
            await self._event.wait()


class TestTasks:
    """The tasks of one test on trio."""

    __test__ = False

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.tasks: set[TrioTask] = set()
        self.unstarted: deque[TrioTask] = deque()
        self.unseen: list[BaseException] = []

    async def run_next(self) -> None:
        """Run the task that has waited longest: trio starts in any order, asyncio in that of their making."""
        await self.unstarted.popleft()._run()


tasks_of_test: ContextVar[TestTasks] = ContextVar("tasks_of_test")


class TrioTask:
    """A task on trio with the members of asyncio's that tests use."""

    __test__ = False

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable: Awaitable[Any] | None = awaitable
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Any], object]] = []
        self._seen = False
        self._owner = tasks_of_test.get()
        self._owner.tasks.add(self)
        self._owner.unstarted.append(self)
        self._owner.nursery.start_soon(self._owner.run_next)

    async def _run(self) -> None:
        awaitable, self._awaitable = self._awaitable, None
        _current_task.set(self)
        assert awaitable is not None
        try:
            with self._scope:
                self._result = await awaitable
            if self._scope.cancelled_caught:
                self._error = asyncio.CancelledError()
        except Exception as exc:
            self._error = exc
        except asyncio.CancelledError as exc:
            self._error = exc
        except BaseException as exc:
            self._error = exc
            raise
        finally:
            del awaitable
            self._owner.tasks.discard(self)
            self._done.set()
            for fn in self._callbacks:
                fn(self)

    def __del__(self) -> None:
        if not self._seen and isinstance(self._error, Exception):
            self._owner.unseen.append(self._error)

    def done(self) -> bool:
        return self._done.is_set()

    def cancelled(self) -> bool:
        return isinstance(self._error, asyncio.CancelledError)

    def cancel(self) -> bool:
        if self.done():
            return False
        self._scope.cancel()
        return True

    def result(self) -> Any:
        assert self.done(), "the task is not done"
        self._seen = True
        if self._error is not None:
            raise self._error
        return self._result

    def exception(self) -> BaseException | None:
        assert self.done(), "the task is not done"
        self._seen = True
        if isinstance(self._error, asyncio.CancelledError):
            raise self._error
        return self._error

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        self._callbacks.append(fn)

    async def _wait(self) -> Any:
        try:
            await self._done.wait()
        except trio.Cancelled:
            self.cancel()
            raise
        return self.result()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()


def create_task(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    if on_trio():
        return cast("asyncio.Task[T]", TrioTask(coroutine))
    return asyncio.create_task(coroutine)


def in_order(*functions: Callable[[], Coroutine[Any, Any, Any]]) -> list[asyncio.Task[Any]]:
    """Return tasks that run *functions*, and begin in that order, which trio does not promise."""
    turn, begun = 0, Event()

    async def begin(place: int) -> Any:
        nonlocal turn, begun
        while turn < place:
            await begun.wait()
        turn += 1
        begun.set()
        begun = Event()
        return await functions[place]()

    return [create_task(begin(place)) for place in range(len(functions))]


def ensure_future(awaitable: Awaitable[T]) -> asyncio.Future[T]:
    if on_trio():
        return cast("asyncio.Future[T]", TrioTask(awaitable))
    return asyncio.ensure_future(awaitable)


async def gather(*awaitables: Awaitable[Any], return_exceptions: bool = False) -> list[Any]:
    """Do as `asyncio.gather` does."""
    if not on_trio():
        return list(await asyncio.gather(*awaitables, return_exceptions=return_exceptions))
    tasks = [one if isinstance(one, TrioTask) else TrioTask(one) for one in awaitables]
    try:
        if not return_exceptions:
            return [await task for task in tasks]
        for task in tasks:
            await task._done.wait()
    except trio.Cancelled:
        for task in tasks:
            task.cancel()
        raise
    for task in tasks:
        task._seen = True
    return [task._result if task._error is None else task._error for task in tasks]


async def wait(
    tasks: Iterable[Any], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> tuple[set[Any], set[Any]]:
    """Wait until *tasks* are done, whatever they came to; return those that are and those that are not."""
    if not on_trio():
        return await asyncio.wait(list(tasks), timeout=timeout, return_when=return_when)
    tasks = [task if isinstance(task, TrioTask) else TrioTask(task) for task in tasks]
    for task in tasks:
        task._seen = True
    with trio.move_on_after(float("inf") if timeout is None else timeout):
        if return_when == FIRST_COMPLETED:
            while not any(task.done() for task in tasks):  # noqa: ASYNC110  # good enough for a test
                await trio.sleep(0.001)
        else:
            for task in tasks:
                await task._done.wait()
    return {task for task in tasks if task.done()}, {task for task in tasks if not task.done()}


_current_task: ContextVar[Any] = ContextVar("current_task")


def current_task() -> Any:
    """Return the running task; on trio it must be one that a test made."""
    return _current_task.get() if on_trio() else asyncio.current_task()


class _OnceScheduled(trio.abc.Instrument):
    """Call *fn* when *task* has been told to go on."""

    def __init__(self, task: trio.lowlevel.Task, fn: Callable[[], object]) -> None:
        self._task = task
        self._fn = fn

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            trio.lowlevel.remove_instrument(self)
            self._fn()


def cancel_when_woken(task: Any, awaited: Any) -> None:
    """Cancel the running *task* in the turn in which it is woken; on asyncio *awaited* is the future that does so."""
    if on_trio():
        trio.lowlevel.add_instrument(_OnceScheduled(trio.lowlevel.current_task(), task.cancel))
    elif awaited is None:
        asyncio.get_running_loop().call_soon(task.cancel)
    else:
        awaited.add_done_callback(lambda _done: task.cancel())


def cancel_soon(task: Any) -> None:
    """Cancel the running *task* as soon as it waits."""
    if on_trio():
        task.cancel()
    else:
        asyncio.get_running_loop().call_soon(task.cancel)


def cancelling() -> int:
    """Return how often the running task is being cancelled; on trio whether its next wait would be."""
    if on_trio():
        return int(trio.current_effective_deadline() == float("-inf"))
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


# Tasks of trio that serve all connections of a nursery: they come with the first one that needs them, and stay.
_COMMON = ("Turns._run", "_Lane._work")


def all_tasks() -> set[object]:
    """Return all tasks; on trio without those that connections share."""
    if not on_trio():
        return set(asyncio.all_tasks())
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found, todo = set[object](), [root]
    while todo:
        task = todo.pop()
        if not task.name.endswith(_COMMON):
            found.add(task)
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def shield(task: Any) -> Awaitable[Any]:
    """Do as `asyncio.shield` does."""
    if not on_trio():
        return asyncio.shield(task)

    async def shielded() -> Any:
        await task._done.wait()
        return task.result()

    return shielded()


async def settled_tasks(tasks: set[object]) -> set[object]:
    """Return all tasks; on trio as soon as they are *tasks*: what ends a connection there are tasks that end soon."""
    for _ in range(20):
        if not on_trio() or all_tasks() == tasks:
            break
        await trio.lowlevel.checkpoint()
    return all_tasks()


class TaskGroup:
    """`asyncio.TaskGroup`, for tasks that nobody asks for their results."""

    def __init__(self) -> None:
        self._group: Any = None if on_trio() else asyncio.TaskGroup()
        self._manager: Any = trio.open_nursery() if on_trio() else None
        self._nursery: Any = None

    async def __aenter__(self) -> Self:
        if self._group is not None:
            await self._group.__aenter__()
        else:
            self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *args: Any) -> Any:
        return await (self._group or self._manager).__aexit__(*args)

    def create_task(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._group is not None:
            return self._group.create_task(coroutine)
        task = TrioTask(coroutine)
        task._seen = True
        self._nursery.start_soon(self._watch, task)
        return task

    async def _watch(self, task: TrioTask) -> None:
        try:
            await task
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await task._done.wait()
            raise


@asynccontextmanager
async def when_readable(fd: int, fn: Callable[[], object]) -> AsyncIterator[None]:
    """Call *fn* when there is something to read, or the end."""
    if on_trio():

        async def watch() -> None:
            await trio.lowlevel.wait_readable(fd)
            fn()

        task = TrioTask(watch())
        try:
            yield
        finally:
            task.cancel()
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, fn)
    try:
        yield
    finally:
        loop.remove_reader(fd)


def run(async_fn: Callable[..., Awaitable[T]], *args: Any, loop: str) -> T:
    """Run a program on a *loop* of that name: asyncio, uvloop or trio."""
    if loop == "trio":
        try:
            return trio.run(_in_nursery, async_fn, args)
        except BaseExceptionGroup as group:  # a nursery wraps whatever it is given
            raise group.exceptions[0] from None
    factory: Any = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(cast("Coroutine[Any, Any, T]", async_fn(*args)))


async def _in_nursery(async_fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
    async with trio.open_nursery() as nursery:
        tasks_of_test.set(TestTasks(nursery))
        return await async_fn(*args)


def nursery() -> trio.Nursery | None:
    """Return where connections of a test live that are made without an ``async with``: on trio its nursery."""
    return tasks_of_test.get().nursery if on_trio() else None


class _Failures(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(record.exc_info[1] if record.exc_info else None)


@contextmanager
def reported() -> Iterator[list[Any]]:
    """Give what the runtime reports of exceptions that nobody else could have caught; it does not fail the test."""
    if not on_trio():
        loop = asyncio.get_running_loop()
        before, errors = loop.get_exception_handler(), list[Any]()
        loop.set_exception_handler(lambda _loop, context: errors.append(context.get("exception")))
        try:
            yield errors
        finally:
            loop.set_exception_handler(before)
        return
    log, handler = logging.getLogger("tieline.trio"), _Failures()
    others, log.handlers = log.handlers, [handler]
    try:
        yield handler.errors
    finally:
        log.handlers = others


class Queue:
    """An unbounded queue."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._event = Event()

    def put_nowait(self, item: Any) -> None:
        self._items.append(item)
        self._event.set()

    def empty(self) -> bool:
        return not self._items

    async def get(self) -> Any:
        while not self._items:
            self._event.clear()
            await self._event.wait()
        return self._items.pop(0)


class Future:
    """Something that is completed once, for any number of tasks."""

    def __init__(self) -> None:
        self._event = Event()
        self._result: Any = None

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, result: Any) -> None:
        assert not self.done()
        self._result = result
        self._event.set()

    async def _wait(self) -> Any:
        await self._event.wait()
        return self._result

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()


# --- streams ---------------------------------------------------------------------------------------------------------


class _Reader:
    """`asyncio.StreamReader` over a socket of trio."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._ended = False

    async def _fill(self) -> bool:
        if not self._ended:
            data = await self._sock.recv(65536)
            self._buffer += data
            self._ended = not data
        return not self._ended

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def readline(self) -> bytes:
        while b"\n" not in self._buffer and await self._fill():
            pass
        end = self._buffer.find(b"\n")
        return self._take(len(self._buffer) if end < 0 else end + 1)

    async def read(self, count: int = -1) -> bytes:
        if count < 0:
            while await self._fill():
                pass
            return self._take(len(self._buffer))
        if not self._buffer:
            await self._fill()
        return self._take(count)

    async def readexactly(self, count: int) -> bytes:
        while len(self._buffer) < count and await self._fill():
            pass
        if len(self._buffer) < count:
            raise asyncio.IncompleteReadError(bytes(self._buffer), count)
        return self._take(count)

    async def readuntil(self, separator: bytes) -> bytes:
        while separator not in self._buffer and await self._fill():
            pass
        end = self._buffer.find(separator)
        if end < 0:
            raise asyncio.IncompleteReadError(bytes(self._buffer), None)
        return self._take(end + len(separator))

    def at_eof(self) -> bool:
        return self._ended and not self._buffer


class _Writer:
    """`asyncio.StreamWriter` over a socket of trio; it is its own transport."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock
        self._unsent = bytearray()
        self._flushing = False
        self._eof = self._closing = False
        self._nursery = tasks_of_test.get().nursery
        self._info: dict[str, Any] = {"socket": sock, "sockname": sock.getsockname()}
        try:
            self._info["peername"] = sock.getpeername()
        except OSError:
            self._info["peername"] = None

    @property
    def transport(self) -> _Writer:
        return self

    def pause_reading(self) -> None: ...  # nothing is read that nobody asks for

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str) -> Any:
        return self._info.get(name)

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def write(self, data: bytes) -> None:
        if self._closing:
            return
        self._unsent += data
        if not self._flushing:
            self._flushing = True
            self._send_some()
            if self._unsent:
                self._nursery.start_soon(self._flush)
            else:
                self._flushing = False

    def _send_some(self) -> None:
        if self._sock.fileno() < 0:
            return
        fd = socket.socket(fileno=self._sock.fileno())
        try:
            fd.setblocking(False)
            while self._unsent:
                sent = fd.send(self._unsent)
                del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()
        finally:
            fd.detach()

    async def _flush(self) -> None:
        try:
            while self._unsent:
                await trio.lowlevel.wait_writable(self._sock)
                self._send_some()
        except trio.ClosedResourceError:
            return
        finally:
            self._flushing = False
        if self._closing:
            self._sock.close()
        elif self._eof:
            self._shut()

    async def drain(self) -> None:
        while self._flushing:  # noqa: ASYNC110  # good enough for a test's peer
            await trio.sleep(0.001)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._eof = True
        if not self._flushing:
            self._shut()

    def _shut(self) -> None:
        fd = socket.socket(fileno=self._sock.fileno())
        try:
            fd.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        finally:
            fd.detach()

    def close(self) -> None:
        self._closing = True
        if not self._flushing:
            self._sock.close()

    def abort(self) -> None:
        self._closing = True
        self._unsent.clear()
        self._sock.close()

    async def wait_closed(self) -> None:
        await self.drain()


def _streams(sock: trio.socket.SocketType) -> tuple[Any, Any]:
    if sock.family != socket.AF_UNIX:  # as asyncio does: else a small piece waits until the one before is acknowledged
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Reader(sock), _Writer(sock)


async def open_connection(host: str, port: int, *, limit: int = 1 << 16, **on_asyncio: Any) -> tuple[Any, Any]:
    if not on_trio():
        return await asyncio.open_connection(host, port, limit=limit, **on_asyncio)
    assert not any(on_asyncio.values())
    sock = trio.socket.socket()
    try:
        await sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return _streams(sock)


async def open_unix_connection(path: str, *, limit: int = 1 << 16) -> tuple[Any, Any]:
    if not on_trio():
        return await asyncio.open_unix_connection(path, limit=limit)
    sock = trio.socket.socket(socket.AF_UNIX)
    try:
        await sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return _streams(sock)


class _Server:
    """`asyncio.Server` over sockets of trio."""

    def __init__(self, sock: socket.socket, callback: Callable[[Any, Any], object]) -> None:
        self.sockets = [sock]
        self._callback = callback
        self._nursery = tasks_of_test.get().nursery
        self._nursery.start_soon(self._accept, trio.socket.from_stdlib_socket(sock))

    async def _accept(self, listener: trio.socket.SocketType) -> None:
        while True:
            try:
                sock, _ = await listener.accept()
            except (trio.ClosedResourceError, OSError):
                return
            called = self._callback(*_streams(sock))
            if isinstance(called, Coroutine):
                TrioTask(called)

    def close(self) -> None:
        for sock in self.sockets:
            trio.lowlevel.notify_closing(sock)
            sock.close()
        self.sockets = []

    async def wait_closed(self) -> None: ...


async def start_server(
    callback: Callable[[Any, Any], object], host: str, port: int, *, limit: int = 1 << 16, **on_asyncio: Any
) -> Any:
    if not on_trio():
        return await asyncio.start_server(cast("Any", callback), host, port, limit=limit, **on_asyncio)
    assert not any(on_asyncio.values())
    return _Server(socket.create_server((host, port)), callback)


async def sock_recv(sock: socket.socket, size: int) -> bytes:
    """Receive from a non-blocking socket."""
    if not on_trio():
        return await asyncio.get_running_loop().sock_recv(sock, size)
    await trio.lowlevel.wait_readable(sock)
    return sock.recv(size)


async def sock_connect(sock: socket.socket, address: Any) -> None:
    """Connect a non-blocking socket."""
    if not on_trio():
        await asyncio.get_running_loop().sock_connect(sock, address)
        return
    if sock.connect_ex(address):
        await trio.lowlevel.wait_writable(sock)


# --- connections of ours, below the faces ----------------------------------------------------------------------------


def module(name: str) -> ModuleType:
    """Return the module of that name of the running runtime."""
    return importlib.import_module(f"tieline.runtimes.{'trio' if on_trio() else 'asyncio'}.{name}")


async def dial(factory: Callable[[], Any], endpoint: StreamEndpoint, **settings: Any) -> tuple[Any, Any]:
    if not on_trio():
        from tieline.runtimes.asyncio import dialling

        return await dialling.dial(factory, endpoint, **settings)
    from tieline.runtimes.trio import dialling as dialling_on_trio
    from tieline.runtimes.trio.host import host_of

    return await dialling_on_trio.dial(host_of(tasks_of_test.get().nursery), factory, endpoint, **settings)


async def listen(factory: Callable[[], Any], endpoint: StreamEndpoint, **settings: Any) -> Any:
    if not on_trio():
        from tieline.runtimes.asyncio import listening

        return await listening.listen(factory, endpoint, **settings)
    from tieline.runtimes.trio import listening as listening_on_trio
    from tieline.runtimes.trio.host import host_of

    return await listening_on_trio.listen(host_of(tasks_of_test.get().nursery), factory, endpoint, **settings)


def make_link(make: Callable[[], T]) -> T:
    """Return the protocol object that *make* makes, without a connection."""
    if not on_trio():
        return make()
    from tieline.runtimes.trio.host import TrioHost

    return TrioHost(tasks_of_test.get().nursery).make(make)


async def create_connection(factory: Callable[[], Any], host: str, port: int) -> tuple[Any, Any]:
    """Connect a protocol, as the loop does."""
    if not on_trio():
        return await asyncio.get_running_loop().create_connection(factory, host, port)
    from tieline.endpoints.tcp import TCP
    from tieline.runtimes.trio.backend import BACKEND

    return await BACKEND.dial(factory, TCP(host, port), timeout=None, nursery=nursery())


async def create_server(factory: Callable[[], Any], host: str, port: int) -> Any:
    """Listen with protocols, as the loop does."""
    if not on_trio():
        return await asyncio.get_running_loop().create_server(factory, host, port)
    from tieline.endpoints.tcp import TCP
    from tieline.runtimes.trio.backend import BACKEND

    return await BACKEND.listen(factory, TCP(host, port), nursery=nursery())
