# SPDX-License-Identifier: MIT
"""What all packet servers have in common: how they begin to listen, how long they serve, and how they end."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Self

from tieline.errors import ClosedError, LocalProtocolError
from tieline.runtimes.detect import current_backend
from tieline.runtimes.ending import Ending
from tieline.wire.limits import checked_limits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import TracebackType

    from tieline.endpoints import DatagramEndpoint, Endpoint
    from tieline.runtimes.backend import AsyncBackend, Scope
    from tieline.runtimes.host import Host, Waiter
    from tieline.wire.limits import Limits

__all__ = ["AsyncNetworkServer", "checked_handler"]


def checked_handler(handler: object) -> Callable[..., Awaitable[object]]:
    """Return *handler*.

    Raises:
        TypeError: It cannot be called, or is a plain function.
    """
    if not callable(handler):
        raise TypeError(f"handler must be an async function, not {type(handler).__name__}")
    checked: Any = handler
    called: Any = type(checked).__call__
    if not (iscoroutinefunction(handler) or iscoroutinefunction(called)):
        raise TypeError("handler must be an async function; servers for plain ones are in tieline.blocking")
    return checked  # type: ignore[no-any-return]  # it was checked


class AsyncNetworkServer(ABC):
    """Listens, and handles what comes; an async context manager that listens and shuts down.

    Attributes:
        endpoint: Where it is to listen.
        limits: What peers may cost.
    """

    def __init__(
        self,
        handler: Callable[..., Awaitable[object]],
        endpoint: Endpoint | DatagramEndpoint,
        limits: Limits | None,
    ) -> None:
        self.endpoint = endpoint
        self.limits = checked_limits(limits)
        self.handler = checked_handler(handler)
        self._log = logging.getLogger(f"tieline.{type(self).__name__}")
        self._at_work: set[Any] = set()
        self._opened: Any = None  # while it listens
        self._last_opened: Any = None
        self._starting: object = None  # which call of `listen` is under way
        self._closed_waiters: list[Waiter] = []
        self._is_closed = False  # it has listened, and does so no more
        self._host: Host | None = None
        self._ending = Ending(self._at_work, frozenset(), None)
        self._scope: Scope | None = None  # of the `async with`, where the runtime has such

    def __repr__(self) -> str:
        addresses = ", ".join(map(str, self.get_addresses()))
        state = f"{addresses} listening, {self._work()}" if addresses else f"{self.endpoint} not listening"
        return f"<{type(self).__name__} {state}>"

    @abstractmethod
    def _work(self) -> str:
        """Return how much is going on, for people."""

    @abstractmethod
    def _set_ending(self, is_ending: bool) -> None:
        """Let nobody in, or everybody again."""

    @abstractmethod
    async def _open(self, backend: AsyncBackend, nursery: object) -> Any:
        """Open the sockets; return what has the members of `tieline.runtimes.backend.Listener` that tell and end."""

    # --- listening -----------------------------------------------------------------------------------------------

    async def listen(self, *, nursery: object = None) -> None:
        """Start to listen. Cancelling leaves nothing behind.

        Args:
            nursery: On trio the nursery that the server and its handlers live in: it does not end before they do, and
                a nursery that is cancelled cuts them all. (``async with`` and `serve_forever` bring their own.) None
                elsewhere.

        Raises:
            OSError: It cannot be listened there.
            ClosedError: The server was closed meanwhile.
            LocalProtocolError: It is listening already; or there is no *nursery* on trio.
        """
        if self._opened is not None or self._starting is not None:
            raise LocalProtocolError("the server is listening already")
        backend = current_backend()
        backend.check_nursery(nursery)
        self._starting = start = object()
        self._is_closed = False
        self._set_ending(False)
        self._ending = Ending(self._at_work, frozenset(), backend.host(nursery))
        try:
            opened = await self._open(backend, nursery)
            if self._starting is not start:
                opened.close()
                raise ClosedError("the server was closed while it began to listen")
        finally:
            if self._starting is start:
                self._starting = None
        self._opened = self._last_opened = opened
        self._host = self._ending.host = backend.host(nursery)
        self._log.info("listening on %s", ", ".join(map(str, self.get_addresses())))

    def is_serving(self) -> bool:
        """Return whether the server listens."""
        return self._opened is not None

    def get_addresses(self) -> tuple[Endpoint | DatagramEndpoint, ...]:
        """Return where the server really listens, one endpoint per socket; empty when it is not listening."""
        return () if self._opened is None else tuple(self._opened.endpoints)

    @property
    def url(self) -> str:
        """The URL to connect to, with the real port. Of several addresses the first.

        Raises:
            LocalProtocolError: The server is not listening.
        """
        addresses = self.get_addresses()
        if not addresses:
            raise LocalProtocolError("the server is not listening: its URL is not known")
        return addresses[0].url

    def close(self) -> None:
        """Stop listening; what is being handled is left alone. Harmless when not listening."""
        self._starting = None
        self._is_closed = True
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
            for waiter in self._closed_waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._closed_waiters.clear()

    async def serve_forever(self, *, handle_signals: bool = True, grace: float | None = 10.0) -> None:
        """Listen if that has not begun, and return when `close` is called or `shutdown` is done; at once if it was.

        At SIGTERM the server shuts down as `shutdown` does, and this returns; a second one cuts all that is left. That
        is so in the main thread, unless the program handles or ignores SIGTERM itself. When cancelled, a server that
        this made listen is shut down on trio, and goes on to listen on asyncio, as that of ``async with`` does.

        Args:
            handle_signals: False = leave SIGTERM alone.
            grace: Seconds that running handlers get at SIGTERM; None = as long as it takes.

        Raises:
            OSError: It cannot be listened there.
        """
        if self._is_closed:
            return
        if self._opened is not None:
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

    async def shutdown(self, deadline: float | None = 10.0) -> None:
        """Stop listening, let handlers finish what they are at, and cut what is left after *deadline* seconds.

        Nothing more is received: a handler that waits for a packet, or asks for the next one, finds that its client is
        closed (a loop over packets ends), and what it has yet to send goes out. What is not done then is cancelled.
        None waits as long as it takes. Leaving the ``async with`` does this too. Of several calls at once the earliest
        deadline holds, and all return when it is done. When one is cancelled it cuts all at once. A handler may call
        it: then it gives up its own client.

        Raises:
            ValueError: The deadline is no time; nothing has happened.
        """
        if deadline is not None and not deadline >= 0:
            raise ValueError(f"the deadline must be a number of seconds >= 0 or None, not {deadline!r}")
        self._set_ending(True)
        self.close()
        opened, self._last_opened = self._last_opened, None
        await self._ending.run(deadline, opened)

    async def __aenter__(self) -> Self:
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
