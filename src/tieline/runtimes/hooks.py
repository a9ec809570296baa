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
    """What a server tells; derive from it, override what you want to hear, and give one to `serve` as ``hooks=``.

    All are plain functions, called in the loop that the server runs in, so they have to be quick. What they raise goes
    to the log and changes nothing. To be told of calls costs each call about a microsecond.

    The *session* is that of the connection. In blocking code it is the one that handlers see, but hooks are called in
    the server's private thread: facts of the session can be asked there, and to wait for anything is refused. Servers
    of packets over streams give the asynchronous packet client of the connection, and tell of connections only.
    """

    def server_made(self, server: Any) -> None:
        """They were given to a server, which does not listen yet; in blocking code, to the asynchronous one in it.

        Packet servers do not tell this.
        """

    def connection_opened(self, session: Any) -> None:
        """A peer has connected, and is welcome."""

    def connection_closed(self, session: Any, reason: Exception | None) -> None:
        """The connection is gone; *reason* is `SessionBase.close_reason`."""

    def connection_refused(self, session: Any, reason: str) -> None:
        """A peer was turned away, for *reason*."""

    def call_started(self, session: Any, method: str) -> None:
        """The handler of a call or notification is about to start; of a message, whose method is handle_message.

        The *method* is what the peer has asked for: there may be none of that name, and then that is how it ends.
        """

    def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
        """It was answered, or is done, so many seconds later; *error* is what the peer was told, None for a result.

        Where the handler has failed, or its result cannot be sent, that is an internal error, and its ``__cause__``
        tells why. When the connection was lost before, it is a `ConnectionLost`. Of a message it is what its handler
        has raised.
        """

    def limit_hit(self, session: Any, error: Exception) -> None:
        """The peer went over a limit, or broke a rule, that ends its connection; see `tieline.RemoteProtocolError`."""


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
        self._registered: set[str] = set()  # those of them that were registered when they were first called

    @property
    def methods(self) -> dict[str, MethodCounts]:
        """A snapshot of what was counted, by method.

        A thousand names are counted one by one that are registered with the session, and a thousand that are not:
        peers make up such, or the session's class knows them. Further ones are counted as one, ``(others)``.
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
