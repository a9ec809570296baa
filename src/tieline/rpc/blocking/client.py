# SPDX-License-Identifier: MIT
"""Client sessions in blocking code: dialling, and a session on what was dialled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tieline.endpoints import TCP
from tieline.errors import UnsupportedOperation
from tieline.rpc.blocking.engine import BlockingEngine
from tieline.rpc.blocking.session import SessionBase
from tieline.rpc.dialling import ToBeDialled, new_session
from tieline.runtimes.blocking.dialling import dial
from tieline.runtimes.blocking.host import BlockingHost
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import TracebackType

    from tieline.endpoints import Endpoint
    from tieline.endpoints.secured import TLSChoice
    from tieline.rpc.methods import Methods
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits

__all__ = ["ClientSession", "connect"]


class ClientSession(ToBeDialled[BlockingEngine], SessionBase):
    """A session on a connection that this side dials; a context manager that connects and closes.

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
                Names go to the proxy and are never looked up here.
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
        )
        self._prepare_dialling(host, port, sock, ssl, server_hostname, proxy, kwargs)

    def create_connection(self) -> tuple[Any, Self]:
        """Connect and return the transport and the session itself. When interrupted it leaves nothing behind.

        The look-up of a name cannot be interrupted by `connect_timeout`: the system's resolver has its own.

        Raises:
            OSError: Nobody there, or no way to get there.
            TimeoutError: Not within `connect_timeout` seconds.
            ClosedError: The session was closed, before that or meanwhile.
            LocalProtocolError: The session has or had a connection, or is connecting.
            UnsupportedOperation: A proxy was given that dials by itself, for asynchronous sessions.
        """
        self._check_fresh()
        self._check_wanted()
        host = BlockingHost()
        sock, self._sock = self._sock, None
        self._is_dialling = True
        try:
            transport, _link = dial(
                lambda: self.new_link(host, accepted=False),
                self.endpoint or TCP("given-socket", 0, tls=self._tls),  # the name in errors
                host,
                timeout=self.connect_timeout,
                sock=sock,
                route=self._route(),
                shutdown_timeout=self.limits.tls_shutdown_timeout,
            )
            self._check_wanted()
        except BaseException:
            if self._engine is not None:
                host.do(self._engine.link.abort)
                self._engine.never_made()
            raise
        finally:
            self._is_dialling = False
        return transport, self

    def _route(self) -> Any:
        """Return the route through proxies; None without one."""
        if self._proxy is None:
            return None
        from tieline.endpoints.proxies import Route  # lazily: for those who use proxies alone

        if not isinstance(self._proxy, Route):
            raise UnsupportedOperation(
                "a proxy that dials by itself is for asynchronous sessions only: connect a socket, and give it as sock"
            )
        return self._proxy

    def __enter__(self) -> Self:
        self.create_connection()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(self._closing_time())


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
    connect_timeout: float | Default | None = DEFAULT,
    session_factory: Callable[..., ClientSession] = ClientSession,
) -> ClientSession:
    """Return a client session for *url_or_endpoint*; ``with`` connects it and closes it at the end.

    Args:
        url_or_endpoint: ``tcp://host:port``, ``tls://host:port``, ``unix:///path``, ``unix:@abstract``, or an endpoint
            value.
        methods: What the peer may call on us: plain functions.
        rpc_protocol: The protocol class to speak; None = JSON-RPC 2.0.
        framer: How messages are framed; None = one message a line.
        limits: None = the defaults.
        tls: What encrypts the connection: a `TLS` value, True for what it does by default, or an ``ssl.SSLContext``;
            None = what the URL or endpoint says.
        proxy: A proxy, its URL, or a list of them; see `ClientSession`.
        codec: How JSON is read and written; None = by msgspec.
        connect_timeout: Seconds for dialling as a whole; None = as long as it takes; DEFAULT = by the limits (10 s).
        session_factory: The class of the session; called as `ClientSession` is, with the endpoint and what was given.

    Raises:
        ValueError: The URL cannot be understood, or TLS is given twice.
        TypeError: *tls* is of the wrong type, or one of *methods* is async.
    """
    given = {
        "methods": methods,
        "rpc_protocol": rpc_protocol,
        "framer": framer,
        "limits": limits,
        "proxy": proxy,
        "codec": codec,
    }
    return new_session(session_factory, url_or_endpoint, tls, connect_timeout, given)
