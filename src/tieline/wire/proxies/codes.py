# SPDX-License-Identifier: MIT
"""What the reply codes of SOCKS proxies mean."""

from __future__ import annotations

from typing import Final

from tieline.errors import SOCKSFailure

__all__ = ["NOT_ACCEPTED", "REFUSED_PASSWORD", "socks4_failure", "socks5_failure"]

# RFC 1928, section 3: none of the methods of authentication that were offered is accepted.
NOT_ACCEPTED: Final = 0xFF

# RFC 1929 has one bit for it; the codes mean nothing.
REFUSED_PASSWORD: Final = "user name or password refused"

# The memos of SOCKS4 and 4a.
_SOCKS4: Final = {
    0x5B: "request rejected, or the connection failed",
    0x5C: "rejected, since the proxy cannot reach identd on this machine",
    0x5D: "rejected, since identd on this machine names another user",
}

# RFC 1928, section 6, and Tor's extended codes (its proposal 304).
_SOCKS5: Final = {
    0x01: "general failure of the proxy",
    0x02: "not allowed by the rules of the proxy",
    0x03: "network unreachable",
    0x04: "host unreachable",
    0x05: "connection refused",
    0x06: "TTL expired",
    0x07: "command not supported",
    0x08: "address type not supported",
    0xF0: "Tor: the descriptor of the onion service was not found",
    0xF1: "Tor: the descriptor of the onion service is invalid",
    0xF2: "Tor: introduction to the onion service failed",
    0xF3: "Tor: rendezvous with the onion service failed",
    0xF4: "Tor: the onion service needs an authorization of the client",
    0xF5: "Tor: the onion service does not accept this authorization",
    0xF6: "Tor: not a valid onion address",
    0xF7: "Tor: introduction to the onion service timed out",
}


def socks4_failure(title: str, code: int) -> SOCKSFailure:
    """Return the error for a reply *code* of SOCKS4 other than 0x5a."""
    return _failure(title, code, _SOCKS4)


def socks5_failure(code: int) -> SOCKSFailure:
    """Return the error for a reply *code* of SOCKS5 other than 0."""
    return _failure("SOCKS5", code, _SOCKS5)


def _failure(title: str, code: int, meanings: dict[int, str]) -> SOCKSFailure:
    meaning = meanings.get(code, "unknown code")
    return SOCKSFailure(f"the {title} proxy refuses: {meaning} (reply code 0x{code:02X})", code=code, meaning=meaning)
