# SPDX-License-Identifier: MIT
"""Handlers that run as tasks: their start, their turn, their time, and their end.

What they handle is for others to say: this file sees messages only as what they are told apart by.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tieline.rpc.gate import SHUT, Gate
from tieline.rpc.walking import Walk, current_walk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Generator, Sequence
    from contextvars import Context

    from tieline.rpc.roles import Boss, Gated
    from tieline.runtimes.hooks import Teller
    from tieline.runtimes.host import Handle, Host, Timer

__all__ = ["LOOKS", "Tasks"]

# How often within `Limits.handler_timeout` it is looked which handlers run. So none needs a timer of its own.
LOOKS: Final = 8


class Tasks:
    """The handlers of one session that run as tasks.

    Args:
        host: Starts them.
        gated: The machine, which says how many may run at once.
        timeout: How many seconds each may take; None = as long as it likes.
        boss: Told whenever one has ended.

    Attributes:
        context: The context variables as they were when the connection was made. Each handler gets a copy, never what
            the running code has: that may be another handler, which lets the reading go on as it ends.
        failures: How many handlers failed with what they must not raise.
        may_be_direct: Whether handlers are started without any further question, as long as there are places.
        running: The messages whose handlers run as tasks, by the handle of the task.
        unstarted: Tasks that were started and have not taken their first step (CPython 3.11, trio).
    """

    __slots__ = (
        "__dict__",
        "_boss",
        "_first_steps",
        "_gated",
        "_host",
        "_leaving",
        "_timeout",
        "context",
        "running",
        "unstarted",
    )

    context: Context
    may_be_direct: bool
    running: dict[Handle, Any] | None
    _leaving: set[Handle] | None  # of handlers that have given up, and run still
    _first_steps: Walk | None  # whose handlers take their first steps, within `host.start`

    # What nearly no session has any of is the class's, until one has it.
    failures: int = 0
    _gate: Gate | None = None  # made for the first message that has to wait
    _given_up: Sequence[Any] = ()  # messages whose handlers close the session: not to be answered
    _unheard: Collection[Handle] = ()  # cancelled when the peer had ended
    _ordered: deque[tuple[Any, Callable[[], bool]]] | None = None
    _ordered_now: Any = None  # the ordered message whose handler runs
    _timer: Timer | None = None  # for the next look at what runs
    _ages: dict[Handle, int] | None = None  # how many looks a handler has seen
    _overdue: list[Any] | None = None  # messages whose handlers were cancelled because they took too long
    # Whose handlers wait for the end of the session, in which tasks.
    _awaiting: list[tuple[Walk, Handle | None]] | None = None
    _not_begun: dict[int, Any] | None = None  # the messages that `unstarted` counts, by their identity

    def __init__(self, host: Host, gated: Gated, timeout: float | None, boss: Boss) -> None:
        self._host = host
        self._gated = gated
        self._boss: Boss | None = boss
        self._timeout = timeout
        self.unstarted = 0
        self.running = self._first_steps = self._leaving = None

    def expect_first_step(self, message: object) -> None:
        """Take note that a task for *message* is about to be started, which calls `has_begun` as it begins."""
        self.unstarted += 1
        if self._not_begun is None:
            self._not_begun = {}
        self._not_begun[id(message)] = message

    def has_begun(self, message: object) -> bool:
        """Take note that the task for *message* has begun, or never will; return False when that was known."""
        if not self._not_begun or self._not_begun.pop(id(message), None) is None:
            return False
        self.unstarted -= 1
        return True

    def never_began(self, message: Any) -> None:
        """Hear that the task for *message* was cancelled before its first step."""

    def be_told(self, teller: Teller) -> None:
        """Have *teller* told of each call from now on. Where there are no calls, nothing."""

    # --- whose turn it is ----------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many messages wait for their turn."""
        return 0 if self._gate is None else len(self._gate)

    def pass_gate(self, message: Any) -> None:
        """Begin to handle *message* when it is its turn: at once, as a rule."""
        gated = self._gated
        is_free = not self.waiting and not gated.is_strained and len(self.running or ()) < gated.concurrency
        if is_free:
            self.begin(message)
            return
        if self._gate is None:
            self._gate = Gate(self._host, gated, self.begin, self._count_running, self.look_at_places)
        self._gate.add(message)
        if not self.waiting:
            self.look_at_places()
            return
        gated.is_direct = False
        if self._timer is None and self._timeout is not None:
            self._plan_look(self._timeout)

    def pass_all(self) -> None:
        """Begin to handle all that waits for a place: a call of ours ends that came behind it, and was open until now.

        Not what waits because the peer has cost too much: that waits while calls are open, too.
        """
        if self._gate is not None and not self._gated.is_strained:
            self._gate.move(needs_place=False)
            self.look_at_places()

    def begin(self, message: Any, /) -> object:
        """Start to handle *message* now."""
        raise NotImplementedError

    def refuse(self, message: Any, /) -> None:
        """Refuse *message*, which has waited for its turn for too long."""
        raise NotImplementedError

    def shut(self) -> None:
        """Begin to handle nothing more, of this read either: this side cuts the connection."""
        if self._gate is not None:
            self._gate.close()
        self._gate = SHUT
        self._gated.is_direct = False
        walk = current_walk.get()
        if walk is not None:
            walk.has_waited = True  # the walker leaves what comes behind to others
        not_begun = self._not_begun or {}
        for handle, message in list((self.running or {}).items()):
            if id(message) in not_begun:
                handle.cancel()

    def _count_running(self) -> int:
        return len(self.running or ())

    def look_at_places(self) -> None:
        """Take note that there may be more places than before, or fewer."""
        gated = self._gated
        has_moved = self._gate is not None and self._gate.move()
        gated.is_direct = (
            self.may_be_direct
            and not self.waiting
            and not gated.is_strained
            and len(self.running or ()) < gated.concurrency
        )
        if has_moved and self._boss is not None:
            # The last one that waited may be done, or given up, without a task whose end would be told.
            self._boss.handler_ended()

    # --- tasks ---------------------------------------------------------------------------------------------------

    def start_walk(self, walk: Walk, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Start what runs handlers as a task; return whether it has ended already."""
        outer, self._first_steps = self._first_steps, walk  # a walker starts others for what it does not run itself
        try:
            handle = self._host.start(coroutine, self.context.copy())
        finally:
            self._first_steps = outer
        if handle is None:
            return True
        walk.has_waited = True
        if walk.request is not None:  # else it has given up its request
            if self.running is None:
                self.running = {}
            self.running[handle] = walk.request
            if len(self.running) >= self._gated.concurrency:
                self._gated.is_direct = False
            handle.add_done_callback(self._ended)
            if self._gate is not None and self._gate.waited_since is not None:
                self._count_wait(handle, self._gate.waited_since)
            if self._timer is None and self._timeout is not None:
                self._plan_look(self._timeout)
        else:
            self._note_leaving(handle)
            handle.add_done_callback(self._ended)
        return False

    def _note_leaving(self, handle: Handle) -> None:
        if self._leaving is None:
            self._leaving = set()
        self._leaving.add(handle)

    @property
    def has_ended(self) -> bool:
        """Whether no handler runs any more: none that anybody waits for, nor one that has given up."""
        return not (self.running or self._leaving or self._first_steps is not None)

    def _count_wait(self, handle: Handle, since: float) -> None:
        """Have the time of a handler begin when its message came, as if it had run since then."""
        if self._timeout:
            if self._ages is None:
                self._ages = {}
            # At most so many, however long it was: `_look` takes note of a handler when it sees it go over that.
            self._ages[handle] = min(int((self._host.now() - since) / self._timeout * LOOKS), LOOKS)

    def give_up_current(self) -> list[Any]:
        """Take out and return the message whose handler is running, or started the task that is; else nothing.

        It is not answered any more, whatever the handler does. Ordered messages behind it are taken out as well: their
        turn would come when it returns, and it waits for them. A handler that was started eagerly may ask this in its
        very first step, when its task is not known here yet.
        """
        walk = current_walk.get()
        if walk is None or walk.request is None:
            return []
        return self._give_up(walk)

    def _give_up(self, walk: Walk) -> list[Any]:
        """Take out and return what *walk* handles, and the ordered messages behind it."""
        message = walk.request
        if walk is not self._first_steps:
            running = self.running or {}
            handle = next((handle for handle, other in running.items() if other is message), None)
            if handle is None:  # it has ended, or is another session's
                return []
            del running[handle]
            self._note_leaving(handle)
        walk.request = None
        self._given_up = [*self._given_up, message]
        if self.waiting:
            self._host.call_soon(self.look_at_places)  # its place is free, but nothing is to run within its handler
        taken = [message]
        if message is self._ordered_now and self._ordered:
            taken += [behind for behind, _ in self._ordered]
            self._ordered = None
        return taken

    def is_given_up(self, message: object) -> bool:
        """Return whether *message* was taken out by `give_up_current`."""
        return bool(self._given_up) and any(other is message for other in self._given_up)

    def _ended(self, handle: Handle) -> None:
        if self._ages:
            self._ages.pop(handle, None)  # not at the next look: thousands end until then
        if self._leaving:
            self._leaving.discard(handle)
        message = None if self.running is None else self.running.pop(handle, None)
        if message is not None:
            if self.has_begun(message):  # so it had not
                self.never_began(message)
            self.take_overdue(message)
            if message is self._ordered_now:
                self._start_next_ordered()
        if not self._gated.is_direct:
            self.look_at_places()
        if self._boss is not None:
            self._boss.handler_ended()

    def start_ordered(self, message: object, start: Callable[[], bool]) -> None:
        """Have *message* handled behind all ordered ones before it: by *start*, which tells whether that was all.

        Behind one whose handler closes the session it is given up, as those that have waited are.
        """
        if self.is_given_up(self._ordered_now):
            if self._boss is not None:
                self._boss.give_up(message)
            return
        if self._ordered is None:
            self._ordered = deque()
        self._ordered.append((message, start))
        if self._ordered_now is None:
            self._start_next_ordered()

    def _start_next_ordered(self) -> None:
        """Start what has waited for its turn."""
        self._ordered_now = None
        while self._ordered and self._ordered_now is None:
            message, start = self._ordered.popleft()
            self._ordered_now = message
            if start():
                self._ordered_now = None

    # --- behind the end of the peer ------------------------------------------------------------------------------

    @property
    def is_at_work(self) -> bool:
        """Whether anything is handled, or waits for that, that is worth it also when the peer has ended.

        A handler that waits for the end of the session is not: the end would wait for it.
        """
        if self.waiting:
            return True
        awaiting = [walk.request for walk, _ in self._awaiting or ()]
        handled = list((self.running or {}).values())
        if self._first_steps is not None and self._first_steps.request is not None:
            handled.append(self._first_steps.request)
        return any(
            self.outlasts_peer(message) and not any(message is other for other in awaiting) for message in handled
        )

    def outlasts_peer(self, _message: Any, /) -> bool:
        """Return whether *_message* is worth to be handled also when the peer has ended: one without an answer is."""
        return True

    @contextmanager
    def awaiting_end(self) -> Generator[None]:
        """Take note that the running task waits for the end of the session, and with it the handler that it is in."""
        walk = current_walk.get()
        if walk is None:
            yield
            return
        awaiting = walk, self._host.current()
        self._awaiting = [*(self._awaiting or ()), awaiting]
        try:
            yield
        finally:
            self._awaiting = [one for one in self._awaiting if one is not awaiting] or None

    def give_up_awaiting(self) -> list[Any]:
        """Take out and return the messages whose handlers wait for the end, now that it has begun.

        They are as good as handled, and the end would wait for them. Not those where it is a task beside the handler
        that waits: they may have an answer yet.
        """
        taken: list[Any] = []
        for walk, handle in self._awaiting or ():
            if walk.request is not None and self._is_handler(walk, handle):
                taken += self._give_up(walk)
        return taken

    def _is_handler(self, walk: Walk, handle: Handle | None, /) -> bool:
        """Return whether the task of *handle* runs what *walk* is at, and was not started by it."""
        return handle is not None and (self.running or {}).get(handle) is walk.request

    def give_up_unheard(self) -> Sequence[Any]:
        """Give up what nobody waits for any more now that the peer has ended; return those that were being handled."""
        if self._gate is not None:
            self._gate.keep(self.outlasts_peer)
        unheard = {
            handle: message for handle, message in (self.running or {}).items() if not self.outlasts_peer(message)
        }
        for handle in unheard:
            handle.cancel()
        self._unheard = unheard.keys()
        return list(unheard.values())

    def cancel_all(self, *, again: bool = True) -> None:
        """Cancel every handler that runs as a task: nobody waits for its answer any more.

        Not *again* those that `give_up_unheard` has cancelled: they may be cleaning up.
        """
        self._timeout = None
        if self._gate is not None:
            gate, self._gate = self._gate, None
            gate.close()
        if self._ordered is not None:
            self._ordered = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._ages = None
        if self.running:
            for handle in list(self.running):
                if again or handle not in self._unheard:
                    handle.cancel()
        if self._unheard:
            self._unheard = ()

    def let_go(self, _session: Any) -> None:
        """Take note that all is over, and that *_session* refers to the session from now on, weakly."""
        self._boss = None

    # --- handlers that take too long -----------------------------------------------------------------------------

    def _plan_look(self, timeout: float) -> None:
        self._timer = self._host.call_at(self._host.now() + max(timeout / LOOKS, 0.001), self._look)

    def _look(self) -> None:
        """Cancel the handlers that have seen more than `LOOKS` looks; one that goes on is cancelled at each of them."""
        self._timer = None
        timeout = self._timeout
        if self._gate is not None and timeout is not None:
            is_late = False
            for message in self._gate.take_older_than(self._host.now() - timeout):
                self.refuse(message)
                is_late = True
            if is_late:
                self.look_at_places()  # all may be over then
        if self._timeout is None:
            self._ages = None
            return
        running = self.running or {}
        if not running and not self.waiting:
            self._ages = None
            return
        before = self._ages or {}
        self._ages = {handle: before.get(handle, 0) + 1 for handle in running}
        for handle, age in self._ages.items():
            if age > LOOKS:
                if age == LOOKS + 1:
                    self._overdue = [*(self._overdue or ()), running[handle]]
                handle.cancel()
        self._plan_look(self._timeout)

    def take_overdue(self, message: object) -> bool:
        """Return whether the handler of *message* was cancelled because it took too long, and forget it."""
        if not self._overdue:
            return False
        rest = [other for other in self._overdue if other is not message]
        is_overdue = len(rest) < len(self._overdue)
        self._overdue = rest or None
        return is_overdue
