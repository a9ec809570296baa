# SPDX-License-Identifier: MIT
"""The walker: one eager task that runs async handlers one after another, as long as none of them has to wait.

To start a task costs half as much as all that is done for a small request, and most handlers return without waiting.
So one task walks along the requests of a read. When a handler waits, the task is that handler's from then on, and
whoever started it goes on with the rest, by another walker: no request waits for another. Since each handler runs in a
real task from its first step, all that asks for the running task works as everywhere else: `asyncio.timeout`, task
groups, cancelling.

A handler must not meet what another has left behind. So a walker ends behind one that has changed a context variable,
has cancelled its task, or has kept it: what is done to the task from then on, or is kept by it, is that handler's
alone. (Only a name that is given to the task without keeping it is seen by the next.) And what a handler leaves behind,
a task say, must not be taken for the next one's when it closes the session: so a walker ends as well behind one that
has started something.
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from gc import get_referents
from itertools import chain
from sys import getrefcount
from typing import TYPE_CHECKING, Any, Final
from weakref import getweakrefcount

from tieline.wire.jsonrpc.reading import PLAIN_IDS, REQUESTS
from tieline.wire.jsonrpc.writing import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tieline.rpc.methods import Method
    from tieline.rpc.roles import Walked
    from tieline.wire.jsonrpc.events import Event

__all__ = ["FIRST_UNSEEN", "MOST_UNSEEN", "Walk", "current_walk", "run_alone", "walk_along"]


# A look at the clock takes as long as a tenth of a small request. So it is looked at behind the first few events of a
# turn, then behind as many as there were before, and no more than this: slow handlers make no turn twice as long as it
# may be, and quick ones are hardly ever asked.
FIRST_UNSEEN: Final = 3
MOST_UNSEEN: Final = 7


class Walk:
    """What a task that runs handlers is at.

    Attributes:
        request: The request (or whatever is handled) whose handler runs; None between two of them, when it is answered,
            and when it has given up its answer.
        has_waited: Whether a handler has waited: the task is that handler's from then on.
        stopped_at: Where the walk has ended because the time of the turn was over; None when it was not.
        answer: The answer to a request that came alone and whose handler has not waited, to be written at once.
    """

    __slots__ = ("answer", "has_waited", "request", "stopped_at")

    def __init__(self, request: Any = None) -> None:
        self.request = request
        self.has_waited = False  # not the task itself, which refers to this by its context
        self.stopped_at: int | None = None
        self.answer: bytes | None = None


# The walk that the running task is, or was started by. asyncio's own task alone would not tell: a handler may close its
# session from a child task that it waits for.
current_walk: ContextVar[Walk | None] = ContextVar("tieline_walk", default=None)


async def run_alone(walk: Walk, method: Method, engine: Walked) -> None:
    """Handle the request that *walk* is at, as `walk_along` does, when nothing came with it.

    To be run as an eager task.
    """
    current_walk.set(walk)
    request = walk.request
    try:
        result = await method.invoke(request.params, engine.session, engine.handling.convert)
    except BaseException as exc:
        engine.handling.failed(request, exc)
        walk.request = None
        return
    if not walk.has_waited and walk.request is request:
        walk.answer = engine.machine.answer_one(request, result)
    if walk.answer is None:
        engine.handling.reply(request, result)
    walk.request = None


async def walk_along(
    walk: Walk, first: tuple[int, Event], rest: Iterator[tuple[int, Event]], last: int, until: float, engine: Walked
) -> None:
    """Handle *first* and what follows in *rest*, up to a handler that waits, or to the time *until*.

    To be run as an eager task. Whatever is left in *rest* then is for others.

    Args:
        walk: What this walker is at.
        first: The first event, a request with an async handler, with its place among the events of the turn.
        rest: The events behind it with their places.
        last: The place of the last of them.
        until: When to leave the rest to another turn, by the host's clock.
        engine: Whose handlers they are.
    """
    current_walk.set(walk)
    handling, machine, session = engine.handling, engine.machine, engine.session
    reply = machine.replies.append
    task: Any = None
    current = context = held = None
    holders = 0, 0, 0
    if first[0] != last:  # a lone request needs none of what keeps handlers apart
        task, context = engine.host.current(), copy_context()
        current = task.get_context()
        # Whoever keeps the task does it by a reference, or by a weak one, as a table does of what belongs to a task.
        # Tasks, callbacks and timers start with a copy of the context, and copies share what they hold. There is no
        # other way to see that one was made: asyncio tells of tasks only by looking at all of them.
        held = get_referents(context)[-1]
        holders = getrefcount(task), getweakrefcount(task), getrefcount(held)
    unseen = FIRST_UNSEEN
    event: Any
    for index, event in chain((first,), rest):
        if unseen:
            unseen -= 1
        else:
            if engine.host.now() >= until:
                walk.stopped_at = index
                return
            unseen = min(index, MOST_UNSEEN)
        # The methods are asked for each time: a handler may have given the session others.
        if (
            event.__class__ not in REQUESTS
            or (method := session.methods.lookup(event.method)) is None
            or not method.is_walked
        ):
            engine.handle_beside(event)
            if not machine.is_direct:  # it has aborted, or taken the last place
                return
        else:
            walk.request = event
            try:
                result = await method.invoke(event.params, session, handling.convert)
            except BaseException as exc:
                handling.failed(event, exc)
            else:
                if walk.has_waited or walk.request is not event:
                    handling.reply(event, result)
                elif result.__class__ in machine.plain_results and event.id.__class__ in PLAIN_IDS:
                    reply(Reply(result, event.id))
                else:
                    handling.reply_beside(event, result)
            walk.request = None
            if walk.has_waited:
                return
        if index == last or task.cancelling():
            return
        try:
            if current != context or (getrefcount(task), getweakrefcount(task), getrefcount(held)) != holders:
                return
        except Exception:  # where variables were set, their values are compared, and a user's class may fail at that
            return
