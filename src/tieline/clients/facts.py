# SPDX-License-Identifier: MIT
"""What clients tell of their sockets: the same on all eight, so it is here once."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from tieline.endpoints.socket_addresses import (
    IPv4SocketAddress,
    IPv6SocketAddress,
    SocketAddress,
    UnixCredentials,
    UnixSocketAddress,
)
from tieline.runtimes.peers import peer_credentials
from tieline.runtimes.socket_proxy import SocketProxy

if TYPE_CHECKING:
    import socket

__all__ = ["CredentialFacts", "InternetFacts", "UnixFacts", "view_of"]


class _Facts:
    """Asks the client it is part of, which says why there is nothing to tell when there is not."""

    __slots__ = ()

    if TYPE_CHECKING:

        def get_extra_info(self, name: str, default: Any = None) -> Any: ...


class InternetFacts(_Facts):
    """The address methods of clients over TCP and UDP."""

    __slots__ = ()

    def get_local_address(self) -> SocketAddress:
        """Return the local address of the socket.

        Raises:
            ClientClosedError: The client is closed.
            OSError: It is not connected (ENOTCONN).
        """
        return _address(self.get_extra_info("sockname"))

    def get_remote_address(self) -> SocketAddress:
        """Return the address of the peer; through a proxy, that of the target for UDP, and that of the proxy for TCP.

        Raises:
            ClientClosedError, OSError: As of `get_local_address`.
        """
        return _address(self.get_extra_info("peername"))


class UnixFacts(_Facts):
    """The address methods of clients over Unix sockets."""

    __slots__ = ()

    def get_local_name(self) -> UnixSocketAddress:
        """Return the local path of the socket.

        Raises:
            ClientClosedError: The client is closed.
            OSError: It is not connected (ENOTCONN).
        """
        return UnixSocketAddress.from_raw(self.get_extra_info("sockname"))

    def get_peer_name(self) -> UnixSocketAddress:
        """Return the path of the peer's socket.

        Raises:
            ClientClosedError, OSError: As of `get_local_name`.
        """
        return UnixSocketAddress.from_raw(self.get_extra_info("peername"))


class CredentialFacts(_Facts):
    """The credentials method of clients over Unix stream sockets."""

    __slots__ = ()

    def get_peer_credentials(self) -> UnixCredentials:
        """Return the credentials of the peer at the time when it connected or listened: pid, uid and gid.

        Raises:
            ClientClosedError: The client is closed.
            OSError: The client is not connected, or no longer (ENOTCONN).
            UnsupportedOperation: The platform does not provide them.
        """
        sock: socket.socket | None = self.get_extra_info("socket")
        cause: OSError | None = None
        if sock is not None and sock.fileno() >= 0:  # on uvloop there is none any more, or one that is closed
            try:
                return peer_credentials(sock)
            except OSError as exc:
                cause = exc
        raise OSError(errno.ENOTCONN, "the connection is gone, and with it what the system knew") from cause


def view_of(sock: Any) -> SocketProxy:
    """Return a view of *sock*.

    Raises:
        AttributeError: It is None.
    """
    if sock is None:
        raise AttributeError("the client has no socket: it is connected otherwise")
    return SocketProxy(sock)


def _address(raw: Any) -> SocketAddress:
    if raw is None:  # it went down meanwhile, and nobody had asked before
        raise OSError(errno.ENOTCONN, "the socket has no such address any more")
    return IPv6SocketAddress(*raw) if len(raw) == 4 else IPv4SocketAddress(*raw[:2])
