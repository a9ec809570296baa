# SPDX-License-Identifier: MIT
"""The server for blocking code: the asynchronous one in a private thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from tieline.errors import LocalProtocolError
from tieline.servers.in_thread import ServerInThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.endpoints.urls import Endpoint
    from tieline.rpc.server import Server as AsyncServer
    from tieline.runtimes.admission import GroupCost
    from tieline.runtimes.asyncio.threads import LoopThread

__all__ = ["Server"]

WORKERS: Final = 32


class Server(ServerInThread):
    """Listens, and creates a session for each connection; a context manager that listens and shuts down.

    It runs in a private thread, and may be used from any other. `serve` creates it. A listening server that is no
    longer referenced is shut down at once, with a `ResourceWarning`.

    Args:
        new_server: Returns the server that does the work, for the thread that it is given.
        seen: Returns what other threads see of a session that lives in that thread; None = nothing.
        workers: How many handlers may run at the same time; further ones wait for their turn.
    """

    _server: AsyncServer

    def __init__(
        self,
        new_server: Callable[[LoopThread | None], AsyncServer],
        seen: Callable[[Any, LoopThread], Any],
        workers: int = WORKERS,
    ) -> None:
        super().__init__(workers)
        self._new_server = new_server
        self._seen = seen
        self._server = new_server(None)  # whose arguments are judged here and now

    def __repr__(self) -> str:
        return repr(self._server)

    def _prepare(self, thread: LoopThread) -> None:
        thread.owner = ref(self)  # weakly: who forgets a server that listens has it shut down
        self._server = self._new_server(thread)

    def get_addresses(self) -> tuple[Endpoint, ...]:
        """Return where the server actually listens, one endpoint per socket; empty when it is not listening."""
        return self._server.get_addresses()

    # --- sessions ------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> tuple[Any, ...]:
        """The connected sessions, each a `ServerSession`, or of the `ServerMessageSession` class that is served."""
        thread = self._thread
        if thread is None:
            return ()
        found: tuple[Any, ...] = thread.call(self._sessions, thread)
        return found

    async def _sessions(self, thread: LoopThread) -> tuple[Any, ...]:
        seen = [self._seen(session, thread) for session in self._server.sessions]
        return tuple(session for session in seen if session is not None)

    def costs(self) -> list[GroupCost]:
        """Return what each group of peers has cost, the most expensive first; see `Governance`. It changes nothing."""
        return self._server.costs()

    def broadcast(self, method: str, /, *args: object, **kwargs: object) -> None:
        """Send a notification to every session; see `tieline.Server.broadcast`.

        Raises:
            LocalProtocolError: The server is not running.
            ClosedError: It runs in the process that this one was forked from.
        """
        if self._thread is None:
            raise LocalProtocolError("the server is not running")
        self._thread.call(self._server.broadcast, method, *args, **kwargs)
