# SPDX-License-Identifier: MIT
"""A call of the only thread that uses a connection: ask, one send, one read, and the answer. The middle of `pump.py`.

Nearly all calls in blocking code are that. They go past the turns of the link and the events of the machine, which
costs half as much; whatever is not as simple as that goes on by the ways that all calls could go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.blocking.plain_reading import PlainReading
from tieline.runtimes.blocking.transport import LONGEST_READ
from tieline.runtimes.link import Link
from tieline.runtimes.link_closing import MachineT
from tieline.wire.default import NOTHING
from tieline.wire.limits import DEFAULT

if TYPE_CHECKING:
    from tieline.runtimes.blocking.waiters import Waiter
    from tieline.wire.jsonrpc.lone import LoneConnection
    from tieline.wire.limits import Default

__all__ = ["UNANSWERED", "UNSENT", "BlockingLink", "LoneCalls"]


# What came of a call by the short way, if it has no result. (Plain objects: an enum takes 50 us to make.)
UNSENT: Final = object()
UNANSWERED: Final = object()


class BlockingLink(Link[MachineT]):
    """A link that lets the one who moves it see that it has nothing to do.

    Attributes:
        is_calm: The transport is read from, and no event is left over.
    """

    __slots__ = ()

    is_calm: bool = Link._is_calm  # the slot itself, by a name for others


class LoneCalls(PlainReading):
    """The calls of a thread that is alone with its connection."""

    __slots__ = ()

    def exchange(
        self,
        link: BlockingLink[LoneConnection],
        waiter: Waiter,
        method: str,
        params: object,
        timeout: float | Default | None,
    ) -> Any:
        """Make a call that is to complete *waiter*, and return its result, by the shortest way.

        It gives one plain read the time to bring the answer. Return `UNSENT` when this is not the way to go now, and
        nothing was done; `UNANSWERED` when the call is on its way, and *waiter* is to be waited for: it may be done.

        Raises:
            TypeError, ValueError, LocalProtocolError: The call cannot be encoded; nothing was sent.
        """
        lock = self.lock
        machine = link.machine
        leads = False
        try:
            lock.acquire()  # by hand, as for packets
            transport = self.transport
            since = self.now()
            if (
                self._is_shared
                or self._is_led
                or self.jobs
                or transport is None
                or transport is not link.transport  # something is between the two
                or transport.reads is None
                or not link.is_calm
                # Reckoned with, not compared alone: what is no time is to fail here, before anything is sent.
                or not (timeout is DEFAULT or timeout is None or timeout - LONGEST_READ > 0.0)
                or self._first_timer - since < LONGEST_READ
            ):
                lock.release()
                return UNSENT
            try:
                data = machine.ask(method, params, waiter)
                if data is None:
                    lock.release()
                    return UNSENT
                link.last_sent = since
                machine.bytes_sent += len(data)
                transport.write(data)
            except Exception:
                raise
            except BaseException as exc:
                self.do(self.give_up, exc)
                raise
            if self.soon:  # it could not be written
                self.do(self.drain)
            leads = self._is_led = transport.wants_data and not transport.unsent
            lock.release()
            if leads:
                try:
                    for self._read in transport.reads:  # a loop, as in `_wait_alone`
                        break
                except (BlockingIOError, InterruptedError):
                    pass
                except OSError as exc:
                    self.do(self.give_up, exc)
            lock.acquire()
            if leads and self._read and not self.activity and transport is link.transport:
                result = machine.answer(self._read, waiter, self.now())
                if result is not NOTHING:
                    self._read = None
                    self._is_led = leads = False
                    if not (self._followers or self.jobs):
                        lock.release()
                        return result
                    waiter.set_result(result)  # there is more to do before this thread may leave
            if leads:
                self._is_led = False
                self._take()
                leads = False
            if not waiter.is_done:
                self._give_time(link, waiter, since, timeout)
            lock.release()
            return UNANSWERED
        except BaseException:
            self._give_way(leads)
            raise

    def _give_way(self, leads: bool) -> None:
        """Hand on what this thread has led, whatever comes out of that, and release the lock."""
        if not self._owns_lock():  # an interrupt may have come before it was taken, or behind its release
            self.lock.acquire()
        try:
            if leads:
                self._is_led = False
                self._take()
        finally:
            try:
                self._hand_over()
            finally:
                self.lock.release()

    def _give_time(
        self, link: BlockingLink[LoneConnection], waiter: Waiter, since: float, timeout: float | Default | None
    ) -> None:
        def plan() -> None:
            link.machine.give_time(waiter, since, timeout)
            link.settle()

        self.do(plan)
