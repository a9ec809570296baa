# SPDX-License-Identifier: MIT
"""Packet servers for blocking code: the asynchronous one in a private thread, with handlers in a pool of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.servers.in_thread import ServerInThread
from tieline.servers.serving import check_done, check_handler, is_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.asyncio.threads import LoopThread
    from tieline.servers.serving import AsyncNetworkServer
    from tieline.wire.limits import Limits

__all__ = ["WORKERS", "NetworkServer"]

WORKERS: Final = 100


class _InPool:
    """An async handler that has a plain one run in the pool. It does not refer to the server, which may be dropped."""

    __slots__ = ("_given", "_handler", "thread")

    def __init__(self, handler: Callable[..., Any], given: Callable[..., tuple[Any, ...]]) -> None:
        self._handler = handler
        self._given = given
        self.thread: LoopThread | None = None

    async def __call__(self, *args: Any) -> None:
        thread = self.thread
        assert thread is not None
        result = await thread.in_pool(self._handler, *self._given(thread, *args))
        if result is not None:
            check_done(result)


class NetworkServer(ServerInThread):
    """Listens, and handles what comes; a context manager that listens and shuts down. Any thread may use it.

    Plain handlers run in a pool of threads; async ones run in the private thread. What they raise is logged and
    ends no more than their call; but a SystemExit or KeyboardInterrupt comes out of `serve_forever`, or of leaving the
    ``with``. `close` is for handlers as well. One that listens and is forgotten is shut down at once, with a
    `ResourceWarning`; not so while a handler refers to it.

    Args:
        handler: What is called.
        new_server: Makes the server that does the work, with an async handler.
        given: Makes of what that handler gets what a plain one is given.
        workers: How many plain handlers run at the same time at most; further ones wait for their turn.
    """

    _server: AsyncNetworkServer

    def __init__(
        self,
        handler: Callable[..., Any],
        new_server: Callable[[Callable[..., Any]], AsyncNetworkServer],
        given: Callable[..., tuple[Any, ...]],
        workers: int = WORKERS,
    ) -> None:
        if not callable(handler):
            raise TypeError(f"handler must be a function, not {type(handler).__name__}")
        super().__init__(workers)
        self._in_pool = _InPool(handler, given)
        self._server = new_server(handler if is_async(handler) else self._in_pool)
        self._server.log_as(type(self).__name__)
        check_handler(handler, self._server.handed)

    def __repr__(self) -> str:
        return repr(self._server).replace("<Async", "<", 1)

    @property
    def limits(self) -> Limits:
        """What peers may cost."""
        return self._server.limits

    def _prepare(self, thread: LoopThread) -> None:
        self._in_pool.thread = thread

    def is_serving(self) -> bool:
        """Return whether the server listens."""
        return self._server.is_serving()
