# SPDX-License-Identifier: MIT
"""What clients of streams are given: checked, before any I/O."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, cast

from tieline.endpoints.checks import kind_of
from tieline.endpoints.secured import as_tls, with_name
from tieline.endpoints.socket_addresses import UnixSocketAddress
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.errors import UnsupportedOperation
from tieline.finite import check_finite_seconds, check_seconds, check_timeout
from tieline.runtimes.tcp_sockets import check_family, was_reset
from tieline.wire.protocols import checked_stream_protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.tls import TLS

__all__ = [
    "address_of",
    "check_connect_timeout",
    "check_local_address",
    "check_retry_interval",
    "check_socket",
    "check_stream",
    "is_lax",
    "own_path_of",
    "path_of",
    "proxy_target",
    "route_to",
    "tcp_endpoint",
    "unix_endpoint",
    "unix_family",
]


def check_stream(protocol: object, max_recv_size: object) -> None:
    """Check what all of them take.

    Raises:
        TypeError: *protocol* is no protocol of streams.
        ValueError: *max_recv_size* is neither None nor a positive int.
    """
    checked_stream_protocol(protocol)
    if max_recv_size is None:
        return
    if not isinstance(max_recv_size, int) or isinstance(max_recv_size, bool) or max_recv_size < 1:
        raise ValueError(f"max_recv_size must be an int of 1 or more, not {max_recv_size!r}")


def check_retry_interval(seconds: float) -> None:
    """Check the time after which a waiting client looked again, once.

    Raises:
        ValueError: It is not over 0.
        TypeError: It is no number.
    """
    if not check_seconds("retry_interval", seconds):
        raise ValueError(f"retry_interval must be over 0, not {seconds!r}")


def check_connect_timeout(seconds: float | None) -> float | None:
    """Return the time that there is for connecting; None = as long as it takes.

    Raises:
        ValueError: It is negative, or NaN.
        TypeError: It is of another kind.
    """
    return check_timeout("connect_timeout", seconds)


def check_local_address(address: object) -> None:
    """Check where to connect from; None = anywhere.

    Raises:
        TypeError: It is no host and port.
    """
    match address:
        case None | (str(), int()):
            return
        case _:
            raise TypeError(f"local_address must be (host, port), a str and an int, not {address!r:.64}")


def check_socket(
    sock: socket.socket, families: Iterable[int], only: dict[str, Any], kind: int = socket.SOCK_STREAM
) -> Any:
    """Check a socket that a client was given, and return its peer's address; *only* are arguments that exclude one.

    A stream that its peer has reset counts as connected: its first use tells. The address is empty then.

    Raises:
        TypeError: It does TLS by itself, or something of *only* is set.
        ValueError: It is of another family or type.
        OSError: It is not connected (ENOTCONN).
    """
    given = [name for name, value in only.items() if value is not None]
    if given:
        raise TypeError(f"{', '.join(given)}: only for connecting, and a given socket is connected already")
    if hasattr(sock, "do_handshake"):
        raise TypeError("the socket must not be an ssl.SSLSocket: give the plain socket, and ssl=")
    check_family(sock, families)
    if sock.type != kind:
        wanted = "a stream" if kind == socket.SOCK_STREAM else "one of datagrams"
        raise ValueError(f"the socket must be {wanted}, not {sock.type!r}")
    try:
        return sock.getpeername()
    except OSError as exc:
        if exc.errno != errno.ENOTCONN:
            raise
        if kind != socket.SOCK_STREAM or not was_reset(sock):
            raise OSError(errno.ENOTCONN, "the given socket is not connected") from exc
    return ()


def address_of(address: object, kind: str) -> tuple[str, int]:
    """Return the host and port that *address* is.

    Raises:
        TypeError: It is something else.
    """
    seen: Any = address
    parts: tuple[object, ...] = seen if isinstance(address, tuple) else ()
    if len(parts) < 2 or not isinstance(parts[0], str) or not isinstance(parts[1], int):
        lead = "; connect(..., protocol=...) takes URLs and endpoints" if isinstance(address, str | TCP) else ""
        raise TypeError(
            f"a client of {kind} takes (host, port), a str and an int, or a connected socket, not {kind_of(seen)}{lead}"
        )
    return parts[0], parts[1]


def path_of(path: object) -> str:
    """Return the path of a Unix socket; an abstract name begins with a NUL.

    Raises:
        TypeError: It is none.
    """
    if isinstance(path, UnixSocketAddress):
        name = os.fsdecode(path.as_raw())
        return f"./{name}" if name.startswith("@") else name  # else it would be taken for an abstract name
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"a client of a Unix socket takes a path or a connected socket, not {type(path).__name__}")
    return os.fsdecode(cast("str", path))


def own_path_of(local_path: object) -> str | None:
    """Return the path that a client of a Unix socket is to have itself; None = none.

    Raises:
        TypeError: It is no path.
    """
    if local_path is None:
        return None
    try:
        return path_of(local_path)
    except TypeError:
        raise TypeError(f"local_path must be a path, not {type(local_path).__name__}") from None


def _tls_of(
    ssl: TLSChoice, server_hostname: str | None, times: dict[str, float | None], *, has_host: bool
) -> TLS | None:
    """Return the settings that the arguments about TLS mean; *times* go with TLS only.

    Raises:
        ValueError: They are given without TLS, or the name to match is missing.
        TypeError: *ssl* means no TLS settings.
    """
    tls = as_tls(ssl, "ssl")
    for name, value in times.items():
        if value is None:
            continue
        if tls is None:
            raise ValueError(f"{name} is for TLS, so it needs ssl")
        check_finite_seconds(name, value, over_zero=True)
    if tls is None:
        if server_hostname is not None:
            raise ValueError("server_hostname is for TLS, so it needs ssl")
        return None
    tls = with_name(tls, server_hostname)
    if not has_host and tls.server_hostname is None:
        raise ValueError("ssl needs server_hostname here: there is no host to take it from")
    return tls


def is_lax(ssl_standard_compatible: bool | None, tls: TLS | None) -> bool:
    """Return whether TLS is to do without its closing handshake.

    Raises:
        ValueError: There is no TLS.
    """
    if ssl_standard_compatible is not None and tls is None:
        raise ValueError("ssl_standard_compatible is for TLS, so it needs ssl")
    return ssl_standard_compatible is not None and not ssl_standard_compatible


def tcp_endpoint(
    address: object,
    *,
    ssl: TLSChoice,
    server_hostname: str | None,
    times: dict[str, float | None],
    local_address: tuple[str, int] | None,
    happy_eyeballs_delay: float | None,
    only: dict[str, Any],
) -> TCP:
    """Return the endpoint that the arguments of a TCP client mean; *only* are more that go with connecting alone.

    Raises:
        TypeError, ValueError, OSError: As the clients say.
    """
    check_local_address(local_address)
    sock = address if isinstance(address, socket.socket) else None
    tls = _tls_of(ssl, server_hostname, times, has_host=sock is None)
    if sock is not None:
        only = {"local_address": local_address, "happy_eyeballs_delay": happy_eyeballs_delay, **only}
        peer = check_socket(sock, (socket.AF_INET, socket.AF_INET6), only)
        host, port = peer[:2] or ("given-socket", 0)
    else:
        host, port = address_of(address, "TCP")
    delay = 0.25 if happy_eyeballs_delay is None else happy_eyeballs_delay
    return TCP(host, port, local_addr=local_address, happy_eyeballs_delay=delay, tls=tls)


def unix_family() -> int:
    """Return the family of Unix sockets.

    Raises:
        UnsupportedOperation: This system has none.
    """
    family: int | None = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise UnsupportedOperation("this system has no Unix sockets")
    return family


def unix_endpoint(path: object, local_path: object, only: dict[str, Any]) -> UnixStream:
    """Return the endpoint that the arguments of a client of Unix sockets mean; for a socket, one with a name for it.

    Raises:
        TypeError, ValueError, OSError, UnsupportedOperation: As the clients say.
    """
    family = unix_family()
    if not isinstance(path, socket.socket):
        return UnixStream(path_of(path), local_path=own_path_of(local_path))
    check_socket(path, (family,), {"local_path": local_path, **only})
    return UnixStream("given-socket")


def proxy_target(endpoint: object) -> tuple[object, int] | None:
    """Return what a proxy was asked for on the way to *endpoint*: host and port."""
    return (endpoint.host, endpoint.port) if isinstance(endpoint, TCP) else None


def route_to(endpoint: TCP, proxy: Any) -> Any:
    """Return the way to *endpoint* by *proxy*; None = straight.

    Raises:
        TypeError, ValueError: *proxy* is none, or cannot be asked for that.
    """
    if proxy is None:
        return None
    from tieline.runtimes import proxies  # lazily: for those who use proxies alone

    return proxies.route_to(endpoint, proxy)
