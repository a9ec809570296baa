# SPDX-License-Identifier: MIT
"""What moves a session in blocking code: the engine of all runtimes, where handlers run outside of the lock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from tieline.errors import RPCError
from tieline.rpc.call_engine import CallEngine
from tieline.rpc.handling import Handling
from tieline.rpc.outcomes import unknown_method
from tieline.runtimes.blocking.crew import DEEPEST
from tieline.runtimes.blocking.waiters import Waiter

if TYPE_CHECKING:
    from tieline.rpc.methods import Method
    from tieline.rpc.walking import Walk
    from tieline.runtimes.blocking.host import BlockingHost
    from tieline.runtimes.blocking.lone_calls import BlockingLink
    from tieline.runtimes.host import Handle, Timer
    from tieline.wire.jsonrpc.lone import LoneConnection
    from tieline.wire.jsonrpc.reading import Request
    from tieline.wire.limits import Default

__all__ = ["BlockingEngine", "BlockingHandling"]

# Seconds that requests wait while handlers are as deep inside of one another as may be, and none begins.
PATIENCE: Final = 1.0


class BlockingHandling(Handling):
    """Handlers as jobs: queued when their requests come, run by threads that wait. None is run by the reading itself.

    What a handler does runs without the lock; what its outcome does to the connection, with it.

    Handlers that call the peer let others run inside of them, but no deeper than `DEEPEST`. A request that finds them
    so deep waits until one of them ends. If that never comes, the innermost call waits for this very request: both
    sides call each other without an end. So requests that have waited for `PATIENCE` seconds, while no handler began,
    are refused.
    """

    __slots__ = ("_next_then", "_patience")

    _host: BlockingHost

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.may_be_direct = self._link.machine.is_direct = False
        # What users override is asked in the job.
        self._sees_all = self._sees_all or self._asks
        self._timeout = None  # a function that runs cannot be stopped
        self._patience: Timer | None = None
        self._next_then: Request | None = None  # what was to begin next when `_patience` was set

    def _begin(self, message: Request) -> None:
        method: Method | None = None
        if not self._sees_all:
            method = self._session.methods.get(message.method)
            if method is None:
                text = unknown_method(message.method)
                self._fail(message, self._session.protocol.method_not_found(text))
                return
            if method.is_async:
                self.failed(message, TypeError(f"method {method.name!r} is async: blocking code cannot run it"))
                return
        registered = method or self._session.methods.get(message.method)
        if registered is not None and registered.ordered and message.id is UNSET:
            self.start_ordered(message, partial(self._start_task, method, message))
        else:
            self._start_task(method, message)
        if self._host.is_deepest and self._patience is None:
            self._be_patient()

    def _be_patient(self) -> None:
        """See what has begun after some time."""
        self._next_then = next(iter((self._not_begun or {}).values()), None)
        if self._next_then is not None:
            self._patience = self._host.call_at(self._host.now() + PATIENCE, self._lose_patience)

    def _lose_patience(self) -> None:
        """Refuse the requests that wait, if none could begin since `_be_patient`; what has no answer waits on."""
        self._patience = None
        before, self._next_then = self._next_then, None
        waiting = self._not_begun or {}
        if not self._host.is_deepest:
            return
        if before is not next(iter(waiting.values()), None):
            self._be_patient()
            return
        for handle, message in list((self.running or {}).items()):
            if id(message) in waiting and message.id is not UNSET:
                self._overdue = [*(self._overdue or ()), message]
                handle.cancel()

    def refuse(self, message: Request, /) -> None:
        text = f"server busy (limit {DEEPEST} handlers inside of one another)"
        self._fail(message, RPCError(self._session.protocol.SERVER_BUSY, text))

    def cancel_all(self, *, again: bool = True) -> None:
        super().cancel_all(again=again)
        self._next_then = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def outlasts_peer(self, _message: Request, /) -> bool:
        """Return True: what waits in the queue has come before the end, and would have been run by now elsewhere."""
        return True

    def _is_handler(self, _walk: Walk, _handle: Handle | None, /) -> bool:
        """Return True: a thread that a handler starts is none of its tasks, and knows nothing of the walk."""
        return True

    def reply(self, message: Request, result: object) -> bool:
        is_sent: bool = self._host.do(super().reply, message, result)
        return is_sent

    def failed(self, message: Request, exc: BaseException) -> None:
        self._host.do(super().failed, message, exc)

    def _ended(self, handle: Handle) -> None:
        with self._host.lock:
            super()._ended(handle)


class BlockingEngine(CallEngine):
    """The private side of one session in blocking code. Its orders are given with the host's lock held."""

    __slots__ = ()

    # Its backend gives no other.
    host: BlockingHost  # pyright: ignore[reportIncompatibleVariableOverride]
    # And no other links.
    link: BlockingLink[LoneConnection]  # pyright: ignore[reportIncompatibleVariableOverride]

    def _new_handling(self) -> BlockingHandling:
        return BlockingHandling(self.session, self.link, self.host, overrides=self._overrides, boss=self)

    def send_call(self, method: str, params: object, waiter: Waiter, timeout: float | Default | None) -> bool:
        """Send a call, unless others wait for room or there is none; return whether it was sent."""
        machine = self.machine
        if not (machine.has_free_room or self.has_free_room()):
            return False
        machine.send_request(method, params, waiter, self.host.now(), timeout)
        self.link.settle()  # at once: no move that this one could be a part of runs users' code
        return True

    def _end_lone_call(self, waiter: Any, value: object, error: Exception | None) -> None:
        # A call that a thread waits for: nearly all traffic is that. The longer way comes to the same.
        if waiter.__class__ is Waiter and error is None and not waiter.is_done:
            waiter.set_result(value)
            if self.machine.flow.senders_waiting:
                self.room_made()
        else:
            super()._end_lone_call(waiter, value, error)

    def forget_call_of(self, waiter: Waiter) -> None:
        """Take back the call that completes *waiter*, if it is open."""
        for call_id, token in self.machine.calls.open.items():
            if token is waiter:
                self.forget(call_id)
                break

    def forget(self, call_id: Any) -> None:
        self.host.do(super().forget, call_id)

    def never_made(self) -> None:
        self.host.do(super().never_made)

    def _over(self) -> None:
        with self.host.lock:
            super()._over()
