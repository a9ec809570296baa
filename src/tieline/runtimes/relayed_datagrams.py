# SPDX-License-Identifier: MIT
"""The datagrams of a packet client that go by a SOCKS5 proxy: what is put around them, and whether the proxy relays."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import ConnectionLost
from tieline.runtimes.datagram_proxies import associate
from tieline.wire.proxies.datagrams import unwrapped, wrapped
from tieline.wire.proxies.hosts import as_ip, unmapped

if TYPE_CHECKING:
    from tieline.endpoints.proxies import Route
    from tieline.runtimes.connecting import Connector
    from tieline.runtimes.datagram_sockets import Asked

__all__ = ["Relayed", "relayed"]

_AT_ONCE: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)


class Relayed:
    """Datagrams that go by a SOCKS5 proxy to one target (RFC 1928, section 7).

    Args:
        target: Host and port.
        control: The connection to the proxy, whose end is that of the relaying; owned.
    """

    __slots__ = ("_header", "_ip", "control", "target")

    def __init__(self, target: tuple[str, int], control: socket.socket) -> None:
        self.target = target
        self.control = control
        self._header = wrapped(*target, b"")
        ip = as_ip(target[0])
        self._ip = None if ip is None else str(unmapped(str(ip)))  # None = a name, which only the proxy looks up

    def wrap(self, data: bytes) -> bytes:
        """Return *data* as the proxy wants it."""
        return self._header + data

    def unwrap(self, data: bytes) -> bytes | None:
        """Return what the target has sent; None for what is from anybody else, or cannot be understood."""
        try:
            (host, port), payload = unwrapped(data)
        except OSError:  # no header, or a fragment: "an implementation that does not support them MUST drop" these
            return None
        return payload if port == self.target[1] and self._is_target(host) else None

    def _is_target(self, host: str) -> bool:
        if self._ip is None or host == self._ip:
            return True
        try:
            return str(unmapped(host)) == self._ip  # a proxy may name an IPv4 address within IPv6
        except ValueError:  # a name
            return False

    def check(self) -> None:
        """See whether the proxy still relays.

        Raises:
            ConnectionLost: It has ended the connection.
        """
        cause: OSError | None = None
        try:
            if self.control.recv(4096, _AT_ONCE):
                return  # what is said there means nothing
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            cause = exc
        text = "the SOCKS5 proxy has ended its connection, and with it the relaying of datagrams"
        raise ConnectionLost(text) from cause


async def relayed(connector: Connector, asked: Asked, route: Route) -> tuple[socket.socket, Relayed]:
    """Return a socket that is connected as *asked* by the proxy of *route*, and what is put around its datagrams.

    Raises:
        OSError, ValueError: As `associate`.
    """
    control, sock, _ = await associate(connector, asked, route)
    control.setblocking(False)
    target: Any = asked.remote
    return sock, Relayed(target, control)
