# SPDX-License-Identifier: MIT
"""The host of the connections in one nursery of trio."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio.lowlevel import current_clock, current_task, current_trio_token, enable_ki_protection

from tieline.errors import LocalProtocolError
from tieline.runtimes.trio.starting import Starter
from tieline.runtimes.trio.turns import Turns
from tieline.runtimes.trio.waiting import RequestOut, Waiter
from tieline.wire.jsonrpc.batch_members import Outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from tieline.runtimes.host import Timer
    from tieline.runtimes.trio.starting import StartedHandle
    from tieline.runtimes.trio.waiting import AnyLead
    from tieline.wire.packets import PacketConnection

__all__ = ["TrioHost", "host_at_hand", "host_of", "nursery_is_over"]

T = TypeVar("T")

# Whose connection is being made: sessions ask for their host while they are made by a factory.
_at_hand: ContextVar[TrioHost | None] = ContextVar("tieline_trio_host", default=None)

# By nursery; each is here as long as it has connections or listens.
_hosts: dict[trio.Nursery, TrioHost] = {}


class Spawner:
    """Starts the tasks of one host. By itself, so that a host does not refer to itself by what needs no more of it."""

    __slots__ = ("_context", "_nursery")

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        # Not that of whoever happens to cause the start of a task, say, of a handler.
        self._context = copy_context()

    def spawn(self, async_fn: Callable[[], object], context: Context | None = None) -> bool:
        """Run *async_fn* as a task of the nursery; return False when the nursery is over."""
        try:
            (context or self._context).run(self._nursery.start_soon, async_fn)  # type: ignore[arg-type]  # async it is
        except RuntimeError as exc:
            if "closed" not in str(exc):
                raise
            return False
        return True

    def end_program(self, error: BaseException) -> None:
        """See `tieline.runtimes.host.Host`."""

        async def end() -> None:
            raise error

        if not self.spawn(end):
            raise error


class TrioHost:
    """See `tieline.runtimes.host.Host`. There is one per nursery; its tasks run there.

    Attributes:
        spawn: Runs a function as a task of the nursery; see `Spawner`.
        nursery: The nursery.
        token: Stands for the run of trio, in any thread.
        is_collapsing: The nursery was cancelled: what runs for a connection is not to outlive it.
        streams: How many connections of streams there are.
        waits: How often a task has begun to wait for a waiter.
        lead: The reading of the only connection while it is left to whoever waits; otherwise None.
    """

    starts_eagerly = False

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.token = current_trio_token()
        self.is_collapsing = False
        self.now: Callable[[], float] = current_clock().current_time
        self.wake = Waiter.set_result
        self.streams = self.waits = 0
        self.lead: AnyLead | None = None
        self._spawner = Spawner(nursery)
        self.spawn = self._spawner.spawn
        self.end_program = self._spawner.end_program
        self._turns = Turns(self.spawn, self.now, self.end_program)
        self._starter = Starter(self.spawn)
        self.call_soon: Callable[[Callable[[], object]], object] = self._turns.call_soon
        self.call_behind = self.call_soon
        self.call_at: Callable[[float, Callable[[], object]], Timer] = self._turns.call_at
        self._users = 0

    # --- for links and sessions ----------------------------------------------------------------------------------

    def check_here(self) -> None:
        if current_trio_token() is not self.token:
            raise LocalProtocolError("it belongs to the run of trio in which it was made, which is not this one")

    def new_event(self) -> trio.Event:
        return trio.Event()

    def new_waiter(self) -> Waiter:
        return Waiter(self)

    def new_prompt_waiter(self, machine: PacketConnection | None = None, /) -> Waiter:
        self.check_here()  # before anything is said: nobody would be woken
        return Waiter(self, machine)

    def new_request(self, method: str, args: object) -> RequestOut:
        return RequestOut(method, args, self.call_soon)

    def new_outcomes(self, note_early: Callable[[Outcomes], object], /) -> Outcomes:
        return Outcomes(self.new_request, note_early)

    def start(self, coroutine: Coroutine[Any, Any, None], context: Context, /) -> StartedHandle:
        return self._starter.start(coroutine, context)

    def on_collapse(self, fn: Callable[[], object], /) -> trio.CancelScope:
        scope = trio.CancelScope()

        @enable_ki_protection
        async def watch() -> None:
            with scope:
                try:
                    await trio.sleep_forever()
                finally:
                    if not scope.cancel_called:
                        self.is_collapsing = True
                        fn()
                        self.call_soon(self._starter.unshield)  # as in `release`

        self.spawn(watch)
        return scope

    def current(self) -> StartedHandle | None:
        try:
            return self._starter.handles.get(current_task())
        except RuntimeError:  # no trio in this thread
            return None

    def here(self) -> Callable[[], bool]:
        task = current_task()
        return lambda: current_task() is task

    # --- for transports and listeners ----------------------------------------------------------------------------

    def make(self, factory: Callable[[], T]) -> T:
        """Return what *factory* makes, with this host at hand."""
        token = _at_hand.set(self)
        try:
            return factory()
        finally:
            _at_hand.reset(token)

    def enter(self, async_fn: Callable[[], object]) -> None:
        """Run *async_fn* as a task of the nursery, which stays open as long as that runs: for what comes to live there.

        Raises:
            LocalProtocolError: The nursery is over.
        """
        if not self.spawn(async_fn):
            raise nursery_is_over()

    def hold(self) -> None:
        """Take note of one more transport or listener."""
        if not self._users:
            _hosts[self.nursery] = self
        self._users += 1
        self._turns.hold()

    def release(self) -> None:
        """Take note that one of them is gone, and has been told so."""
        self._users -= 1
        if not self._users:
            _hosts.pop(self.nursery, None)
            self._starter.dismiss()
        elif self.is_collapsing:
            # In the next turn: other connections that have ended are told so in this one, before their handlers.
            self.call_soon(self._starter.unshield)
        self._turns.release()

    def finish(self) -> None:
        """End all that is left: whoever owns the nursery leaves it, and it is cancelled."""
        self.is_collapsing = True
        self._starter.dismiss()
        self._turns.stop()
        self.call_soon(self._starter.unshield)  # behind the ends of connections, which are planned already


def nursery_is_over() -> LocalProtocolError:
    """Return what whoever wants something to live in a nursery that is over is to be told."""
    return LocalProtocolError("the nursery that it was to live in is over")


def host_of(nursery: trio.Nursery) -> TrioHost:
    """Return the host of *nursery*."""
    return _hosts.get(nursery) or TrioHost(nursery)


def host_at_hand() -> TrioHost:
    """Return the host of the connection that is being made.

    Raises:
        LocalProtocolError: None is.
    """
    host = _at_hand.get()
    if host is None:
        raise LocalProtocolError("on trio a session gets its runtime from whatever makes its connection, and none does")
    return host
