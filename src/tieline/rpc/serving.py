# SPDX-License-Identifier: MIT
"""`serve`: a server of what it is given, and what no server can be made of."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from tieline.endpoints.secured import TLSChoice, endpoint_with_tls
from tieline.rpc.calls import check_frames_bytes, check_spoken, spoken_dialect
from tieline.rpc.core import check_framer
from tieline.rpc.life import SessionLife
from tieline.rpc.methods import Methods, check_callers
from tieline.rpc.server import Server, ServerSession, check_class
from tieline.rpc.session import SessionBase
from tieline.wire.framing.base import fresh_framer
from tieline.wire.jsonrpc.protocols import JSONRPC
from tieline.wire.limits import Limits

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from tieline.clients.async_stream import AsyncStreamClient
    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.hooks import Hooks
    from tieline.servers.async_datagram import AsyncDatagramServer
    from tieline.servers.async_stream import AsyncStreamServer
    from tieline.servers.peers import DatagramPeer
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.dialects import Dialect
    from tieline.wire.protocols import AnyStreamProtocol, DatagramProtocol

__all__ = ["check_only_packets", "serve", "server_of"]

SentT = TypeVar("SentT")
ReceivedT = TypeVar("ReceivedT")
ServerT = TypeVar("ServerT")


@overload
def serve(
    methods_or_factory: Methods | Callable[[], Any],
    url_or_endpoint: str | Endpoint | None = None,
    *,
    sock: socket.socket | None = None,
    rpc_protocol: type[JSONRPC] | None = None,
    framer: type[FramerBase[Any]] | Callable[[], FramerBase[Any]] | None = None,
    limits: Limits | None = None,
    tls: TLSChoice = None,
    codec: Codec | None = None,
    dialect: Dialect | str | None = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
    protocol: None = None,
) -> Server: ...


@overload
def serve(
    methods_or_factory: Callable[[AsyncStreamClient[SentT, ReceivedT]], Awaitable[object]],
    url_or_endpoint: str | Endpoint,
    *,
    protocol: AnyStreamProtocol[SentT, ReceivedT],
    limits: Limits | None = None,
    tls: TLSChoice = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
) -> AsyncStreamServer[SentT, ReceivedT]: ...


@overload
def serve(
    methods_or_factory: Callable[[ReceivedT, DatagramPeer[SentT]], Awaitable[object]],
    url_or_endpoint: str | DatagramEndpoint,
    *,
    protocol: DatagramProtocol[SentT, ReceivedT],
    limits: Limits | None = None,
) -> AsyncDatagramServer[SentT, ReceivedT]: ...


def serve(
    methods_or_factory: Methods | Callable[..., Any],
    url_or_endpoint: str | Endpoint | DatagramEndpoint | None = None,
    *,
    sock: socket.socket | None = None,
    rpc_protocol: type[JSONRPC] | None = None,
    framer: type[FramerBase[Any]] | Callable[[], FramerBase[Any]] | None = None,
    limits: Limits | None = None,
    tls: TLSChoice = None,
    codec: Codec | None = None,
    dialect: Dialect | str | None = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
    protocol: AnyStreamProtocol[Any, Any] | DatagramProtocol[Any, Any] | None = None,
) -> Any:
    """Return a server for *url_or_endpoint*, or for *sock*; ``async with`` makes it listen, and shuts it down.

    ::

        async with tieline.serve(methods, "tcp://127.0.0.1:4000") as server:
            await server.serve_forever()

    Leaving the block waits for running handlers, at most 10 seconds; see `Server.shutdown`. This function does no I/O;
    `Server.listen` raises `OSError` if the address cannot be used.

    Args:
        methods_or_factory: What peers may call: a `Methods` registry, or a class derived from `ServerSession` or
            `MessageSession`; or any callable that returns an asyncio-style protocol, which takes no further settings
            here. With *protocol*, the async function that handles packets.
        url_or_endpoint: ``tcp://host:port`` (port 0: the system chooses), ``tls://host:port``, ``unix:///path``,
            ``unix:@abstract``, ``ws://host:port/path``, ``wss://...``, ``stdio:``, or an endpoint value. Packets are
            served over these (over WebSocket as a stream of binary messages), and over ``udp://host:port`` and
            ``unix-dgram:///path``.
        sock: A bound stream socket to listen on instead; the server owns it once it listens.
        rpc_protocol: The JSON-RPC version, as a protocol class; None = `JSONRPCv2`.
        framer: How messages are separated on the wire: a class, or a callable that returns a new framer for each
            connection; None = the session's `default_framer`, which is one message per line, or Bitcoin's framing for a
            `MessageSession`.
        limits: Limits for each connection, and for all together; None = the defaults. See `Limits.public`.
        tls: How connections are encrypted: a `TLS` value or an ``ssl.SSLContext``, with a certificate; None = as the
            URL or endpoint says.
        codec: How JSON is encoded and decoded; None = by msgspec.
        dialect: Conventions of a known protocol, in place of *rpc_protocol*: a value in ``tieline.dialects``, its name,
            such as ``"lsp"``, or your own `Dialect`. *framer* takes precedence over that of the dialect.
        hooks: `Hooks` that are called for connections and calls, or a list of them; None = none.
        protocol: Serve packets in place of calls: with a `tieline.protocol.StreamProtocol`, the handler is called once
            per connection, with its packet client; with a `tieline.protocol.DatagramProtocol`, once per packet, with
            the packet and its `tieline.servers.DatagramPeer`. Only *limits*, *tls* and, for streams, *hooks* can be
            given besides.

    Raises:
        ValueError: The URL or the name of the dialect is invalid; TLS is specified twice, or without a certificate; a
            framer was given for a WebSocket; or neither or both of *url_or_endpoint* and *sock* were given.
        TypeError: *framer* is an instance, which all connections would share; or a factory of foreign protocols was
            given together with settings of sessions.
    """
    if protocol is not None:
        check_only_packets(sock=sock, rpc_protocol=rpc_protocol, framer=framer, codec=codec, dialect=dialect)
        from tieline.servers.choosing import packet_server  # lazily: most programs serve the one or the other

        handler: Any = methods_or_factory
        return packet_server(handler, cast("Any", url_or_endpoint), protocol, tls=tls, limits=limits, hooks=hooks)
    return server_of(
        Server,
        methods_or_factory,
        cast("str | Endpoint | None", url_or_endpoint),
        sock=sock,
        rpc_protocol=rpc_protocol,
        framer=framer,
        limits=limits,
        tls=tls,
        codec=codec,
        dialect=dialect,
        hooks=hooks,
    )


def server_of(
    new_server: Callable[..., ServerT],
    methods_or_factory: Methods | Callable[..., Any],
    url_or_endpoint: str | Endpoint | None,
    *,
    sock: socket.socket | None = None,
    rpc_protocol: type[JSONRPC] | None = None,
    framer: type[FramerBase[Any]] | Callable[[], FramerBase[Any]] | None = None,
    limits: Limits | None = None,
    tls: TLSChoice = None,
    codec: Codec | None = None,
    dialect: Dialect | str | None = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
) -> ServerT:
    """Return a server of sessions as `serve` does, made by *new_server*, which takes what `Server` takes."""
    if not isinstance(methods_or_factory, Methods) and not callable(methods_or_factory):
        raise TypeError(
            f"what to serve must be Methods or a callable, not {type(methods_or_factory).__name__}: Methods take "
            "functions by method(), and the methods of objects by add()"
        )
    endpoint = None if url_or_endpoint is None else endpoint_with_tls(url_or_endpoint, tls)
    if endpoint is not None:
        check_framer(endpoint, framer)
        tls = None  # it is in there
    given: dict[str, Any] = {"rpc_protocol": rpc_protocol, "limits": limits, "codec": codec}
    if dialect is not None:
        given["dialect"] = spoken_dialect(dialect, rpc_protocol)  # refuses a wrong one now, not at the first connection
    if framer is not None:
        sample = fresh_framer(framer)  # refuses an instance now, not at the first connection
        if isinstance(methods_or_factory, Methods):
            check_frames_bytes(sample)
        given["framer"] = framer
    given = {name: value for name, value in given.items() if value is not None}
    session_class: Callable[..., Any]
    if isinstance(methods_or_factory, Methods):
        lead = "did you mean serve(lambda: {0}(methods=methods), ...)?"
        check_callers(methods_or_factory, ServerSession, lead)
        given["methods"] = methods_or_factory
        session_class = ServerSession
        if methods_or_factory.statistics is not None:
            from tieline.runtimes.hooks import checked_hooks  # lazily: most servers have no such

            # One that was given as well counts once.
            hooks = [*{id(each): each for each in (methods_or_factory.statistics, *checked_hooks(hooks))}.values()]
    else:
        session_class = methods_or_factory
        kind = methods_or_factory if isinstance(methods_or_factory, type) else object
        check_class(kind)
        if given and not issubclass(kind, SessionLife):
            raise TypeError(f"{', '.join(given)}: a factory makes its sessions itself, so set that there")
        sessions_only = [name for name in ("rpc_protocol", "codec", "dialect") if name in given]
        if sessions_only and not issubclass(kind, SessionBase):
            raise TypeError(f"{', '.join(sessions_only)}: for sessions of calls, and {kind.__name__} is none")
        _check_factory(methods_or_factory, given)
    check_spoken(JSONRPC if rpc_protocol is None else rpc_protocol, codec)  # now, not at the first connection
    return new_server(lambda: session_class(**given), endpoint, sock=sock, ssl=tls, limits=limits, hooks=hooks)


def _check_factory(factory: Callable[..., Any], given: dict[str, Any]) -> None:
    """See that *factory* makes a session of what is *given*: a function put in its place would fail each connection.

    Raises:
        TypeError: It does not.
    """
    try:
        # Its own, not that of a function that it wraps, which takes what the wrapper gives it.
        signature = inspect.signature(factory, follow_wrapped=False)
    except Exception:  # it tells nothing of its parameters, or nothing that makes sense
        return
    try:
        signature.bind(**given)
    except TypeError as exc:
        reason = str(exc)
    else:
        reason = "it is async" if inspect.iscoroutinefunction(factory) else ""
    if reason:
        name = getattr(factory, "__name__", type(factory).__name__)
        lead = ": functions that peers may call go into Methods, and a handler of packets goes with protocol="
        raise TypeError(f"{name} is not a factory of sessions ({reason}){'' if isinstance(factory, type) else lead}")


def check_only_packets(**of_calls: object) -> None:
    """Refuse arguments that are for calls where packets are served.

    Raises:
        TypeError: One of them is given.
    """
    given = [name for name, value in of_calls.items() if value is not None]
    if given:
        raise TypeError(f"{', '.join(given)}: for calls, and protocol says that packets are served")
