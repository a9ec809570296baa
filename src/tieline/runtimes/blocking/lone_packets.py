# SPDX-License-Identifier: MIT
"""Packets by the straight way: one lock and one system call to send, one plain read and one decode to receive.

Nearly all packets in blocking code go that way, past the turns of the link and the events of the machine, as
`lone_calls.py` does for calls. What has to wait for its turn, is none, comes in part, or comes by a layer such as TLS,
goes by the ways that all packets could go.

The lock is taken by hand, since a `with` takes three times as long: a fifth of the work in memory. When an interrupt
(Ctrl-C) comes, the lock may be held or not.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.blocking.host import BlockingHost
from tieline.runtimes.blocking.transport import AT_ONCE
from tieline.runtimes.memory import LONG
from tieline.wire.default import NOTHING
from tieline.wire.serializers.decoding import Fault
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.runtimes.link import Link
    from tieline.wire.packets import PacketConnection

__all__ = ["PacketHost", "Sending"]

_OPEN: Final = State.OPEN


class Sending(Enum):
    """What has become of a packet that was to be sent by the straight way."""

    LEFT = "left"  # the system has taken all of it
    BEGUN = "begun"  # the system has taken a part or nothing, and gets the rest next; or the connection has broken
    REFUSED = "refused"  # nothing was done: it has to wait for its turn


_LEFT: Final = Sending.LEFT  # the attribute of an enum takes longer
_BEGUN: Final = Sending.BEGUN
_REFUSED: Final = Sending.REFUSED


class PacketHost(BlockingHost):
    """The host of one connection of packets."""

    __slots__ = ()

    def send_straight(self, link: Link[PacketConnection], line: Sequence[object], framed: bytes) -> Sending:
        """Write a packet past the machine, and return how far that has come.

        Args:
            line: Those who stand in line to send.
        """
        lock = self.lock
        try:
            lock.acquire()
            transport = self.transport
            machine = link.machine
            size = len(framed)
            if (
                line
                or transport is None
                or transport is not link.transport  # something is between the two
                or transport.unsent
                or size >= LONG
                or machine.has_ended
                or machine.state is not _OPEN
            ):
                lock.release()
                return _REFUSED
            machine.bytes_sent += size
            try:
                sent = transport.send(framed, AT_ONCE)
                if sent == size:
                    lock.release()
                    return _LEFT
                self.do(transport.write, framed[sent:])
            except (BlockingIOError, InterruptedError):
                self.do(transport.write, framed)
            except OSError as exc:
                self.do(transport.fail, exc)
            lock.release()
        except BaseException as exc:
            if self._owns_lock():
                try:
                    if not isinstance(exc, Exception):
                        self.do(self.give_up, exc)
                finally:
                    lock.release()
            raise
        return _BEGUN

    def receive_straight(self, link: Link[PacketConnection], line: Sequence[object], until: float) -> Any:
        """Return the next packet: one that is decoded, or else the one that a plain read brings.

        Return `NOTHING` when this is not the way to go now, or when the read has brought no packet that is as simple.

        Args:
            line: Those who stand in line to receive.
            until: When it is too late, by the host's clock.
        """
        lock = self.lock
        machine = link.machine
        leads = False
        packet: Any = NOTHING
        try:
            lock.acquire()
            received = machine.received
            if received:
                # Behind the last one others may have to be decoded, or read, unless the machine is at rest.
                may_take = (len(received) > 1 or machine.is_smooth) and not line
                if may_take and received[0].__class__ is not Fault:
                    packet, received[:1] = received[0], ()  # at once: nothing comes between the two
                lock.release()
                return packet
            transport = self.transport
            if (
                line
                or not machine.is_smooth
                or self._is_shared
                or self._is_led
                or transport is None
                or transport is not link.transport  # something is between the two
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
            if self._read:  # for this thread, also when others stand in line by now: it was there before them
                packet = machine.receive_alone(self._read)
            if packet is NOTHING:
                self._take()
                found = machine.received
                if (len(found) > 1 or (found and machine.is_smooth)) and found[0].__class__ is not Fault:
                    packet, found[:1] = found[0], ()
            else:
                self._read = None
            self._is_led = leads = False  # not before: what was read would be lost with an interrupt
            if self._followers:
                self._hand_over()
            lock.release()
            return packet
        except BaseException:
            try:
                if packet is not NOTHING and (not leads or self._read is None):  # it was on its way out
                    with lock:
                        machine.received.insert(0, packet)
            finally:
                self._give_way(leads)
            raise
