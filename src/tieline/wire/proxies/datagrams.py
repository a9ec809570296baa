# SPDX-License-Identifier: MIT
"""Datagrams by way of a SOCKS5 proxy: the header before each of them (RFC 1928, section 7)."""

from __future__ import annotations

from ipaddress import ip_address

from tieline.errors import SOCKSProtocolError
from tieline.wire.proxies.dialogue import Address
from tieline.wire.proxies.hosts import check_port
from tieline.wire.proxies.socks5 import IPV4, IPV6, NAME, address_field, read_host

__all__ = ["relay_address", "unwrapped", "wrapped"]

_SIZES = {IPV4: 4, IPV6: 16}


def wrapped(host: str, port: int, data: bytes) -> bytes:
    """Return the datagram that has the proxy send *data* to *host* and *port*.

    Raises:
        ValueError: No such target can be named.
    """
    check_port(port)
    return b"\0\0\0" + address_field(host) + port.to_bytes(2) + data


def unwrapped(datagram: bytes) -> tuple[Address, bytes]:
    """Return from where a datagram of the proxy comes, and what is in it.

    Raises:
        SOCKSProtocolError: It is none, or a fragment, which is to be dropped as well; the next one may be good.
    """
    if len(datagram) < 5:
        raise _fault("is shorter than any header")
    if datagram[2] != 0:
        raise _fault("is a fragment, and these are not put together")
    kind = datagram[3]
    begin = 5 if kind == NAME else 4
    size = datagram[4] if kind == NAME else _SIZES.get(kind)
    if size is None:
        raise _fault(f"has the address type 0x{kind:02X}, expected 1, 3 or 4")
    end = begin + size
    if len(datagram) < end + 2:
        raise _fault("ends within its header")
    host = read_host(kind, datagram[begin:end])
    return (host, int.from_bytes(datagram[end : end + 2])), datagram[end + 2 :]


def relay_address(bound: Address, proxy: str) -> Address:
    """Return where to send datagrams to.

    Args:
        bound: What the proxy's reply to UDP ASSOCIATE names.
        proxy: The address to which the connection to the proxy goes; it stands in where the reply names none.

    Raises:
        SOCKSProtocolError: The reply names no port, or a host by its name, which would have to be looked up here.
    """
    host, port = bound
    if port == 0:
        raise SOCKSProtocolError("the SOCKS5 proxy named no port to send datagrams to")
    try:
        is_unspecified = ip_address(host).is_unspecified
    except ValueError:
        raise SOCKSProtocolError("the SOCKS5 proxy named no address to send datagrams to, but a name") from None
    return (proxy if is_unspecified else host), port


def _fault(what: str) -> SOCKSProtocolError:
    return SOCKSProtocolError(f"a datagram of the SOCKS5 proxy {what}")
