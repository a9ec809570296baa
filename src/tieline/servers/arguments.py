# SPDX-License-Identifier: MIT
"""Where servers are to listen: checked, before any I/O."""

from __future__ import annotations

import os
import socket
from types import NoneType
from typing import TYPE_CHECKING, Any, cast

from tieline.endpoints.checks import kind_of
from tieline.endpoints.datagrams import UDP, UnixDatagram
from tieline.endpoints.secured import endpoint_with_tls
from tieline.endpoints.tcp import TCP
from tieline.endpoints.tls import check_tls_to_serve
from tieline.endpoints.unix import UnixStream
from tieline.errors import UnsupportedOperation
from tieline.runtimes.tcp_sockets import check_family

if TYPE_CHECKING:
    from tieline.endpoints.secured import TLSChoice

__all__ = ["tcp_to_serve", "udp_to_serve", "unix_datagrams_to_serve", "unix_to_serve"]


def tcp_to_serve(address: object, ssl: TLSChoice, settings: dict[str, Any]) -> TCP:
    """Return the endpoint that the arguments of a TCP server mean; *settings* are fields of it, None = not given.

    Raises:
        TypeError, ValueError: As the servers say.
    """
    if isinstance(address, socket.socket):
        _check_socket(address, (socket.AF_INET, socket.AF_INET6), socket.SOCK_STREAM)
        endpoint = TCP(None, 0, **_given(settings))
    elif isinstance(address, TCP):
        _check_no_more(settings, "TCP endpoint")
        endpoint = address
    else:
        host, port = _host_and_port(address)
        endpoint = TCP(host or None, port, **_given(settings))
    return cast("TCP", _with_tls(endpoint, ssl))


def unix_to_serve(path: object, ssl: TLSChoice, settings: dict[str, Any]) -> UnixStream:
    """Return the endpoint that the arguments of a server on a Unix stream socket mean; as `tcp_to_serve`."""
    family = _unix()
    if isinstance(path, socket.socket):
        _check_socket(path, (family,), socket.SOCK_STREAM)
        endpoint = UnixStream("given-socket", **_given(settings))
    elif isinstance(path, UnixStream):
        _check_no_more(settings, "UnixStream endpoint")
        endpoint = path
    else:
        endpoint = UnixStream(_path(path), **_given(settings))
    return cast("UnixStream", _with_tls(endpoint, ssl))


def udp_to_serve(address: object, settings: dict[str, Any]) -> UDP:
    """Return the endpoint that the arguments of a UDP server mean; as `tcp_to_serve`."""
    if isinstance(address, socket.socket):
        _check_socket(address, (socket.AF_INET, socket.AF_INET6), socket.SOCK_DGRAM)
        _check_no_more(settings, "socket")
        return UDP(None, 0)
    if isinstance(address, UDP):
        _check_no_more(settings, "UDP endpoint")
        return address
    host, port = _host_and_port(address)
    return UDP(host or None, port, **_given(settings))


def unix_datagrams_to_serve(path: object, settings: dict[str, Any]) -> UnixDatagram:
    """Return the endpoint that the arguments of a server on a Unix datagram socket mean; as `tcp_to_serve`."""
    family = _unix()
    if isinstance(path, socket.socket):
        _check_socket(path, (family,), socket.SOCK_DGRAM)
        _check_no_more(settings, "socket")
        return UnixDatagram("given-socket")
    if isinstance(path, UnixDatagram):
        _check_no_more(settings, "UnixDatagram endpoint")
        return path
    return UnixDatagram(_path(path), **_given(settings))


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _check_no_more(settings: dict[str, Any], what: str) -> None:
    given = _given(settings)
    if given:
        raise TypeError(f"{', '.join(given)}: the {what} that was given says that already")


def _check_socket(sock: socket.socket, families: tuple[int, ...], kind: int) -> None:
    check_family(sock, families)
    if sock.type != kind:
        raise ValueError(f"the socket must be of type {socket.SocketKind(kind).name}, not {sock.type!r}")


def _with_tls(endpoint: TCP | UnixStream, ssl: TLSChoice) -> object:
    secured = endpoint_with_tls(endpoint, ssl, "ssl")
    check_tls_to_serve(secured.tls)
    return secured


def _host_and_port(address: object) -> tuple[Any, int]:
    seen: Any = address
    parts: tuple[Any, ...] = seen if isinstance(address, tuple) else ()
    kinds: Any = (str, list, tuple, NoneType)
    if len(parts) < 2 or not isinstance(parts[1], int) or not isinstance(parts[0], kinds):
        raise TypeError(
            f"a server takes (host, port), an endpoint or a bound socket, not {kind_of(seen)}:"
            " the host is a str, several of them or None, the port an int"
        )
    return parts[0], parts[1]


def _unix() -> int:
    family: int | None = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise UnsupportedOperation("this system has no Unix sockets")
    return family


def _path(path: object) -> str:
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"a server takes a path, an endpoint or a bound socket, not {type(path).__name__}")
    text = os.fsdecode(cast("str", path))
    return "@" + text[1:] if text.startswith("\0") else text
