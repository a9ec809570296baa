# SPDX-License-Identifier: MIT
"""Packets by the straight way: one lock and one system call to send, one plain read and one decode to receive.

Nearly all packets in blocking code go that way, past the turns of the link and the events of the machine, as
`lone_calls.py` does for calls. What has to wait for its turn, is none, comes in part, or comes by a layer such as TLS,
goes by the ways that all packets could go.

Of a read that brings many, who has read takes the first, and the others are laid out for whoever comes: to take one of
them is a single step in C, so it needs no lock, and no interrupt comes in between. Nobody stands in line while
something is laid out: who finds nothing there and looks further, with the lock held, has it taken back first.

The lock is taken by hand, since a `with` takes three times as long: a fifth of the work in memory. When an interrupt
(Ctrl-C) comes, the lock may be held or not. What nearly all that is sent goes through is in `StreamClient.send_packet`
itself, since one function more is a hundredth of a stream's time.
"""

from __future__ import annotations

from enum import Enum
from itertools import repeat
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import ref

from tieline.runtimes.blocking.host import BlockingHost
from tieline.runtimes.memory import LONG
from tieline.wire.default import NOTHING
from tieline.wire.serializers.decoding import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tieline.runtimes.blocking.transport import SocketTransport
    from tieline.runtimes.host import Waiter
    from tieline.runtimes.link import Link
    from tieline.wire.packets import PacketConnection

__all__ = ["NOTHING_LAID_OUT", "PacketHost", "Sending"]

NOTHING_LAID_OUT: Final[Iterator[Any]] = iter(())


class Sending(Enum):
    """What has become of a packet that was to be sent."""

    LEFT = "left"  # the system has taken all of it
    REFUSED = "refused"  # nothing was done: it has to wait for its turn


class Lined(Protocol):
    """What a host needs of the engine that it moves. Of who waits there in line the first leaves when it goes on."""

    @property
    def link(self) -> Link[PacketConnection]: ...

    @property
    def receivers(self) -> Sequence[Waiter]: ...

    def last_taken(self) -> None: ...

    def call_next_receiver(self) -> None: ...

    def receive_ahead(self, data: bytes, /) -> None: ...

    @property
    def senders(self) -> Sequence[Waiter]: ...

    def forget_lines(self) -> None: ...


class PacketHost(BlockingHost):
    """The host of one connection of packets.

    Attributes:
        laid_out: Packets that are decoded, for whoever comes.
        straight: The transport, where packets may be written to it past the machine; None = something is between them.
    """

    __slots__ = ("_engine", "_machine", "laid_out", "straight")

    _machine: PacketConnection

    def __init__(self) -> None:
        super().__init__()
        self._engine: Callable[[], Lined | None] | None = None  # weakly: it refers to this
        self.straight: SocketTransport | None = None
        self.laid_out: Iterator[Any] = NOTHING_LAID_OUT

    def drives(self, engine: Lined) -> None:
        """Take note of the engine, whose link is connected."""
        self._engine = ref(engine)
        link = engine.link
        self._machine = link.machine
        if self.transport is link.transport:  # else something is between them
            self.straight = self.transport

    def _is_turn_taken(self) -> bool:
        engine = None if self._engine is None else self._engine()
        return engine is not None and any(line and line[0].done() for line in (engine.receivers, engine.senders))

    def _forget_line(self) -> None:
        engine = None if self._engine is None else self._engine()
        if engine is not None:
            engine.forget_lines()

    def send_rest(self, transport: SocketTransport, framed: bytes, sent: int | OSError) -> None:
        """Have the rest of a packet sent next, of which the system has taken so much, or nothing; or the end told.

        To be called with the lock held.
        """
        if not isinstance(sent, OSError):
            self.do(transport.write, framed[sent:])
        elif isinstance(sent, (BlockingIOError, InterruptedError)):
            self.do(transport.write, framed)
        else:
            self.do(transport.fail_sending, sent)

    def leave_sending(self, error: BaseException) -> None:
        """Release the lock behind what has come out of sending a packet; give the connection up if it interrupts."""
        if self._owns_lock():  # else an interrupt has come before it was taken, or behind its release
            try:
                if not isinstance(error, Exception):
                    self.do(self.give_up, error)
            finally:
                self.lock.release()

    def receive_straight(self, engine: Lined, until: float) -> Any:
        """Return the next packet: one that is decoded, or else the one that a plain read brings.

        Return `NOTHING` when this is not the way to go now, or when the read has brought no packet that is as simple.

        Args:
            engine: The one that this host drives.
            until: When it is too late, by the host's clock.
        """
        lock = self.lock
        machine = self._machine
        line = engine.receivers
        leads = False
        packet: Any = NOTHING
        try:
            lock.acquire()
            if self.laid_out is not NOTHING_LAID_OUT:
                self._take_back()
            if not machine.received:
                transport = self.straight
                if (
                    line
                    or not machine.is_smooth
                    or self._is_shared
                    or self._is_led
                    or transport is None
                    or transport.unsent
                    or transport.reads is None
                    or ((self._timers or until != inf) and self._is_short(until))
                ):
                    lock.release()
                    return packet
                leads = self._is_led = True
                lock.release()
                try:
                    for self._read in transport.reads:  # a loop, as in `_wait_alone`
                        break
                except (BlockingIOError, InterruptedError):
                    pass
                except OSError as exc:
                    self.do(self.give_up, exc)
                lock.acquire()
                if self._read:
                    packet = machine.receive_alone(self._read)
                if packet is not NOTHING:
                    self._read = None
                elif self._read and len(self._read) < LONG and not line and machine.is_smooth:
                    self._move(self._take_ahead, (engine,))
                else:
                    self._take()
            if packet is NOTHING and machine.received and (leads or not line):  # who leads was there before all in line
                received = machine.received
                # Unless the machine is at rest, others may have to be decoded, or read, behind the last one.
                simple = len(received) if machine.is_smooth else len(received) - 1
                if simple:
                    others = [] if line else received[1:simple]
                    steps = map(others.pop, repeat(0, len(others)))
                    # At once: nothing comes between the three.
                    packet, self.laid_out, machine.received = received[0], steps, received[1 + len(others) :]
                # What is none is told by the other way: what is raised here passes on what this thread holds in a
                # function, and an interrupt that comes as that begins would leave it held for ever.
                elif not line and received[0].__class__ is not Fault:
                    packet, machine.received = received[0], []
                    self._move(engine.last_taken, ())
            if leads:
                self._is_led = leads = False  # not before: what was read would be lost with an interrupt
                if self._followers:
                    self._hand_over()
            lock.release()
            return packet
        except BaseException:
            try:
                if packet is not NOTHING and (not leads or self._read is None):  # it was on its way out
                    self.give_back([packet])
            finally:
                self._give_way(leads)
            raise

    def _take_ahead(self, engine: Lined) -> None:
        """Hand on what this thread has read, past the link: nobody waits for it."""
        read, self._read = self._read, None
        assert read is not None
        engine.receive_ahead(read)

    def read_for(self, engine: Lined, put: Callable[[list[Any]], None], hand: list[Any], until: float) -> None:
        """Have *put* put into *hand* what there is, or what there is behind a read, as long as that is nothing.

        As `wait`, but by plain reads alone, which cost the least; nothing is put there when that is not the way to wait
        now, or when others stand in line. *put* is called as a part of a move.
        """
        leads = is_left = False
        try:
            while True:
                with self.lock:
                    if leads:
                        self._is_led = leads = False
                        self._take_for(engine, put, hand)
                    elif not engine.receivers:
                        self._move(self.with_all, (put, hand))
                    transport = self.transport
                    if (
                        hand
                        or self._is_shared
                        or self._is_led
                        or self.jobs
                        or transport is None
                        or transport.unsent
                        or not transport.wants_data
                        or transport.reads is None
                        or ((self._timers or until != inf) and self._is_short(until))
                    ):
                        if self._followers or self.jobs:
                            self._hand_over()
                        is_left = True
                        return
                    leads = self._is_led = True
                try:
                    for self._read in transport.reads:  # a loop, as in `_wait_alone`
                        break
                except (BlockingIOError, InterruptedError):
                    return
                except OSError as exc:
                    self.do(self.give_up, exc)
        finally:
            if not is_left:
                with self.lock:
                    if leads:
                        self._is_led = False
                    if not self._is_led and self.transport is not None:
                        self._take()  # what was read is not lost with an interrupt
                    self._hand_over()

    def _take_for(self, engine: Lined, put: Callable[[list[Any]], None], hand: list[Any]) -> None:
        """Hand on what this thread has read, if anything, and *put* what there is then; see `_take`."""
        transport = self.transport
        assert transport is not None
        self.is_inside = True
        try:
            if self._read is not None:
                read, self._read = self._read, None
                transport.deliver(read)
                if self.activity:
                    self._tell(self.activity)
            if not engine.receivers:
                self.with_all(put, hand)
        except Exception:
            raise
        except BaseException as exc:
            self.give_up(exc)
            raise
        finally:
            try:
                if self.soon:
                    self.drain()
            finally:
                self.is_inside = False
                if transport.is_deaf:
                    self._let_go(transport)

    def give_back(self, packets: list[Any]) -> None:
        """Have *packets* be the next again: whoever took them was interrupted on the way out."""
        with self.lock:
            engine = None if self._engine is None else self._engine()
            if engine is None or self._machine.takes_no_more:
                return
            self._take_back()
            self._machine.received[:0] = packets
            self.do(engine.call_next_receiver)
            self._hand_over()

    def _take_back(self) -> None:
        """Have the machine hold again what is laid out: nothing comes between the two."""
        machine = self._machine
        self.laid_out, machine.received = NOTHING_LAID_OUT, [*self.laid_out, *machine.received]

    def with_all(self, look: Callable[..., Any], *args: Any) -> Any:
        """Return what *look* finds in the machine, which holds all that is decoded. To be called with the lock held."""
        self._take_back()
        return look(*args)
