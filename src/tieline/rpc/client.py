# SPDX-License-Identifier: MIT
"""Client sessions: dialling, and a session on what was dialled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from tieline.rpc.call_engine import CallEngine
from tieline.rpc.dialled import Dialled
from tieline.rpc.dialling import new_session
from tieline.rpc.session import SessionBase
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.clients.async_datagram import AsyncDatagramClient
    from tieline.clients.async_stream import AsyncStreamClient
    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.urls import Endpoint
    from tieline.rpc.methods import Methods
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.dialects import Dialect
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits
    from tieline.wire.protocols import AnyStreamProtocol, DatagramProtocol

__all__ = ["ClientSession", "connect"]

SessionT = TypeVar("SessionT", bound=Dialled[Any])
SentT = TypeVar("SentT")
ReceivedT = TypeVar("ReceivedT")


class ClientSession(Dialled[CallEngine], SessionBase):
    """A session on a connection that this side dials; an async context manager that connects and closes.

    Attributes:
        endpoint: Where it connects to; None with a given socket.
        connect_timeout: Seconds for dialling as a whole; None = as long as it takes.
    """

    def __init__(
        self,
        host: str | Endpoint | None = None,
        port: int | None = None,
        *,
        rpc_protocol: type[JSONRPC] | None = None,
        framer: FramerBase | type[FramerBase] | Callable[[], FramerBase] | None = None,
        scheduler: None = None,
        loop: object = None,
        proxy: Any = None,
        methods: Methods | None = None,
        limits: Limits | None = None,
        codec: Codec | None = None,
        dialect: Dialect | str | None = None,
        sock: socket.socket | None = None,
        ssl: TLSChoice = None,
        server_hostname: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepare a session. No I/O happens here.

        Args:
            host: A host name or address; or, without *port*, an endpoint or a URL.
            port: The TCP port.
            proxy: The way there: a `SOCKSProxy` or an `HTTPConnectProxy`, or the URL of one, such as
                ``"socks5://user:password@127.0.0.1:9050"``; or a list of them, each reached through the one before.
                Names go to the proxy and are never looked up here. Also any other object that dials in our place, by
                ``await proxy.create_connection(protocol_factory, host, port)``, on trio with *nursery* as well.
            sock: A connected stream socket to use, instead of *host* and *port*; owned by the session once it connects.
            kwargs: Further settings of the TCP endpoint: family, proto, flags, local_addr, happy_eyeballs_delay,
                interleave.
            ssl: What encrypts the connection: True for what `TLS` does by default, an ``ssl.SSLContext``, or a `TLS`
                value; None = nothing.
            server_hostname: As `TLS.server_hostname`; only with *ssl*. A given *sock* needs it.

        The other arguments are those of `SessionBase`.

        Raises:
            ValueError: The endpoint is impossible, given twice or not at all, or TLS settings contradict each other.
            TypeError: An argument of the wrong type.
        """
        super().__init__(
            rpc_protocol=rpc_protocol,
            framer=framer,
            scheduler=scheduler,
            loop=loop,
            methods=methods,
            limits=limits,
            codec=codec,
            dialect=dialect,
        )
        self._prepare_dialling(host, port, sock, ssl, server_hostname, proxy, kwargs)


@overload
def connect(
    url_or_endpoint: str | Endpoint,
    methods: Methods | None = None,
    *,
    rpc_protocol: type[JSONRPC] | None = None,
    framer: FramerBase | type[FramerBase] | Callable[[], FramerBase] | None = None,
    limits: Limits | None = None,
    tls: TLSChoice = None,
    proxy: Any = None,
    codec: Codec | None = None,
    dialect: Dialect | str | None = None,
    connect_timeout: float | Default | None = DEFAULT,
) -> ClientSession: ...


@overload
def connect(
    url_or_endpoint: str | Endpoint,
    methods: Methods | None = None,
    *,
    rpc_protocol: type[JSONRPC] | None = None,
    framer: FramerBase[Any] | type[FramerBase[Any]] | Callable[[], FramerBase[Any]] | None = None,
    limits: Limits | None = None,
    tls: TLSChoice = None,
    proxy: Any = None,
    codec: Codec | None = None,
    dialect: Dialect | str | None = None,
    connect_timeout: float | Default | None = DEFAULT,
    session_factory: Callable[..., SessionT],
) -> SessionT: ...


@overload
def connect(
    url_or_endpoint: str | Endpoint,
    *,
    protocol: AnyStreamProtocol[SentT, ReceivedT],
    tls: TLSChoice = None,
    proxy: Any = None,
    connect_timeout: float | Default | None = DEFAULT,
) -> AsyncStreamClient[SentT, ReceivedT]: ...


@overload
def connect(
    url_or_endpoint: str | DatagramEndpoint,
    *,
    protocol: DatagramProtocol[SentT, ReceivedT],
    proxy: Any = None,
    connect_timeout: float | Default | None = DEFAULT,
) -> AsyncDatagramClient[SentT, ReceivedT]: ...


def connect(
    url_or_endpoint: str | Endpoint | DatagramEndpoint,
    methods: Methods | None = None,
    *,
    protocol: Any = None,
    rpc_protocol: type[JSONRPC] | None = None,
    framer: FramerBase[Any] | type[FramerBase[Any]] | Callable[[], FramerBase[Any]] | None = None,
    limits: Limits | None = None,
    tls: TLSChoice = None,
    proxy: Any = None,
    codec: Codec | None = None,
    dialect: Dialect | str | None = None,
    connect_timeout: float | Default | None = DEFAULT,
    session_factory: Callable[..., Any] | None = None,
) -> Any:
    """Return a client session for *url_or_endpoint*; ``async with`` connects it and closes it at the end.

    With a *protocol* of packets it is a packet client: that of ``tieline.clients`` for the scheme. Then there are also
    ``udp://host:port`` and ``unix-dgram:``; over WebSocket packets go as a stream of binary messages. What is for
    sessions alone cannot be given.

    Args:
        url_or_endpoint: ``tcp://host:port``, ``tls://host:port``, ``unix:///path``, ``unix:@abstract``,
            ``ws://host:port/path``, ``wss://...``, or an endpoint value.
        methods: What the peer may call on us.
        protocol: What packets are: a `tieline.protocol.StreamProtocol`, a
            `tieline.protocol.BufferedStreamProtocol` or, for datagrams, a
            `tieline.protocol.DatagramProtocol`.
        rpc_protocol: The protocol class to speak; None = JSON-RPC 2.0.
        framer: How messages are framed; None = as the session's `default_framer` says, which is one message a line, or
            Bitcoin's framing for a `MessageSession`.
        limits: None = the defaults.
        tls: What encrypts the connection: a `TLS` value, True for `TLS()`, or an ``ssl.SSLContext``; None = what
            the URL or endpoint says.
        proxy: A proxy, its URL, or a list of them; see `ClientSession`.
        codec: How JSON is read and written; None = by msgspec.
        dialect: What is spoken and how it is framed, instead of *rpc_protocol*: one of ``tieline.dialects``, its
            name, such as ``"lsp"``, or one of your own. A *framer* goes before its own.
        connect_timeout: Seconds for dialling as a whole; None = as long as it takes; DEFAULT = by the limits (10 s).
        session_factory: The class of the session, a subclass of `ClientSession` or `MessageSession`; called as these
            are, with the endpoint and what was given.

    Raises:
        ValueError: The URL cannot be understood, that is only for serving, or TLS is given twice.
        TypeError: *tls* or *protocol* is of the wrong type.
    """
    given = {
        "methods": methods,
        "rpc_protocol": rpc_protocol,
        "framer": framer,
        "limits": limits,
        "proxy": proxy,
        "codec": codec,
        "dialect": dialect,
    }
    if protocol is not None:
        from tieline.clients.connecting import async_client_to, refuse_others  # lazily: most programs use one kind

        refuse_others(given | {"proxy": None, "session_factory": session_factory})
        return async_client_to(url_or_endpoint, protocol, tls, proxy, connect_timeout)
    where: Any = url_or_endpoint
    return new_session(ClientSession, session_factory, where, tls, connect_timeout, given)
