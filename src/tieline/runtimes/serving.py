# SPDX-License-Identifier: MIT
"""The life of a server, whatever it serves: it begins to listen, serves until it is closed, and ends in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from tieline.errors import ClosedError, LocalProtocolError
from tieline.finite import check_timeout
from tieline.runtimes.detect import current_backend
from tieline.runtimes.ending import Ending

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from collections.abc import Set as AbstractSet
    from types import TracebackType

    from tieline.runtimes.backend import AsyncBackend, Scope
    from tieline.runtimes.ending import Ended
    from tieline.runtimes.host import Host, Waiter

__all__ = ["Serving"]


class Serving(ABC):
    """What listens, and has something at work for each peer that came; an async context manager.

    Args:
        at_work: What is at work for its peers, kept up by the subclass.
        coming: What is about to be.
    """

    def __init__(self, at_work: AbstractSet[Ended], coming: AbstractSet[Ended]) -> None:
        self._at_work = at_work
        self._coming = coming
        # While it listens: what has the members of `tieline.runtimes.backend.Listener` that tell and end.
        self._listener: Any = None
        self._last_listener: Any = None  # until it is shut down
        self._starting: object = None  # which call of `_listen` is under way
        self._closed_waiters: list[Waiter] = []
        self._is_closed = False  # it has listened, and does so no more
        self._host: Host | None = None  # of what is at work; from `_listen` on
        self._ending = Ending(at_work, coming, None)
        self._scope: Scope | None = None  # of the `async with`, where the runtime has such

    # --- for subclasses ------------------------------------------------------------------------------------------

    @abstractmethod
    async def _open(self, backend: AsyncBackend, nursery: object) -> Any:
        """Open the sockets, and return what becomes ``_listener``."""

    @abstractmethod
    def _check_can_open(self) -> None:
        """Refuse what `_open` could not do in any case, before anything has begun.

        Raises:
            LocalProtocolError: The socket that was given has been used.
        """

    @abstractmethod
    def _set_ending(self, is_ending: bool) -> None:
        """Let nobody in, or everybody again."""

    # --- listening -----------------------------------------------------------------------------------------------

    @abstractmethod
    async def listen(self, *, nursery: object = None) -> object:
        """Start to listen, by `_listen`."""

    async def _listen(self, nursery: object) -> None:
        """Start to listen. Cancelling leaves nothing behind.

        Raises:
            OSError: The address cannot be used.
            ClosedError: The server was closed meanwhile.
            LocalProtocolError: It is listening already; or on trio, *nursery* is missing or closed.
        """
        self._check_silent()
        backend = current_backend()
        backend.check_nursery(nursery)
        self._check_can_open()
        self._starting = start = object()
        self._is_closed = False
        self._set_ending(False)
        self._ending = Ending(self._at_work, self._coming, backend.host(nursery))
        try:
            listener = await self._open(backend, nursery)
            if self._starting is not start:
                listener.close()
                raise ClosedError("the server was closed while it began to listen")
        finally:
            if self._starting is start:
                self._starting = None
        self._listener = self._last_listener = listener
        self._host = backend.host(nursery)

    def _check_silent(self) -> None:
        if self._listener is not None or self._starting is not None:
            raise LocalProtocolError("the server is listening already")

    def is_serving(self) -> bool:
        """Return whether the server is listening."""
        return self._listener is not None

    @property
    def is_over(self) -> bool:
        """Whether the server neither listens nor has connections, so that nothing is left to shut down."""
        return self._listener is None and not self._at_work

    def get_addresses(self) -> tuple[Any, ...]:
        """Return where the server actually listens, one endpoint per socket; empty when it is not listening."""
        return () if self._listener is None else tuple(self._listener.endpoints)

    @property
    def url(self) -> str:
        """The URL to connect to, with the actual port. If there are several addresses, the first.

        Raises:
            LocalProtocolError: The server is not listening.
        """
        addresses = self.get_addresses()
        if not addresses:
            raise LocalProtocolError("the server is not listening: its URL is not known")
        url: str = addresses[0].url
        return url

    def close(self) -> None:
        """Stop listening; connections stay open. Harmless when not listening."""
        self._starting = None
        self._is_closed = True
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            for waiter in self._closed_waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._closed_waiters.clear()

    async def serve_forever(self, *, handle_signals: bool = True, grace: float | None = 10.0) -> None:
        """Listen, unless it does already, and return when `close` is called or `shutdown` is done; at once if that was
        before.

        On SIGTERM the server shuts down as `shutdown` does, and this returns; a second SIGTERM aborts the remaining
        connections. So a program that ends with this call answers the accepted requests and exits with 0. This works in
        the main thread, unless the program handles or ignores SIGTERM itself. (Ctrl+C belongs to the runtime: asyncio
        cancels the main task, trio raises KeyboardInterrupt in it.)

        When cancelled, the server goes on listening; leaving the ``async with`` shuts it down. Cancelled after a
        SIGTERM, it aborts all connections. On trio, where nothing runs in the background, a server that this call made
        listen is shut down in any case when the call ends.

        Args:
            handle_signals: False = leave SIGTERM alone.
            grace: Seconds for running handlers on SIGTERM; None = unlimited.

        Raises:
            OSError: The address cannot be used.
        """
        grace = check_timeout("grace", grace)
        if self._is_closed:
            return
        if self.is_serving():
            await self._serve_until_closed(handle_signals, grace)
            return
        async with _scope(self.shutdown) as nursery:
            try:
                await self.listen(nursery=nursery)
            except ClosedError:  # closed while it began to listen
                return
            await self._serve_until_closed(handle_signals, grace)

    async def _serve_until_closed(self, handle_signals: bool, grace: float | None) -> None:
        backend, host = current_backend(), self._host
        assert host is not None
        waiter = host.new_waiter()
        self._closed_waiters.append(waiter)
        signals = 0

        def on_signal() -> None:
            nonlocal signals
            signals += 1
            if signals > 1:
                self._ending.cut()
            elif not waiter.done():
                waiter.set_result(None)
            elif grace is not None:  # it is shutting down for another reason
                self._ending.cut_by(host.now() + grace)

        unwatch = backend.watch_termination(on_signal) if handle_signals else None
        try:
            await waiter
            if signals:
                await self.shutdown(grace)
            elif self._ending.is_under_way:
                await self.shutdown(None)
        finally:
            if unwatch is not None:
                unwatch()
            if waiter in self._closed_waiters:
                self._closed_waiters.remove(waiter)

    # --- the end -------------------------------------------------------------------------------------------------

    async def shutdown(self, deadline: float | None = 10.0) -> None:
        """Stop listening, let running handlers finish and send their replies, then close all connections.

        After *deadline* seconds the remaining connections are aborted; None = wait as long as it takes. Leaving the
        ``async with`` of a server calls this. Of several calls at once, the earliest deadline counts, and all return
        when it is done. If one is cancelled, it aborts all connections at once. A handler may call it: it then gives up
        its own reply, or its own client.

        A packet server receives nothing more: a handler that waits or asks for a packet finds its client closed (a loop
        over packets ends), and what it still sends is sent.

        Raises:
            ValueError: *deadline* is not a valid time; nothing has happened.
        """
        deadline = check_timeout("deadline", deadline)
        self._set_ending(True)
        self.close()
        listener, self._last_listener = self._last_listener, None
        await self._ending.run(deadline, listener)

    async def __aenter__(self) -> Self:
        self._check_silent()  # what follows would shut down what listens
        scope = await current_backend().open_scope()
        if scope is None:
            await self.listen()
            return self
        try:
            await self.listen(nursery=scope.nursery)
        except BaseException as exc:
            await scope.leave(self.shutdown, exc)
            raise
        self._scope = scope
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        scope, self._scope = self._scope, None
        if scope is not None:
            return await scope.leave(self.shutdown, exc)
        await self.shutdown()
        return False


@asynccontextmanager
async def _scope(close: Callable[[], Awaitable[object]]) -> AsyncGenerator[object]:
    """Give the nursery of a scope that is left by *close*; None where the runtime has no scopes."""
    scope = await current_backend().open_scope()
    if scope is None:
        yield None
        return
    try:
        yield scope.nursery
    except BaseException as exc:
        if not await scope.leave(close, exc):
            raise
    else:
        await scope.leave(close, None)
