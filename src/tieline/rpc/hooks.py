# SPDX-License-Identifier: MIT
"""What a server tells about what happens on it, and the counts that can be made of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.wire.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.rpc.owner import Owner

__all__ = ["Counts", "Hooks", "MethodCounts", "Teller"]

# Methods that are counted one by one; peers make up names, and further ones are counted as one.
MAX_METHODS: Final = 1000
OTHERS: Final = "(others)"


class Hooks:
    """What a server tells; derive from it, override what you want to hear, and give one to `serve` as ``hooks=``.

    All are plain functions, called in the loop that the server runs in, so they have to be quick. What they raise goes
    to the log and changes nothing. To be told of calls costs each call about a microsecond.
    """

    def connection_opened(self, session: Any) -> None:
        """A peer has connected, and is welcome."""

    def connection_closed(self, session: Any, reason: Exception | None) -> None:
        """The connection is gone; *reason* is `SessionBase.close_reason`."""

    def connection_refused(self, session: Any, reason: str) -> None:
        """A peer was turned away, for *reason*."""

    def call_started(self, session: Any, method: str) -> None:
        """The handler of a call or notification is about to start."""

    def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
        """It was answered, or is done, so many seconds later; *error* is what the peer was told, None for a result.

        When the connection was lost before, it is a `ConnectionLost`.
        """

    def limit_hit(self, session: Any, error: Exception) -> None:
        """The peer went over a limit, or broke a rule, that ends its connection; see `tieline.RemoteProtocolError`."""


class Teller:
    """Tells the hooks of a server, for one session. What they raise is logged.

    Args:
        hooks: Who is told.
        session: Whom it is about.
        now: Tells the time.
    """

    __slots__ = ("_hooks", "_now", "_open", "session")

    def __init__(self, hooks: Hooks, session: Owner, now: Callable[[], float]) -> None:
        self._hooks = hooks
        self._now = now
        self._open: dict[int, tuple[str, float]] = {}  # calls that have started, by the identity of their requests
        self.session = session

    def tell(self, name: str, *args: object) -> None:
        """Call the hook with that name."""
        try:
            getattr(self._hooks, name)(self.session, *args)
        except Exception:
            self.session.log.exception("the hook %s failed", name)

    def started(self, request: object, method: str) -> None:
        """A request is about to be handled."""
        self._open[id(request)] = method, self._now()
        self.tell("call_started", method)

    def ended(self, request: object, error: BaseException | None) -> None:
        """It is answered. Harmless when it was told before, or never begun."""
        found = self._open.pop(id(request), None)
        if found is not None:
            method, since = found
            self.tell("call_ended", method, self._now() - since, error)

    def lost(self, error: BaseException) -> None:
        """The connection is gone: all that was open has ended."""
        while self._open:
            _, (method, since) = self._open.popitem()
            self.tell("call_ended", method, self._now() - since, error)


@dataclass(frozen=True, slots=True)
class MethodCounts:
    """What was counted of one method.

    Attributes:
        started: Calls and notifications that were started.
        ended: Those that have ended.
        errors: Those that ended with an error.
        seconds: How long they took, all together.
        longest: How long the longest took.
    """

    started: int = 0
    ended: int = 0
    errors: int = 0
    seconds: float = 0.0
    longest: float = 0.0


class Counts(Hooks):
    """Hooks that count: connections, and calls by method. Give one to several servers, and they are counted together.

    Attributes:
        opened: Connections that were welcome.
        closed: Those of them that are gone.
        refused: Connections that were turned away.
        limits_hit: Connections that ended because the peer went over a limit, or broke a rule.
    """

    def __init__(self) -> None:
        self.opened = self.closed = self.refused = self.limits_hit = 0
        self._methods: dict[str, list[float]] = {}

    @property
    def methods(self) -> dict[str, MethodCounts]:
        """A snapshot of what was counted, by method. Names over a thousand are counted as one, ``(others)``."""
        return {
            name: MethodCounts(int(started), int(ended), int(errors), seconds, longest)
            for name, (started, ended, errors, seconds, longest) in self._methods.items()
        }

    def connection_opened(self, session: Any) -> None:
        self.opened += 1

    def connection_closed(self, session: Any, reason: Exception | None) -> None:
        self.closed += 1

    def connection_refused(self, session: Any, reason: str) -> None:
        self.refused += 1

    def limit_hit(self, session: Any, error: Exception) -> None:
        self.limits_hit += 1

    def call_started(self, session: Any, method: str) -> None:
        self._counted(method)[0] += 1

    def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
        counts = self._counted(method)
        counts[1] += 1
        counts[2] += error is not None
        counts[3] += seconds
        counts[4] = max(counts[4], seconds)

    def _counted(self, method: str) -> list[float]:
        counts = self._methods.get(method)
        if counts is None:
            name = method if len(self._methods) < MAX_METHODS else OTHERS
            counts = self._methods.setdefault(name, [0, 0, 0, 0.0, 0.0])
        return counts
