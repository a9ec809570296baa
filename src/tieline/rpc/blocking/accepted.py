# SPDX-License-Identifier: MIT
"""What sessions that a server accepted have in common, of calls and of messages, for any thread but the server's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.rpc.blocking.server import Server
    from tieline.rpc.session_stats import SessionStats
    from tieline.runtimes.asyncio.threads import LoopThread

__all__ = ["Accepted"]


class Accepted:
    """The life of a session in the server's thread, and facts about it, for all other threads."""

    _session: Any  # the one that does the work
    _thread: LoopThread

    def attach(self, session: Any, thread: LoopThread) -> None:
        """Stand for *session*, which lives in *thread*. For servers."""
        self._session = session
        self._thread = thread

    def __repr__(self) -> str:
        return repr(self._session)

    async def in_pool(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run *function* in the pool of the server. For servers."""
        return await self._thread.in_pool(function, *args)

    def close(self, force_after: float = 5.0) -> None:
        """Close the session, and wait for it; see `tieline.SessionBase.aclose`.

        A handler that closes its own session is waited for as well, so until *force_after* is over; it is better off
        with `abort`, or by raising `ReplyAndDisconnect`.
        """
        self._thread.call(self._session.aclose, force_after)

    def abort(self) -> None:
        """Close at once; see `tieline.SessionBase.abort`. Takes effect soon."""
        self._thread.call_soon(self._session.abort)

    def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        self._thread.call(self._session.wait_closed)

    @property
    def server(self) -> Server | None:
        """The server that accepted this session; None if the program has forgotten it, which shuts it down."""
        server: Server | None = self._thread.owner()
        return server

    @property
    def stats(self) -> SessionStats:
        """A snapshot of what the session has done so far."""
        stats: SessionStats = self._session.stats
        return stats

    @property
    def close_reason(self) -> Exception | None:
        """Why the connection ended; None while it is open, or when this side closed it."""
        reason: Exception | None = self._session.close_reason
        return reason

    def is_closing(self) -> bool:
        """Return whether the session is closed or about to be, so that nothing can be sent any more."""
        is_closing: bool = self._session.is_closing()
        return is_closing

    def remote_address(self) -> object:
        """Return the peer's socket address, for TCP (host, port, ...); None if the socket has none."""
        return self._session.remote_address()

    def peer_name(self) -> str:
        """Return the peer's address for people."""
        name: str = self._session.peer_name()
        return name

    def peer_certificate(self) -> dict[str, Any] | None:
        """Return the certificate that the peer has shown; see `tieline.SessionBase.peer_certificate`."""
        certificate: dict[str, Any] | None = self._session.peer_certificate()
        return certificate
