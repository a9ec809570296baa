# SPDX-License-Identifier: MIT
"""Opening sockets of datagrams: the asynchronous face of it, written once for all runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.runtimes.datagram_sockets import asked
from tieline.runtimes.detect import current_backend

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["create_datagram_endpoint"]


async def create_datagram_endpoint(
    protocol_factory: Callable[[], Any],
    local_addr: Any = None,
    remote_addr: Any = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
    proxy: Any = None,
    nursery: object = None,
) -> tuple[Any, Any]:
    """Open a datagram socket, call ``connection_made`` of the protocol, and return (transport, protocol).

    This is like the method of an asyncio event loop. On all runtimes, ``sendto`` raises for a datagram that is too
    long, empty datagrams are sent and delivered, a refusal (ICMP) is reported to ``error_received`` and the socket
    stays usable, and the transport has ``pause_reading``, ``resume_reading`` and write buffer limits.

    Args:
        protocol_factory: Returns the protocol: a `tieline.transports.DatagramCallbacks` or asyncio's DatagramProtocol.
        local_addr: The address to bind: (host, port), where a host of None is all interfaces; the path of a Unix
            socket; or a `UDP` or `UnixDatagram` endpoint. None = the system chooses.
        remote_addr: The address to connect to, given in the same way: ``sendto(data)`` then sends to it, and the system
            drops datagrams from any other address. All addresses of a host are tried. None = not connected: each
            ``sendto`` takes an address.
        family: The address family; 0 = any.
        proto: The protocol number; 0 = the default.
        flags: The flags of the resolver (``socket.AI_...``).
        reuse_port: Let several sockets listen on one port (SO_REUSEPORT).
        allow_broadcast: Allow sending to broadcast addresses (SO_BROADCAST).
        sock: A socket to use instead; it excludes all of the above. It belongs to the transport from the call on, and
            is closed if the call fails.
        proxy: A SOCKS5 proxy, or its URL, that relays the datagrams: it resolves the names of targets, including those
            passed to ``sendto``.
        nursery: On trio, the nursery for the transport; None elsewhere.

    Cancelling leaves nothing behind.

    Raises:
        OSError: The socket cannot be opened: of the class that all attempts have in common; `socket.gaierror`: the host
            cannot be resolved; `SOCKSError`: the proxy refuses.
        ValueError: Invalid arguments, or ones that exclude each other.
        TypeError: An argument has the wrong type.
    """
    backend = current_backend()
    wanted = asked(
        local_addr,
        remote_addr,
        family=family,
        proto=proto,
        flags=flags,
        reuse_port=reuse_port,
        allow_broadcast=allow_broadcast,
        sock=sock,
        proxy=proxy,
    )
    if proxy is not None:
        from tieline.runtimes.proxies import datagram_route  # lazily: for those who use proxies alone

        proxy = datagram_route(proxy, wanted)  # by the same name: from here on no frame knows a password
    return await backend.open_datagrams(protocol_factory, wanted, proxy=proxy, nursery=nursery)
