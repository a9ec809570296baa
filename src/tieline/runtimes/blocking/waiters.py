# SPDX-License-Identifier: MIT
"""What threads wait for: waiters, and outgoing requests, which are waiters that users hold."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tieline.errors import LocalProtocolError
from tieline.wire.jsonrpc.batch_members import Outcomes
from tieline.wire.jsonrpc.outgoing import RPCRequestOut
from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Generator
    from types import TracebackType

    from tieline.runtimes.blocking.moved import Mover
    from tieline.wire.jsonrpc.batch_members import BatchMember

__all__ = ["BlockingBatch", "BlockingOutcomes", "BlockingRequest", "Waiter"]


class Waiter:
    """Something that threads wait for and somebody else completes, once; see `tieline.runtimes.host.Waiter`.

    It is completed with the pump's lock held, and looked at without.

    Attributes:
        is_done: Whether it is complete.
        parkers: The locks in which those wait who do not read themselves; None = nobody.
    """

    __slots__ = ("_error", "_pump", "_value", "is_done", "parkers")

    def __init__(self, pump: Mover) -> None:
        self._pump = pump
        self.is_done = False
        self.parkers: list[LockType] | None = None

    _error: BaseException | None
    _value: Any

    def done(self) -> bool:
        return self.is_done

    def set_result(self, result: Any, /) -> None:
        self._error = None
        self._value = result
        self.is_done = True
        if self.parkers:
            self._pump.unpark(self.parkers)
        else:
            self._pump.has_changed()  # who waits for it may be the leader

    def set_exception(self, exception: BaseException, /) -> None:
        self._error = exception
        self._value = None
        self.is_done = True
        if self.parkers:
            self._pump.unpark(self.parkers)
        else:
            self._pump.has_changed()  # who waits for it may be the leader

    def result(self) -> Any:
        """Return what it was completed with, or raise it."""
        if self._error is not None:
            try:
                raise self._error
            finally:  # not again: its traceback refers to this frame, and that to this waiter
                self._error = LocalProtocolError("what the waiter has failed with was raised already")
        return self._value

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait, in a coroutine that `Pump.run` drives."""
        if not self.is_done:
            yield self
        return self.result()


class BlockingRequest(RPCRequestOut):
    """An outgoing request, in blocking code: `result` waits for it, as `concurrent.futures.Future.result` does."""

    _traceback: TracebackType | None  # that of the error when it came; there when there is one

    def __init__(self, method: str, args: object, pump: Mover) -> None:
        super().__init__(method, args)
        self._pump = pump
        self.is_done = False
        self.parkers: list[LockType] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._is_cancelled = False
        self._callbacks: list[Callable[[Any], object]] = []

    if not TYPE_CHECKING:  # it declares what can be awaited

        def __await__(self) -> Generator[Any, None, Any]:
            """Wait, in a coroutine that `Pump.run` drives."""
            if not self.is_done:
                yield self
            return self.result()

    def done(self) -> bool:
        """Return whether it is answered, has failed or was cancelled."""
        return self.is_done

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._is_cancelled

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the reply and return its result; meanwhile this thread handles what the peer sends.

        Args:
            timeout: Seconds to wait; None = until the request is answered or times out by itself.

        Raises:
            TimeoutError: It is not complete within *timeout* seconds, and stays pending; or it has timed out by itself.
            concurrent.futures.CancelledError: It was cancelled.
            Exception: What `call` raises.
        """
        error = self.exception(timeout)
        if error is None:
            return self._value
        try:
            raise error.with_traceback(self._traceback)  # that of who asked before would grow with each
        finally:
            del error, self  # its traceback refers to this frame

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait as `result` does, and return what it would raise; None when there is a result."""
        if not self.is_done and not self._pump.wait_for(self, timeout):
            raise TimeoutError(f"no reply within {float(timeout or 0):g} s; the call is still open")
        if self._is_cancelled:
            from concurrent.futures import CancelledError  # lazily: 3 ms, for those who cancel alone

            raise CancelledError
        return self._error

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        """Have *fn* called with the request when it is complete: by a thread that waits then, or at once."""
        with self._pump.lock:
            if not self.is_done:
                self._callbacks.append(fn)
                return
        self._pump.call_back(fn, self)

    def cancel(self) -> bool:
        """Forget the call: a late reply is dropped. Return False if it is complete already."""
        return self._complete_by_hand(None, None, is_cancelled=True)

    def set_result(self, result: Any, /) -> None:
        """Complete the request by hand; the call is forgotten."""
        self._complete_by_hand(result, None)

    def set_exception(self, exception: BaseException, /) -> None:
        """Complete the request by hand with an exception; see `set_result`."""
        self._complete_by_hand(None, exception)

    def _complete_by_hand(self, value: Any, error: BaseException | None, *, is_cancelled: bool = False) -> bool:
        def complete() -> bool:
            if self.is_done:
                return False
            self._is_cancelled = is_cancelled
            self._complete(value, error)
            self.ended()
            return True

        was_open: bool = self._pump.do(complete)
        self._pump.run_jobs()
        return was_open

    def answered(self, value: Any, error: BaseException | None) -> None:
        """Complete the request with what the peer answered, or with how the call ended otherwise."""
        self._complete(value, error)
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.request_ended(self, True, error)

    def _complete(self, value: Any, error: BaseException | None) -> None:
        self._value, self._error = value, error
        if error is not None:
            self._traceback = error.__traceback__
        self.is_done = True
        if self.parkers:
            self._pump.unpark(self.parkers)
        else:
            self._pump.has_changed()  # who waits for it may be the leader
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._pump.plan(partial(self._pump.call_back, callback, self))


class BlockingOutcomes(Outcomes):
    """What the members of a batch come to, in blocking code: one thread may ask for what another one completes."""

    __slots__ = ("_pump",)

    waits_in_result = True

    def __init__(self, pump: Mover, note_early: Callable[[Outcomes], object]) -> None:
        super().__init__(partial(BlockingRequest, pump=pump), note_early)
        self._pump = pump

    def waiter(self) -> RPCRequestOut:
        made: RPCRequestOut = self._waiter or self._pump.do(super().waiter)
        return made

    def request(self, member: BatchMember) -> RPCRequestOut:
        made: RPCRequestOut = self.requests.get(member.place) or self._pump.do(super().request, member)
        return made

    def keep_callback(self, member: BatchMember, fn: Callable[[Any], object], kwargs: dict[str, Any]) -> bool:
        is_kept: bool = self._pump.do(super().keep_callback, member, fn, kwargs)
        return is_kept

    def never_send(self, new_error: Callable[[], Exception]) -> None:
        self._pump.do(super().never_send, new_error)
        self._pump.run_jobs()


class BlockingBatch(RPCBatchOut):
    """A batch of requests, in blocking code: `result` waits for its replies."""

    def result(self, timeout: float | None = None) -> BlockingBatch:
        """Wait until all replies have arrived, and return the batch itself, whose `results` are then available.

        Raises:
            TimeoutError: They have not, within *timeout* seconds; the batch stays pending.
            ConnectionLost, ClosedError: The connection ended before.
            LocalProtocolError: The batch has not been sent: nothing will complete it.
        """
        self._check_sent()
        waiter: Any = self.outcomes.waiter()
        waiter.exception(timeout)
        self.outcomes.check_lost()
        return self
