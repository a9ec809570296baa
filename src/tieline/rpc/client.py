# SPDX-License-Identifier: MIT
"""Client sessions: dialling, and a session on what was dialled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from tieline.endpoints import TCP
from tieline.endpoints.secured import TLSChoice, as_tls, check_name_to_match, endpoint_with_tls, with_name
from tieline.errors import ClosedError, LocalProtocolError
from tieline.rpc.session import SessionBase
from tieline.runtimes.detect import current_backend
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import TracebackType

    from tieline.endpoints import Endpoint
    from tieline.rpc.methods import Methods
    from tieline.runtimes.backend import Scope
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits

__all__ = ["ClientSession", "connect"]


class ClientSession(SessionBase):
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
        sock: socket.socket | None = None,
        ssl: TLSChoice = None,
        server_hostname: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepare a session. No I/O happens here.

        Args:
            host: A host name or address; or, without *port*, an endpoint or a URL.
            port: The TCP port.
            proxy: An object that dials in our place, by
                ``await proxy.create_connection(protocol_factory, host, port)``.
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
        tls = _settings(ssl, server_hostname)
        self.endpoint = _endpoint(host, port, sock, tls, kwargs)
        self._tls = as_tls(tls, "ssl")
        if sock is not None and self._tls is not None and self._tls.server_hostname is None:
            raise ValueError("with a given sock, ssl needs server_hostname: there is no host to take it from")
        self.connect_timeout = self.limits.connect_timeout
        self._proxy = proxy
        self._sock = sock
        self._is_dialling = False
        self._scope: Scope | None = None  # of the `async with`, where the runtime has such

    def proxy(self) -> object:
        return self._proxy

    def _target(self) -> str:
        return self.peer_name() if self.endpoint is None else str(self.endpoint)

    def _dialled_host(self) -> str | None:
        endpoint = self.endpoint
        return endpoint.host if isinstance(endpoint, TCP) and isinstance(endpoint.host, str) else None

    async def create_connection(self, *, nursery: object = None) -> tuple[Any, Self]:
        """Connect and return the transport and the session itself. Cancelling leaves nothing behind.

        Args:
            nursery: On trio the nursery that the connection and its handlers live in: it does not end before the
                session does, and a nursery that is cancelled cuts the connection. (``async with`` brings its own.)
                None elsewhere.

        Raises:
            OSError: Nobody there, or no way to get there.
            TimeoutError: Not within `connect_timeout` seconds.
            ClosedError: The session was closed, before that or meanwhile.
            LocalProtocolError: The session has or had a connection, or is connecting.
        """
        self._check_fresh()
        self._check_wanted()
        backend = current_backend()
        sock, self._sock = self._sock, None
        self._is_dialling = True
        try:
            transport, _link = await backend.dial(
                lambda: self.new_link(accepted=False),
                self.endpoint or TCP("given-socket", 0, tls=self._tls),  # the name in errors
                timeout=self.connect_timeout,
                sock=sock,
                proxy=self._proxy,
                tls_shutdown_timeout=self.limits.tls_shutdown_timeout,
                nursery=nursery,
            )
            self._check_wanted()
        except BaseException:
            if self._engine is not None:
                self._engine.link.abort()
                self._engine.never_made()
            raise
        finally:
            self._is_dialling = False
        return transport, self

    def _check_fresh(self) -> None:
        """Refuse to connect a session again."""
        if self._engine is not None or self._is_dialling:
            raise LocalProtocolError("a session serves one connection, and this one has had it: make a new session")
        if self.endpoint is None and self._sock is None:
            raise LocalProtocolError("the socket that was given has been used: make a new session")

    def _check_wanted(self) -> None:
        """Refuse to connect a session that was closed, before that or meanwhile."""
        if self._is_unwanted:
            raise ClosedError("the session is closed")

    async def __aenter__(self) -> Self:
        scope = await current_backend().open_scope()
        if scope is None:
            await self.create_connection()
            return self
        try:
            await self.create_connection(nursery=scope.nursery)
        except BaseException as exc:
            await scope.leave(self._never_connected, exc)
            raise
        self._scope = scope
        return self

    async def _never_connected(self) -> None: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        scope, self._scope = self._scope, None
        if scope is not None:
            return await scope.leave(self.aclose, exc)
        await self.aclose()
        return False


def _settings(ssl: TLSChoice, server_hostname: str | None) -> TLSChoice:
    """Return what a client's ssl arguments mean together; unchanged where there is only *ssl*."""
    if server_hostname is None:
        return ssl
    tls = as_tls(ssl, "ssl")
    if tls is None:
        raise ValueError("server_hostname is for TLS, so it needs ssl")
    return with_name(tls, server_hostname)


def _endpoint(
    host: str | Endpoint | None, port: int | None, sock: socket.socket | None, tls: TLSChoice, settings: dict[str, Any]
) -> Endpoint | None:
    """Return the endpoint that a client's arguments mean; None for a given socket."""
    if sock is not None:
        if host is not None or port is not None or settings:
            raise ValueError("sock excludes host, port and their settings: it is connected already")
        return None
    if host is None:
        raise ValueError("host and port, an endpoint, a URL or sock must be given")
    if port is not None:
        if not isinstance(host, str):
            raise ValueError(f"a port goes with the name of a host, not with {host!r}")
        return endpoint_with_tls(TCP(host, port, **settings), tls, "ssl")
    if settings:
        raise TypeError(f"{', '.join(settings)}: settings go into the endpoint itself when one is given")
    endpoint = endpoint_with_tls(host, tls, "ssl")
    check_name_to_match(endpoint)
    return endpoint


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
    """Return a client session for *url_or_endpoint*; ``async with`` connects it and closes it at the end.

    Args:
        url_or_endpoint: ``tcp://host:port``, ``tls://host:port``, ``unix:///path``, ``unix:@abstract``, or an endpoint
            value.
        methods: What the peer may call on us.
        rpc_protocol: The protocol class to speak; None = JSON-RPC 2.0.
        framer: How messages are framed; None = one message a line.
        limits: None = the defaults.
        tls: What encrypts the connection: a `TLS` value, True for `TLS()`, or an ``ssl.SSLContext``; None = what
            the URL or endpoint says.
        proxy: An object that dials in our place; see `ClientSession`.
        codec: How JSON is read and written; None = by msgspec.
        connect_timeout: Seconds for dialling as a whole; None = as long as it takes; DEFAULT = by the limits (10 s).
        session_factory: The class of the session; called as `ClientSession` is, with the endpoint and what was given.

    Raises:
        ValueError: The URL cannot be understood, or TLS is given twice.
        TypeError: *tls* is of the wrong type.
    """
    endpoint = endpoint_with_tls(url_or_endpoint, tls)
    given = {
        "methods": methods,
        "rpc_protocol": rpc_protocol,
        "framer": framer,
        "limits": limits,
        "proxy": proxy,
        "codec": codec,
    }
    session = session_factory(endpoint, **{name: value for name, value in given.items() if value is not None})
    if not isinstance(connect_timeout, Default):
        session.connect_timeout = connect_timeout
    return session
