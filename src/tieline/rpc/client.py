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
    """A JSON-RPC session that this side connects; an async context manager that connects and closes it.

    `connect` creates one from a URL. Derive from this class to add state or `connection_lost`, and pass the class to
    `connect` as *session_factory*.

    Attributes:
        endpoint: Where it connects to; None if a socket was given.
        connect_timeout: Seconds for connecting as a whole; None = unlimited.
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
            proxy: How to get there: a `SOCKSProxy` or an `HTTPConnectProxy`, its URL, such as
                ``"socks5://user:password@127.0.0.1:9050"``, or a list of them, each reached through the one before.
                Names are sent to the proxy and never looked up locally. Also any other object that makes the connection
                itself, by ``await proxy.create_connection(protocol_factory, host, port)``, on trio with *nursery* as
                well.
            sock: A connected stream socket to use in place of *host* and *port*; the session owns it once it connects.
            kwargs: Further settings of the TCP endpoint: family, proto, flags, local_addr, happy_eyeballs_delay,
                interleave.
            ssl: How the connection is encrypted: True for the defaults of `TLS`, an ``ssl.SSLContext``, or a `TLS`
                value; None = not at all.
            server_hostname: As `TLS.server_hostname`; only with *ssl*. Required with *sock*.

        The other arguments are those of `SessionBase`.

        Raises:
            ValueError: The endpoint is invalid, given twice or missing, or TLS settings contradict each other.
            TypeError: An argument has the wrong type.
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
    """Return a client for *url_or_endpoint*; ``async with`` connects it, and closes it at the end.

    Without *protocol* the result is a `ClientSession`, which calls methods and serves them::

        async with tieline.connect("tcp://127.0.0.1:4000") as session:
            print(await session.call("add", 1, 2))

    With *protocol* it is a packet client of ``tieline.clients``, which sends and receives typed objects. Then the URL
    may also be ``udp://host:port`` or ``unix-dgram:path``; over WebSocket, packets are a stream of binary messages.
    Only *tls*, *proxy* and *connect_timeout* can be given besides.

    This function does no I/O. Connecting raises `OSError` (`TimeoutError` after *connect_timeout*); see
    `ClientSession.create_connection`.

    Args:
        url_or_endpoint: ``tcp://host:port``, ``tls://host:port``, ``unix:///path``, ``unix:@abstract``,
            ``ws://host:port/path``, ``wss://...``, ``cmd:program arguments`` for a child process, or an endpoint value.
        methods: The methods that the peer may call; None = none.
        protocol: The format of packets: a `tieline.protocol.StreamProtocol`, a
            `tieline.protocol.BufferedStreamProtocol` or, for datagrams, a `tieline.protocol.DatagramProtocol`.
        rpc_protocol: The JSON-RPC version, as a protocol class; None = `JSONRPCv2`.
        framer: How messages are separated on the wire; None = the session's `default_framer`, which is one message per
            line, or Bitcoin's framing for a `MessageSession`.
        limits: Limits on what the peer may use; None = the defaults.
        tls: How the connection is encrypted: a `TLS` value, True for `TLS()`, or an ``ssl.SSLContext``; None = as the
            URL or endpoint says.
        proxy: A proxy, its URL, or a list of them for a chain; see `ClientSession`.
        codec: How JSON is encoded and decoded; None = by msgspec.
        dialect: Conventions of a known protocol, in place of *rpc_protocol*: a value in ``tieline.dialects``, its name,
            such as ``"lsp"``, or your own `Dialect`. *framer* takes precedence over that of the dialect.
        connect_timeout: Seconds for connecting as a whole; None = unlimited; DEFAULT = `Limits.connect_timeout` (10 s).
        session_factory: The class of the session, a subclass of `ClientSession` or `MessageSession`. It is called as
            these are, with the endpoint and the arguments that were given.

    Raises:
        ValueError: The URL is invalid or only for serving, or TLS is specified twice.
        TypeError: An argument has the wrong type, or does not go with *protocol*.
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
