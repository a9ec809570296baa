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
    """Open a datagram socket, and return (transport, protocol) after ``connection_made``.

    Like the method of an asyncio event loop, and the same on all runtimes: ``sendto`` raises for a datagram that is too
    long, empty ones are sent and delivered, a refusal (ICMP) is reported to ``error_received`` and the socket stays
    usable, and the transport has ``pause_reading``, ``resume_reading`` and the limits of a write buffer.

    Args:
        protocol_factory: Returns the protocol: a `tieline.transports.DatagramCallbacks`, or asyncio's DatagramProtocol.
        local_addr: Where to receive: (host, port), where a host of None is all interfaces; the path of a Unix socket;
            or a `UDP` or `UnixDatagram`. None = the system chooses.
        remote_addr: What to connect to, in the same form: then ``sendto(data)`` sends there, and the system drops
            datagrams from anybody else. All addresses of a name are tried. None = each ``sendto`` takes an address.
        family: The address family; 0 = as the addresses have it.
        proto: The protocol number; 0 is the usual one.
        flags: The resolver's flags (``socket.AI_...``).
        reuse_port: Let several sockets listen on one port (SO_REUSEPORT).
        allow_broadcast: Let datagrams be sent to broadcast addresses.
        sock: A socket to use instead; it excludes all of the above. It belongs to this function from the call on, even
            if that fails.
        proxy: A SOCKS5 proxy, or its URL, to relay the datagrams. It looks up names of targets, including those given
            to ``sendto``.
        nursery: On trio the nursery that the transport lives in; None elsewhere.

    Cancelling leaves nothing behind.

    Raises:
        OSError: The socket cannot be opened: of the class that all attempts have in common; `socket.gaierror`: no such
            host; `SOCKSError`: the proxy refuses.
        ValueError: Invalid arguments, or ones that exclude each other.
        TypeError: One of the wrong type.
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
