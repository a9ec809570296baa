# SPDX-License-Identifier: MIT
"""Who a peer is, for limits that count by peer: the address that it cannot change at will, or its user."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from tieline.errors import UnsupportedOperation

if TYPE_CHECKING:
    from tieline.endpoints.socket_addresses import UnixCredentials
    from tieline.runtimes.ports import Transport

__all__ = ["is_local", "peer_credentials", "peer_group"]

# struct ucred: process, user, group.
_UCRED = struct.Struct("3i")


def peer_group(transport: Transport) -> str | None:
    """Return the group that the peer of *transport* is counted in; None when nothing is known about it.

    That is an IPv4 address (also for one that comes mapped into IPv6), the first 64 bits of an IPv6 address, since
    whoever has one has all behind them, or the user at the other end of a Unix socket.
    """
    name: Any = transport.get_extra_info("peername")
    if name.__class__ is tuple:
        return _of_address(name[0])
    sock: Any = transport.get_extra_info("socket")
    if sock is None or sock.family != getattr(socket, "AF_UNIX", None):
        return None
    try:
        return f"user {peer_credentials(sock).uid}"
    except UnsupportedOperation:
        return "local"
    except OSError:  # it is gone already
        return None


def peer_credentials(sock: socket.socket) -> UnixCredentials:
    """Return who was at the other end of a Unix stream socket when it connected, or listened.

    Raises:
        UnsupportedOperation: The system does not tell.
        OSError: The socket is closed.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        raise UnsupportedOperation("this system does not tell who is at the other end of a Unix socket (SO_PEERCRED)")
    from tieline.endpoints.socket_addresses import UnixCredentials  # lazily: for Unix sockets alone

    return UnixCredentials(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def is_local(transport: Transport) -> bool:
    """Return whether the peer of *transport* is on this machine, as far as that can be told."""
    name: Any = transport.get_extra_info("peername")
    if name.__class__ is not tuple:
        return True  # a Unix socket, or the pipes of a process
    host: str = name[0]
    return host.startswith(("127.", "::ffff:127.")) or host == "::1"


def _of_address(host: str) -> str | None:
    if ":" not in host:
        return host or None
    import ipaddress  # lazily: 1.5 ms, for IPv6 alone

    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return None
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
