# SPDX-License-Identifier: MIT
"""The packet clients that handlers get: those that a program makes itself, but connected from the first moment on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.clients.ancillary_streams import busy
from tieline.clients.async_stream import AsyncStreamClient
from tieline.clients.async_tcp import AsyncTCPNetworkClient
from tieline.clients.async_unix_stream import AsyncUnixStreamClient

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from tieline.clients.ancillary_streams import AncillaryStream
    from tieline.clients.engine import PacketEngine
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.ancillary import SocketAncillary
    from tieline.runtimes.backend import AsyncBackend
    from tieline.wire.protocols import AnyStreamProtocol

__all__ = ["ServedClient", "ServedTCPClient", "ServedUnixStreamClient"]


class ServedClient(AsyncStreamClient[SentT_contra, ReceivedT_co]):
    """A packet client on a connection that a server has accepted."""

    __slots__ = ()

    def __init__(
        self,
        endpoint: Endpoint,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        backend: AsyncBackend,
        engine: PacketEngine,
    ) -> None:
        # Not what is between: that is about where to connect to.
        AsyncStreamClient.__init__(self, endpoint, None, protocol, backend)
        self._engine = engine

    @property
    def connection(self) -> Any:
        """What moves it: for those who make another client of it."""
        return self._engine

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection, as of `AsyncTCPNetworkClient`; also when it is closed, for hooks."""
        engine = self._engine
        return default if engine is None else engine.link.transport.get_extra_info(name, default)

    def described(self) -> str:
        return f"{self._engine} {self._state()}"  # not where the server was to listen

    def let_go(self) -> None:
        """Take note that the handler is done: the server closes the connection."""
        self._is_closed = True

    async def receive_within(
        self, take: Callable[[Callable[[], Any]], Any], what: Callable[[], Any], seconds: float | None
    ) -> Any:
        """Return what *take* takes by *what*, a method of the machine, when there is something.

        Raises:
            TimeoutError: There is none within *seconds*.
        """
        assert self._engine is not None
        await self._engine.wait_for_packet(seconds)
        return take(what)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        await self.aclose()
        return False


class ServedTCPClient(ServedClient[SentT_contra, ReceivedT_co], AsyncTCPNetworkClient[SentT_contra, ReceivedT_co]):
    """That of a TCP server."""

    __slots__ = ()


class ServedUnixStreamClient(
    ServedClient[SentT_contra, ReceivedT_co], AsyncUnixStreamClient[SentT_contra, ReceivedT_co]
):
    """That of a server on a Unix socket."""

    __slots__ = ()

    def __init__(
        self,
        endpoint: Endpoint,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        backend: AsyncBackend,
        engine: PacketEngine,
    ) -> None:
        self._ancillary = self._read_size = None
        super().__init__(endpoint, protocol, backend, engine)

    async def receive_ancillary(
        self, take: Callable[[Callable[[], Any]], Any], container: SocketAncillary, room: int, seconds: float | None
    ) -> Any:
        """Return the next packet, as *take* takes it, and put what came beside it into *container*.

        Raises:
            TimeoutError: None has come within *seconds*.
            BusyResourceError: Others receive.
        """
        engine: Any = self._engine
        if engine.receivers:  # threads that stand in line by themselves
            raise busy()
        return await self._in_time(self._receive_ancillary(container, room, take), seconds)

    async def send_ancillary(self, send: Callable[[AncillaryStream], bool], seconds: float | None) -> None:
        """Send by *send*, when it is its turn.

        Raises:
            TimeoutError: Nothing was sent within *seconds*.
        """
        _, stream = await self._ready()
        await self._in_time(self._send_ancillary(partial(send, stream)), seconds)

    async def _in_time(self, work: Coroutine[Any, Any, Any], seconds: float | None) -> Any:
        with self.backend().cancel_scope(None if seconds is None else self._now() + seconds):
            return await work
        raise TimeoutError("not in time")

    async def receive_within(
        self, take: Callable[[Callable[[], Any]], Any], what: Callable[[], Any], seconds: float | None
    ) -> Any:
        _, stream = await self._ready()
        who = object()
        stream.begin_plain(who)
        try:
            return await super().receive_within(take, what, seconds)
        finally:
            stream.end_plain(who)
