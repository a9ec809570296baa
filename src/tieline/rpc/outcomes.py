# SPDX-License-Identifier: MIT
"""What handlers can say beyond a result, and how their failures reach the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tieline.endpoints.secured import as_tls
from tieline.errors import RPCError
from tieline.rpc.hints import SHOWN_NAME

if TYPE_CHECKING:
    import logging

    from tieline.endpoints.secured import TLSChoice

__all__ = ["FailureLog", "ReplyAndDisconnect", "ReplyAndStartTLS"]


class ReplyAndDisconnect(Exception):  # it is an order, not an error; the name is the ancestor's
    """Raised by a handler: answer with *result* (a value or an `RPCError`), flush, then close the session."""

    def __init__(self, result: object) -> None:
        super().__init__()  # without the result: what is printed or logged of it must not show what it holds
        self.result = result


class ReplyAndStartTLS(Exception):  # as above
    """Raised by a handler: answer with *result*, then speak TLS as its server, on the same connection.

    The answer goes out in plain text; what is sent behind it waits for the handshake. The other side calls
    `SessionBase.start_tls` when it has the answer. TLS starts when nothing else is under way, else the request is
    answered with SERVER_BUSY and all stays as it was. Data that came behind the request ends the connection: somebody
    in between may have put it there. So does a handshake that fails, or takes longer than `Limits.handshake_timeout`.

    Args:
        result: The answer, a value.
        tls: A `TLS` value with a certificate, or an ``ssl.SSLContext``. Files are read when it is used, so with many
            connections give a context that is ready: ``TLS(context=...)``.

    Raises:
        TypeError: *result* is an error, which agrees to nothing, or *tls* is of the wrong type.
        ValueError: There are no settings.
    """

    def __init__(self, result: object, tls: TLSChoice) -> None:
        super().__init__()  # as above
        if isinstance(result, RPCError):
            raise TypeError("an error does not start TLS: raise it by itself")
        settings = as_tls(tls)
        if settings is None:
            raise ValueError(f"ReplyAndStartTLS takes a TLS value or an ssl.SSLContext, not {tls!r}")
        self.result = result
        self.tls = settings


SECONDS_BETWEEN: Final = 1.0
MAX_METHODS: Final = 1000


class FailureLog:
    """Logs the failures of handlers with their tracebacks: at most one a second per method, and how many were left out.

    A peer decides how often a handler fails; it must not decide how fast the log grows.
    """

    __slots__ = ("_left_out", "_next")

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def failed(self, logger: logging.Logger, method: str, peer: object, error: BaseException, now: float) -> None:
        """Log that *method* failed with *error* when *peer* called it."""
        method = method[:SHOWN_NAME]
        if now < self._next.get(method, now):
            self._left_out[method] = self._left_out.get(method, 0) + 1
            return
        if len(self._next) >= MAX_METHODS:
            self._next.clear()
            self._left_out.clear()
        self._next[method] = now + SECONDS_BETWEEN
        left_out = self._left_out.pop(method, 0)
        more = f" ({left_out} more failures of it were not logged)" if left_out else ""
        logger.error("handler of %r failed, called by %s%s", method, peer, more, exc_info=error)
