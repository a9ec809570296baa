# SPDX-License-Identifier: MIT
"""Lines of tasks that wait for the same, first come first served: to receive a packet, or for room to send one.

A line is a list of waiters; each stays in it until its task goes on. Most lines are empty, or have one who waits: a
deque would take 700 bytes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from tieline.wire.default import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.runtimes.host import Host, Waiter

__all__ = ["Line", "call_next", "wait_in", "wake_first"]

# For so many turns of the loop what has arrived may be on its way through it, unseen by the system.
TURNS = 2
# For so many it may take until it is read; a peer that never stops does not keep the time from being over.
MOST_TURNS = 50

if TYPE_CHECKING:
    Line: TypeAlias = list[Waiter]
else:
    Line = list


def wake_first(line: Sequence[Waiter]) -> None:
    """Wake the first; it is first until it leaves."""
    if line and not line[0].done():
        line[0].set_result(NOTHING)


async def wait_in(
    line: Line,
    host: Host,
    is_ready: Callable[[], bool],
    until: float | None = None,
    is_coming: Callable[[], bool] | None = None,
    *,
    is_first: bool = False,
    lets_others_run: bool = False,
) -> None:
    """Wait until this task is the first in line and *is_ready*; the others stay behind it until it is back.

    Args:
        is_ready: Whether there is what is waited for.
        until: The end of the time, by the host's clock; None = there is none.
        is_coming: Whether something has arrived that is to be read before the time is over.
        is_first: It was the first already, and was woken in vain.
        lets_others_run: Others are to run in any case before this one is back; nobody overtakes it meanwhile.

    Raises:
        TimeoutError: That has not come to be *until* then.
    """
    if not line and is_ready():
        if not lets_others_run:
            return
        host.call_soon(partial(_pass_on, line, is_ready))
    place = 0 if is_first else len(line)
    while True:
        waiter = host.new_prompt_waiter()
        timer = None
        try:
            line.insert(place, waiter)
            if until is not None:
                timer = host.call_at(until, partial(_expire, host, waiter, is_coming, 0))
            await waiter
        finally:
            # In blocking code an interrupt (Ctrl-C) may come anywhere, and all others would stand behind it for ever.
            if waiter in line:
                line.remove(waiter)
            if timer is not None:
                timer.cancel()
            call_next(line, host, is_ready)
        if is_ready():
            return
        place = 0  # who was woken in vain was the first, and still is


def call_next(line: Line, host: Host, is_ready: Callable[[], bool]) -> None:
    """Let the next one have its turn, now that somebody has left the line: if there is still something by then."""
    if line and is_ready():
        host.call_soon(partial(_pass_on, line, is_ready))


def _pass_on(line: Line, is_ready: Callable[[], bool]) -> None:
    if is_ready():
        wake_first(line)


def _expire(host: Host, waiter: Any, is_coming: Callable[[], bool] | None, turns: int) -> None:
    """The time of *waiter* is over; but what has arrived in the system by now is to be read before."""
    if waiter.done():
        return
    if turns < TURNS or (turns < MOST_TURNS and is_coming is not None and is_coming()):
        host.call_soon(partial(_expire, host, waiter, is_coming, turns + 1))
    else:
        waiter.set_exception(TimeoutError("no packet in time"))
