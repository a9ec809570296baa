# SPDX-License-Identifier: MIT
"""What all packet servers have in common."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tieline.runtimes.serving import Serving
from tieline.servers.failures import ServerLog
from tieline.wire.limits import checked_limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.urls import Endpoint
    from tieline.wire.limits import Limits

__all__ = ["AsyncNetworkServer", "check_done", "check_handler", "checked_handler", "is_async"]

# What a handler may return instead of doing something.
UNDONE: Final[Any] = (Coroutine, Generator, AsyncGenerator)


def _nothing() -> Any: ...


# All functions that these make of generators share their code.
_MADE_OF_GENERATORS: Final = frozenset(
    getattr(make(_nothing), "__code__", None) for make in (contextmanager, asynccontextmanager)
)


def is_async(handler: object) -> bool:
    """Return whether *handler* is an async function, or an object that is called as one."""
    return _is(iscoroutinefunction, handler)


def _is(kind: Callable[[object], bool], handler: object) -> bool:
    while isinstance(handler, partial):
        handler = handler.func
    called: Any = type(handler).__call__
    return kind(handler) or kind(called)


def _is_generator(handler: object) -> bool:
    return (
        isgeneratorfunction(handler)
        or isasyncgenfunction(handler)
        or getattr(handler, "__code__", None) in _MADE_OF_GENERATORS
    )


def check_done(result: object) -> None:
    """Refuse what a handler has returned if that would have to be run.

    Raises:
        TypeError: It is a coroutine or a generator.
    """
    if isinstance(result, UNDONE):
        close = getattr(result, "close", None)  # an async generator has none
        if close is not None:
            close()  # a coroutine would complain as well
        raise TypeError(f"the handler returned a {type(result).__name__}, which nothing is done with")


def check_handler(handler: Callable[..., object], what: Sequence[str]) -> None:
    """Refuse a handler that is a generator, or cannot be called with *what*.

    One that does not tell its parameters is believed.

    Raises:
        TypeError: It yields, takes fewer arguments, or asks for more.
    """
    if _is(_is_generator, handler):
        raise TypeError(
            "handler must not be a generator: it is called for what it does. Where other libraries have it yield for a "
            "packet, it takes packets from its client, as by a loop over that"
        )
    try:
        parameters = signature(handler)
    except (TypeError, ValueError):
        return
    try:
        parameters.bind(*what)
    except TypeError as exc:
        raise TypeError(f"handler is called with {' and '.join(what)}, and {exc}") from None


def checked_handler(handler: object, what: Sequence[str]) -> Callable[..., Awaitable[object]]:
    """Return *handler*, which is to be called with *what*.

    Raises:
        TypeError: It cannot be called, is a plain function or a generator, or takes something else.
    """
    if not callable(handler):
        raise TypeError(f"handler must be an async function, not {type(handler).__name__}")
    checked: Any = handler
    check_handler(checked, what)
    if not is_async(handler):
        raise TypeError("handler must be an async function; servers for plain ones are in tieline.blocking")
    return checked  # type: ignore[no-any-return]  # it was checked


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(f"tieline.{name}")


class AsyncNetworkServer(Serving):
    """The base of packet servers on asyncio and trio: an async context manager that listens and shuts down.

    Attributes:
        endpoint: The endpoint to listen on.
        limits: The limits on what peers may use.
        handed: The names of the arguments of the handler, for error messages.
    """

    _at_work: set[Any]
    handed: ClassVar[Sequence[str]]

    def __init__(
        self,
        handler: Callable[..., Awaitable[object]],
        endpoint: Endpoint | DatagramEndpoint,
        limits: Limits | None,
    ) -> None:
        super().__init__(set(), frozenset())
        self.endpoint = endpoint
        self.limits = checked_limits(limits)
        self.handler = checked_handler(handler, self.handed)
        self._log = ServerLog(_logger(type(self).__name__))

    def log_as(self, name: str) -> None:
        """Log under the name of the server that this one does the work of."""
        self._log.logger = _logger(name)

    def __repr__(self) -> str:
        addresses = ", ".join(map(str, self.get_addresses()))
        state = f"{addresses} listening, {self._work()}" if addresses else f"{self.endpoint} not listening"
        return f"<{type(self).__name__} {state}>"

    @abstractmethod
    def _work(self) -> str:
        """Return how much is going on, for people."""

    async def listen(self, *, nursery: object = None) -> None:
        """Start to listen. Cancelling leaves nothing behind.

        Args:
            nursery: On trio, the nursery for the server and its handlers: it does not end before they do, and
                cancelling it aborts all connections. (``async with`` and `serve_forever` bring their own.) None
                elsewhere.

        Raises:
            OSError: The address cannot be used.
            ClosedError: The server was closed meanwhile.
            LocalProtocolError: It is listening already; or on trio, *nursery* is missing or closed.
        """
        await self._listen(nursery)
        self._log.logger.info("listening on %s", ", ".join(map(str, self.get_addresses())))

    def get_addresses(self) -> tuple[Endpoint | DatagramEndpoint, ...]:
        """Return where the server actually listens, one endpoint per socket; empty when it is not listening."""
        return super().get_addresses()
