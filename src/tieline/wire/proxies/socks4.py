# SPDX-License-Identifier: MIT
"""SOCKS4 and SOCKS4a: one request and one reply of eight bytes (the two memos of those names)."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import ClassVar, Final

from tieline.errors import SOCKSProtocolError
from tieline.wire.proxies.codes import socks4_failure
from tieline.wire.proxies.dialogue import Address, Dialogue, Talk
from tieline.wire.proxies.hosts import as_ip, check_port, name_bytes

__all__ = ["SOCKS4", "SOCKS4a"]

_CONNECT: Final = b"\x04\x01"
_GRANTED: Final = 0x5A
_NAME_FOLLOWS: Final = b"\x00\x00\x00\x01"  # an address that nobody has


class SOCKS4(Dialogue[Address]):
    """SOCKS4: only to IPv4 addresses.

    Its result is the address in the proxy's reply: mostly 0.0.0.0:0, and never reliable.

    Args:
        host: An IPv4 address.
        port: The port.
        user: The user id, sent as it is; b"" = none.

    Raises:
        ValueError: The protocol has no way to say this; a *user* must hold no NUL.
    """

    __slots__ = ()

    title: ClassVar[str] = "SOCKS4"
    cut_error = SOCKSProtocolError

    def __init__(self, host: str, port: int, *, user: bytes = b"") -> None:
        check_port(port)
        if b"\0" in user:
            raise ValueError("a SOCKS4 user id must hold no NUL")
        address, behind = self._host(host)
        super().__init__(self._spoken(_CONNECT + port.to_bytes(2) + address + user + b"\0" + behind))

    def _host(self, host: str) -> tuple[bytes, bytes]:
        """Return the field of the address, and what comes at the end of the request."""
        address = as_ip(host)
        if not isinstance(address, IPv4Address):
            what = "names" if address is None else "IPv6 addresses"
            raise ValueError(f"SOCKS4 takes IPv4 addresses only, and no {what}: use SOCKS5, or SOCKS4a for names")
        return address.packed, b""

    def _spoken(self, request: bytes) -> Talk[Address]:
        # Two bytes decide: some proxies send no more of a refusal.
        version, code = yield request, 2
        if version != 0:
            hint = ": it speaks SOCKS5" if version == 5 else ""
            raise SOCKSProtocolError(
                f"the {self.title} proxy began its reply with the byte 0x{version:02X}, expected 0x00{hint}"
            )
        if code != _GRANTED:
            raise socks4_failure(self.title, code)
        rest = yield b"", 6
        return str(IPv4Address(rest[2:])), int.from_bytes(rest[:2])


class SOCKS4a(SOCKS4):
    """SOCKS4a: SOCKS4 with names, which the proxy looks up; otherwise as `SOCKS4`.

    Raises:
        ValueError: The protocol has no way to say this; it has none for IPv6 addresses.
    """

    __slots__ = ()

    title: ClassVar[str] = "SOCKS4a"

    def _host(self, host: str) -> tuple[bytes, bytes]:
        address = as_ip(host)
        if address is None:
            return _NAME_FOLLOWS, name_bytes(host) + b"\0"
        if not isinstance(address, IPv4Address):
            raise ValueError("SOCKS4a takes names and IPv4 addresses, and no IPv6 addresses: use SOCKS5")
        if address.packed[:3] == b"\0\0\0" and address.packed[3]:
            raise ValueError(f"SOCKS4a cannot reach {address}: by such addresses it says that a name follows")
        return address.packed, b""
