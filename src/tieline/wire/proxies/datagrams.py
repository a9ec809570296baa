# SPDX-License-Identifier: MIT
"""Datagrams by way of a SOCKS5 proxy: the header before each of them (RFC 1928, section 7)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Final

from tieline.errors import SOCKSProtocolError
from tieline.wire.proxies.hosts import check_port, unmapped
from tieline.wire.proxies.socks5 import IPV4, IPV6, NAME, address_field, read_host

if TYPE_CHECKING:
    from tieline.wire.proxies.dialogue import Address

__all__ = ["relay_address", "unwrapped", "wrapped"]

_SIZES = {IPV4: 4, IPV6: 16}
_BROADCAST: Final = IPv4Address("255.255.255.255")
# Of a network of somebody's own: RFC 1918, RFC 3927 (link-local), RFC 6598 (behind the NAT of a provider); RFC 4193,
# RFC 4291 (link-local). What `ipaddress` calls private has more in it, and other things from version to version.
_PRIVATE: Final = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"),
    )
)


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
        proxy: The address to which the connection to the proxy goes, an IPv6 address perhaps with its zone. It stands
            in where the reply names none, or names the proxy as it sees itself: its own loopback interface is not ours,
            and when it is reached from everywhere (by NAT, perhaps), the network that it stands in is not ours either.

    Raises:
        SOCKSProtocolError: The reply names no port, or a host by its name, which would have to be looked up here, or
            not one host but many.
    """
    host, port = bound
    if port == 0:
        raise SOCKSProtocolError("the SOCKS5 proxy named no port to send datagrams to")
    try:
        address = unmapped(host)
    except ValueError:
        raise SOCKSProtocolError("the SOCKS5 proxy named no address to send datagrams to, but a name") from None
    if address.is_multicast or address == _BROADCAST:
        raise SOCKSProtocolError(f"the SOCKS5 proxy named {address} to send datagrams to, which is not one host")
    own = unmapped(proxy)
    if address.is_unspecified or _reach(address) < _reach(own):
        return proxy, port
    if address.version == 6 and address.is_link_local:  # of use with a zone alone, which no reply can name
        zone = getattr(own, "scope_id", None)
        return (proxy if zone is None else f"{address}%{zone}"), port
    return str(address), port


def _reach(address: IPv4Address | IPv6Address) -> int:
    """Return from where *address* means the same: 0 = on one machine, 1 = in a private network, 2 = everywhere."""
    if address.is_loopback:
        return 0
    return 1 if any(address in network for network in _PRIVATE) else 2


def _fault(what: str) -> SOCKSProtocolError:
    return SOCKSProtocolError(f"a datagram of the SOCKS5 proxy {what}")
