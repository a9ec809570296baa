# SPDX-License-Identifier: MIT
"""The synchronous port under a link: all that a link and a session need from a runtime.

This is the real seam between runtimes: time, turns, waiting and starting hide behind it. There is one host per loop
on asyncio, and one per connection elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

    from tieline.wire.jsonrpc.batch_members import Outcomes
    from tieline.wire.jsonrpc.outgoing import RPCRequestOut
    from tieline.wire.packets import PacketConnection

__all__ = ["Event", "Handle", "Host", "Timer", "Waiter"]


class Timer(Protocol):
    """A call that was planned."""

    def cancel(self) -> None:
        """Do not make the call. Harmless when it has been made."""


class Waiter(Protocol):
    """Something that one task waits for and somebody else completes, once.

    Awaiting it gives the result. Cancelling the task that awaits it cancels the waiter.
    """

    def __await__(self) -> Generator[Any, None, Any]: ...

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...  # any value: it is handed on, never looked at

    def set_exception(self, exception: BaseException, /) -> None: ...


class Handle(Protocol):
    """A coroutine that was started and is still running."""

    def cancel(self) -> object:
        """Ask it to end."""
        ...

    def cancelling(self) -> int:
        """Return how often it was asked to end."""
        ...

    def add_done_callback(self, fn: Callable[[Any], object], /) -> object:
        """Have *fn* called with the handle when it has ended."""
        ...


class Event(Protocol):
    """The runtime's own event object."""

    def is_set(self) -> bool: ...

    def set(self) -> None: ...

    async def wait(self) -> object: ...


class Host(Protocol):
    """What one loop gives to the links on it. Not thread-safe: call it from the loop's own thread."""

    @property
    def starts_eagerly(self) -> bool:
        """Whether `start` runs a coroutine up to its first suspension before it returns."""
        ...

    def check_here(self) -> None:
        """Check that the running task is one of this loop, and not of another, in another thread or later.

        Raises:
            LocalProtocolError: It is of another; what it waits for here would never come.
        """

    def now(self) -> float:
        """Return the time in seconds, by the clock of `call_at`."""
        ...

    def call_at(self, when: float, fn: Callable[[], object], /) -> Timer:
        """Call *fn* at *when*."""
        ...

    def call_behind(self, fn: Callable[[], object], /) -> object:
        """As `call_soon`; where handlers wait in a queue (blocking code), behind those that are in it."""

    def call_soon(self, fn: Callable[[], object], /) -> object:
        """Call *fn* in the next turn, behind all that is planned for it already."""
        ...

    def new_waiter(self) -> Waiter:
        """Return a new waiter."""
        ...

    def new_prompt_waiter(self, machine: PacketConnection | None = None, /) -> Waiter:
        """Return a new waiter that `wake` may wake at once. For what nobody else waits for beside.

        Args:
            machine: Whose next packet is waited for, where that is all, by whoever is the first to get one: awaiting
                may return it, instead of what the waiter was completed with. Then it is not in the machine any more.
        """
        ...

    def wake(self, waiter: Any, result: Any, /) -> None:
        """Complete *waiter*, one of this host's. Who awaits it may go on before this returns, if it is a prompt one.

        For callbacks of a transport that are ready for anything the program may do then, as handlers do.
        """

    def new_event(self) -> Event:
        """Return a new event object of the runtime."""
        ...

    def new_request(self, method: str, args: object) -> RPCRequestOut:
        """Return an outgoing request that a task of this runtime can await; it serves as a waiter as well."""
        ...

    def new_outcomes(self, note_early: Callable[[Outcomes], object], /) -> Outcomes:
        """Return what the requests of a new batch are to come to; tasks of this runtime can await each of those.

        *note_early* is called with it when somebody waits for one of them before they are sent.
        """
        ...

    def start(self, coroutine: Coroutine[Any, Any, None], context: Context, /) -> Handle | None:
        """Run *coroutine* as a task of its own, in *context*; None when it has ended already. Tasks start in order."""
        ...

    def end_program(self, error: BaseException) -> None:
        """Let *error* come out of the event loop: a KeyboardInterrupt or SystemExit that a handler raised.

        Soon, not at once: raised among the callbacks of a transport it would tear the connection, or stop there.
        """

    def on_collapse(self, fn: Callable[[], object], /) -> Timer | None:
        """Call *fn* when the nursery is cancelled that handlers live in; None where they live in none.

        For who has handlers and no connection any more, by whose end it would hear of that.
        """
        ...

    def current(self) -> Handle | None:
        """Return the handle of the task that is running; None outside of tasks."""
        ...

    def here(self) -> Callable[[], bool]:
        """Return a function that returns whether it is called in the task that is running now."""
        ...
