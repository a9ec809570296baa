# SPDX-License-Identifier: MIT
"""What clients of datagrams are given: checked, before any I/O."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

from tieline.clients.arguments import (
    address_of,
    check_connect_timeout,
    check_local_address,
    check_socket,
    own_path_of,
    path_of,
    unix_family,
)
from tieline.endpoints.datagrams import UDP, UnixDatagram
from tieline.runtimes.datagram_facts import name_of
from tieline.runtimes.datagram_sockets import Asked, asked

if TYPE_CHECKING:
    from tieline.endpoints.proxies import Route

__all__ = ["datagrams_to", "udp_asked", "unix_asked"]

_FAMILIES = (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6)


def udp_asked(
    address: object,
    *,
    local_address: tuple[str, int] | None,
    family: int,
    proxy: Any,
    connect_timeout: float | None = None,
) -> tuple[UDP, Asked, Route | None]:
    """Return what the arguments of a UDP client mean: an endpoint that names it, what is asked for, and the way there.

    Raises:
        TypeError, ValueError, OSError: As the clients say.
    """
    if family not in _FAMILIES:
        raise ValueError(f"family must be AF_UNSPEC, AF_INET or AF_INET6, not {family!r}")
    connect_timeout = check_connect_timeout(connect_timeout)
    check_local_address(local_address)
    if isinstance(address, socket.socket):
        only = {"local_address": local_address, "family": family or None, "proxy": proxy}
        only["connect_timeout"] = connect_timeout
        host, port = check_socket(address, (socket.AF_INET, socket.AF_INET6), only, socket.SOCK_DGRAM)[:2]
        return UDP(host, port), asked(sock=address), None
    host, port = address_of(address, "UDP")
    endpoint = UDP(host, port, family=int(family), local_addr=local_address)
    return endpoint, *_asked_by_way_of(endpoint, proxy)


def unix_asked(path: object, *, local_path: object) -> tuple[UnixDatagram, Asked]:
    """Return what the arguments of a client of Unix datagrams mean, as `udp_asked`.

    Raises:
        TypeError, ValueError, OSError, UnsupportedOperation: As the clients say.
    """
    family = unix_family()
    if isinstance(path, socket.socket):
        check_socket(path, (family,), {"local_path": local_path}, socket.SOCK_DGRAM)
        if not name_of(path.getsockname):
            _check_nameless()
            path.bind("")  # unix(7), "autobind"
        return UnixDatagram("given-socket"), asked(sock=path)
    if local_path is None:
        _check_nameless()
    endpoint = UnixDatagram(path_of(path), own_path_of(local_path))
    return endpoint, asked(remote_addr=endpoint)


def datagrams_to(endpoint: UDP | UnixDatagram, proxy: Any) -> tuple[Asked, Route | None]:
    """Return what is asked for by *endpoint*, and the way there.

    Raises:
        TypeError, ValueError: As the clients say.
    """
    if isinstance(endpoint, UnixDatagram) and endpoint.local_path is None:
        _check_nameless()
    return _asked_by_way_of(endpoint, proxy)


def _check_nameless() -> None:
    if sys.platform != "linux":
        raise ValueError("a client needs local_path, or nobody could answer it: only Linux chooses a name itself")


def _asked_by_way_of(endpoint: UDP | UnixDatagram, proxy: Any) -> tuple[Asked, Route | None]:
    wanted = asked(remote_addr=endpoint)
    if proxy is None:
        return wanted, None
    from tieline.runtimes.proxies import datagram_route  # lazily: for those who use proxies alone

    return wanted, datagram_route(proxy, wanted)
