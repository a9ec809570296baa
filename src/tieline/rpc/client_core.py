# SPDX-License-Identifier: MIT
"""What client sessions of all runtimes share: where they connect to, and whether they may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tieline.endpoints import TCP
from tieline.endpoints.secured import TLSChoice, as_tls, check_name_to_match, endpoint_with_tls, with_name
from tieline.errors import ClosedError, LocalProtocolError
from tieline.rpc.session_core import SessionCore
from tieline.wire.limits import Default

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints import Endpoint
    from tieline.rpc.methods import Methods
    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.codecs import Codec
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits

__all__ = ["ClientCore", "new_client"]


class ClientCore(SessionCore):
    """A session on a connection that this side dials, but for the dialling.

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

    def proxy(self) -> object:
        return self._proxy

    def _target(self) -> str:
        return self.peer_name() if self.endpoint is None else str(self.endpoint)

    def _dialled_host(self) -> str | None:
        endpoint = self.endpoint
        return endpoint.host if isinstance(endpoint, TCP) and isinstance(endpoint.host, str) else None

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


Client = TypeVar("Client", bound=ClientCore)


def new_client(
    session_factory: Callable[..., Client],
    url_or_endpoint: str | Endpoint,
    tls: TLSChoice,
    connect_timeout: float | Default | None,
    given: dict[str, Any],
) -> Client:
    """Return what *session_factory* makes of the arguments of `connect`; of *given*, None stands for a default."""
    endpoint = endpoint_with_tls(url_or_endpoint, tls)
    session = session_factory(endpoint, **{name: value for name, value in given.items() if value is not None})
    if not isinstance(connect_timeout, Default):
        session.connect_timeout = connect_timeout
    return session
