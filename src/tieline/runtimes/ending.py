# SPDX-License-Identifier: MIT
"""How the sessions or connections of a server end: in order, by a deadline, or at once.

It knows them by what `Ended` asks of them, and not how they came: listening and signals are the server's part.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tieline.runtimes.backend import Listener
    from tieline.runtimes.host import Host, Timer

__all__ = ["Ended", "Ending"]


class Ended(Protocol):
    """What a server has one of for each connection: a session, or a packet client with its handler."""

    def begin_shutdown(self) -> None:
        """Begin to close in order, without waiting. A handler that asks for it is not waited for."""

    async def aclose(self, force_after: float) -> None:
        """Close in order, after *force_after* seconds by force, and wait for it."""

    def abort(self) -> None:
        """Cut the connection; handlers are waited for."""

    def cut(self) -> None:
        """Cut the connection, and wait for no handler any longer."""


class Ending:
    """The end of all sessions of a server, however many ask for it.

    Args:
        sessions: Those that are alive.
        coming: Those whose connection is being made or was refused.
        host: Tells the time and plans calls; None as long as there was no listening, and so is no session.

    Attributes:
        host: The host.
    """

    __slots__ = ("_coming", "_cut_at", "_is_cut", "_runs", "_sessions", "_timer", "host")

    def __init__(self, sessions: AbstractSet[Ended], coming: AbstractSet[Ended], host: Host | None) -> None:
        self.host = host
        self._sessions = sessions
        self._coming = coming
        self._runs = 0  # calls of `run` under way
        self._is_cut = False
        self._cut_at = inf
        self._timer: Timer | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether somebody waits for the end."""
        return self._runs > 0

    async def run(self, deadline: float | None, listener: Listener | None) -> None:
        """Close all sessions in order and wait for it; after *deadline* seconds (None = never) cut what is left.

        Of several at once the earliest deadline holds. When cancelled it cuts all at once. A handler of a session may
        do this: it gives up its own answer. *listener* is where the sessions came from, closed already: what it has
        accepted and has no session yet is ended as well.
        """
        self._runs += 1
        try:
            if deadline is not None and self.host is not None:
                self.cut_by(self.host.now() + deadline)
            if listener is not None:
                listener.abort_handshakes()
            for session in list(self._coming):
                session.abort()  # nothing was asked on it
            sessions = list(self._sessions)
            # All begin before anything is waited for: handlers that shut down would wait for each other, and who has
            # asked for this would be cut by its own deadline.
            for session in sessions:
                session.begin_shutdown()
            if listener is not None:
                await listener.wait_closed()
            for session in sessions:
                await session.aclose(force_after=0.0 if self._is_cut else inf)
        except BaseException:
            self.cut()
            raise
        finally:
            self._runs -= 1
            if not self._runs:
                self._stop_timer()

    def cut_by(self, when: float) -> None:
        """Cut what is left at *when*, by the host's clock, or earlier if that was agreed before."""
        if self.host is not None and when < self._cut_at:
            self._stop_timer()
            self._cut_at = when
            self._timer = self.host.call_at(when, self.cut)

    def cut(self) -> None:
        """Cut all connections at once. Handlers are cancelled, and not waited for."""
        self._is_cut = True
        for session in [*self._sessions, *self._coming]:
            session.cut()

    def _stop_timer(self) -> None:
        self._cut_at = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
