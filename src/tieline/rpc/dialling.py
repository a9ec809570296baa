# SPDX-License-Identifier: MIT
"""Where a session dials to, and how: what its constructor was given, on any runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tieline.endpoints.command import Command, Stdio
from tieline.endpoints.secured import TLSChoice, as_tls, check_name_to_match, endpoint_with_tls, with_name
from tieline.endpoints.tcp import TCP
from tieline.endpoints.urls import carrier_of
from tieline.errors import ClosedError, LocalProtocolError
from tieline.finite import check_timeout
from tieline.rpc.core import SessionCore
from tieline.rpc.facts import EngineT
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.framing.stray_lines import StrayLines
from tieline.wire.limits import Default

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.urls import Endpoint
    from tieline.wire.framing.base import FramerBase

__all__ = ["ToBeDialled", "new_session"]


class ToBeDialled(SessionCore[EngineT]):
    """A session that dials, but for the dialling.

    Attributes:
        endpoint: Where it connects to; None with a given socket, or when it is to be served and not to dial.
        connect_timeout: Seconds for dialling as a whole; None = as long as it takes.
    """

    endpoint: Endpoint | None
    connect_timeout: float | None
    # What most sessions have is the class's, until one has another.
    _tls: Any = None
    _proxy: Any = None
    _sock: socket.socket | None = None
    _is_dialling: bool = False
    _has_warned: bool = False  # of stray lines

    def _prepare_dialling(
        self,
        host: str | Endpoint | None,
        port: int | None,
        sock: socket.socket | None,
        ssl: TLSChoice,
        server_hostname: str | None,
        proxy: Any,
        settings: dict[str, Any],
        *,
        may_be_served: bool = False,
    ) -> None:
        """Take what a constructor was given; see `tieline.ClientSession`."""
        tls = _settings(ssl, server_hostname)
        if may_be_served and not settings and all(one is None for one in (host, port, sock, tls, proxy)):
            self.endpoint = None
        else:
            self.endpoint = _endpoint(host, port, sock, tls, settings)
        if tls is not None:
            self._tls = as_tls(tls, "ssl")
        if sock is not None:
            if self._tls is not None and self._tls.server_hostname is None:
                raise ValueError("with a given sock, ssl needs server_hostname: there is no host to take it from")
            self._sock = sock
        if self.endpoint is not None:
            self.use_framing_of(self.endpoint)
        self.connect_timeout = self.limits.connect_timeout
        if proxy is not None:
            self._proxy = self._checked_proxy(proxy)

    def _checked_proxy(self, proxy: Any) -> Any:
        from tieline.runtimes.proxies import route_to  # lazily: for those who use proxies alone

        if self.endpoint is None:
            raise ValueError("sock excludes proxy: it is connected already")
        return route_to(self.endpoint, proxy)

    def proxy(self) -> object:
        """Return the proxy that the connection goes through, a tuple of several for a chain; None without one."""
        proxies = getattr(self._proxy, "proxies", None)
        if proxies is None:
            return self._proxy
        return proxies[0] if len(proxies) == 1 else proxies

    def remote_address(self) -> object:
        """Return the peer's socket address, for TCP (host, port, ...); None if the socket has none.

        Through a proxy it is the target's host and port, as the proxy was asked for them.
        """
        return super().remote_address() if self._proxy is None else self.get_extra_info("proxy_target")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the transport; through a proxy also ``proxy_target``: (host, port) of the target.

        The socket, and so ``peername``, is that to the proxy.
        """
        if name != "proxy_target" or self._proxy is None:
            return super().get_extra_info(name, default)
        endpoint = None if self.endpoint is None else carrier_of(self.endpoint)
        if self._engine is None or self._engine.started is None or not isinstance(endpoint, TCP):
            return default
        return endpoint.host, endpoint.port

    def _new_framer(self) -> FramerBase:
        framer = super()._new_framer()
        endpoint = self.endpoint
        if not isinstance(endpoint, Command) or endpoint.stray_lines == "refuse":
            return framer
        if not isinstance(framer, NewlineFramer):
            raise ValueError(f"stray_lines is for messages that end with a newline, not for {type(framer).__name__}")
        return StrayLines(framer, self._stray_line)

    def _stray_line(self, line: str) -> None:
        """Deal with a line of the child that is no message; what is to be done about it must not end the session."""
        policy = getattr(self.endpoint, "stray_lines", None)
        if callable(policy):
            try:
                policy(line)
            except Exception:
                self.log.exception("%r failed, given a stray line", policy)
        elif not self._has_warned:
            self._has_warned = True
            self.log.warning("%s prints lines that are not messages: they are skipped", self._target())

    def _closing_time(self) -> float:
        """Return for how many seconds leaving the `with` closes in order: a child gets its time on top."""
        return 5.0 + (2 * self.endpoint.grace if isinstance(self.endpoint, Command) else 0.0)

    def _target(self) -> str:
        return self.peer_name() if self.endpoint is None else str(self.endpoint)

    def _dialled_host(self) -> str | None:
        endpoint = None if self.endpoint is None else carrier_of(self.endpoint)
        return endpoint.host if isinstance(endpoint, TCP) and isinstance(endpoint.host, str) else None

    def _check_fresh(self) -> None:
        """Refuse to connect a session again."""
        if self._engine is not None or self._is_dialling:
            raise LocalProtocolError("a session serves one connection, and this one has had it: make a new session")
        if self.endpoint is None and self._sock is None:
            raise LocalProtocolError("there is no endpoint, or its socket has been used: make a new session")

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
    if isinstance(endpoint, Stdio):
        raise ValueError("stdio: is for serving: it is connected to whatever started this program")
    check_name_to_match(endpoint)
    return endpoint


Session = TypeVar("Session", bound=ToBeDialled[Any])


def new_session(
    stock: Callable[..., Session],
    session_factory: Callable[..., Session] | None,
    url_or_endpoint: str | Endpoint,
    tls: TLSChoice,
    connect_timeout: float | Default | None,
    given: dict[str, Any],
) -> Session:
    """Return what *session_factory*, or else *stock*, makes of the arguments of `connect`.

    Of *given*, None stands for a default: *stock* knows that, and for a class of a user's it is left out.
    """
    if not isinstance(connect_timeout, Default):
        connect_timeout = check_timeout("connect_timeout", connect_timeout)
    if session_factory is not None:
        if not callable(session_factory):
            raise TypeError(f"session_factory must be a class of sessions, not {type(session_factory).__name__}")
        endpoint = endpoint_with_tls(url_or_endpoint, tls)
        session = session_factory(endpoint, **{name: value for name, value in given.items() if value is not None})
    elif tls is None and isinstance(url_or_endpoint, str):
        session = stock(url_or_endpoint, **given)  # which reads it itself
    else:
        session = stock(endpoint_with_tls(url_or_endpoint, tls), **given)
    if not isinstance(connect_timeout, Default):
        session.connect_timeout = connect_timeout
    return session
