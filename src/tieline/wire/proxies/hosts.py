# SPDX-License-Identifier: MIT
"""Hosts and ports as they are told to proxies. Names stay names: looking them up is the proxy's part."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Final

__all__ = ["MAX_NAME", "as_ip", "check_port", "name_bytes", "unmapped"]

# What the one byte of length in SOCKS5 can say; SOCKS4a and HTTP have no limit of their own.
MAX_NAME: Final = 255

# Beside what is no printable ASCII: what would end a name, or make it something else, in a URL or an HTTP header.
_NOT_IN_NAMES: Final = frozenset(b" /?#@[]\\:,*%\"'<>")


def check_port(port: int) -> None:
    """Refuse what is no port of a target.

    Raises:
        ValueError: It is out of range.
    """
    if not 1 <= port <= 65535:
        raise ValueError(f"port of a target must be from 1 to 65535, not {port}")


def unmapped(host: str) -> IPv4Address | IPv6Address:
    """Return the address that *host* spells out, the IPv4 address where it is one within IPv6 (RFC 4291, 2.5.5.2).

    Raises:
        ValueError: It spells out none.
    """
    address = ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address


def as_ip(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that *host* spells out, in its usual form; None if it is a name.

    Raises:
        ValueError: It has a colon and is no IPv6 address, or names a zone, which is of this machine and no other.
    """
    if ":" not in host:
        if not host[-1:].isdigit():  # most names, which need not be tried
            return None
        try:
            return IPv4Address(host)
        except AddressValueError:
            return None
    try:
        address = IPv6Address(host)
    except AddressValueError as exc:
        raise ValueError(f"host {host[:64]!r} is neither a name nor an IPv6 address") from exc
    if address.scope_id is not None:
        raise ValueError(f"host {host[:64]!r} has a zone (behind %), which means nothing to a proxy")
    return address


def name_bytes(host: str) -> bytes:
    """Return the name *host* in its ASCII form (IDNA).

    Raises:
        ValueError: It is none: empty, over 255 bytes, a label empty or over 63 bytes, or a character that no name has.
    """
    if not host:
        raise ValueError("host must not be empty")
    if len(host) > MAX_NAME:
        raise ValueError(f"host is {len(host)} characters long, and {MAX_NAME} are allowed")
    try:
        name = host.encode("idna")
    except UnicodeError as exc:
        raise ValueError(f"host {host[:64]!r} is not a valid name: {exc}") from exc
    if len(name) > MAX_NAME:
        raise ValueError(f"host is {len(name)} bytes long in its IDNA form, and {MAX_NAME} are allowed")
    for byte in name:
        if not 0x20 < byte < 0x7F or byte in _NOT_IN_NAMES:
            raise ValueError(f"a host must not hold {chr(byte)!r}")
    return name
