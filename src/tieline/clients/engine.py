# SPDX-License-Identifier: MIT
"""What moves a packet client, asynchronous or blocking: the sink of its link, and the lines of those who wait.

A waiter is only ever woken, never given anything: packets stay in the machine until the first in line takes one, so a
receiver that is cancelled at any moment loses none and overtakes nobody.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from tieline.runtimes.hangups import has_unread
from tieline.wire.messages import ConnectionEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.runtimes.base_backend import Backend
    from tieline.runtimes.host import Host, Waiter
    from tieline.runtimes.link import Link
    from tieline.wire.packets import PacketConnection

__all__ = ["PacketEngine"]

# For so many turns of the loop what has arrived may be on its way through it, unseen by the system.
TURNS = 2
# For so many it may take until it is read; a peer that never stops does not keep the time from being over.
MOST_TURNS = 50


class _Line:
    """Tasks that wait for the same, first come first served."""

    __slots__ = ("_host", "_waiters")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._waiters: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._waiters)

    def wake_first(self) -> None:
        """Wake the first; it is first until it leaves."""
        if self._waiters and not self._waiters[0].done():
            self._waiters[0].set_result(None)

    async def wait(
        self, is_ready: Callable[[], bool], until: float | None, is_coming: Callable[[], bool] | None = None
    ) -> None:
        """Wait until this task is the first in line and *is_ready*; the others stay behind it until it is back.

        Args:
            is_ready: Whether there is what is waited for.
            until: The end of the time, by the host's clock; None = there is none.
            is_coming: Whether something has arrived that is to be read before the time is over.

        Raises:
            TimeoutError: That has not come to be *until* then.
        """
        host = self._host
        join = self._waiters.append
        while True:
            waiter = host.new_waiter()
            join(waiter)
            join = self._waiters.appendleft  # who was woken in vain was the first, and still is
            if self._waiters[0] is waiter and is_ready():
                waiter.set_result(None)
            timer = None
            if until is not None:
                timer = host.call_at(until, partial(self._expire, waiter, is_coming, 0))
            try:
                await waiter
            finally:
                if timer is not None:
                    timer.cancel()
                self._waiters.remove(waiter)
                if self._waiters and is_ready():
                    host.call_soon(lambda: self._pass_on(is_ready))
            if is_ready():
                return

    def _pass_on(self, is_ready: Callable[[], bool]) -> None:
        if is_ready():
            self.wake_first()

    def _expire(self, waiter: Waiter, is_coming: Callable[[], bool] | None, turns: int) -> None:
        """The time of *waiter* is over; but what has arrived in the system by now is to be read before."""
        if waiter.done():
            return
        if turns < TURNS or (turns < MOST_TURNS and is_coming is not None and is_coming()):
            self._host.call_soon(partial(self._expire, waiter, is_coming, turns + 1))
        else:
            waiter.set_exception(TimeoutError("no packet in time"))


class PacketEngine:
    """The private side of one client on one connection.

    Attributes:
        host: The host of the loop.
        machine: The machine of the connection.
        link: The link that drives it.
        is_over: The connection is gone.
    """

    __slots__ = ("_closed", "_receivers", "_senders", "host", "is_over", "link", "machine")

    def __init__(self, backend: Backend, machine: PacketConnection) -> None:
        self.host = backend.host()
        self.machine = machine
        self.link: Link[PacketConnection] = backend.new_link(machine, self)
        self._receivers = _Line(self.host)
        self._senders = _Line(self.host)
        self._closed: list[Waiter] = []
        self.is_over = False

    # --- what the link reports -----------------------------------------------------------------------------------

    def link_made(self, link: Any, /) -> None: ...

    def handle_events(self, events: Sequence[Any], until: float, /) -> int:
        self._receivers.wake_first()
        if any(isinstance(event, ConnectionEnded) for event in events):
            self._senders.wake_first()
        return len(events)

    def room_made(self) -> None:
        self._senders.wake_first()
        if self.machine.refuses:
            self._receivers.wake_first()

    def results_unsent(self, unsent: Sequence[tuple[Any, Exception]], /) -> None: ...

    def link_lost(self, error: BaseException | None, /) -> None:
        self.is_over = True
        self._receivers.wake_first()
        self._senders.wake_first()
        for waiter in self._closed:
            if not waiter.done():
                waiter.set_result(None)

    # --- receiving -----------------------------------------------------------------------------------------------

    def _has_news(self) -> bool:
        return self.machine.is_ready or self.machine.end() is not None

    def _has_unread(self) -> bool:
        """Return whether the system holds something for the connection that is about to be read."""
        return not self.is_over and self.machine.wants_data and has_unread(self.link.transport)

    async def receive(self, take: Callable[[], Any], seconds: float | None) -> Any:
        """Return what *take* takes from the machine when there is something.

        Raises:
            TimeoutError: There is nothing within *seconds*.
        """
        if self._receivers or not self.machine.is_ready:
            until = None if seconds is None else self.host.now() + seconds
            await self._receivers.wait(self._has_news, until, self._has_unread)
        end = self.machine.end()
        if end is not None:
            raise end
        try:
            return take()
        finally:
            if self.machine.must_settle:
                self.machine.must_settle = False
                self.link.settle()

    # --- sending -------------------------------------------------------------------------------------------------

    def _may_send(self) -> bool:
        machine = self.machine
        return not machine.flow.paused or self.is_over or machine.refuses or machine.has_ended

    async def send(self, queue: Callable[[Any], None], what: Any) -> None:
        """Queue *what* by *queue* when there is room, and write it: now, or with what follows in this turn."""
        machine = self.machine
        if machine.flow.paused or self._senders:
            await self._senders.wait(self._may_send, None)
        queue(what)
        self.link.flush_soon()
        if not machine.in_burst:
            machine.in_burst = True
            self.host.call_soon(self._burst_is_over)

    def _burst_is_over(self) -> None:
        self.machine.in_burst = False

    # --- the end -------------------------------------------------------------------------------------------------

    async def close(self, grace: float) -> None:
        """Close in order; after *grace* seconds, or when it is cancelled, at once."""
        if self.is_over:
            self.machine.close()
            return
        self.link.close()
        self._receivers.wake_first()
        timer = self.host.call_at(self.host.now() + grace, self.link.abort)
        try:
            await self.wait_closed()
        except BaseException:
            self.link.abort()
            raise
        finally:
            timer.cancel()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        if not self.is_over:
            waiter = self.host.new_waiter()
            self._closed.append(waiter)
            await waiter

    def abort(self) -> None:
        """Close at once: what was not sent yet is dropped."""
        self.machine.abort()
        self.link.abort()
        self._receivers.wake_first()
        self._senders.wake_first()
