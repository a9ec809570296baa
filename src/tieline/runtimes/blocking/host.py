# SPDX-License-Identifier: MIT
"""The host of one connection in blocking code: see `tieline.runtimes.host.Host`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from tieline.runtimes.blocking.pump import Pump
from tieline.runtimes.blocking.waiters import BlockingOutcomes, BlockingRequest, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from tieline.wire.jsonrpc.batch_members import Outcomes
    from tieline.wire.packets import PacketConnection

__all__ = ["BlockingHost", "Job"]


class Job:
    """A coroutine that waits for nothing but what it calls: a handler, run by one of the threads that wait."""

    __slots__ = ("_callbacks", "_context", "_coroutine", "_host")

    def __init__(self, coroutine: Coroutine[Any, Any, None], context: Context, host: BlockingHost) -> None:
        self._host = host
        self._coroutine: Coroutine[Any, Any, None] | None = coroutine
        self._context = context
        self._callbacks: list[Callable[[Any], object]] = []

    def __call__(self) -> None:
        """Run it; what ends the program comes out."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is None:  # cancelled before it began
            return
        try:
            self._context.run(coroutine.send, None)
        except StopIteration:
            pass
        else:
            coroutine.close()
            raise RuntimeError("in blocking code a handler cannot await anything")
        finally:
            self._ended()
        error, self._host.ending = self._host.ending, None
        if error is not None:
            raise error

    def cancel(self) -> None:
        """Do not begin; a function that runs cannot be stopped."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()
            self._ended()

    def cancelling(self) -> int:
        """Return 0: nobody notices that he is to end."""
        return 0

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        self._callbacks.append(fn)

    def _ended(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


class BlockingHost(Pump):
    """The host of one connection. Its methods are called with its lock held, unless they say otherwise.

    Attributes:
        ending: What a handler raised to end the program, until the thread that runs it raises it.
    """

    __slots__ = ("ending",)

    starts_eagerly = False

    def __init__(self) -> None:
        super().__init__()
        self.ending: BaseException | None = None

    wake = staticmethod(Waiter.set_result)

    def check_here(self) -> None:
        """Nothing: any thread may wait."""

    def new_waiter(self) -> Waiter:
        return Waiter(self)

    def new_prompt_waiter(self, _machine: PacketConnection | None = None, /) -> Waiter:
        return Waiter(self)

    def new_event(self) -> NoReturn:
        raise NotImplementedError("blocking code waits by wait_closed(), which also reads")

    def new_request(self, method: str, args: object) -> BlockingRequest:
        return BlockingRequest(method, args, self)

    def new_outcomes(self, note_early: Callable[[Outcomes], object], /) -> BlockingOutcomes:
        return BlockingOutcomes(self, note_early)

    def start(self, coroutine: Coroutine[Any, Any, None], context: Context, /) -> Job:
        job = Job(coroutine, context, self)
        self.plan(job)
        return job

    def end_program(self, error: BaseException) -> None:
        """Let *error* come out of whatever the thread that runs the handler waits for."""
        self.ending = error

    def on_collapse(self, _fn: Callable[[], object], /) -> None:
        return None

    def current(self) -> None:
        return None

    def here(self) -> NoReturn:
        raise NotImplementedError("blocking code has threads, and no tasks")
