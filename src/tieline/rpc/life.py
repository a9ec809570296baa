# SPDX-License-Identifier: MIT
"""The life of a session of any kind: how it gets its connection, and how that ends.

What is said in between is for `session.py` (calls) and `messages.py` (messages without replies).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from tieline.rpc.core import SessionCore
from tieline.rpc.facts import EngineT
from tieline.runtimes.detect import current_backend

if TYPE_CHECKING:
    from collections.abc import MutableSet

    from tieline.runtimes.admission import Admission
    from tieline.runtimes.backend import AsyncBackend
    from tieline.runtimes.host import Event
    from tieline.runtimes.link import Link

__all__ = ["SessionLife"]


class SessionLife(SessionCore[EngineT]):
    """How a session begins and ends.

    Attributes:
        limits: The limits of this connection.
    """

    __slots__ = ()

    # --- for subclasses ------------------------------------------------------------------------------------------

    async def connection_lost(self) -> None:
        """Called exactly once when the connection is gone, for whatever reason. Override it to clean up."""

    @abstractmethod
    def _new_engine(
        self,
        backend: AsyncBackend,
        accepted: bool,
        sessions: set[Any] | None,
        coming: MutableSet[Any] | None,
        admission: Admission | None,
    ) -> EngineT:
        """Return a new engine for the running loop; the arguments are those of `new_link`."""

    # --- the end -------------------------------------------------------------------------------------------------

    def _want_no_more(self) -> None:
        """Take note that the session is closed, if need be before it has connected: dialling ends at once."""
        self._is_unwanted = True

    async def aclose(self, force_after: float = 5.0) -> None:
        """Close the session cleanly: running handlers finish and their replies are sent, then the connection is closed.

        After *force_after* seconds the connection is aborted: queued messages are dropped, and handlers cancelled.
        Pending calls of this side fail with `ClosedError`. It may be called anywhere (in a handler of this session too,
        whose own reply is then lost), at any time, any number of times. When it is cancelled, it aborts the connection.

        Raises:
            LocalProtocolError: It belongs to another event loop, or another run of trio.
        """
        self._want_no_more()
        if self._engine is not None and self._engine.started is not None:
            await self._engine.close(force_after)

    def close(self) -> None:
        """Begin to close as `aclose` does, and return at once."""
        self._want_no_more()
        if self._engine is not None and not self._engine.link.is_lost and self._engine.started is not None:
            self._engine.link.close()

    def abort(self) -> None:
        """Close at once: queued messages are dropped, pending calls fail with `ClosedError`, handlers are cancelled."""
        self._want_no_more()
        if self._engine is not None:
            self._engine.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone and `connection_lost` has returned (so do not call it in there).

        A handler of this session may call it too; it gives up its own reply as soon as either side begins to close. If
        the connection breaks, or its reply could no longer be sent (over TLS and WebSocket, when the peer closes), the
        handler of a request is cancelled there instead, like all others.

        Raises:
            LocalProtocolError: It belongs to another event loop, or another run of trio, and is not closed yet.
        """
        if self._engine is not None:
            await self._engine.wait_closed()

    @property
    def closed_event(self) -> Event:
        """An event of the runtime, which is set when the connection is gone; see `wait_closed`.

        Do not wait for it in handlers of this session: closing would wait for them, as it cannot see what they wait
        for.

        Raises:
            LocalProtocolError: The session has not been connected.
        """
        return self._connected().closed_event

    # --- for the engine, servers and clients ---------------------------------------------------------------------

    def new_link(
        self,
        *,
        accepted: bool,
        backend: AsyncBackend | None = None,
        sessions: set[Any] | None = None,
        coming: MutableSet[Any] | None = None,
        admission: Admission | None = None,
    ) -> Link[Any]:
        """Return the protocol object for a connection that is about to be made, in the running loop.

        For servers and clients: *backend* is that of the loop, where it is known already, *sessions* is a set that the
        session is in for as long as it lives, *coming* one that it is in until then, *admission* decides whether the
        peer is welcome; None = everybody is.

        Raises:
            LocalProtocolError: The session has or had a connection.
            ValueError: It was given another loop than the running one.
        """
        self._check_unconnected()
        if backend is None:
            backend = current_backend()
        if self._loop is not None:
            backend.check_loop(self._loop)
        self.limits = self.limits.resolved(accepted=accepted)
        engine = self._engine = self._new_engine(backend, accepted, sessions, coming, admission)
        return engine.link

    def begin_shutdown(self) -> None:
        """Begin to close as `aclose` does, without waiting: for servers.

        A handler of this session that shuts down the server gives up its own answer, which nobody could wait for.
        """
        self._want_no_more()
        if self._engine is not None and self._engine.started is not None:
            self._engine.begin_close()

    def cut(self) -> None:
        """Abort, and let nobody wait for handlers any longer, not even for those that ignore it: for servers."""
        self._want_no_more()
        if self._engine is not None:
            self._engine.force()
