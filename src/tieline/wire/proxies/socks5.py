# SPDX-License-Identifier: MIT
"""SOCKS5: RFC 1928, its passwords of RFC 1929, and Tor's two commands for looking names up.

Each message goes out by itself, when the reply to the one before has come: proxies exist that hang on more.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Final, TypeVar

from tieline.errors import SOCKSFailure, SOCKSProtocolError
from tieline.wire.proxies.codes import NOT_ACCEPTED, REFUSED_PASSWORD, socks5_failure
from tieline.wire.proxies.dialogue import Address, Dialogue, Talk
from tieline.wire.proxies.hosts import as_ip, check_port, name_bytes, unmapped

__all__ = [
    "SOCKS5",
    "Credentials",
    "SOCKS5Associate",
    "SOCKS5Greeting",
    "SOCKS5Resolve",
    "SOCKS5ResolvePTR",
    "address_field",
    "read_host",
]

ResultT = TypeVar("ResultT")

# User name and password, 1 to 255 bytes each.
Credentials = tuple[bytes, bytes]

_NO_AUTHENTICATION: Final = 0x00
_PASSWORD: Final = 0x02

CONNECT: Final = 0x01
UDP_ASSOCIATE: Final = 0x03
RESOLVE: Final = 0xF0  # Tor's socks-extensions
RESOLVE_PTR: Final = 0xF1

IPV4: Final = 0x01
NAME: Final = 0x03
IPV6: Final = 0x04


class _SOCKS5Dialogue(Dialogue[ResultT]):
    """The steps that all have in common. Credentials are offered alone: who gives them wants them checked."""

    __slots__ = ()

    title: ClassVar[str] = "SOCKS5"
    cut_error = SOCKSProtocolError

    def __init__(self, talk: Talk[ResultT], credentials: Credentials | None = None) -> None:
        if credentials is not None and not all(0 < len(one) < 256 for one in credentials):
            raise ValueError("user name and password of SOCKS5 must be 1 to 255 bytes long each")
        super().__init__(talk)


class SOCKS5(_SOCKS5Dialogue[Address]):
    """SOCKS5: to IPv4 and IPv6 addresses, and to names, which the proxy looks up.

    Its result is the address in the proxy's reply: mostly 0.0.0.0:0, and never reliable.

    Args:
        host: A name or an address.
        port: The port.
        credentials: User name and password, which the proxy must then check. None = none.

    Raises:
        ValueError: The protocol has no way to say this.
    """

    __slots__ = ()

    def __init__(self, host: str, port: int, *, credentials: tuple[bytes, bytes] | None = None) -> None:
        check_port(port)
        request = _request(CONNECT, address_field(host), port)
        super().__init__(_greeting_and_request(credentials, request), credentials)


class SOCKS5Associate(_SOCKS5Dialogue[Address]):
    """UDP ASSOCIATE: datagrams go by way of the result, an address of the proxy, for as long as its connection stands.

    See `wrapped`, `unwrapped` and `relay_address`. Where our own datagrams will come from is left open, as NAT may
    change it anyway.
    """

    __slots__ = ()

    def __init__(self, *, credentials: Credentials | None = None) -> None:
        request = _request(UDP_ASSOCIATE, bytes([IPV4, 0, 0, 0, 0]), 0)
        super().__init__(_greeting_and_request(credentials, request), credentials)


class SOCKS5Resolve(_SOCKS5Dialogue[str]):
    """Tor's RESOLVE: have *host* looked up, and get an address of it.

    Raises:
        ValueError: *host* is no name.
    """

    __slots__ = ()

    def __init__(self, host: str, *, credentials: Credentials | None = None) -> None:
        request = _request(RESOLVE, address_field(host), 0)
        super().__init__(_host_alone(credentials, request), credentials)


class SOCKS5ResolvePTR(_SOCKS5Dialogue[str]):
    """Tor's RESOLVE_PTR: have the IPv4 or IPv6 address *host* looked up, and get its name.

    Raises:
        ValueError: *host* is no address.
    """

    __slots__ = ()

    def __init__(self, host: str, *, credentials: Credentials | None = None) -> None:
        if as_ip(host) is None:
            raise ValueError("RESOLVE_PTR takes an IPv4 or IPv6 address")
        request = _request(RESOLVE_PTR, address_field(host), 0)
        super().__init__(_host_alone(credentials, request), credentials)


class SOCKS5Greeting(_SOCKS5Dialogue[None]):
    """The greeting alone, to find out whether a proxy speaks SOCKS5; nothing is asked for.

    A `SOCKSFailure` of it comes from a SOCKS5 proxy too: one that wants another authentication.
    """

    __slots__ = ()

    def __init__(self, *, credentials: Credentials | None = None) -> None:
        super().__init__(_greeting(credentials), credentials)


def address_field(host: str) -> bytes:
    """Return the address type and the address of *host* (RFC 1928, sections 4 and 5).

    Raises:
        ValueError: It has no such form.
    """
    address = as_ip(host)
    if address is None:
        name = name_bytes(host)
        return bytes([NAME, len(name)]) + name
    return bytes([IPV4 if address.version == 4 else IPV6]) + address.packed


def read_host(kind: int, field: bytes) -> str:
    """Return the host that *field* spells out, an address of the type *kind* without its byte of length.

    An IPv4 address is one also where it comes within an IPv6 one: so proxies tell it whose socket is one for both.
    """
    if kind == NAME:
        # For people, and never looked up: of what is no name, no byte may do harm in a log.
        return "".join(chr(byte) if 0x20 < byte < 0x7F else "?" for byte in field)
    return str(IPv4Address(field) if kind == IPV4 else unmapped(str(IPv6Address(field))))


def _request(command: int, address: bytes, port: int) -> bytes:
    return bytes([5, command, 0]) + address + port.to_bytes(2)


def _greeting(credentials: Credentials | None) -> Talk[None]:
    method = _NO_AUTHENTICATION if credentials is None else _PASSWORD
    version, chosen = yield bytes([5, 1, method]), 2
    _check_version(version)
    if chosen == NOT_ACCEPTED:
        meaning = "it wants a user name and a password" if credentials is None else "it takes no user name and password"
        text = f"the SOCKS5 proxy accepts no authentication that was offered (0xFF): it seems that {meaning}"
        raise SOCKSFailure(text, code=NOT_ACCEPTED, meaning="no acceptable authentication method")
    if chosen != method:
        raise SOCKSProtocolError(
            f"the SOCKS5 proxy chose the authentication method 0x{chosen:02X}, and 0x{method:02X} alone was offered"
        )


def _authenticated(credentials: Credentials | None) -> Talk[None]:
    yield from _greeting(credentials)
    if credentials is None:
        return
    user, password = credentials
    version, status = yield b"".join((b"\x01", bytes([len(user)]), user, bytes([len(password)]), password)), 2
    if version != 1:
        raise SOCKSProtocolError(
            f"the SOCKS5 proxy began its reply to the password with the byte 0x{version:02X}, expected 0x01"
        )
    if status != 0:
        text = f"the SOCKS5 proxy refuses the user name or the password (status 0x{status:02X})"
        raise SOCKSFailure(text, code=status, meaning=REFUSED_PASSWORD)


def _greeting_and_request(credentials: Credentials | None, request: bytes) -> Talk[Address]:
    yield from _authenticated(credentials)
    # Two bytes decide: refusals exist that are no longer, and some that say 0 for the type of their address.
    version, code = yield request, 2
    _check_version(version)
    if code != 0:
        raise socks5_failure(code)
    # The reserved byte, the type, and the first byte of the address, which every type has.
    _, kind, first = yield b"", 3
    sizes = {IPV4: 4, IPV6: 16, NAME: first + 1}
    if kind not in sizes:
        raise SOCKSProtocolError(f"the SOCKS5 proxy replied with the address type 0x{kind:02X}, expected 1, 3 or 4")
    rest = yield b"", sizes[kind] - 1 + 2
    address = rest[:-2] if kind == NAME else bytes([first]) + rest[:-2]
    return read_host(kind, address), int.from_bytes(rest[-2:])


def _host_alone(credentials: Credentials | None, request: bytes) -> Talk[str]:
    host, _ = yield from _greeting_and_request(credentials, request)
    return host


def _check_version(version: int) -> None:
    if version != 5:
        hint = ": it speaks HTTP" if version == ord("H") else ""
        raise SOCKSProtocolError(f"the SOCKS5 proxy began its reply with the byte 0x{version:02X}, expected 0x05{hint}")
