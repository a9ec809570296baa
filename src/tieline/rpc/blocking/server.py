# SPDX-License-Identifier: MIT
"""Servers for blocking code: the asynchronous one in a private thread, with handlers in a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, overload

from tieline.errors import LocalProtocolError
from tieline.rpc.blocking.pooled import PooledMethods, ServerSession
from tieline.rpc.blocking.pooled_messages import PooledMessages, ServerMessageSession, pooled_messages
from tieline.rpc.methods import Methods
from tieline.rpc.server import Server as AsyncServer
from tieline.rpc.server import ServerSession as AsyncServerSession
from tieline.rpc.server import check_only_packets
from tieline.rpc.server import serve as serve_async
from tieline.servers.in_thread import ServerInThread

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.admission import GroupCost
    from tieline.runtimes.asyncio.threads import LoopThread
    from tieline.runtimes.hooks import Hooks
    from tieline.servers.pooled import PooledClient, PooledPeer
    from tieline.servers.server import NetworkServer
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.dialects import Dialect
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol, DatagramProtocol

__all__ = ["Server", "serve"]

WORKERS: Final = 32

SentT = TypeVar("SentT")
ReceivedT = TypeVar("ReceivedT")


class Server(ServerInThread):
    """Listens, and makes a session for each connection; a context manager that listens and shuts down.

    It runs in a private thread, and may be used by any other. Made by `serve`. One that listens and is forgotten is
    shut down at once, with a `ResourceWarning`.

    Args:
        new_server: Returns the server that does the work, for the thread that it is given.
        workers: How many handlers run at the same time at most; further ones wait for their turn.
    """

    _server: AsyncServer

    def __init__(self, new_server: Callable[[LoopThread | None], AsyncServer], workers: int = WORKERS) -> None:
        super().__init__(workers)
        self._new_server = new_server
        self._server = new_server(None)  # whose arguments are judged here and now

    def __repr__(self) -> str:
        return repr(self._server)

    def _prepare(self, thread: LoopThread) -> None:
        self._server = self._new_server(thread)

    def get_addresses(self) -> tuple[Endpoint, ...]:
        """Return where the server really listens, one endpoint per socket; empty when it is not listening."""
        return self._server.get_addresses()

    # --- sessions ------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> tuple[Any, ...]:
        """The sessions that are alive, each a `ServerSession`, or of the `ServerMessageSession` that is served."""
        thread = self._thread
        if thread is None:
            return ()
        found: tuple[Any, ...] = thread.call(_sessions, self._server, thread)
        return found

    def costs(self) -> list[GroupCost]:
        """Return what each group of peers has cost, the dearest first; see `Governance`. Asking changes nothing."""
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


async def _sessions(server: AsyncServer, thread: LoopThread) -> tuple[ServerSession | ServerMessageSession, ...]:
    seen: list[ServerSession | ServerMessageSession] = []
    for session in server.sessions:
        if isinstance(session, AsyncServerSession):
            seen.append(ServerSession(session, thread))
        elif isinstance(session, PooledMessages):
            seen.append(session.seen)
    return tuple(seen)


@overload
def serve(
    methods_or_factory: Methods | Callable[[], Any],
    url_or_endpoint: str | Endpoint | None = None,
    *,
    sock: socket.socket | None = None,
    rpc_protocol: type[JSONRPC] | None = None,
    framer: type[FramerBase] | Callable[[], FramerBase] | None = None,
    limits: Limits | None = None,
    tls: TLSChoice = None,
    codec: Codec | None = None,
    dialect: Dialect | str | None = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
    workers: int | None = None,
    protocol: None = None,
) -> Server: ...


@overload
def serve(
    methods_or_factory: Callable[[PooledClient[SentT, ReceivedT]], object],
    url_or_endpoint: str | Endpoint,
    *,
    protocol: AnyStreamProtocol[SentT, ReceivedT],
    limits: Limits | None = None,
    tls: TLSChoice = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
    workers: int | None = None,
) -> NetworkServer: ...


@overload
def serve(
    methods_or_factory: Callable[[ReceivedT, PooledPeer[SentT]], object],
    url_or_endpoint: str | DatagramEndpoint,
    *,
    protocol: DatagramProtocol[SentT, ReceivedT],
    limits: Limits | None = None,
    workers: int | None = None,
) -> NetworkServer: ...


def serve(
    methods_or_factory: Methods | Callable[..., Any],
    url_or_endpoint: str | Endpoint | DatagramEndpoint | None = None,
    *,
    sock: socket.socket | None = None,
    rpc_protocol: type[JSONRPC] | None = None,
    framer: type[FramerBase] | Callable[[], FramerBase] | None = None,
    limits: Limits | None = None,
    tls: TLSChoice = None,
    codec: Codec | None = None,
    dialect: Dialect | str | None = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
    workers: int | None = None,
    protocol: AnyStreamProtocol[Any, Any] | DatagramProtocol[Any, Any] | None = None,
) -> Any:
    """Return a server for *url_or_endpoint*, or for *sock*; ``with`` makes it listen, and shuts it down at the end.

    It is the asynchronous server in a private thread. Plain handlers run in a pool of threads, so that a slow one
    keeps nobody waiting, and so several at the same time. They start in the order of their requests. Async handlers
    run in the private thread.

    Args:
        methods_or_factory: What peers may call: a `Methods` registry; or a class derived from `ServerMessageSession`;
            or what `tieline.serve` takes otherwise, whose sessions are asynchronous and live in the private thread.
        url_or_endpoint: ``tcp://host:port`` (port 0: the system chooses), ``tls://host:port``, ``unix:///path``,
            ``unix:@abstract``, or an endpoint value.
        sock: A bound stream socket to listen on instead; owned by the server once it listens, which it does once.
        rpc_protocol: The protocol class to speak; None = JSON-RPC 2.0.
        framer: How messages are framed: a class, or a callable that returns a new framer for each connection; None =
            one message a line, or as the `default_framer` of the sessions says.
        limits: What each connection may cost, and all together; None = the defaults.
        tls: What encrypts the connections: a `TLS` value or an ``ssl.SSLContext``, with a certificate; None = what
            the endpoint says.
        codec: How JSON is read and written; None = by msgspec.
        dialect: What is spoken and how it is framed, instead of *rpc_protocol*: one of ``tieline.dialects``, its
            name, such as ``"lsp"``, or one of your own. A *framer* goes before its own.
        hooks: Who is told of what happens on the server, in the private thread; several in a list; None = nobody.
        workers: How many plain handlers run at the same time at most; None = 32, of packets 100.
        protocol: Packets are served, not calls; see `tieline.serve`. The handler may be a plain function then: for
            streams it gets a blocking client, and has a thread to itself for as long as the connection lasts.

    Raises:
        ValueError: The URL cannot be understood, or TLS is given twice, or without a certificate, or neither or both of
            *url_or_endpoint* and *sock* are given.
        TypeError: As for `tieline.serve`.
    """

    if protocol is not None:
        check_only_packets(sock=sock, rpc_protocol=rpc_protocol, framer=framer, codec=codec, dialect=dialect)
        from tieline.servers.choosing import blocking_packet_server  # lazily: most serve the one or the other
        from tieline.servers.server import WORKERS as PACKET_WORKERS

        handler: Any = methods_or_factory
        count = PACKET_WORKERS if workers is None else workers
        return blocking_packet_server(
            handler, cast("Any", url_or_endpoint), protocol, tls=tls, limits=limits, hooks=hooks, workers=count
        )

    left = sock

    def new_server(thread: LoopThread | None) -> AsyncServer:
        nonlocal left
        served: Any = methods_or_factory
        kind: type = methods_or_factory if isinstance(methods_or_factory, type) else object
        if isinstance(methods_or_factory, Methods) and thread is not None:
            served = PooledMethods(methods_or_factory, thread)
        elif issubclass(kind, ServerMessageSession):
            served = pooled_messages(kind, thread)
        told = None
        if hooks is not None:
            from tieline.rpc.blocking.hooks import seen_by  # lazily: few servers have such

            # The registry's own are told by the asynchronous server, and count once.
            own = methods_or_factory.statistics if isinstance(methods_or_factory, Methods) else None
            told = seen_by(hooks, thread, own)
        given, left = left, None if thread is not None else left
        if sock is not None and given is None:
            raise LocalProtocolError("the socket that was given has been used: make a new server")
        return serve_async(
            served,
            cast("Any", url_or_endpoint),
            sock=given,
            rpc_protocol=rpc_protocol,
            framer=framer,
            limits=limits,
            tls=tls,
            codec=codec,
            dialect=dialect,
            hooks=told,
        )

    return Server(new_server, WORKERS if workers is None else workers)
