# SPDX-License-Identifier: MIT
"""What moves a packet client, asynchronous or blocking: the sink of its link, and the lines of those who wait.

Packets stay in the machine until the first in line takes one, and a waiter is woken without any: so a receiver that is
cancelled at any moment loses none and overtakes nobody. Only a task that reads by itself, as one may on trio, comes
back from the read with its packet: it cannot be cancelled in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from tieline.clients.lines import Line, call_next, wait_in, wake_first
from tieline.runtimes.bounded_links import MOST, BoundedLink
from tieline.runtimes.hangups import has_unread
from tieline.wire.default import NOTHING
from tieline.wire.held_packets import HeldPackets
from tieline.wire.one_way import ConnectionEnded
from tieline.wire.packets import PacketEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from tieline.runtimes.backend import Backend
    from tieline.runtimes.host import Waiter
    from tieline.runtimes.link import Link
    from tieline.wire.packets import PacketConnection

__all__ = ["HeldEngine", "LaxEngine", "PacketEngine", "engine_for"]

# In place of a line in which nobody has stood yet: many connections never have one of senders.
NOBODY: Final[Line] = cast("Line", ())


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

    __slots__ = ("__weakref__", "_closed", "host", "is_over", "link", "machine", "receivers", "senders")

    def __init__(self, backend: Backend, machine: PacketConnection, read_size: int = MOST) -> None:
        self.host = backend.host()
        self.machine = machine
        self.link: Link[PacketConnection]
        if read_size >= MOST:
            self.link = backend.new_link(machine, self, self.host)
        else:
            self.link = BoundedLink(machine, self, self.host, read_size)
        self.receivers: Line = []
        self.senders = NOBODY
        self._closed: list[Waiter] | None = None  # those who wait for the end
        self.is_over = False

    # --- what the link reports -----------------------------------------------------------------------------------

    def link_made(self, link: Any, /) -> None: ...

    def handle_one(self, event: Any, /) -> bytes | None:
        self.link.in_turn = False  # what a receiver sends now is not kept for the end of the turn
        receivers = self.receivers
        if receivers and not receivers[0].done():
            self.host.wake(receivers[0], NOTHING)  # it may go on before this returns
        return None

    def handle_events(self, events: Sequence[Any], until: float, /) -> int:
        if self.link.is_lost:
            wake_first(self.receivers)  # who is to hear all that `link_lost` tells
        else:
            self.handle_one(PacketEvent.READY)
        if self.senders and any(isinstance(event, ConnectionEnded) for event in events):
            wake_first(self.senders)
        return len(events)

    def room_made(self) -> None:
        wake_first(self.senders)
        if self.machine.refuses:
            wake_first(self.receivers)

    def end_begun(self) -> None: ...

    def results_unsent(self, unsent: Sequence[tuple[Any, Exception]], /) -> None: ...

    def never_made(self) -> None: ...

    def link_lost(self, error: BaseException | None, /) -> None:
        self.is_over = True
        wake_first(self.receivers)
        wake_first(self.senders)
        for waiter in self._closed or ():
            if not waiter.done():
                waiter.set_result(None)

    # --- receiving -----------------------------------------------------------------------------------------------

    def _has_news(self) -> bool:
        machine = self.machine
        if machine.received:
            return True
        # A machine at rest has nothing more to give and has not come to its end.
        return not machine.is_smooth and machine.end() is not None

    def has_unread(self) -> bool:
        """Return whether the system holds something for the connection that is about to be read."""
        return not self.is_over and self.machine.wants_data and has_unread(self.link.transport.get_extra_info("socket"))

    def next_at_once(self) -> Any:
        """Return the next packet; `NOTHING` when that is not as simple, or when others stand in line."""
        machine = self.machine
        received = machine.received
        # Behind the last one others may have to be decoded, or read, unless the machine is at rest.
        if not received or self.receivers or (len(received) == 1 and not machine.is_smooth):
            return NOTHING
        return received.pop(0)

    def first_place(self) -> Waiter | None:
        """Return what to await for the next packet, where nobody stands in line and nothing has come: so it is mostly.

        None = `wait_for_packet` is the way. Who has got a place gives it up by `next_in_place`, or else by `leave`.
        """
        machine = self.machine
        if self.receivers or machine.received or not machine.is_smooth:
            return None
        place = self.host.new_prompt_waiter(machine)
        self.receivers.append(place)
        return place

    def next_in_place(self, given: Any) -> Any:
        """Leave the line, for who was woken as its first, and return the next packet: what it was *given*, or else.

        `NOTHING` when it was woken in vain, as by a timer that is void by now: it is to wait on as the first.

        Raises:
            Exception: As of `next_packet`.
        """
        line, machine = self.receivers, self.machine
        del line[0]
        if given is not NOTHING:
            machine.in_burst = False  # this is another turn of the loop
            return given  # it has come alone, so there is nothing for the others
        if line or not machine.is_smooth or not machine.received:
            call_next(line, self.host, self._has_news)
            return self.next_packet()
        return machine.received.pop(0)

    def leave(self, place: Waiter) -> None:
        """Leave the line with nothing."""
        self.receivers.remove(place)
        self.call_next_receiver()

    def call_next_receiver(self) -> None:
        """Let the next in line have its turn, if there is something for it."""
        call_next(self.receivers, self.host, self._has_news)

    def next_packet(self) -> Any:
        """Return the next packet; `NOTHING` when there is none yet. For whoever was the first in line.

        Raises:
            Exception: It is none, or why the stream has ended.
        """
        machine = self.machine
        if machine.is_smooth and machine.received:
            return machine.received.pop(0)
        return self.take(machine.next_packet)

    def put_next(self, hand: list[Any]) -> None:
        """Put into *hand* what `next_packet` returns, unless there is none yet."""
        packet = self.next_packet()
        if packet is not NOTHING:
            hand.append(packet)

    def put_all(self, hand: list[Any]) -> None:
        """Put all packets that are decoded into *hand*. Otherwise as `put_next`."""
        packets = self.take(self.machine.next_packets)
        if packets is not NOTHING:
            hand += packets

    def last_taken(self) -> None:
        """Go on behind the last packet that was decoded, which was taken past this engine."""
        machine = self.machine
        machine.decode()
        if machine.must_settle:
            self._settle()

    def wait_for_packet(self, seconds: float | None = None, *, is_first: bool = False) -> Coroutine[Any, Any, None]:
        """Wait until a packet is there, or the stream has come to its end, behind those who wait already.

        Before them if the caller *is_first*: has got nothing from `next_in_place` just now.

        Raises:
            TimeoutError: Neither is so within *seconds*.
        """
        if seconds is None:
            return wait_in(self.receivers, self.host, self._has_news, is_first=is_first)
        return wait_in(self.receivers, self.host, self._has_news, self.host.now() + seconds, self.has_unread)

    def take(self, take: Callable[[], Any]) -> Any:
        """Return what *take* takes from the machine; `NOTHING` when there is nothing yet.

        Raises:
            Exception: Why the stream has ended.
        """
        machine = self.machine
        if not machine.received:
            end = None if machine.is_smooth else machine.end()
            if end is not None:
                try:
                    raise end
                finally:
                    del end  # by which its traceback would refer to it
            return NOTHING
        try:
            return take()
        finally:
            if machine.must_settle:
                self._settle()

    def receive_ahead(self, data: bytes) -> None:
        """Have the machine take in what whoever receives has read by itself, as it may by `receive_ahead` there."""
        machine = self.machine
        machine.receive_ahead(data)
        if machine.must_settle:
            self._settle()

    def _settle(self) -> None:
        self.machine.must_settle = False
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
        return not (self.machine.flow.paused or self.senders)

    def wait_for_room(self, seconds: float | None = None) -> Coroutine[Any, Any, None]:
        """Wait until there is room, behind those who wait for it already.

        Raises:
            TimeoutError: There is none within *seconds*.
        """
        return wait_in(
            self._line_of_senders(), self.host, self._may_send, None if seconds is None else self.host.now() + seconds
        )

    def _line_of_senders(self) -> Line:
        if self.senders is NOBODY:
            self.senders = []
        return self.senders

    @property
    def has_senders(self) -> bool:
        """Whether somebody waits to send."""
        return bool(self.senders)

    def hold_line(self, place: Waiter) -> None:
        """Have all senders stand behind the caller, whose turn it is, until `release_line` of this new waiter."""
        place.set_result(None)  # nobody need wake it
        self._line_of_senders().insert(0, place)

    def release_line(self, place: Waiter) -> None:
        """The next one's turn; fine twice, and where it was not held."""
        if place in self.senders:
            self.senders.remove(place)
            if self._may_send():
                wake_first(self.senders)

    def write(self, framed: bytes) -> None:
        """Write a packet, for which there is room: now, or with what follows in this turn."""
        machine = self.machine
        if machine.in_burst or machine.queued:
            machine.add_output(framed)
            self.link.flush_soon()
        else:  # it comes alone, as far as anybody knows
            machine.in_burst = True
            self.link.write(framed)

    def write_if_room(self, framed: bytes) -> bool:
        """Write a packet at once, unless it has to wait for room or cannot be sent; return whether it was written.

        For blocking code, where nothing is left queued.
        """
        machine = self.machine
        if machine.must_check or machine.flow.paused or self.senders:
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

    def forget_lines(self) -> None:
        """Have nobody stand in line any more: in a process that was forked, those who did are not there."""
        left = (*self.receivers, *self.senders)
        self.receivers, self.senders = [], NOBODY
        for waiter in left:
            if not waiter.done():
                waiter.set_result(NOTHING)

    async def close(self, grace: float) -> None:
        """Close in order; after *grace* seconds, or when it is cancelled, at once."""
        if self.is_over:
            self.machine.close()
            return
        self.host.check_here()
        self._close_link()
        wake_first(self.receivers)
        timer = self.host.call_at(self.host.now() + grace, self.link.abort)
        try:
            await self.wait_closed()
        except BaseException:
            self.link.abort()
            raise
        finally:
            timer.cancel()

    def _close_link(self) -> None:
        """Begin to close in order, behind all that was sent."""
        self.link.close()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        if not self.is_over:
            self.host.check_here()
            waiter = self.host.new_waiter()
            self._closed = [*(self._closed or ()), waiter]
            await waiter

    def abort(self) -> None:
        """Close at once: what was not sent yet is dropped."""
        self.machine.abort()
        self.link.abort()
        wake_first(self.receivers)
        wake_first(self.senders)


class LaxEngine(PacketEngine):
    """For TLS that is closed as some old programs do it: without the closing handshake, on both sides."""

    __slots__ = ()

    def link_made(self, link: Any, /) -> None:
        link.transport.be_lax()


class HeldEngine(PacketEngine):
    """For connections that are read only when somebody wants a packet."""

    __slots__ = ()

    def link_made(self, link: Any, /) -> None:
        self.host.call_soon(self._pause_again)

    def _pause_again(self) -> None:
        """uvloop begins to read behind `connection_made`, whatever was said in there."""
        machine = self.machine
        transport = None if self.is_over else self.link.transport
        if transport and not (machine.wants_data or transport.is_closing()):
            transport.pause_reading()


def engine_for(
    backend: Backend, machine: PacketConnection, *, is_lax: bool, max_recv_size: int | None = None
) -> PacketEngine:
    """Return an engine for one connection; *max_recv_size* = how many bytes it reads at once, at most."""
    if isinstance(machine, HeldPackets):
        return HeldEngine(backend, machine)
    return (LaxEngine if is_lax else PacketEngine)(backend, machine, max_recv_size or MOST)
