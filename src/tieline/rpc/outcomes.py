# SPDX-License-Identifier: MIT
"""What handlers can say beyond a result, why they are not called at all, and how their failures reach the log."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

from tieline.runtimes.raised_before import forget_raised_before

if TYPE_CHECKING:
    import logging
    from typing import Protocol

    class Logging(Protocol):
        """What is logged of: a session."""

        @property
        def log(self) -> logging.Logger: ...

        def peer_name(self) -> str: ...


__all__ = ["SHOWN_NAME", "ArgumentsError", "FailureLog", "ReplyAndDisconnect", "say", "unknown_method"]

SHOWN_NAME: Final = 64  # a name of 1 MB is cut in messages and logs


class ArgumentsError(Exception):
    """The peer's arguments do not fit the handler: the peer's fault, answered with -32602.

    The text is meant for the peer: it names the parameter, what was expected and which type was seen, and holds no
    value that the peer sent, and no text of an exception that the handler's own types raised.
    """


def unknown_method(name: str) -> str:
    """Return the text for a method that nobody has; the name is the peer's, and may be long."""
    return f'unknown method "{name}"' if len(name) <= SHOWN_NAME else f'unknown method "{name[:SHOWN_NAME]}..."'


class ReplyAndDisconnect(Exception):  # it is an order, not an error; the name is the ancestor's
    """Raised by a handler: reply with *result* (a value or an `RPCError`), then close the session."""

    def __init__(self, result: object) -> None:
        super().__init__()  # without the result: what is printed or logged of it must not show what it holds
        self.result = result

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.result,), self.__dict__


SECONDS_BETWEEN: Final = 1.0
MAX_METHODS: Final = 1000
# Lines about peers that broke a rule: so many at once, and so many more in so many seconds. One line a connection is
# what is wanted; but a peer may connect a thousand times a second.
PEERS_AT_ONCE: Final = 20
PEERS_WITHIN: Final = 20.0


class FailureLog:
    """What a server logs of failures of its own and of faults of its peers: who, and why, and never too much.

    Failures go with their tracebacks: at most one a second of a kind, as of a method, and how many were left out. A
    peer decides how often a handler fails, and how often it connects; it must not decide how fast the log grows.
    """

    __slots__ = ("_as_of", "_left_out", "_next", "_peers_told", "_peers_untold")

    def __init__(self) -> None:
        self._next: dict[object, float] = {}
        self._left_out: dict[object, int] = {}
        self._peers_told = 0.0  # less by one for each share of the time that goes by
        self._peers_untold = 0
        self._as_of = 0.0

    def failed(self, owner: Logging, method: str, error: BaseException, now: float) -> None:
        """Log that *method* failed with *error* when the peer of *owner* called it."""
        method = method[:SHOWN_NAME]
        left_out = self._count(method, now)
        if left_out is not None:
            more = f" ({left_out} more failures of it were not logged)" if left_out else ""
            text = "handler of %r failed, called by %s%s"
            say(owner, "error", text, method, owner.peer_name, more, error=error)
        forget_raised_before(error)

    def told(self, owner: Logging, kind: str, text: str, subject: object, error: BaseException, now: float) -> None:
        """Log *text* about *subject*, and an *error* in what users have written; *kind* says which of it.

        A *subject* that can be called is called for what to say.
        """
        left_out = self._count(("told", kind), now)
        if left_out is not None:
            more = f" ({left_out} more times, not logged)" if left_out else ""
            say(owner, "error", f"{text}%s", subject, more, error=error)

    def peer_erred(self, owner: Logging, what: str, now: float) -> None:
        """Log *what* the peer of *owner* has done: how it has ended its connection by a fault of its own."""
        gone = max(0.0, now - self._as_of) * PEERS_AT_ONCE / PEERS_WITHIN
        self._peers_told, self._as_of = max(0.0, self._peers_told - gone), max(self._as_of, now)
        if self._peers_told + 1 > PEERS_AT_ONCE:
            self._peers_untold += 1
            return
        self._peers_told += 1
        untold, self._peers_untold = self._peers_untold, 0
        more = f" ({untold} more such connections since the last line)" if untold else ""
        say(owner, "warning", "%s %s%s", owner.peer_name, what, more)

    def _count(self, kind: object, now: float) -> int | None:
        """Return how many of a kind were left out before this one; None when this one is to be left out."""
        if now < self._next.get(kind, now):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return None
        if len(self._next) >= MAX_METHODS:
            self._next.clear()
            self._left_out.clear()
        self._next[kind] = now + SECONDS_BETWEEN
        return self._left_out.pop(kind, 0)


def say(
    owner: Logging, level: Literal["warning", "error"], text: str, *parts: object, error: BaseException | None = None
) -> None:
    """Log *text* with *parts*, of which those that can be called are, by the logger of *owner*.

    That, its filters, and what names a peer are users' own. When they fail nobody is to go without an answer.
    """
    try:
        log = getattr(owner.log, level)
        log(text, *[part() if callable(part) else part for part in parts], exc_info=error)
    except Exception as exc:
        import logging  # lazily: nearly all have loaded it by then, and others never do

        with suppress(Exception):
            name = type(exc).__name__
            logging.getLogger("tieline").error("what follows could not be logged (%s: %s)", name, exc, exc_info=error)
