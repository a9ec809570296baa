# SPDX-License-Identifier: MIT
"""Client sessions in blocking code: dialling, and a session on what was dialled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from tieline.rpc.blocking.dialled import Dialled
from tieline.rpc.blocking.engine import BlockingEngine
from tieline.rpc.blocking.session import SessionBase
from tieline.rpc.dialling import new_session
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.clients.datagram import DatagramClient
    from tieline.clients.stream import StreamClient
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

SentT = TypeVar("SentT")
ReceivedT = TypeVar("ReceivedT")


class ClientSession(Dialled[BlockingEngine], SessionBase):
    """A JSON-RPC session that this side connects, for blocking code; a context manager that connects and closes it.

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
            proxy: The way there: a `SOCKSProxy` or an `HTTPConnectProxy`, or the URL of one, such as
                ``"socks5://user:password@127.0.0.1:9050"``; or a list of them, each reached through the one before.
                Names go to the proxy and are never looked up here. Also any other object that dials in our place, by
                a plain function ``create_connection((host, port), timeout)`` that returns a connected socket, as
                `socket.create_connection` does.
            sock: A connected stream socket to use, instead of *host* and *port*; owned by the session once it connects.
            kwargs: Further settings of the TCP endpoint: family, proto, flags, local_addr, happy_eyeballs_delay,
                interleave.
            ssl: What encrypts the connection: True for what `TLS` does by default, an ``ssl.SSLContext``, or a `TLS`
                value; None = nothing.
            server_hostname: As `TLS.server_hostname`; only with *ssl*. A given *sock* needs it.

        The other arguments are those of `SessionBase`.

        Raises:
            ValueError: The endpoint is invalid, given twice or not at all, or TLS settings contradict each other.
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
    session_factory: Callable[..., ClientSession] = ClientSession,
) -> ClientSession: ...


@overload
def connect(
    url_or_endpoint: str | Endpoint,
    *,
    protocol: AnyStreamProtocol[SentT, ReceivedT],
    tls: TLSChoice = None,
    proxy: Any = None,
    connect_timeout: float | Default | None = DEFAULT,
) -> StreamClient[SentT, ReceivedT]: ...


@overload
def connect(
    url_or_endpoint: str | DatagramEndpoint,
    *,
    protocol: DatagramProtocol[SentT, ReceivedT],
    proxy: Any = None,
    connect_timeout: float | Default | None = DEFAULT,
) -> DatagramClient[SentT, ReceivedT]: ...


def connect(
    url_or_endpoint: str | Endpoint | DatagramEndpoint,
    methods: Methods | None = None,
    *,
    protocol: Any = None,
    rpc_protocol: type[JSONRPC] | None = None,
    framer: FramerBase | type[FramerBase] | Callable[[], FramerBase] | None = None,
    limits: Limits | None = None,
    tls: TLSChoice = None,
    proxy: Any = None,
    codec: Codec | None = None,
    dialect: Dialect | str | None = None,
    connect_timeout: float | Default | None = DEFAULT,
    session_factory: Callable[..., ClientSession] | None = None,
) -> Any:
    """Return a client for *url_or_endpoint*; ``with`` connects it, and closes it at the end.

    ::

        with tieline.blocking.connect("tcp://127.0.0.1:4000") as session:
            print(session.call("add", 1, 2))

    With *protocol* it is a packet client of ``tieline.clients``, which is connected when this returns. Then the URL may
    also be ``udp://host:port`` or ``unix-dgram:path``; over WebSocket, packets are a stream of binary messages. Only
    *tls*, *proxy* and *connect_timeout* can be given besides.

    Args:
        url_or_endpoint: ``tcp://host:port``, ``tls://host:port``, ``unix:///path``, ``unix:@abstract``,
            ``ws://host:port/path``, ``wss://...``, ``cmd:program arguments`` for a child process, or an endpoint value.
        methods: The methods that the peer may call: plain functions; None = none.
        protocol: The format of packets: a `tieline.protocol.StreamProtocol`, a
            `tieline.protocol.BufferedStreamProtocol` or, for datagrams, a `tieline.protocol.DatagramProtocol`.
        rpc_protocol: The JSON-RPC version, as a protocol class; None = `tieline.JSONRPCv2`.
        framer: How messages are separated on the wire; None = one message per line.
        limits: Limits on what the peer may use; None = the defaults.
        tls: How the connection is encrypted: a `TLS` value, True for its defaults, or an ``ssl.SSLContext``; None = as
            the URL or endpoint says.
        proxy: A proxy, its URL, or a list of them for a chain; see `ClientSession`.
        codec: How JSON is encoded and decoded; None = by msgspec.
        dialect: Conventions of a known protocol, in place of *rpc_protocol*: a value in ``tieline.dialects``, its name,
            such as ``"lsp"``, or your own `Dialect`. *framer* takes precedence over that of the dialect.
        connect_timeout: Seconds for connecting as a whole; None = unlimited; DEFAULT = `Limits.connect_timeout` (10 s).
        session_factory: The class of the session. It is called as `ClientSession` is, with the endpoint and the
            arguments that were given.

    Raises:
        ValueError: The URL is invalid or only for serving, or TLS is specified twice.
        TypeError: An argument has the wrong type, or does not go with *protocol*; or one of *methods* is async.
        OSError: For a packet client: the peer cannot be reached, or (TimeoutError) not in time.
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
        from tieline.clients.connecting import blocking_client_to, refuse_others  # lazily: most programs use one kind

        refuse_others(given | {"proxy": None, "session_factory": session_factory})
        if proxy is not None:
            from tieline.runtimes.proxies import as_route  # lazily: for those who use proxies alone

            proxy = given["proxy"] = as_route(proxy)  # it dials at once: no frame is to know a password then
        return blocking_client_to(url_or_endpoint, protocol, tls, proxy, connect_timeout)
    where: Any = url_or_endpoint
    return new_session(ClientSession, session_factory, where, tls, connect_timeout, given)
