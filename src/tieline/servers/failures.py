# SPDX-License-Identifier: MIT
"""What a packet server logs of peers and of handlers: who, and why; never what was in a packet, and never too much."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, cast

from tieline.runtimes.raised_before import forget_raised_before

if TYPE_CHECKING:
    import logging

__all__ = ["ServerLog", "peer_name"]

# Seconds from one line of a kind to the next: peers must not decide how fast the log grows.
SECONDS_BETWEEN: Final = {"handler": 1.0, "hook": 1.0, "peer": 10.0, "lost": 10.0}


class ServerLog:
    """The log of one server: of each kind at most a line in so many seconds, and how many were left out.

    Args:
        logger: Where it goes.
    """

    __slots__ = ("_left_out", "_next", "logger")

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self._next = dict.fromkeys(SECONDS_BETWEEN, -inf)
        self._left_out = dict.fromkeys(SECONDS_BETWEEN, 0)

    def handler_failed(self, peer: str, error: BaseException, now: float) -> None:
        """A handler has failed, which is this side's fault: with its traceback."""
        if (more := self._more("handler", now)) is not None:
            self.logger.error("the handler of %s failed%s", peer, more, exc_info=error)
        forget_raised_before(error)

    def hook_failed(self, name: str, error: BaseException, now: float) -> None:
        """A hook has failed, which a user has written: with its traceback."""
        if (more := self._more("hook", now)) is not None:
            self.logger.error("the hook %s failed%s", name, more, exc_info=error)

    def peer_erred(self, peer: str, what: str, now: float) -> None:
        """A peer has broken a rule."""
        if (more := self._more("peer", now)) is not None:
            self.logger.warning("%s %s%s", peer, what, more)

    def lost(self, what: str, now: float) -> None:
        """Something was dropped that found no room."""
        if (more := self._more("lost", now)) is not None:
            self.logger.warning("%s%s", what, more)

    def _more(self, kind: str, now: float) -> str | None:
        """Return what to say of those that were left out; None when this one is."""
        if now < self._next[kind]:
            self._left_out[kind] += 1
            return None
        self._next[kind] = now + SECONDS_BETWEEN[kind]
        left_out, self._left_out[kind] = self._left_out[kind], 0
        return f" ({left_out} more of this kind since the last line)" if left_out else ""


def peer_name(address: object) -> str:
    """Return the address of a peer for people."""
    if isinstance(address, tuple):
        host, port = cast("tuple[str, int]", address)[:2]
        return f"{f'[{host}]' if ':' in host else host}:{port}"
    if isinstance(address, bytes):
        address = address.decode("utf-8", "backslashreplace")
    return str(address or "a local peer").replace("\0", "@")
