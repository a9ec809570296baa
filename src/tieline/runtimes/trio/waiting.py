# SPDX-License-Identifier: MIT
"""What a task waits for on trio: a waiter, and an outgoing request."""

from __future__ import annotations

from functools import partial
from sys import exception
from typing import TYPE_CHECKING, Any, Protocol

from trio.lowlevel import Abort, checkpoint, current_task, reschedule, wait_task_rescheduled

from tieline.errors import LocalProtocolError
from tieline.wire.jsonrpc.outgoing import RPCRequestOut

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from trio.lowlevel import RaiseCancelT, Task

    from tieline.wire.packets import PacketConnection

__all__ = ["AnyLead", "Parking", "RequestOut", "Waiter", "WaitersHost"]


class Parking:
    """Where one task of ours sleeps until it is woken. Not a waiter: it is used again and again."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: Task | None = None

    async def wait(self) -> None:
        """Sleep until `wake`."""
        self._task = current_task()
        await wait_task_rescheduled(self._abort)

    def wake(self) -> None:
        """Wake who sleeps; nothing when nobody does."""
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    def _abort(self, _raise_cancel: RaiseCancelT) -> Abort:
        self._task = None
        return Abort.SUCCEEDED


class AnyLead(Protocol):
    """What a waiter knows of `tieline.runtimes.trio.leading.Lead`."""

    leader: Waiter | None

    async def lead(self, waiter: Waiter) -> Any: ...

    def interrupt(self) -> None: ...

    def stop(self) -> None: ...


class WaitersHost(Protocol):
    """What a waiter knows of its host; see `TrioHost`."""

    waits: int
    lead: AnyLead | None

    def check_here(self) -> None: ...


class Waiter:
    """See `tieline.runtimes.host.Waiter`. One task awaits it, which may read the connection of its host meanwhile.

    Args:
        host: Its host.
        machine: See `tieline.runtimes.host.Host.new_prompt_waiter`.

    Attributes:
        error: The exception that it was completed with, if any.
        is_done: It is complete, or nobody waits for it any more.
        lead: How to wake its task while that waits for something to read; otherwise None.
        machine: Whose next packet it may be completed with.
        result: What it was completed with; there once it is done.
    """

    __slots__ = ("_host", "_task", "error", "is_done", "lead", "machine", "result")

    result: Any

    def __init__(self, host: WaitersHost, machine: PacketConnection | None = None) -> None:
        self._host = host
        self.machine = machine
        self._task: Task | None = None
        self.lead: AnyLead | None = None
        self.is_done = False
        self.error: BaseException | None = None

    def __await__(self) -> Generator[Any, None, Any]:
        lead = self._host.lead
        # Not while the caller handles an exception, which would become the context of all that a read raises.
        if lead is None or lead.leader is not None or self.is_done or exception() is not None:
            return self.wait().__await__()
        return lead.lead(self).__await__()

    async def wait(self) -> Any:
        """Do what awaiting it does, and leave the reading to others."""
        if self.is_done:
            await checkpoint()  # in any case, as trio's users expect of whatever they await
        else:
            self._host.check_here()  # else it would be woken by the wrong thread, or never
            self._host.waits += 1
            self._task = current_task()
            await wait_task_rescheduled(self._abort)
        if self.error is not None:
            try:
                raise self.error
            finally:  # not again: its traceback refers to this frame, and to those of the task, which know the waiter
                self.error = LocalProtocolError("what the waiter has failed with was raised already")
        return self.result

    def _abort(self, _raise_cancel: RaiseCancelT) -> Abort:
        self._task = None
        self.give_up()
        return Abort.SUCCEEDED

    def give_up(self) -> None:
        """Take note that nobody waits for it any more."""
        self.is_done = True
        self.result = None

    def done(self) -> bool:
        return self.is_done

    def set_result(self, result: Any, /) -> None:
        self.result = result
        self.is_done = True
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)
        elif self.lead is not None:
            self.lead.interrupt()

    def set_exception(self, exception: BaseException, /) -> None:
        self.error = exception
        self.set_result(None)


class RequestOut(RPCRequestOut):
    """An outgoing request that tasks of trio can await, any number of them.

    Who asks for the outcome of a request that was cancelled gets a `LocalProtocolError`.
    """

    __slots__ = (
        "_call_soon",
        "_callbacks",
        "_error",
        "_result",
        "_state",
        "_tasks",
        "_traceback",
        "args",
        "method",
        "request_id",
        "watcher",
    )

    _traceback: TracebackType | None  # that of the error when it came; there when there is one

    def __init__(self, method: str, args: object, call_soon: Callable[[Callable[[], object]], object]) -> None:
        self.method = method
        self.args = args
        self.request_id = self.watcher = None
        self._call_soon = call_soon
        self._state = "open"
        self._result: Any = None
        self._error: BaseException | None = None
        self._tasks: list[Task] | None = None
        self._callbacks: list[Callable[[Any], object]] | None = None

    # --- for whoever waits ---------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()

    async def _wait(self) -> Any:
        if self._state != "open":
            await checkpoint()
            return self.result()
        task = current_task()
        if self._tasks is None:
            self._tasks = []
        self._tasks.append(task)
        try:
            await wait_task_rescheduled(partial(self._abort, task))
        except BaseException:
            self.cancel()
            raise
        try:
            return self.result()
        finally:
            del self  # the traceback of its error refers to this frame

    def _abort(self, task: Task, _raise_cancel: RaiseCancelT) -> Abort:
        if self._tasks is not None:
            self._tasks.remove(task)
        return Abort.SUCCEEDED

    def done(self) -> bool:
        """Return whether the request is answered, has failed, or was cancelled."""
        return self._state != "open"

    def cancelled(self) -> bool:
        """Return whether the request was cancelled."""
        return self._state == "cancelled"

    def result(self) -> Any:
        """Return the result, or raise what the request came to otherwise."""
        if self._state != "done":
            raise self._no_outcome()
        if self._error is not None:
            try:
                raise self._error.with_traceback(self._traceback)  # that of who asked before would grow with each
            finally:
                del self  # its traceback refers to this frame
        return self._result

    def exception(self) -> BaseException | None:
        """Return what the request failed with; None when it has a result."""
        if self._state != "done":
            raise self._no_outcome()
        return self._error

    def _no_outcome(self) -> LocalProtocolError:
        return LocalProtocolError(
            "the request was cancelled" if self._state == "cancelled" else "the request is not complete"
        )

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        """Have *fn* called with the request when it is complete, in a later turn."""
        if not callable(fn):  # else whoever completes it would fail
            raise TypeError(f"a callback must be callable, not {type(fn).__name__}")
        if self._state != "open":
            self._call_soon(partial(fn, self))  # not a lambda: should it fail, the log names what was called
        elif self._callbacks is None:
            self._callbacks = [fn]
        else:
            self._callbacks.append(fn)

    # --- completion ----------------------------------------------------------------------------------------------

    def cancel(self, msg: object = None) -> bool:
        """Cancel the request: the call is forgotten, its late answer dropped."""
        if self._state != "open":
            return False
        self._complete("cancelled", None, None)
        self.ended()
        return True

    def set_result(self, result: Any, /) -> None:
        """Complete the request. Done by hand, it forgets the call as `cancel` does."""
        self._check_open()
        self._complete("done", result, None)
        self.ended()

    def set_exception(self, exception: BaseException, /) -> None:
        """Complete the request with an exception; see `set_result`."""
        self._check_open()
        self._complete("done", None, exception)
        self.ended()

    def answered(self, value: Any, error: BaseException | None) -> None:
        """Complete the request with what the peer answered, or with how the call ended otherwise."""
        self._complete("done", value, error)
        watcher = self.watcher
        if watcher is not None:
            self.watcher = None
            watcher.request_ended(self, True, error)

    def _check_open(self) -> None:
        if self._state != "open":
            raise LocalProtocolError("the request is complete already, or was cancelled")

    def _complete(self, state: str, result: Any, error: BaseException | None) -> None:
        self._state = state
        self._result = result
        self._error = error
        if error is not None:
            self._traceback = error.__traceback__
        tasks, self._tasks = self._tasks, None
        for task in tasks or ():
            reschedule(task)
        callbacks, self._callbacks = self._callbacks, None
        for fn in callbacks or ():
            self._call_soon(partial(fn, self))
