# SPDX-License-Identifier: MIT
"""What a server tells about what happens on it, and the counts that can be made of that.

Free of I/O, and of what the connections carry: servers of calls, of messages and of packets tell the same.
"""

from __future__ import annotations

from collections.abc import Container
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

from tieline.wire.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Counts", "Hooks", "MethodCounts", "Teller", "checked_hooks"]

# Methods that are counted one by one; further ones are counted as one. Peers make up names: so those that nobody has
# registered are that many at most as well, and take no place from those that somebody has.
MAX_METHODS: Final = 1000
OTHERS: Final = "(others)"


class Hooks:
    """Callbacks for what happens on a server; derive from it, and pass an instance to `serve` as ``hooks=``.

    Override the methods that you need. All are plain functions, called in the loop of the server, so they must be fast.
    Exceptions in them are logged and change nothing. A call takes about a microsecond longer with them.

    The *session* is that of the connection. In blocking code it is the one that handlers receive, but hooks are called
    in the server's private thread: attributes of the session can be read there, but waiting for anything is refused.
    Packet servers over streams pass the asynchronous packet client of the connection, and report only connections.
    """

    def server_made(self, server: Any) -> None:
        """They were given to a server, which does not listen yet; in blocking code, to the asynchronous one in it.

        Packet servers do not tell this.
        """

    def connection_opened(self, session: Any) -> None:
        """A peer has connected, and was accepted."""

    def connection_closed(self, session: Any, reason: Exception | None) -> None:
        """The connection is gone; *reason* is `SessionBase.close_reason`."""

    def connection_refused(self, session: Any, reason: str) -> None:
        """A peer was refused, for *reason*."""

    def call_started(self, session: Any, method: str) -> None:
        """The handler of a call or notification is about to start, or that of a message, with "handle_message" as
        *method*.

        *method* is the name that the peer sent: there may be no such method, and then the call ends with that error.
        """

    def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
        """The call was answered, or is done, after *seconds*; *error* is the error that the peer received, None for a
        result.

        If the handler failed, or its result cannot be sent, that is an internal error, and its ``__cause__`` is the
        real reason. If the connection was lost before, it is a `ConnectionLost`. For a message it is the exception of
        its handler.
        """

    def limit_hit(self, session: Any, error: Exception) -> None:
        """The peer exceeded a limit or violated the protocol, which ends its connection; *error* says how."""


def checked_hooks(hooks: object) -> tuple[Hooks, ...]:
    """Return the hooks that a server was given: one, several in a sequence, or None.

    Raises:
        TypeError: It is something else.
    """
    if hooks is None:
        return ()
    found = tuple(cast("Sequence[object]", hooks)) if isinstance(hooks, list | tuple) else (hooks,)
    for each in found:
        if not isinstance(each, Hooks):
            what = f"the class {each.__name__}" if isinstance(each, type) else type(each).__name__
            raise TypeError(f"hooks must be Hooks, or several in a list, not {what}")
    return cast("tuple[Hooks, ...]", found)


class Teller:
    """Tells the hooks of a server, for one connection. What they raise goes to the log.

    Args:
        hooks: Who is told.
        session: Whom it is about, as the hooks are to see it.
        failed: Called with the name of a hook that has failed, and the error, whatever it is.
    """

    __slots__ = ("_failed", "_hooks", "_open", "session")

    def __init__(
        self, hooks: tuple[Hooks, ...], session: object, failed: Callable[[str, BaseException], object]
    ) -> None:
        self._hooks = hooks
        self._failed = failed
        self._open: dict[int, tuple[str, float]] = {}  # calls that have started, by the identity of their requests
        self.session = session

    def tell(self, name: str, *args: object) -> None:
        """Call the hook with that name."""
        for hooks in self._hooks:
            try:
                getattr(hooks, name)(self.session, *args)
            except BaseException as exc:  # users write it: the result of a cancelled future will do
                self._failed(name, exc)

    def started(self, request: object, method: str) -> None:
        """A request is about to be handled."""
        # Not the loop's clock: that of uvloop stands still while a plain handler runs.
        self._open[id(request)] = method, perf_counter()
        self.tell("call_started", method)

    def ended(self, request: object, error: BaseException | None) -> None:
        """It is answered. Harmless when it was told before, or never begun."""
        found = self._open.pop(id(request), None)
        if found is not None:
            method, since = found
            self.tell("call_ended", method, perf_counter() - since, error)

    def lost(self, error: BaseException) -> None:
        """The connection is gone: all that was open has ended."""
        while self._open:
            _, (method, since) = self._open.popitem()
            self.tell("call_ended", method, perf_counter() - since, error)


@dataclass(frozen=True, slots=True)
class MethodCounts:
    """The counters of one method.

    Attributes:
        started: Calls and notifications that were started.
        ended: Those that have ended.
        errors: Those that ended with an error.
        seconds: Their total duration.
        longest: The longest duration.
    """

    started: int = 0
    ended: int = 0
    errors: int = 0
    seconds: float = 0.0
    longest: float = 0.0


class Counts(Hooks):
    """Hooks that count connections, and calls by method. Given to several servers, they count them together.

    Attributes:
        opened: Connections that were accepted.
        closed: Those of them that have ended.
        refused: Connections that were refused.
        limits_hit: Connections that ended because the peer exceeded a limit or violated the protocol.
    """

    def __init__(self) -> None:
        self.opened = self.closed = self.refused = self.limits_hit = 0
        self._methods: dict[str, list[float]] = {}
        self._registered: set[str] = set()  # those of them that were registered when they were first called

    @property
    def methods(self) -> dict[str, MethodCounts]:
        """A snapshot of what was counted, by method.

        Up to a thousand registered names are counted separately, and a thousand others, which peers have invented or
        only the session's class knows. Further ones are counted together, as ``(others)``.
        """
        return {
            name: MethodCounts(int(started), int(ended), int(errors), seconds, longest)
            for name, (started, ended, errors, seconds, longest) in list(self._methods.items())  # a thread may ask
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
        self._counted(session, method)[0] += 1

    def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
        counts = self._counted(session, method)
        counts[1] += 1
        counts[2] += error is not None
        counts[3] += seconds
        counts[4] = max(counts[4], seconds)

    def _counted(self, session: Any, method: str) -> list[float]:
        counts = self._methods.get(method)
        return self._placed(session, method) if counts is None else counts

    def _placed(self, session: Any, method: str) -> list[float]:
        """Return the counts of a method that has no place of its own: it gets one if there is room."""
        methods = getattr(session, "methods", None)
        if isinstance(methods, Container) and method in methods:
            has_room = len(self._registered) < MAX_METHODS
            if has_room:
                self._registered.add(method)
        else:
            has_room = len(self._methods) - len(self._registered) - (OTHERS in self._methods) < MAX_METHODS
        return self._methods.setdefault(method if has_room else OTHERS, [0, 0, 0, 0.0, 0.0])
