# SPDX-License-Identifier: MIT
"""Datagrams by way of a SOCKS5 proxy (RFC 1928, section 7), on any runtime.

A connection to the proxy stands for as long as datagrams are relayed: its end is theirs. The proxy names where it
relays them, and the socket is connected to that: what comes from anywhere else the system drops.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, cast

from tieline.errors import ConnectionLost
from tieline.runtimes.contract import DatagramTransport, Protocol
from tieline.runtimes.datagram_sockets import Asked, opened
from tieline.wire.addresses import named
from tieline.wire.proxies.datagrams import relay_address, unwrapped, wrapped
from tieline.wire.proxies.hosts import as_ip, unmapped
from tieline.wire.proxies.socks5 import SOCKS5Associate

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.endpoints.proxies import Route, SOCKSSettings
    from tieline.runtimes.connecting import Connector

__all__ = ["Association", "Watch", "associate"]


async def associate(connector: Connector, wanted: Asked, route: Route) -> tuple[socket.socket, socket.socket, Any]:
    """Return the connection to the proxy, a socket of datagrams, and the relay's address that this is connected to.

    Cancelled or failed, no socket is left behind.

    Raises:
        OSError: The proxy cannot be reached, or refuses, or does not follow its protocol.
        ValueError: It cannot be asked for that target; nothing was sent.
    """
    if wanted.remote is not None:
        wrapped(wanted.remote[0], wanted.remote[1], b"")  # refused at once
    proxy = cast("SOCKSSettings", route.proxies[0])
    try:
        control = await connector.connect(proxy.endpoint, [])
        try:
            bound = await connector.talk(control, SOCKS5Associate(credentials=proxy.credentials()))
            peer: Any = control.getpeername()
            relay = relay_address(bound, _host_of(peer))
            sock, remote = await opened(Asked(wanted.local, relay), connector.resolve)
            if wanted.remote is not None:
                route.note(wanted.remote[0], wanted.remote[1], peer)
        except BaseException:
            control.close()
            raise
    except OSError as exc:
        raise named(exc, f"{wanted.title} through {route}") from exc
    return control, sock, remote


def _host_of(peer: Any) -> str:
    """Return the address of the proxy in the socket address *peer*, with the zone that it needs."""
    match peer:
        case (str(host), _, _, int(scope)) if scope and "%" not in host:
            return f"{host}%{scope}"
        case (str(host), *_):
            return host
        case _:  # at a Unix socket: it is on this machine
            return "127.0.0.1"


class Watch(Protocol):
    """Hears the end of the connection to the proxy; what is said on it means nothing.

    Attributes:
        transport: Of that connection; None = there is none yet.
        ended: Called with the reason at its end; to be set before that.
    """

    __slots__ = ("ended", "transport")

    ended: Callable[[BaseException | None], object]

    def __init__(self) -> None:
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: BaseException | None) -> None:
        self.ended(exc)


class Association(DatagramTransport):
    """A transport upon that of a socket connected to the relay, whose protocol it is.

    Args:
        protocol: Hears what comes, with the (host, port) that the proxy says it comes from.
        target: Where ``sendto(data)`` goes to; datagrams from elsewhere are dropped. None = each says where to.

    Attributes:
        release: Called at the end, to close the connection to the proxy; to be set before there is a transport.
    """

    __slots__ = ("_dropped", "_header", "_header_of", "_ip", "_lower", "_protocol", "_target", "release")

    release: Callable[[], object]

    def __init__(self, protocol: Any, target: tuple[str, int] | None) -> None:
        self._protocol: Any = protocol
        self._target = target
        self._lower: Any = None
        self._dropped = 0
        self._header_of: Any = target
        self._header = b"" if target is None else wrapped(*target, b"")
        # As the proxy's answers have it; None = a name, which only the proxy looks up.
        self._ip = None if target is None or as_ip(target[0]) is None else str(unmapped(target[0]))

    # --- the protocol of the lower transport ---------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._lower = transport
        self._protocol.connection_made(self)

    def datagram_received(self, data: bytes, _addr: Any) -> None:
        try:
            addr, payload = unwrapped(data)
        except OSError:  # no header, or a fragment: "an implementation that does not support them MUST drop" these
            self._dropped += 1
            return
        if self._target is not None and not self._is_target(addr):
            self._dropped += 1
            return
        self._protocol.datagram_received(payload, addr)

    def _is_target(self, addr: tuple[str, int]) -> bool:
        host, port = addr
        return port == cast("tuple[str, int]", self._target)[1] and self._ip in (None, host)

    def error_received(self, exc: OSError) -> None:
        self._protocol.error_received(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._protocol = None  # it refers to this
            self.release()

    def proxy_lost(self, reason: BaseException | None) -> None:
        """Take note that the connection to the proxy has ended: it relays nothing any more."""
        if self._lower is not None and not self._lower.is_closing():
            lost = ConnectionLost("the SOCKS5 proxy has ended its connection, and with it the relaying of datagrams")
            lost.__cause__ = reason
            self._lower.fail(lost)

    # --- the transport -------------------------------------------------------------------------------------------

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send *data* as one datagram; as `tieline.create_datagram_endpoint` says, but *addr* may have a name in it.

        Raises:
            OSError: EMSGSIZE: it is too long, with the header that the proxy needs.
            ValueError: An address where none can be given, or none where one must be, or one that cannot be named.
        """
        if addr is None:
            if self._target is None:
                raise ValueError("sendto() needs an address: the socket is not connected to any")
        elif addr != self._header_of:
            if self._target is not None:
                raise ValueError(f"the socket is connected to {self._target!r}: nothing can be sent to {addr!r}")
            host, port = addr[:2]
            self._header, self._header_of = wrapped(host, port, b""), addr
        self._lower.sendto(b"".join((self._header, data)))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact; ``peername`` is the target, and ``proxy_target`` as well."""
        if name in ("peername", "proxy_target"):
            return default if self._target is None else self._target
        if name == "dropped":
            return self._dropped + self._lower.get_extra_info("dropped")
        return self._lower.get_extra_info(name, default)

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_closing(self) -> bool:
        closing: bool = self._lower.is_closing()
        return closing

    def is_reading(self) -> bool:
        """Return whether datagrams are delivered."""
        reading: bool = self._lower.is_reading()
        return reading

    def pause_reading(self) -> None:
        """Deliver nothing from now on: what comes waits in the system, which drops what is too much."""
        self._lower.pause_reading()

    def resume_reading(self) -> None:
        """Deliver datagrams again, in a later turn."""
        self._lower.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""
        size: int = self._lower.get_write_buffer_size()
        return size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit."""
        limits: tuple[int, int] = self._lower.get_write_buffer_limits()
        return limits

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set over how many unsent bytes the protocol is told to pause writing, and at how many to resume."""
        self._lower.set_write_buffer_limits(high, low)

    def close(self) -> None:
        """Deliver nothing more, send what is unsent, then close, the connection to the proxy too."""
        self._lower.close()

    def abort(self) -> None:
        self._lower.abort()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self._target} by {self._lower!r}>"
