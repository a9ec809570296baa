# SPDX-License-Identifier: MIT
"""Where messages of the peer wait for their turn: for a free place among the handlers, and for the delay to be over.

How many places there are, and how long the delay is, the machine says (`tieline.wire.governance`). Whoever waits out a
delay has a place already: so a peer that is delayed gets less done, not only later.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tieline.rpc.roles import Gated
    from tieline.runtimes.host import Host, Timer

__all__ = ["SHUT", "Gate"]

# Delays that end closer together than this end at once.
RESOLUTION: Final = 0.001
# Seconds after which it is looked again whether there are more places: a handler that calls the peer makes some.
LOOK_AGAIN: Final = 0.5


class _Waiting:
    """One message that waits."""

    __slots__ = ("due", "message", "since")

    def __init__(self, message: Any, since: float) -> None:
        self.message = message
        self.since = since
        self.due = since  # when its delay is over; of those that have a place


class Gate:
    """The messages of one session that wait.

    Args:
        host: Tells the time.
        machine: Tells how many may pass.
        begin: Starts the handler of a message.
        running: Tells how many handlers run.
        moved: Called when some have passed, or may have, at another time than that of a read.

    Attributes:
        waited_since: Since when the message has waited whose handler is being started; None = none is.
    """

    __slots__ = (
        "_begin",
        "_delayed",
        "_host",
        "_is_moving",
        "_machine",
        "_moved",
        "_queue",
        "_running",
        "_timer",
        "waited_since",
    )

    def __init__(
        self,
        host: Host,
        machine: Gated,
        begin: Callable[[Any], object],
        running: Callable[[], int],
        moved: Callable[[], None],
    ) -> None:
        self._host = host
        self._machine = machine
        self._begin = begin
        self._running = running
        self._moved = moved
        self._queue: deque[_Waiting] = deque()  # for a place
        self._delayed: deque[_Waiting] = deque()  # have one
        self._timer: Timer | None = None
        self._is_moving = False
        self.waited_since: float | None = None

    def __len__(self) -> int:
        return len(self._queue) + len(self._delayed)

    def add(self, message: Any) -> None:
        """Let *message* wait behind all others; it passes at once when it may."""
        self._queue.append(_Waiting(message, self._host.now()))
        # Behind others that have no place there is none, unless places may have come by themselves.
        if len(self._queue) == 1 or self._machine.open_calls or self._machine.is_strained:
            self.move()

    def move(self, *, needs_place: bool = True) -> bool:
        """Let pass whatever may; return False when that is being done already, further out.

        Args:
            needs_place: Whether what waits for a place is to wait until there is one.
        """
        if self._is_moving:  # a handler that was started in here has ended
            return False
        self._is_moving = True
        try:
            while self._queue or self._delayed:
                if self._delayed and self._delayed[0].due <= self._host.now() + RESOLUTION:
                    self._pass(self._delayed.popleft())
                elif self._queue and (
                    not needs_place or self._running() + len(self._delayed) < self._machine.concurrency
                ):
                    one = self._queue.popleft()
                    delay = self._machine.delay
                    if delay or self._delayed:
                        now = self._host.now()
                        one.due = max(now + delay, self._delayed[-1].due if self._delayed else now)
                        self._delayed.append(one)
                    else:
                        self._pass(one)
                else:
                    break
        finally:
            self._is_moving = False
        self._plan()
        return True

    def _pass(self, one: _Waiting) -> None:
        self.waited_since = one.since
        try:
            self._begin(one.message)
        finally:
            self.waited_since = None

    def take_out(self, message: object) -> bool:
        """Take *message* out, which is not to be handled any more; return whether it was here."""
        for line in (self._queue, self._delayed):
            for one in line:
                if one.message is message:
                    line.remove(one)
                    return True
        return False

    def keep(self, is_kept: Callable[[Any], bool]) -> None:
        """Take out all messages but those of which *is_kept* says so."""
        for line in (self._queue, self._delayed):
            kept = [one for one in line if is_kept(one.message)]
            line.clear()
            line.extend(kept)

    def take_older_than(self, since: float) -> Iterator[Any]:
        """Take out and give the messages that have waited since then, or longer: for a place, or out their delay."""
        for line in (self._delayed, self._queue):
            while line and line[0].since <= since:
                yield line.popleft().message

    def close(self) -> None:
        """Forget all that waits."""
        self._queue.clear()
        self._delayed.clear()
        self._plan()

    def _plan(self) -> None:
        if self._timer is not None:
            if self._queue and not self._delayed:
                return  # it looks again soon enough: to plan anew at each move costs more than all else here
            self._timer.cancel()
            self._timer = None
        if self._delayed:
            self._timer = self._host.call_at(self._delayed[0].due, self._on_timer)
        elif self._queue:
            self._timer = self._host.call_at(self._host.now() + LOOK_AGAIN, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._moved()


class _ShutGate(Gate):
    """Lets nothing pass any more: what comes to it is dropped, and what comes behind that has to come to it too.

    It knows of no session, so that those that nobody has connected keep no circle.
    """

    __slots__ = ()

    def __init__(self) -> None:
        self._queue, self._delayed = deque(), deque()
        self._timer = self.waited_since = None

    def __len__(self) -> int:
        return 1

    def add(self, message: Any) -> None: ...

    def move(self, *, needs_place: bool = True) -> bool:
        return False


SHUT: Final = _ShutGate()
