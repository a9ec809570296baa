# SPDX-License-Identifier: MIT
"""Reading in the task that waits for what comes, so that a lone round trip takes one change of task instead of two.

A task of its own reads each connection, and wakes whoever waits. Where the same is seen again and again, one task that
waits for something and then is given it by the very next read, that task may as well read itself: it *leads*. The
reader stands by meanwhile. Between two waits of the leader nobody reads; that lasts no longer than trio has something
else to run, since a look before each sleep of trio's has the reader take the reading back.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import (
    RunVar,
    add_instrument,
    current_clock,
    current_statistics,
    current_task,
    enable_ki_protection,
    notify_closing,
    remove_instrument,
    wait_readable,
)

from tieline.wire.default import NOTHING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.runtimes.link import Link
    from tieline.runtimes.trio.waiting import Parking, Waiter, WaitersHost
    from tieline.wire.packets import PacketConnection

__all__ = ["FEW", "Lead"]

# After so many waits whoever waits next may lead.
FEW: Final = 8
# Where the reading was given back before there were so many more, it takes twice as many the next time.
ENOUGH: Final = 32
# But not more than this.
MANY: Final = 1024


class Lead:
    """The reading of one connection while it is left to whoever waits.

    Args:
        host: The host of the connection.
        sock: Its socket.
        parking: Where its reader stands by.
        read: Reads once, and hands what has come to the protocol; where there is a *link*, to `receive`.
        end: Ends it because of what has come out of *read*.
        link: The protocol, where it is the link of a client of packets.

    Attributes:
        leader: Whose task reads; None = nobody does at the moment.
        receive: Takes in what was read for the link. Where that is just the packet that the leader waits for, it gets
            it straight, which takes half of what it takes to have the link wake whoever is to ask the machine for it.
            There only where there is a link.
    """

    __slots__ = (
        "_clock_jumps",
        "_end",
        "_fd",
        "_host",
        "_parking",
        "_read_once",
        "_seen",
        "_sock",
        "_unread",
        "_watch",
        "leader",
        "receive",
    )

    def __init__(
        self,
        host: WaitersHost,
        sock: socket.socket,
        parking: Parking,
        read: Callable[[], object],
        end: Callable[[BaseException], None],
        link: Link[PacketConnection] | None = None,
    ) -> None:
        self._host = host
        self._sock = sock
        self._fd = sock.fileno()  # trio asks a socket for it in each wait; it is waited for only while that is open
        self._parking = parking
        # What comes is handled in the reader's own context, not in that of whoever waits.
        self._read_once: Callable[[], object] = partial(current_task().context.run, read)
        if link is not None:
            self.receive = self._receiver(link.machine, link.data_received)
        self._end = end
        self._seen = -1  # who waits next is still to run, woken by the last read
        self._watch = _watch()
        self._unread = self._watch.unread  # asked for in each wait
        self._clock_jumps = hasattr(current_clock(), "autojump_threshold")  # as trio.testing.MockClock may
        self.leader: Waiter | None = None

    # --- for the reader ------------------------------------------------------------------------------------------

    async def stand_by(self, needed: int) -> int:
        """Let others read, until the reading is given back. Called by the reader, in whose context they do it.

        Return how many waits are to come before the next time, where they were *needed* before this one.
        """
        host = self._host
        waits = host.waits
        host.lead = self
        self._watch.begin(self)
        try:
            while host.lead is self or self.leader is not None:
                await self._parking.wait()
        finally:
            self.stop()
            self._watch.end(self)
        return FEW if host.waits - waits >= ENOUGH else min(2 * needed, MANY)

    def stop(self) -> None:
        """Let nobody lead from now on; the reader takes over as soon as nobody does."""
        if self._host.lead is self:
            self._host.lead = None
            if self.leader is None:
                self._parking.wake()

    def look(self, seconds: float) -> bool:
        """Nobody reads, and trio is about to sleep for so many seconds: see whether the reading is to be given back.

        Return whether trio must be kept from sleeping.
        """
        host = self._host
        if host.lead is not self:
            return False
        # Where trio has something to run, that may be whoever is about to wait again; but not for ever.
        is_busy = seconds <= 0 and (not self._clock_jumps or current_statistics().tasks_runnable > 0)
        if is_busy and self._seen != host.waits:
            self._seen = host.waits
            return False
        self.stop()
        return seconds > 0

    # --- for whoever waits ---------------------------------------------------------------------------------------

    @enable_ki_protection
    async def lead(self, waiter: Waiter) -> Any:
        """Do what awaiting *waiter* does, and read until it is complete or somebody else is to read."""
        host = self._host
        host.waits += 1
        self.leader = waiter
        unread = self._unread
        unread.pop(self, None)
        try:
            while True:
                waiter.lead = self
                await wait_readable(self._fd)
                waiter.lead = None
                if host.lead is not self:
                    break
                try:
                    self._read_once()
                except BaseException as exc:
                    self._end(exc)
                if waiter.is_done or host.lead is not self:
                    break
        except trio.ClosedResourceError:
            pass  # it is complete, or the connection is gone
        except Exception:
            self.stop()  # the reader runs into the same, and tells the connection
        except BaseException:
            waiter.give_up()  # as where a wait is cancelled that does not lead
            self.stop()  # whoever waits with no time at all leads without ever reading: the reader is to have its turn
            raise
        finally:
            waiter.lead = self.leader = None
            if host.lead is self:
                unread[self] = None
            else:
                self._parking.wake()
        if not waiter.is_done:
            return await waiter.wait()
        if waiter.error is not None:
            raise waiter.error
        return waiter.result

    def _receiver(self, machine: PacketConnection, hand_on: Callable[[bytes], object]) -> Callable[[bytes], None]:
        receive_alone = machine.receive_alone

        def receive(data: bytes) -> None:
            waiter = self.leader
            if waiter is not None and waiter.machine is machine:
                packet = receive_alone(data)
                if packet is not NOTHING:
                    waiter.result, waiter.is_done = packet, True
                    return
            hand_on(data)

        return receive

    def interrupt(self) -> None:
        """Wake the leader: what it waits for has come otherwise."""
        if self._sock.fileno() == self._fd:  # else it has been closed, and the number may be another's by now
            notify_closing(self._fd)


class _Watch(trio.abc.Instrument):
    """Looks after the connections of one run that are left to whoever waits, each time before trio sleeps.

    Attributes:
        unread: Those that nobody reads at the moment.
    """

    def __init__(self) -> None:
        self._standing_by = 0  # readers
        self.unread: dict[Lead, None] = {}
        self._token = trio.lowlevel.current_trio_token()

    def begin(self, lead: Lead) -> None:
        """Look after *lead* until `end`."""
        if not self._standing_by:
            add_instrument(self)
        self._standing_by += 1
        self.unread[lead] = None

    def end(self, lead: Lead) -> None:
        """The reader reads again."""
        self.unread.pop(lead, None)
        self._standing_by -= 1
        if not self._standing_by:
            remove_instrument(self)

    def before_io_wait(self, timeout: float) -> None:
        if not self.unread:
            return  # so it is nearly always
        for lead in list(self.unread):
            if lead.look(timeout):
                # A reader was woken when it was settled already how long trio sleeps.
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(_do_nothing, idempotent=True)


_watches: Final[RunVar[_Watch]] = RunVar("tieline_watch")


def _watch() -> _Watch:
    """Return the watch of this run."""
    try:
        return _watches.get()
    except LookupError:
        watch = _Watch()
        _watches.set(watch)
        return watch


def _do_nothing() -> None: ...
