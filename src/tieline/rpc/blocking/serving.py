# SPDX-License-Identifier: MIT
"""Serving in blocking code: plain handlers run in a pool of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from tieline.errors import LocalProtocolError
from tieline.rpc.blocking.pooled import PooledMethods, ServerSession
from tieline.rpc.blocking.pooled_messages import PooledMessages, ServerMessageSession, pooled_messages
from tieline.rpc.blocking.server import WORKERS, Server
from tieline.rpc.methods import Methods, check_callers
from tieline.rpc.server import ServerSession as AsyncServerSession
from tieline.rpc.serving import check_only_packets
from tieline.rpc.serving import serve as serve_async

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.urls import Endpoint
    from tieline.rpc.server import Server as AsyncServer
    from tieline.runtimes.asyncio.threads import LoopThread
    from tieline.runtimes.hooks import Hooks
    from tieline.servers.blocking import NetworkServer
    from tieline.servers.pooled import PooledClient, PooledPeer
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.dialects import Dialect
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol, DatagramProtocol

__all__ = ["serve"]

SentT = TypeVar("SentT")
ReceivedT = TypeVar("ReceivedT")


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

    ::

        with tieline.blocking.serve(methods, "tcp://127.0.0.1:4000") as server:
            server.serve_forever()

    It is the asynchronous server in a private thread. Plain handlers run in a pool of threads, several at the same
    time, so that a slow one delays nobody. They start in the order of their requests. Async handlers run in the private
    thread.

    Args:
        methods_or_factory: What peers may call: a `Methods` registry; or a class derived from `ServerMessageSession`;
            or whatever else `tieline.serve` takes, whose sessions are asynchronous and live in the private thread.
        url_or_endpoint: ``tcp://host:port`` (port 0: the system chooses), ``tls://host:port``, ``unix:///path``,
            ``unix:@abstract``, ``ws://host:port/path``, ``wss://...``, ``stdio:``, or an endpoint value.
        sock: A bound stream socket to listen on instead; the server owns it once it listens, which it can do once.
        rpc_protocol: The JSON-RPC version, as a protocol class; None = `tieline.JSONRPCv2`.
        framer: How messages are separated on the wire: a class, or a callable that returns a new framer for each
            connection; None = one message per line, or the `default_framer` of the sessions.
        limits: Limits for each connection, and for all together; None = the defaults.
        tls: How connections are encrypted: a `TLS` value or an ``ssl.SSLContext``, with a certificate; None = as the
            URL or endpoint says.
        codec: How JSON is encoded and decoded; None = by msgspec.
        dialect: Conventions of a known protocol, in place of *rpc_protocol*: a value in ``tieline.dialects``, its name,
            such as ``"lsp"``, or your own `Dialect`. *framer* takes precedence over that of the dialect.
        hooks: `Hooks` that are called in the private thread, or a list of them; None = none.
        workers: How many plain handlers may run at the same time; None = 32, for packets 100.
        protocol: Serve packets in place of calls; see `tieline.serve`. The handler may then be a plain function: for
            streams it receives a blocking client, and has a thread of its own as long as the connection lasts.

    Raises:
        ValueError: The URL is invalid; TLS is specified twice, or without a certificate; or neither or both of
            *url_or_endpoint* and *sock* were given.
        TypeError: As for `tieline.serve`.
    """

    if protocol is not None:
        check_only_packets(sock=sock, rpc_protocol=rpc_protocol, framer=framer, codec=codec, dialect=dialect)
        from tieline.servers.blocking import WORKERS as PACKET_WORKERS
        from tieline.servers.choosing import blocking_packet_server  # lazily: most serve the one or the other

        handler: Any = methods_or_factory
        count = PACKET_WORKERS if workers is None else workers
        return blocking_packet_server(
            handler, cast("Any", url_or_endpoint), protocol, tls=tls, limits=limits, hooks=hooks, workers=count
        )

    if isinstance(methods_or_factory, Methods):
        lead = "keep what belongs to one in a dict, by session"
        check_callers(methods_or_factory, ServerSession, lead)
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

    return Server(new_server, _seen, WORKERS if workers is None else workers)


def _seen(session: Any, thread: LoopThread) -> ServerSession | ServerMessageSession | None:
    if isinstance(session, AsyncServerSession):
        return ServerSession(session, thread)
    return session.seen if isinstance(session, PooledMessages) else None
