# SPDX-License-Identifier: MIT
"""The table of our own unanswered calls: ids, tokens and deadlines.

A token is whatever the caller wants back with the answer (a future, usually); the table never looks into it. There is
no timer per call. Calls with the default timeout store nothing: eight times within that timeout the table notes which
ids had been issued, and what is still open when such a note has reached its age has timed out; so those calls end up
to one eighth late, never early. Only calls with a timeout of their own have an entry for it.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

from tieline.finite import time_after
from tieline.wire.default import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tieline.wire.default import Default

__all__ = ["NO_CALLS", "CallTable"]

NOTES_PER_TIMEOUT = 8


class CallTable:
    """The unanswered calls of one connection.

    Args:
        default_timeout: Seconds for a call that names no timeout of its own; None = it waits for ever.
        first_id: The id of the first call.

    Attributes:
        open: The tokens by id, oldest first. They count up from the first (small, and never bools or floats). Of a
            batch that is all that is open, it is made when somebody asks for it.
        next_id: The id of the next call; every id below it has been issued.
        deadline: When `expire` is to be called; may be too early, never too late; inf when no call can time out.
        is_idle: No look at the calls with the default timeout is planned; the next such call has to plan one.
    """

    __slots__ = (
        "_batches",
        "_default",
        "_explicit",
        "_given_up",
        "_notes",
        "_sweep_at",
        "_tick",
        "_whole",
        "_whole_ids",
        "deadline",
        "is_idle",
        "next_id",
        "open",
    )

    def __init__(self, default_timeout: float | None, first_id: int = 0) -> None:
        self.open: dict[int, object] = {}
        self.next_id = first_id
        self.deadline = inf
        self._default = default_timeout
        self._tick = (default_timeout or 0.0) / NOTES_PER_TIMEOUT
        # What an idle connection has no need of is made when it is needed.
        self._notes: deque[tuple[float, int]] | None = None  # (when, the ids below this had been issued by then)
        self._sweep_at = inf
        self.is_idle = default_timeout is not None
        self._explicit: dict[int, float] | None = None  # id -> when it times out; inf = never
        self._batches: list[range] | None = None  # what went out together
        self._given_up: set[int] | None = None  # what of that, or of what went before, was given up
        self._whole: list[Any] = []  # of `_OneBatch`
        self._whole_ids: list[int] = []

    def add(self, token: object, now: float) -> int:
        """Enter a call with the default timeout and return its id."""
        call_id = self.next_id
        self.next_id = call_id + 1
        self.open[call_id] = token
        if self.is_idle:
            self.plan_look(now)
        return call_id

    def plan_look(self, now: float) -> None:
        """Plan the first look of several."""
        self.is_idle = False
        self._sweep_at = now + self._tick
        self.deadline = min(self.deadline, self._sweep_at)

    def add_all(self, tokens: Sequence[object], now: float) -> range:
        """Enter calls with the default timeout and return their ids."""
        ids = self.add_untimed(tokens)
        if self.is_idle and tokens:
            self.plan_look(now)
        return ids

    def add_untimed(self, tokens: Sequence[object]) -> range:
        """Enter calls that have the default timeout if the table is looked at, and none yet if it is idle."""
        first = self.next_id
        self.next_id = stop = first + len(tokens)
        ids = range(first, stop)
        self.open.update(zip(ids, tokens, strict=True))
        return ids

    def add_whole(self, tokens: list[Any], ids: list[int]) -> None:
        """Enter the calls of a batch as `add_untimed` does, when no others are open. *ids* count up from `next_id`."""
        self.next_id += len(ids)
        self._whole, self._whole_ids = tokens, ids
        self._batches = [range(ids[0], self.next_id)]
        self._given_up = None
        self.__class__ = _OneBatch  # pyright: ignore[reportAttributeAccessIssue]  # as it may: it has no slots of its own
        del self.open

    def add_with_timeout(self, token: object, now: float, timeout: float | None) -> int:
        """Enter a call with a timeout of its own in seconds (None = it waits for ever) and return its id."""
        try:  # as `time_after` does, which would be one call more
            when = inf if timeout is None else now + timeout
            if not when >= now:  # NaN is not
                raise ValueError
        except (ArithmeticError, TypeError, ValueError):
            when = time_after(now, "timeout", timeout)  # it raises what says more
        call_id = self.next_id
        self.next_id = call_id + 1
        self.open[call_id] = token
        self._end_at(when, call_id)
        return call_id

    def _end_at(self, when: float, call_id: int) -> None:
        if self._explicit is None:
            self._explicit = {}
        self._explicit[call_id] = when
        self.deadline = min(self.deadline, when)

    def give_time(self, call_id: int, since: float, timeout: float | Default | None) -> None:
        """Let a call time out that has been open without a time since then; otherwise as the ways to add one."""
        if timeout is not DEFAULT:
            self._end_at(inf if timeout is None else since + timeout, call_id)
        elif self.is_idle:
            self.plan_look(since)

    def pop(self, call_id: Any) -> object | None:
        """Take the call out and return its token; None when it is not open. Any id that can be hashed may be asked."""
        token = self.open.pop(call_id, None)
        if self._explicit:
            self._explicit.pop(call_id, None)
        return token

    def pop_all(self, call_ids: list[int]) -> list[object] | None:
        """Take all these calls out and return their tokens, as `pop` does; None when one of them is not open."""
        calls = self.open
        if len(call_ids) == len(calls) and call_ids == [*calls]:  # all that are open, in order
            tokens = [*calls.values()]
            calls.clear()
            self._explicit = self._batches = self._given_up = None
            return tokens
        tokens = [*map(calls.get, call_ids)]
        if not all(tokens) or len(set(call_ids)) < len(tokens):
            return None
        if self._explicit and not self._explicit.keys().isdisjoint(call_ids):
            return [self.pop(call_id) for call_id in call_ids]
        return [*map(calls.pop, call_ids)]

    def give_up(self, call_id: int) -> object | None:
        """As `pop`, for a call whose answer is not awaited any more."""
        if call_id not in self.open:
            return None
        if any(call_id in batch for batch in self._batches or ()):
            if self._given_up is None:
                self._given_up = set()
            self._given_up.add(call_id)
        return self.pop(call_id)

    @property
    def count(self) -> int:
        """How many calls are open. Any thread may ask: it changes nothing, as to ask for `open` may."""
        try:
            return len(_get_open(self))
        except AttributeError:
            return len(self._whole_ids)

    def was_issued(self, call_id: object) -> bool:
        """Return whether a response with this id answers a call that we made, open or not. Compares type and value."""
        return call_id.__class__ is int and 0 <= cast("Any", call_id) < self.next_id

    def count_late(self, since: float) -> tuple[int, int]:
        """Return how many calls with the default timeout are open, and how many of them have been since then."""
        explicit = self._explicit or {}
        below = max((issued for when, issued in self._notes or () if when <= since), default=0)
        judged = [call_id for call_id in self.open if call_id not in explicit]
        return len(judged), sum(call_id < below for call_id in judged)

    def expire(self, now: float) -> list[object]:
        """Take out the calls that have timed out by *now* and return their tokens, oldest first."""
        if now < self.deadline:
            return []
        explicit = self._explicit or {}
        due = [call_id for call_id, when in explicit.items() if when <= now]
        due += self._sweep(now, explicit)
        tokens = [self.open[call_id] for call_id in sorted(due)]
        for call_id in due:
            self.give_up(call_id)
        self.deadline = min(self._sweep_at, min(explicit.values(), default=inf))
        return tokens

    def _sweep(self, now: float, explicit: Mapping[int, float]) -> list[int]:
        """Return the open calls with the default timeout that are due, and plan the next look."""
        if now < self._sweep_at or self._default is None:
            return []
        notes = self._notes = self._notes or deque()
        below = 0
        while notes and notes[0][0] + self._default <= now:
            below = notes.popleft()[1]
        due = [call_id for call_id in self.open if call_id < below and call_id not in explicit]
        if len(self.open) - len(due) > len(explicit):
            notes.append((now, self.next_id))
            # The oldest note falls due exactly, not at the tick after it.
            self._sweep_at = min(now + self._tick, notes[0][0] + self._default)
        else:
            self._notes = None
            self._sweep_at = inf
            self.is_idle = True
        return due

    # --- batches -------------------------------------------------------------------------------------------------

    def note_batch(self, ids: range) -> None:
        """Remember that the calls *ids* went out as one batch, for the error that refuses a batch as a whole."""
        if self._batches is None:
            self._batches = [ids]
            return
        kept = [batch for batch in self._batches if not self.open.keys().isdisjoint(batch)]
        self._batches = [*kept, ids]
        if self._given_up is not None:
            self._given_up = {call_id for call_id in self._given_up if any(call_id in batch for batch in kept)} or None

    def refused_batch(self) -> list[int] | None:
        """Take out and return the oldest batch of which no member has been answered; None when there is none.

        A refusal as a whole is one error with a null id, which names nothing; the oldest batch is the best guess.
        """
        given_up = self._given_up or ()
        for batch in self._batches or ():
            waiting = [call_id for call_id in batch if call_id not in given_up]
            if waiting and all(call_id in self.open for call_id in waiting):
                self._batches = [other for other in self._batches or () if other is not batch]
                return waiting
        return None

    def clear(self) -> list[object]:
        """Take out everything and return the tokens, oldest first."""
        tokens = list(self.open.values())
        self.open.clear()
        self._explicit = self._notes = self._batches = self._given_up = None
        self._sweep_at = self.deadline = inf
        self.is_idle = self._default is not None
        return tokens


# The slot itself, behind which nothing makes what is not there.
_get_open: Final[Callable[[CallTable], dict[int, object]]] = vars(CallTable)["open"].__get__


class _OneBatch(CallTable):
    """What a table is while a batch is all that is open, and nobody has looked: most are answered before.

    A class of its own: the interpreter looks up attributes slowly where there is a `__getattr__`.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> dict[int, object]:
        """Make `open`, which alone is not there."""
        if name != "open":
            raise AttributeError(f"a table of calls has no {name!r}")
        calls = dict(zip(self._whole_ids, self._whole, strict=True))
        self._end(calls)
        return calls

    def pop_all(self, call_ids: list[int]) -> list[object] | None:
        whole = self._whole
        if call_ids != self._whole_ids:
            return super().pop_all(call_ids)
        self._end({})
        self._batches = None
        return whole

    def _end(self, calls: dict[int, object]) -> None:
        self.open = calls
        self._whole = self._whole_ids = []
        self.__class__ = CallTable  # type: ignore[assignment]  # to mypy an object may become one of a derived class only


# The table of all connections that have made no call yet: nothing is entered in it, and no look is planned.
NO_CALLS: Final = CallTable(None)
NO_CALLS.is_idle = True
