# SPDX-License-Identifier: MIT
"""The host of an asyncio loop (stock or uvloop), and the links that its transports drive."""

from __future__ import annotations

import asyncio
import sys
import time
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from weakref import ref

from tieline.errors import LocalProtocolError
from tieline.runtimes.asyncio.base_classes import know_transports
from tieline.runtimes.asyncio.far_timers import FarTimers
from tieline.runtimes.asyncio.waiting import PromptWaiter
from tieline.runtimes.link import Link
from tieline.runtimes.memory import LONG, keep_memory
from tieline.wire.jsonrpc.batch_members import BatchMember, Outcomes
from tieline.wire.jsonrpc.outgoing import RPCRequestOut

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sized

    from tieline.runtimes.backend import MachineT
    from tieline.runtimes.host import Timer
    from tieline.runtimes.ports import Sink
    from tieline.wire.packets import PacketConnection

__all__ = ["AsyncioHost", "BufferedLink", "PlainLink", "RequestFuture", "current_host"]

RECEIVE_BUFFER = 256 * 1024
MOST_AT_ONCE = 16  # connections that are dialled within one turn of a loop
# What a loop reads that serves one connection and nothing else: that, and its own socket by which it is woken.
ALONE = 2
# The size of libuv's buffer.
FULL_READ = 64 * 1024


# Found at once. (Pyright: the class by itself has no type argument.)
_AnyFuture: TypeAlias = asyncio.Future[Any]
_set_result: Final[Callable[[_AnyFuture, Any], None]] = cast("Any", asyncio.Future).set_result
_current_task: Final = asyncio.current_task
_set_exception: Final[Callable[[_AnyFuture, BaseException], None]] = cast("Any", asyncio.Future).set_exception


class RequestFuture(RPCRequestOut, asyncio.Future[Any]):  # type: ignore[misc]  # declared alike, but for what typeshed adds
    """An outgoing request as a future of the running loop."""

    # Without a dict each they take half as long to make.
    __slots__ = ("args", "method", "request_id", "watcher")

    # For the same reason none of Python: `AsyncioHost.new_request` makes them and sets what is theirs.
    if TYPE_CHECKING:

        def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
            """Make a request that asks nothing yet."""

    else:
        __init__ = asyncio.Future.__init__

    def cancel(self, msg: object = None) -> bool:
        """Cancel the request: the call is forgotten, its late answer dropped."""
        if not super().cancel(msg):
            return False
        self.ended()
        return True

    def set_result(self, result: Any, /) -> None:
        """Complete the request. Done by hand, it forgets the call as `cancel` does."""
        super().set_result(result)
        self.ended()

    def set_exception(self, exception: BaseException | type[BaseException], /) -> None:
        """Complete the request with an exception; see `set_result`."""
        super().set_exception(exception)  # type: ignore[arg-type]  # RPCRequestOut declares instances only
        self.ended()

    def answered(self, value: Any, error: BaseException | None) -> None:
        """Complete the request with what the peer answered, or with how the call ended otherwise."""
        watcher = self.watcher
        self.watcher = None
        if error is None:
            _set_result(self, value)
        else:
            _set_exception(self, error)
        if watcher is not None:
            watcher.request_ended(self, True, error)


class FutureMember(BatchMember):
    """A request of a batch, with all that asyncio's own functions (`gather`, `wait`, `shield`) ask of a future."""

    _asyncio_future_blocking = False  # whereby they know one

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that it belongs to."""
        loop: asyncio.AbstractEventLoop = self._request.get_loop()
        return loop

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Have *fn* called with it when it is complete, in *context*; None = a copy of the context of now."""
        self.outcomes.add_callback(self, fn, {} if context is None else {"context": context})

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        """Have *fn* not called; return how often it would have been."""
        return self.outcomes.remove_callback(self, fn)

    # Private, and yet what `gather` asks of one that is cancelled.

    def _make_cancelled_error(self) -> BaseException:
        error: BaseException = self._request._make_cancelled_error()
        return error

    @property
    def _cancel_message(self) -> object:
        return self._request._cancel_message


class FutureOutcomes(Outcomes):
    """What the requests of a batch come to, each of which asyncio takes for a future."""

    __slots__ = ()

    member_class = FutureMember

    def keep_callback(self, member: BatchMember, fn: Callable[[Any], object], kwargs: dict[str, Any]) -> bool:
        return super().keep_callback(member, fn, kwargs or {"context": copy_context()})


class PlainLink(Link, asyncio.Protocol):
    """A link for loops whose transports hand out bytes of their own (uvloop)."""

    __slots__ = ()

    def connection_made(self, transport: Any) -> None:
        Link.connection_made(self, transport)
        if self._paused:
            # uvloop begins to read behind this, whatever was asked for meanwhile.
            self._host.call_soon(self._pause_again)

    def _pause_again(self) -> None:
        if self._paused and not self.is_lost:
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        Link.data_received(self, data)
        if len(data) >= FULL_READ:
            keep_memory()
            # libuv reads on, up to 32 times a turn, for as long as its buffer comes back full; the others would wait.
            self.take_breath()


class BufferedLink(Link, asyncio.BufferedProtocol):  # type: ignore[misc]  # a link asks less of its transport
    """A link for selector loops: all links of a loop read into one buffer and copy out what came.

    That is faster there than `asyncio.Protocol`, whose 256 KiB per read come from mmap time and again; and an idle
    connection owns no buffer. A `SelectorStream` reads less at a time, as bytes, until a read comes back full.
    """

    __slots__ = ()

    _host: AsyncioHost

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._host.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes >= LONG:
            keep_memory()
        Link.data_received(self, self._host.buffer[:nbytes].tobytes())


def _call_at(loop: asyncio.AbstractEventLoop, when: float, fn: Callable[[], object]) -> Timer:
    """Have *loop* call *fn* at *when*, in nobody's context: a planner's would be kept, and serve others as well."""
    return loop.call_at(when, fn, context=Context())


class AsyncioHost:
    """The host of one loop; see `tieline.runtimes.host.Host`.

    Attributes:
        buffer: What the buffered links of the loop read into; empty where it is no selector loop of asyncio's.
        acceptors: What connections are accepted from on the loop, by its descriptor: nothing is kept by that.
        far_timers: The timers of the loop's connections.
    """

    starts_eagerly: bool = sys.version_info >= (3, 12)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Each async request asks for it, and what is the class's takes longer to get.
        self.starts_eagerly = AsyncioHost.starts_eagerly
        # `loop.time` of the stock loops is a function of Python around `time.monotonic`.
        is_stock = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
        self.now: Callable[[], float] = time.monotonic if is_stock else loop.time
        self.call_soon: Callable[[Callable[[], object]], object] = loop.call_soon
        self.call_behind = self.call_soon
        # `create_future` of the stock loops is a function of Python around the class, which finds the running loop
        # quicker by itself than it takes a given one.
        own_futures = getattr(type(loop), "create_future", None) is not asyncio.BaseEventLoop.create_future
        self.new_waiter: Callable[[], asyncio.Future[Any]] = loop.create_future if own_futures else asyncio.Future
        self.far_timers = FarTimers(partial(_call_at, loop), self.now)
        self.call_at: Callable[[float, Callable[[], object]], Timer] = self.far_timers.call_at
        self.acceptors: set[int] = set()
        self._dialled = 0  # connections that were dialled, modulo `MOST_AT_ONCE`
        selector = getattr(loop, "_selector", None)  # of asyncio's own loops, as long as there have been any
        self._read: Sized | None = None if selector is None else selector.get_map()
        self._loop = loop
        self._get_loop = ref(loop)  # a function in C
        reads_into_buffer = isinstance(loop, asyncio.SelectorEventLoop)
        self.buffer = memoryview(bytearray(RECEIVE_BUFFER if reads_into_buffer else 0))

    def new_prompt_waiter(self, _machine: PacketConnection | None = None, /) -> PromptWaiter:
        waiter = PromptWaiter()
        waiter.is_done = False
        waiter.error = waiter.wake_up = None
        waiter.get_loop = self._get_loop
        return waiter

    def wake(self, waiter: Any, result: Any, /) -> None:
        # Where none waits yet there is nothing to wake, and no task can run within another.
        if waiter.__class__ is not PromptWaiter or waiter.wake_up is None or _current_task() is not None:
            waiter.set_result(result)
            return
        wake_up, context = waiter.wake_up, waiter.context
        waiter.wake_up = None
        del waiter.context
        waiter.value, waiter.is_done = result, True
        try:
            context.run(wake_up, waiter)
        except RuntimeError:  # not of the task, which keeps its own: the context is entered already, further up
            self._loop.call_soon(wake_up, waiter, context=context)
        except BaseException as exc:  # KeyboardInterrupt, SystemExit: what else a task raises stays with it
            self.end_program(exc)

    def check_here(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            state = "is closed" if self._loop.is_closed() else "is not this one"
            raise LocalProtocolError(f"it belongs to the event loop in which it was made, which {state}")

    def new_event(self) -> asyncio.Event:
        return asyncio.Event()

    def new_request(self, method: str, args: object) -> RequestFuture:
        request = RequestFuture(loop=self._loop)  # orders may be given while it does not run
        request.method = method
        request.args = args
        request.request_id = request.watcher = None
        return request

    def new_outcomes(self, note_early: Callable[[Outcomes], object], /) -> FutureOutcomes:
        return FutureOutcomes(self.new_request, note_early)

    if sys.version_info >= (3, 12):

        def start(self, coroutine: Coroutine[Any, Any, None], context: Context, /) -> asyncio.Task[None] | None:
            task = asyncio.Task(coroutine, loop=self._loop, context=context, eager_start=True)
            return None if task.done() else task

    else:

        def start(self, coroutine: Coroutine[Any, Any, None], context: Context, /) -> asyncio.Task[None] | None:
            return self._loop.create_task(coroutine, context=context)

    def end_program(self, error: BaseException) -> None:
        def end() -> None:
            raise error

        self._loop.call_soon(end)

    def on_collapse(self, _fn: Callable[[], object], /) -> None:
        return None

    def call_from_anywhere(self, fn: Callable[[], object]) -> None:
        """Call *fn* soon, not at all when the loop is closed; for any thread."""
        try:
            self._loop.call_soon_threadsafe(fn)
        except RuntimeError:
            pass

    def current(self) -> asyncio.Task[Any] | None:
        try:
            return asyncio.current_task()
        except RuntimeError:  # no loop runs in this thread
            return None

    def here(self) -> Callable[[], bool]:
        task = asyncio.current_task()
        return lambda: asyncio.current_task() is task

    def has_to_turn(self) -> bool:
        """Return whether a connection that was dialled at once has to wait for a turn of the loop nevertheless.

        One of a few has to: so one who connects again and again lets others run, and can be cancelled. And each has to
        where anything else is read on the loop: that may be a server, of anybody's, which has yet to accept it.
        """
        self._dialled = (self._dialled + 1) % MOST_AT_ONCE
        return not self._dialled or self._read is None or len(self._read) > ALONE

    def new_link(self, machine: MachineT, sink: Sink) -> Link[MachineT]:
        """Return a link for a transport of this loop."""
        return (BufferedLink if self.buffer else PlainLink)(machine, sink, self)


def current_host() -> AsyncioHost:
    """Return the host of the running loop, which keeps it: so it is forgotten with the loop, and all that it knows.

    Raises:
        RuntimeError: No loop is running.
    """
    loop: Any = asyncio.get_running_loop()
    try:
        host: AsyncioHost = loop.tieline_host
    except AttributeError:  # loops take one: `asyncio.AbstractEventLoop`, from which they are derived, has a dict
        host = loop.tieline_host = AsyncioHost(loop)
        know_transports()
    return host
