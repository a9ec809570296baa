# SPDX-License-Identifier: MIT
"""The packet servers for blocking code: the asynchronous ones in a private thread, with handlers in a pool."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, cast

from tieline.clients.abc import ReceivedT_co, SentT_contra
from tieline.servers.async_tcp import AsyncTCPNetworkServer
from tieline.servers.async_udp import AsyncUDPNetworkServer
from tieline.servers.async_unix_datagram import AsyncUnixDatagramServer
from tieline.servers.async_unix_stream import AsyncUnixStreamServer
from tieline.servers.async_websocket import AsyncWebSocketServer
from tieline.servers.in_thread import ServerInThread
from tieline.servers.pooled import PooledClient, PooledPeer, PooledTCPClient, PooledUnixStreamClient
from tieline.servers.serving import check_done, check_handler, is_async
from tieline.wire.limits import checked_limits
from tieline.wire.serializers.abc import both
from tieline.wire.values import replace

if TYPE_CHECKING:
    import os
    import socket
    from collections.abc import Callable, Sequence

    from tieline.endpoints.datagrams import UDP, UnixDatagram
    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.tcp import TCP
    from tieline.endpoints.unix import UnixStream
    from tieline.endpoints.websocket import WebSocket
    from tieline.runtimes.asyncio.threads import LoopThread
    from tieline.runtimes.hooks import Hooks
    from tieline.servers.async_datagram import AsyncDatagramServer
    from tieline.servers.async_stream import AsyncStreamServer
    from tieline.servers.serving import AsyncNetworkServer
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol, DatagramProtocol

__all__ = [
    "WORKERS",
    "NetworkServer",
    "TCPNetworkServer",
    "UDPNetworkServer",
    "UnixDatagramServer",
    "UnixStreamServer",
    "WebSocketServer",
]


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
    """The base of packet servers for blocking code: a context manager that listens and shuts down.

    Any thread may use it. The server runs in a private thread, plain handlers in a pool of threads, async handlers in
    the private thread. What a handler raises is logged, and ends only its own call; SystemExit and KeyboardInterrupt
    are raised by `serve_forever`, or by leaving the ``with`` block. Handlers may call `close`. A listening server that
    nothing refers to, a handler included, is shut down at once, with a `ResourceWarning`.

    Args:
        handler: The function that is called.
        new_server: Returns the server that does the work, for an async handler.
        given: Converts the arguments of that handler to those of a plain one.
        workers: The maximum number of plain handlers that run at the same time; further ones wait for their turn.
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
        """The limits on what peers may use."""
        return self._server.limits

    def _prepare(self, thread: LoopThread) -> None:
        self._in_pool.thread = thread

    def is_serving(self) -> bool:
        """Return whether the server listens."""
        return self._server.is_serving()


class _Typed(NetworkServer, Generic[SentT_contra, ReceivedT_co]):
    if not TYPE_CHECKING:

        def __class_getitem__(cls, params):  # TypeVar knows of defaults only from CPython 3.13 on
            """Return the class with its parameters; what is received is by default what is sent."""
            return super().__class_getitem__(both(cls, params))


class _OfStreams(_Typed[SentT_contra, ReceivedT_co]):
    @property
    def connections(self) -> int:
        """The number of connections, including those that have ended while their handler still runs."""
        return cast("AsyncStreamServer", self._server).connections


class _OfDatagrams(_Typed[SentT_contra, ReceivedT_co]):
    @property
    def peers(self) -> int:
        """The number of addresses whose packets are being handled."""
        return cast("AsyncDatagramServer", self._server).peers

    @property
    def received(self) -> int:
        """The number of datagrams received since the server began to listen."""
        return cast("AsyncDatagramServer", self._server).received

    @property
    def dropped(self) -> int:
        """How many datagrams were dropped here, for lack of room or because they were too long."""
        return cast("AsyncDatagramServer", self._server).dropped

    @property
    def faulty(self) -> int:
        """The number of datagrams received that were not valid packets."""
        return cast("AsyncDatagramServer", self._server).faulty


class TCPNetworkServer(_OfStreams[SentT_contra, ReceivedT_co]):
    """A packet server over TCP or TLS, for blocking code. ``with`` listens, and shuts down at the end.

    Args:
        handler: A function; called for each connection with its packet client, in a thread of its own.
        workers: The maximum number of connections that are handled at the same time; further ones wait for a thread.

    The other arguments and the exceptions are those of `AsyncTCPNetworkServer`.
    """

    def __init__(
        self,
        handler: Callable[[PooledTCPClient[SentT_contra, ReceivedT_co]], object],
        address: tuple[str | Sequence[str] | None, int] | TCP | socket.socket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        ssl: TLSChoice = None,
        limits: Limits | None = None,
        hooks: Hooks | Sequence[Hooks] | None = None,
        backlog: int | None = None,
        reuse_port: bool | None = None,
        workers: int = WORKERS,
    ) -> None:
        def new_server(handler: Callable[..., Any]) -> Any:
            return AsyncTCPNetworkServer(
                handler, address, protocol, ssl=ssl, limits=limits, hooks=hooks, backlog=backlog, reuse_port=reuse_port
            )

        super().__init__(handler, new_server, partial(_client, PooledTCPClient), workers)


class UnixStreamServer(_OfStreams[SentT_contra, ReceivedT_co]):
    """A packet server on a Unix stream socket, for blocking code. ``with`` listens, and shuts down at the end.

    Args:
        handler: A function; called for each connection with its packet client, in a thread of its own.
        workers: The maximum number of connections that are handled at the same time; further ones wait for a thread.

    The other arguments and the exceptions are those of `AsyncUnixStreamServer`.
    """

    def __init__(
        self,
        handler: Callable[[PooledUnixStreamClient[SentT_contra, ReceivedT_co]], object],
        path: str | bytes | os.PathLike[str] | UnixStream | socket.socket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        ssl: TLSChoice = None,
        limits: Limits | None = None,
        hooks: Hooks | Sequence[Hooks] | None = None,
        mode: int | None = None,
        backlog: int | None = None,
        workers: int = WORKERS,
    ) -> None:
        def new_server(handler: Callable[..., Any]) -> Any:
            return AsyncUnixStreamServer(
                handler, path, protocol, ssl=ssl, limits=limits, hooks=hooks, mode=mode, backlog=backlog
            )

        super().__init__(handler, new_server, partial(_client, PooledUnixStreamClient), workers)


class WebSocketServer(_OfStreams[SentT_contra, ReceivedT_co]):
    """A packet server over WebSocket, for blocking code; `tieline.blocking.serve` creates it for a ``ws://`` URL.

    Args:
        handler: A function; called for each connection with its packet client, in a thread of its own.
        workers: The maximum number of connections that are handled at the same time; further ones wait for a thread.

    The other arguments are those of `AsyncWebSocketServer`.
    """

    def __init__(
        self,
        handler: Callable[[PooledClient[SentT_contra, ReceivedT_co]], object],
        endpoint: WebSocket,
        protocol: AnyStreamProtocol[SentT_contra, ReceivedT_co],
        *,
        limits: Limits | None = None,
        hooks: Hooks | Sequence[Hooks] | None = None,
        workers: int = WORKERS,
    ) -> None:
        def new_server(handler: Callable[..., Any]) -> Any:
            return AsyncWebSocketServer(handler, endpoint, protocol, limits=limits, hooks=hooks)

        super().__init__(handler, new_server, partial(_client, PooledClient), workers)


class UDPNetworkServer(_OfDatagrams[SentT_contra, ReceivedT_co]):
    """A packet server over UDP, for blocking code. ``with`` listens, and shuts down at the end.

    Args:
        handler: A function; called with each packet and the peer that sent it, in a thread of the pool.
            `Limits.handler_timeout` does not apply to plain functions, since a running function cannot be stopped:
            further packets from its peer wait until it returns.
        workers: The maximum number of packets that are handled at the same time; further ones wait for a thread.

    The other arguments and the exceptions are those of `AsyncUDPNetworkServer`.
    """

    def __init__(
        self,
        handler: Callable[[ReceivedT_co, PooledPeer[SentT_contra]], object],
        address: tuple[str | Sequence[str] | None, int] | UDP | socket.socket,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        *,
        limits: Limits | None = None,
        reuse_port: bool | None = None,
        workers: int = WORKERS,
    ) -> None:
        def new_server(called: Callable[..., Any]) -> Any:
            served = limits if called is handler else _untimed(limits)
            return AsyncUDPNetworkServer(called, address, protocol, limits=served, reuse_port=reuse_port)

        super().__init__(handler, new_server, _packet_and_peer, workers)


class UnixDatagramServer(_OfDatagrams[SentT_contra, ReceivedT_co]):
    """A packet server on a Unix datagram socket, for blocking code. ``with`` listens, and shuts down at the end.

    Args:
        handler: A function; called with each packet and the peer that sent it, in a thread of the pool.
            `Limits.handler_timeout` does not apply to plain functions, since a running function cannot be stopped:
            further packets from its peer wait until it returns.
        workers: The maximum number of packets that are handled at the same time; further ones wait for a thread. A
            handler that sends to a peer that does not read occupies its thread for `Limits.write_timeout`: make that
            small if untrusted peers may send.

    The other arguments and the exceptions are those of `AsyncUnixDatagramServer`.
    """

    def __init__(
        self,
        handler: Callable[[ReceivedT_co, PooledPeer[SentT_contra]], object],
        path: str | bytes | os.PathLike[str] | UnixDatagram | socket.socket,
        protocol: DatagramProtocol[SentT_contra, ReceivedT_co],
        *,
        limits: Limits | None = None,
        mode: int | None = None,
        ancillary_bufsize: int | None = None,
        workers: int = WORKERS,
    ) -> None:
        def new_server(called: Callable[..., Any]) -> Any:
            served = limits if called is handler else _untimed(limits)
            return AsyncUnixDatagramServer(
                called, path, protocol, limits=served, mode=mode, ancillary_bufsize=ancillary_bufsize
            )

        super().__init__(handler, new_server, _packet_and_peer, workers)


def _untimed(limits: Limits | None) -> Limits:
    """Return *limits* without a time for handlers."""
    return replace(checked_limits(limits), handler_timeout=None)


def _client(kind: type[PooledClient[Any, Any]], thread: Any, client: Any) -> tuple[Any, ...]:
    return (kind(client, thread),)


def _packet_and_peer(thread: Any, packet: Any, peer: Any) -> tuple[Any, ...]:
    return packet, PooledPeer(peer, thread)
