# SPDX-License-Identifier: MIT
"""Room to send: who waits for it, and in which order they get it.

A call needs room in the window of unanswered calls and on the transport, a notification on the transport only: two
lines, so that neither holds up the other. Whoever comes while others wait stands behind them, also when there is room
at that moment: it belongs to those who were woken for it and have not run yet. (Else a task that calls in a loop takes
every place before a waiting one can.)
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.finite import check_timeout
from tieline.wire.limits import Default
from tieline.wire.states import State

if TYPE_CHECKING:
    from tieline.rpc.roles import Window
    from tieline.runtimes.host import Host, Timer, Waiter
    from tieline.runtimes.link import Link

__all__ = ["Room"]


# So many senders are woken at once; the next ones when these have sent, since one large message may fill the room.
WOKEN_AT_ONCE: Final = 64
# Timeouts that are closer together than this are dealt with at once.
TIMER_RESOLUTION: Final = 0.001


class _Sender:
    """One task that waits: its place in the line, and until when it waits."""

    __slots__ = ("is_awake", "place", "until", "waiter")

    def __init__(self, place: int, until: float, waiter: Waiter) -> None:
        self.place = place
        self.until = until
        self.waiter = waiter
        self.is_awake = False  # woken for room, and has not run since


class _Line:
    """Those who wait for the same."""

    __slots__ = ("awake", "places", "queue")

    def __init__(self) -> None:
        self.queue: deque[_Sender] = deque()
        self.awake = 0
        self.places = 0

    @property
    def is_empty(self) -> bool:
        return not self.queue and not self.awake

    def wake(self, count: float) -> None:
        """Wake the first *count*."""
        while self.queue and count > 0:
            sender = self.queue.popleft()
            if not sender.waiter.done():  # else it is being cancelled
                sender.waiter.set_result(None)
                sender.is_awake = True
                self.awake += 1
                count -= 1

    def put_back(self, sender: _Sender) -> None:
        """Put a sender that was woken in vain back in front of those who came later."""
        self.fall_asleep(sender)
        index = 0
        while index < len(self.queue) and self.queue[index].place < sender.place:
            index += 1
        self.queue.insert(index, sender)

    def fall_asleep(self, sender: _Sender) -> None:
        self.awake -= sender.is_awake
        sender.is_awake = False

    def remove(self, sender: _Sender) -> None:
        """Take out a sender that does not wait any more, wherever it is."""
        self.fall_asleep(sender)
        if sender in self.queue:
            self.queue.remove(sender)


class Room:
    """The senders of one session that wait. One timer serves all of their timeouts."""

    __slots__ = ("_armed_for", "_calls", "_host", "_is_planned", "_link", "_machine", "_notifications", "_timer")

    def __init__(self, host: Host, link: Link[Any]) -> None:
        self._host = host
        self._link = link
        self._machine: Window = link.machine
        self._calls = _Line()
        self._notifications = _Line()
        self._is_planned = False
        self._timer: Timer | None = None
        self._armed_for = inf

    def is_free(self, *, for_call: bool = True) -> bool:
        """Return whether a newcomer may send without waiting."""
        line = self._calls if for_call else self._notifications
        return line.is_empty and self._has_room(for_call=for_call)

    def _has_room(self, *, for_call: bool) -> bool:
        return self._machine.has_room if for_call else not self._machine.flow.paused

    async def wait(self, timeout: float | None, *, for_call: bool = True) -> None:
        """Wait for room; returns as well when the connection is not open any more.

        The room is there until the caller gives up control: send at once.

        Raises:
            TimeoutError: There is none within *timeout* seconds.
        """
        host, machine = self._host, self._machine
        line = self._calls if for_call else self._notifications
        until = inf if timeout is None else host.now() + timeout
        sender = _Sender(line.places, until, host.new_waiter())
        line.places += 1
        line.queue.append(sender)
        try:
            while machine.state is State.OPEN if for_call else machine.takes_notifications:
                self._arm(until)
                self._changed()
                self._link.settle()  # while senders wait, reading goes on
                await sender.waiter
                if self._has_room(for_call=for_call):
                    return
                if host.now() >= until:
                    raise TimeoutError("no room to send in time")
                # Somebody who does not wait (`send_request`) was quicker.
                sender.waiter = host.new_waiter()
                line.put_back(sender)
        finally:
            line.remove(sender)
            del sender  # a future keeps its error, whose traceback refers to this frame
            self._changed()
            self._plan()

    async def wait_for_call(self, timeout: float | Default | None) -> float | None:
        """Wait for room for a call with that timeout, and return how much of it is left."""
        seconds = self._machine.limits.call_timeout if isinstance(timeout, Default) else timeout
        seconds = check_timeout("timeout", seconds)
        start = self._host.now()
        await self.wait(seconds)
        return None if seconds is None else max(0.0, seconds - (self._host.now() - start))

    def made(self) -> None:
        """Wake as many as there may be room for, in the order in which they came."""
        machine, calls, notifications = self._machine, self._calls, self._notifications
        if machine.state is not State.OPEN:
            calls.wake(inf)  # they are to find out
        if not machine.takes_notifications:
            notifications.wake(inf)
        if not machine.flow.paused:
            notifications.wake(WOKEN_AT_ONCE - notifications.awake)
            calls.wake(min(machine.max_calls - machine.open_calls, WOKEN_AT_ONCE) - calls.awake)
        self._changed()

    def _plan(self) -> None:
        """Wake others, once whoever was woken has sent or has failed to."""
        if not self._is_planned and (self._calls.queue or self._notifications.queue):
            self._is_planned = True
            self._host.call_soon(self._follow_plan)

    def _follow_plan(self) -> None:
        self._is_planned = False
        self.made()

    def _changed(self) -> None:
        waiting = len(self._calls.queue) + len(self._notifications.queue)
        self._machine.flow.senders_waiting = waiting + self._calls.awake + self._notifications.awake
        if not waiting:
            self._disarm()

    # --- timeouts ------------------------------------------------------------------------------------------------

    def _arm(self, when: float) -> None:
        if when < self._armed_for:
            self._disarm()
            self._armed_for = when
            self._timer = self._host.call_at(when, self._expire)

    def _disarm(self) -> None:
        self._armed_for = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self._armed_for = inf
        now = self._host.now()
        rest = inf
        for line in (self._calls, self._notifications):
            for sender in list(line.queue):
                if sender.until > now:
                    rest = min(rest, sender.until)
                    continue
                line.queue.remove(sender)
                if not sender.waiter.done():
                    sender.waiter.set_exception(TimeoutError("no room to send in time"))
        self._changed()
        self._arm(max(rest, now + TIMER_RESOLUTION))
