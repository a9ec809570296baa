# SPDX-License-Identifier: MIT
"""What the long signatures of asyncio mean: an endpoint, a socket, a program, time limits. Checked before any I/O."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from tieline.endpoints.command import Command, Stdio
from tieline.endpoints.secured import TLSChoice, as_tls, endpoint_with_tls, with_name
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.urls import Endpoint, StreamEndpoint
from tieline.endpoints.websocket import WebSocket
from tieline.finite import check_finite_seconds, check_timeout
from tieline.runtimes.tcp_sockets import check_given
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT, Default
from tieline.wire.values import replace

if TYPE_CHECKING:
    import os

    from tieline.endpoints.tls import TLS

__all__ = [
    "CONNECT_TIMEOUT",
    "Seconds",
    "check_callable",
    "check_connect_timeout",
    "check_proxied",
    "endpoint_to_dial",
    "endpoint_to_listen",
    "given",
    "path_text",
    "popen_arguments",
    "route_to",
    "settings_to_dial",
    "take_route",
    "tls_seconds",
    "unix_to_dial",
    "unix_to_listen",
]

# As `Limits.connect_timeout`.
CONNECT_TIMEOUT: Final = 10.0

_LOOPBACK: Final = "localhost"

Seconds = float | None


def check_callable(name: str, value: object) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")


def check_connect_timeout(seconds: Seconds) -> Seconds:
    return check_timeout("connect_timeout", seconds)


def given(**values: object) -> dict[str, Any]:
    """Return those of *values* that are neither None nor 0: what a caller has set."""
    return {name: value for name, value in values.items() if value is not None and value != 0}


def settings_to_dial(
    happy_eyeballs_delay: float | Default | None, interleave: int | None, **settings: object
) -> dict[str, Any]:
    """Return what was set of the fields of `TCP` that tell how to connect."""
    found = given(**settings)
    if not isinstance(happy_eyeballs_delay, Default):
        found["happy_eyeballs_delay"] = happy_eyeballs_delay
    if interleave is not None:
        found["interleave"] = interleave
    elif happy_eyeballs_delay is None:
        found["interleave"] = 0
    return found


def check_proxied(proxy: object, host: object, sock: object) -> None:
    """Refuse a proxy where it has nothing to connect to.

    Raises:
        ValueError: There is a socket already, or no host.
    """
    if proxy is not None and (sock is not None or not host):
        raise ValueError("sock excludes proxy" if sock is not None else "a proxy needs host and port to be asked for")


def take_route(settings: Any) -> None:
    """Put the route in the place of the proxy in *settings*: from then on no frame that has them knows a password.

    Raises:
        ValueError: The proxy cannot be understood.
        TypeError: It is none.
    """
    if settings.get("proxy") is not None:
        from tieline.runtimes.proxies import as_route  # lazily: for those who use proxies alone

        settings["proxy"] = as_route(settings["proxy"])


def route_to(endpoint: Endpoint, proxy: Any) -> Any:
    """Return the route that *proxy* means, None for None; something that dials by itself is returned as it is.

    Raises:
        ValueError: The endpoint cannot be reached that way, or the proxy cannot be understood.
        TypeError: It is no proxy.
    """
    if proxy is None:
        return None
    from tieline.runtimes import proxies  # lazily: for those who use proxies alone

    return proxies.route_to(endpoint, proxy)


def _not_none(**values: object) -> list[str]:
    return [name for name, value in values.items() if value is not None]


def path_text(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Return the path of a socket file as text; asyncio takes bytes as well."""
    import os

    return os.fsdecode(path)


def popen_arguments(
    argv: tuple[Any, ...], stdin: Any, stdout: Any, stderr: Any, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return what `subprocess.Popen` is to be called with.

    Raises:
        ValueError: What would make the pipes something else.
    """
    for name in ("universal_newlines", "text", "encoding", "errors", "shell"):
        if settings.pop(name, None):
            raise ValueError(f"{name} is not for subprocess_exec: its pipes carry bytes, and no shell reads its words")
    if settings.pop("bufsize", 0):
        raise ValueError("bufsize must be 0: its pipes have no other buffer than their transports'")
    return {"args": argv, "stdin": stdin, "stdout": stdout, "stderr": stderr, **settings}


# --- dialling --------------------------------------------------------------------------------------------------------


def endpoint_to_dial(
    host: str | Endpoint | None,
    port: int | None,
    sock: socket.socket | None,
    ssl: TLSChoice,
    server_hostname: str | None,
    settings: dict[str, Any],
) -> StreamEndpoint:
    """Return where the arguments of `create_connection` lead to; with *sock* it only has the TLS settings.

    *settings* are what was set of the other fields of `TCP`.

    Raises:
        ValueError: They exclude each other, or something is missing, or there can be no such endpoint.
        TypeError: One is of the wrong type.
        OSError: *sock* is not connected (ENOTCONN).
    """
    if sock is not None:
        extra = [*_not_none(host=host, port=port), *settings]
        if extra:
            raise ValueError(f"sock excludes {', '.join(extra)}: it is connected already")
        _check_stream(sock)
        given_socket = _named(TCP("given-socket", 0, tls=as_tls(ssl, "ssl")), server_hostname, "a given sock")
        check_given(sock)
        return given_socket
    if port is None and isinstance(host, str) and host and ":" not in host:
        raise ValueError(f"host {host!r} goes with a port; without one, an endpoint or a URL is needed")
    if isinstance(host, Endpoint) or (host and port is None):
        if port is not None or settings:
            extra = [*_not_none(port=port), *settings]
            raise ValueError(f"an endpoint excludes {', '.join(extra)}: they are part of it")
        endpoint = _stream(endpoint_with_tls(host, ssl, "ssl"))
        if isinstance(endpoint, UnixStream):
            return _named(endpoint, server_hostname, "a Unix socket")
        if not isinstance(endpoint.host, str) or endpoint.port == 0:
            raise ValueError(f"can only listen on {endpoint}, not connect to it: that takes one host and a port over 0")
        return _named(endpoint, server_hostname, None)
    if port is None:
        raise ValueError("host and port, an endpoint, a URL or sock must be given")
    if port == 0:
        raise ValueError("port must be over 0: there is nobody at port 0")
    endpoint = TCP(host or _LOOPBACK, port, tls=as_tls(ssl, "ssl"), **settings)
    return _named(endpoint, server_hostname, None if host else "an empty host")


def unix_to_dial(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None,
    sock: socket.socket | None,
    ssl: TLSChoice,
    server_hostname: str | None,
) -> StreamEndpoint:
    """Return where the arguments of `create_unix_connection` lead to; otherwise as `endpoint_to_dial`."""
    if (path is None) is (sock is None):
        raise ValueError("either path or sock must be given, and not both")
    if sock is not None:
        _check_unix(sock)
        check_given(sock)
    endpoint = UnixStream("given-socket" if path is None else path_text(path), tls=as_tls(ssl, "ssl"))
    return _named(endpoint, server_hostname, "a Unix socket")


def _stream(endpoint: Endpoint) -> TCP | UnixStream:
    """Refuse an endpoint that carries no stream of bytes."""
    if isinstance(endpoint, WebSocket):
        raise ValueError(f"{endpoint} carries messages, not a stream of bytes: it is for sessions")
    if isinstance(endpoint, Command | Stdio):
        raise ValueError(f"{endpoint} is not a socket: it is for sessions")
    return endpoint


def _named(endpoint: TCP | UnixStream, server_hostname: str | None, nameless: str | None) -> StreamEndpoint:
    """Return *endpoint* with the name to match in certificates; *nameless* is what has none of its own."""
    tls = endpoint.tls
    if tls is None:
        if server_hostname is not None:
            raise ValueError("server_hostname is for TLS, so it needs ssl")
        return endpoint
    tls = with_name(tls, server_hostname)
    if nameless is not None and tls.server_hostname is None:
        raise ValueError(f"with {nameless}, ssl needs server_hostname: there is no host to take it from")
    return replace(endpoint, tls=tls)


# --- listening -------------------------------------------------------------------------------------------------------


def endpoint_to_listen(
    host: Any, port: int | None, sock: socket.socket | None, fd: int | None, ssl: TLSChoice, settings: dict[str, Any]
) -> StreamEndpoint:
    """Return where the arguments of `create_server` listen; with *sock* or *fd* it has TLS and backlog only.

    Raises:
        ValueError: They exclude each other, or something is missing, or there can be no such endpoint.
        TypeError: One is of the wrong type.
    """
    tcp_only = {name: value for name, value in settings.items() if name in ("family", "flags")}
    if sock is not None or fd is not None:
        extra = [*_not_none(host=host, port=port), *tcp_only]
        if sock is not None and fd is not None:
            extra.append("fd")
        if extra:
            raise ValueError(f"{'fd' if sock is None else 'sock'} excludes {', '.join(extra)}: it is bound already")
        if sock is not None:
            _check_stream(sock)
        return TCP(None, 0, tls=as_tls(ssl, "ssl"), **settings)
    if isinstance(host, Endpoint) or (port is None and isinstance(host, str) and _is_url(host)):
        if port is not None or settings:
            extra = [*_not_none(port=port), *settings]
            raise ValueError(f"an endpoint excludes {', '.join(extra)}: they are part of it")
        return _stream(endpoint_with_tls(host, ssl, "ssl"))
    if host is None and port is None:
        raise ValueError("host and port, an endpoint, a URL, sock or fd must be given")
    if isinstance(host, list | tuple | set | frozenset):
        hosts: Any = tuple(host)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # of whatever
        host = None if "" in hosts or None in hosts else hosts
    return TCP(None if host == "" else host, port or 0, tls=as_tls(ssl, "ssl"), **settings)


def unix_to_listen(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None,
    sock: socket.socket | None,
    ssl: TLSChoice,
    mode: int,
    backlog: int,
) -> StreamEndpoint:
    """Return where the arguments of `create_unix_server` listen; otherwise as `endpoint_to_listen`."""
    if (path is None) is (sock is None):
        raise ValueError("either path or sock must be given, and not both")
    if sock is not None:
        _check_unix(sock)
    where = "given-socket" if path is None else path_text(path)
    return UnixStream(where, mode=mode, backlog=backlog, tls=as_tls(ssl, "ssl"))


def _is_url(host: str) -> bool:
    return "://" in host or host.startswith("unix:")


# --- what both have --------------------------------------------------------------------------------------------------


def tls_seconds(tls: TLS | None, handshake: Seconds, shutdown: Seconds) -> tuple[Seconds, float]:
    """Return the time limits of TLS: for the handshake, None = no own one; and for closing.

    Raises:
        ValueError: One is given without TLS, or cannot be a time limit.
    """
    if tls is None:
        for name, seconds in (("ssl_handshake_timeout", handshake), ("ssl_shutdown_timeout", shutdown)):
            if seconds is not None:
                raise ValueError(f"{name} is for TLS, so it needs ssl")
    if handshake is not None:
        handshake = check_finite_seconds("ssl_handshake_timeout", handshake, over_zero=True)
    if shutdown is None:
        return handshake, TLS_SHUTDOWN_TIMEOUT
    return handshake, check_finite_seconds("ssl_shutdown_timeout", shutdown, over_zero=True)


def _check_stream(sock: object) -> None:
    if not isinstance(sock, socket.socket):
        raise TypeError(f"sock must be a socket.socket, not {type(sock).__name__}")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"sock must be a stream socket, not one of {sock.type!r}")


def _check_unix(sock: socket.socket) -> None:
    _check_stream(sock)
    if sock.family != getattr(socket, "AF_UNIX", None):
        raise ValueError(f"sock must be a Unix socket, not one of {sock.family!r}")
