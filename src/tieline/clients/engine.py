# SPDX-License-Identifier: MIT
"""What moves a packet client, asynchronous or blocking: the sink of its link, and the lines of those who wait.

A waiter is only ever woken, never given anything: packets stay in the machine until the first in line takes one, so a
receiver that is cancelled at any moment loses none and overtakes nobody.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from tieline.runtimes.bounded_links import MOST, BoundedLink
from tieline.runtimes.hangups import has_unread
from tieline.wire.messages import ConnectionEnded
from tieline.wire.packets import Fault
from tieline.wire.serializers.decoding import NOTHING
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

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
    """Tasks that wait for the same, first come first served.

    Attributes:
        waiters: Their waiters.
    """

    __slots__ = ("_host", "waiters")

    def __init__(self, host: Host) -> None:
        self._host = host
        self.waiters: list[Waiter] = []  # a deque takes 700 bytes, and nearly always there is one or none

    def wake_first(self) -> None:
        """Wake the first; it is first until it leaves."""
        if self.waiters and not self.waiters[0].done():
            self.waiters[0].set_result(None)

    def wake_first_now(self) -> None:
        """Wake the first; it may go on before this returns. For callbacks of the transport."""
        if self.waiters and not self.waiters[0].done():
            self._host.wake(self.waiters[0], None)

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
        host, waiters = self._host, self.waiters
        if not waiters and is_ready():
            return
        place = len(waiters)
        while True:
            waiter = host.new_prompt_waiter()
            waiters.insert(place, waiter)
            timer = None
            if until is not None:
                timer = host.call_at(until, partial(self._expire, waiter, is_coming, 0))
            try:
                await waiter
            finally:
                if timer is not None:
                    timer.cancel()
                waiters.remove(waiter)
                if waiters and is_ready():
                    host.call_soon(partial(self._pass_on, is_ready))
            if is_ready():
                return
            place = 0  # who was woken in vain was the first, and still is

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

    Args:
        backend: That of the runtime.
        machine: The machine of the connection.
        read_size: How many bytes are read at once, at most.

    Attributes:
        host: The host of the loop.
        machine: The machine of the connection.
        link: The link that drives it.
        is_over: The connection is gone.
        receivers: Those who stand in line to receive.
        senders: Those who stand in line to send.
    """

    __slots__ = ("_closed", "_receivers", "_senders", "host", "is_over", "link", "machine", "receivers", "senders")

    def __init__(self, backend: Backend, machine: PacketConnection, read_size: int = MOST) -> None:
        self.host = backend.host()
        self.machine = machine
        self.link: Link[PacketConnection]
        if read_size >= MOST:
            self.link = backend.new_link(machine, self)
        else:
            self.link = BoundedLink(machine, self, self.host, read_size)
        self._receivers = _Line(self.host)
        self._senders = _Line(self.host)
        self.receivers: Sequence[object] = self._receivers.waiters
        self.senders: Sequence[object] = self._senders.waiters
        self._closed: list[Waiter] = []
        self.is_over = False

    # --- what the link reports -----------------------------------------------------------------------------------

    def link_made(self, link: Any, /) -> None: ...

    def handle_one(self, event: Any, /) -> bytes | None:
        self.handle_events((event,), inf)
        return None

    def handle_events(self, events: Sequence[Any], until: float, /) -> int:
        link = self.link
        if link.is_lost:
            self._receivers.wake_first()  # who is to hear all that `link_lost` tells
        else:
            link.in_turn = False  # what a receiver sends now is not kept for the end of the turn
            self._receivers.wake_first_now()
        if self._senders.waiters and any(isinstance(event, ConnectionEnded) for event in events):
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
        machine = self.machine
        if machine.received:
            return True
        # A machine at rest has nothing more to give and has not come to its end.
        return not machine.is_smooth and machine.end() is not None

    def _has_unread(self) -> bool:
        """Return whether the system holds something for the connection that is about to be read."""
        return not self.is_over and self.machine.wants_data and has_unread(self.link.transport)

    def next_at_once(self) -> Any:
        """Return the next packet; `NOTHING` when that is not as simple, or when others stand in line."""
        machine = self.machine
        received = machine.received
        # Behind the last one others may have to be decoded, or read, unless the machine is at rest.
        if not received or self._receivers.waiters or (len(received) == 1 and not machine.is_smooth):
            return NOTHING
        if received[0].__class__ is Fault:
            return NOTHING
        return received.pop(0)

    def next_packet(self) -> Any:
        """Return the next packet; `NOTHING` when there is none yet. For whoever was the first in line.

        Raises:
            Exception: It is none, or why the stream has ended.
        """
        machine = self.machine
        received = machine.received
        if machine.is_smooth and received and received[0].__class__ is not Fault:
            return received.pop(0)
        return self.take(machine.next_packet)

    def next_if_first(self) -> Any:
        """As `next_packet`; `NOTHING` also when others stand in line."""
        return NOTHING if self._receivers.waiters else self.next_packet()

    def all_if_first(self) -> Any:
        """Return all packets that are decoded; `NOTHING` when there are none yet, or when others stand in line."""
        return NOTHING if self._receivers.waiters else self.take(self.machine.next_packets)

    def wait_for_packet(self, seconds: float | None = None) -> Coroutine[Any, Any, None]:
        """Wait until a packet is there, or the stream has come to its end, behind those who wait already.

        Raises:
            TimeoutError: Neither is so within *seconds*.
        """
        if seconds is None:
            return self._receivers.wait(self._has_news, None)
        return self._receivers.wait(self._has_news, self.host.now() + seconds, self._has_unread)

    def take(self, take: Callable[[], Any]) -> Any:
        """Return what *take* takes from the machine; `NOTHING` when there is nothing yet.

        Raises:
            Exception: Why the stream has ended.
        """
        machine = self.machine
        if not machine.received:
            end = None if machine.is_smooth else machine.end()
            if end is not None:
                raise end
            return NOTHING
        try:
            return take()
        finally:
            if machine.must_settle:
                machine.must_settle = False
                self.link.settle()

    async def receive(self, take: Callable[[], Any], seconds: float | None) -> Any:
        """Return what *take* takes from the machine when there is something.

        Raises:
            TimeoutError: There is nothing within *seconds*.
        """
        await self.wait_for_packet(seconds)
        return self.take(take)

    # --- sending -------------------------------------------------------------------------------------------------

    def _may_send(self) -> bool:
        machine = self.machine
        return not machine.flow.paused or self.is_over or machine.refuses or machine.has_ended

    @property
    def has_room(self) -> bool:
        """Whether whoever sends now need not wait."""
        return not (self.machine.flow.paused or self._senders.waiters)

    def wait_for_room(self) -> Coroutine[Any, Any, None]:
        """Wait until there is room, behind those who wait for it already."""
        return self._senders.wait(self._may_send, None)

    @property
    def has_senders(self) -> bool:
        """Whether somebody waits to send."""
        return bool(self._senders.waiters)

    def hold_line(self) -> Waiter:
        """Have all senders stand behind the caller, whose turn it is, until `release_line` of what this returns."""
        place = self.host.new_waiter()
        place.set_result(None)  # nobody need wake it
        self._senders.waiters.insert(0, place)
        return place

    def release_line(self, place: Waiter) -> None:
        """The next one's turn."""
        self._senders.waiters.remove(place)
        if self._may_send():
            self._senders.wake_first()

    def write(self, framed: bytes) -> None:
        """Write a packet, for which there is room: now, or with what follows in this turn."""
        machine = self.machine
        if machine.in_burst or machine.queued:
            machine.queued.append(framed)
            machine.output_size += len(framed)
            self.link.flush_soon()
        else:  # it comes alone, as far as anybody knows
            machine.in_burst = True
            self.link.write(framed)

    def write_if_room(self, framed: bytes) -> bool:
        """Write a packet at once, unless it has to wait for room or cannot be sent; return whether it was written.

        For blocking code, where nothing is left queued.
        """
        machine = self.machine
        if machine.state is not State.OPEN or machine.has_ended or machine.flow.paused or self._senders.waiters:
            return False
        self.link.write(framed)
        return True

    async def send(self, queue: Callable[[Any], None], what: Any) -> None:
        """Queue *what* by *queue* when there is room, and write it: now, or with what follows in this turn."""
        if not self.has_room:
            await self.wait_for_room()
        queue(what)
        self.link.flush_soon()
        self.machine.in_burst = True

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
