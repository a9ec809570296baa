# SPDX-License-Identifier: MIT
"""Waiting by one plain `recv`: what a thread does that is alone with its connection. The lower half of `pump.py`.

It is one system call, where a wait in which other threads can call takes two and a look at the clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.blocking.crew import Crew
from tieline.runtimes.blocking.transport import LONGEST_READ, READS_PLAINLY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.blocking.moved import Awaited
    from tieline.runtimes.blocking.transport import SocketTransport
    from tieline.runtimes.blocking.waiters import Waiter

__all__ = ["REFUSED", "PlainReading"]

REFUSED: Final = -1  # see `PlainReading._wait_alone`


class PlainReading(Crew):
    """The reads of one connection, and what is done with what they bring.

    Attributes:
        activity: Waiters for anything that comes from the peer.
    """

    __slots__ = ("_is_shared", "_read", "activity")

    def __init__(self) -> None:
        super().__init__()
        self.activity: list[Waiter] = []
        self._read: bytes | None = None  # what the leader has read; nothing = the end of the stream
        self._is_shared = not READS_PLAINLY  # the leader must be able to be called

    def _wait_alone(
        self, waiter: Awaited, move: Callable[..., bool] | None = None, args: tuple[Any, ...] = ()
    ) -> int | None:
        """Wait by one plain read: so it is nearly always, and costs the least. With *move*, call that before.

        Return whether all is done; None when nothing came, or when this is not the way to wait now; `REFUSED` when
        *move* returned False.
        """
        leads = is_slow = False
        try:
            with self.lock:
                if move is not None and not self._move(move, args):
                    return REFUSED
                transport, is_done = self.transport, waiter.is_done
                if (
                    self._is_led
                    or self.jobs
                    or is_done
                    or transport is None
                    or transport.unsent
                    or not transport.wants_data
                    or transport.reads is None
                    or self._first_timer - self.now() < LONGEST_READ
                ):
                    return None
                leads = self._is_led = True
            try:
                # A loop: between its step and the name no interrupt (Ctrl-C) comes, while behind a call one does, and
                # what was read would be lost.
                for self._read in transport.reads:  # `_take` uses it
                    break
            except (BlockingIOError, InterruptedError):
                is_slow = True
            except OSError as exc:
                self.do(self.give_up, exc)
            with self.lock:
                self._is_led = False
                self._take()
                leads = False  # not before: what was read would be lost with an interrupt
                if waiter.is_done and not (self.jobs or self._followers):
                    return True
            return None if is_slow else False
        finally:
            if leads:
                with self.lock:
                    self._is_led = False
                    self._take()

    def _is_short(self, until: float) -> bool:
        """Return whether a plain read may take too long for somebody's time."""
        return min(until, self._first_timer) - self.now() < LONGEST_READ

    def _move(self, move: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Call *move*, as `do` does, with the lock held already."""
        self.is_inside = True
        try:
            return move(*args)
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

    def _take(self) -> None:
        """Hand on what the leader has read, if anything."""
        transport = self.transport
        assert transport is not None
        if self._read is not None:
            self.is_inside = True
            try:
                read, self._read = self._read, None
                transport.deliver(read)
                if self.activity:
                    self._tell(self.activity)
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

    def _let_go(self, transport: SocketTransport) -> None:
        """Release a transport that is gone; one that can only not be sent by any more is gone behind its `finish`."""
        if not transport.is_gone:
            self.do(transport.finish)
        if transport.is_gone:
            self._release()

    def _tell(self, waiters: list[Waiter]) -> None:
        told = waiters[:]
        waiters.clear()
        for waiter in told:
            if not waiter.is_done:
                waiter.set_result(None)

    def _release(self) -> None:
        assert self.transport is not None
        self.transport.release()
        if self._readiness is not None:
            self._readiness.close()
            self._readiness = None
        for parker in self._followers[:]:
            self.unpark([parker])  # there is nothing to follow any more: they are to look for themselves
