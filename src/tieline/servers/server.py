# SPDX-License-Identifier: MIT
"""Packet servers for blocking code: the asynchronous one in a private thread, with handlers in a pool of threads."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from tieline.endpoints.checks import check_integer
from tieline.errors import ClosedError, LocalProtocolError
from tieline.finite import check_timeout
from tieline.servers.serving import check_done, check_handler, is_async

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.urls import Endpoint
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


class NetworkServer:
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

    _thread: LoopThread | None = None

    def __init__(
        self,
        handler: Callable[..., Any],
        new_server: Callable[[Callable[..., Any]], AsyncNetworkServer],
        given: Callable[..., tuple[Any, ...]],
        workers: int = WORKERS,
    ) -> None:
        if not callable(handler):
            raise TypeError(f"handler must be a function, not {type(handler).__name__}")
        check_integer("workers", workers, lowest=1)
        self._in_pool = _InPool(handler, given)
        self._workers = workers
        self._is_closed = False  # since it has listened last, or was made
        self._server = new_server(handler if is_async(handler) else self._in_pool)
        self._server.log_as(type(self).__name__)
        check_handler(handler, self._server.handed)

    def __repr__(self) -> str:
        return repr(self._server).replace("<Async", "<", 1)

    # --- listening -----------------------------------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        """What peers may cost."""
        return self._server.limits

    def listen(self) -> None:
        """Start the thread, and listen.

        Raises:
            OSError: It cannot be listened there.
            LocalProtocolError: The server is listening already.
        """
        self._listen()

    def _listen(self) -> LoopThread:
        from tieline.runtimes.asyncio.threads import LoopThread  # lazily: with asyncio

        if self._thread is not None:
            raise LocalProtocolError("the server is listening already")
        self._is_closed = False
        self._thread = self._in_pool.thread = thread = LoopThread("tieline server", self._workers)
        try:
            thread.call(self._server.listen)
        except BaseException:
            self._thread = None
            thread.stop()
            raise
        return thread

    def is_serving(self) -> bool:
        """Return whether the server listens."""
        return self._server.is_serving()

    def get_addresses(self) -> tuple[Endpoint | DatagramEndpoint, ...]:
        """Return where the server really listens, one endpoint per socket; empty when it is not listening."""
        return self._server.get_addresses()

    @property
    def url(self) -> str:
        """The URL to connect to, with the real port. Of several addresses the first.

        Raises:
            LocalProtocolError: The server is not listening.
        """
        return self._server.url

    def close(self) -> None:
        """Stop listening; what is being handled is left alone. Harmless when not listening. Takes effect soon."""
        self._is_closed = True
        if self._thread is not None:
            self._thread.call_soon(self._server.close)

    def serve_forever(self, *, handle_signals: bool = True, grace: float | None = 10.0) -> None:
        """Listen if that has not begun, and return when `close` is called or `shutdown` is done; at once if it was.

        At SIGTERM the server shuts down as `shutdown` does, and this returns; a second one cuts all that is left. That
        is so in the main thread, unless the program handles or ignores SIGTERM itself. Ctrl-C comes out as
        KeyboardInterrupt; the server goes on then, until it is shut down, as leaving the ``with`` does. So does what a
        handler raises to end the program, as ``sys.exit`` does.

        Args:
            handle_signals: False = leave SIGTERM alone.
            grace: Seconds that running handlers get at SIGTERM; None = as long as it takes.

        Raises:
            OSError: It cannot be listened there.
            LocalProtocolError: It listens in the process that this one was forked from.
        """
        from tieline.runtimes.asyncio.terminating import serve_until_ended  # lazily, as the thread

        serve_until_ended(
            self._thread,
            None if self._is_closed else self._listen,
            lambda: self._server,
            handle_signals=handle_signals,
            grace=grace,
        )

    def shutdown(self, deadline: float | None = 10.0) -> None:
        """Stop listening, let handlers finish what they are at, and cut what is left after *deadline* seconds.

        Nothing more is received: a handler that waits for a packet, or asks for the next one, finds that its client is
        closed. A plain handler that still runs then cannot be stopped: it is left to itself. None waits as long as it
        takes. Leaving the ``with`` of a server does this too. Handlers must not call this: it waits for them. In a
        process that was forked from the one that serves it does nothing.

        Raises:
            ValueError: The deadline is no time; nothing has happened.
            KeyboardInterrupt, SystemExit: A handler has raised it to end the program, and `serve_forever` has not.
        """
        thread = self._thread
        if thread is None:
            check_timeout("deadline", deadline)
            self._is_closed = True
            return
        with suppress(ClosedError):  # another thread is about to stop it, or one that was has been interrupted
            thread.call(self._server.shutdown, deadline)
        thread.stop()
        self._is_closed = True
        self._thread = None
        thread.raise_ending()

    def __del__(self) -> None:
        thread = self._thread
        if thread is not None:
            thread.forgotten(self, self._server)

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
