# SPDX-License-Identifier: MIT
"""The URLs that name proxies, and the variables that hold one for all of a user's programs, as curl reads them.

No text of an error repeats any part of a URL: passwords stand in them. The variables are looked at on demand only.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import unquote_to_bytes

from tieline.endpoints.proxy_auth import SOCKSUserAuth
from tieline.endpoints.urls import host_from_url, port_from_url
from tieline.wire.proxies.socks4 import SOCKS4, SOCKS4a
from tieline.wire.proxies.socks5 import SOCKS5

__all__ = ["parse_proxy", "proxy_url"]

# None is HTTP CONNECT. curl writes socks5h where the proxy is to look names up, which ours always does.
_SCHEMES: Final = {"socks4": SOCKS4, "socks4a": SOCKS4a, "socks5": SOCKS5, "socks5h": SOCKS5, "http": None}


def parse_proxy(
    url: str,
) -> tuple[tuple[str, int], type[SOCKS4] | type[SOCKS5] | None, SOCKSUserAuth | tuple[bytes, bytes] | None]:
    """Return the address, the protocol (None: HTTP CONNECT) and user name and password that *url* names.

    It is ``scheme://host:port`` or ``scheme://user:password@host:port``, with the scheme one of socks4, socks4a,
    socks5, socks5h and http. In user and password, %XX stands for a byte. IPv6 addresses stand in brackets.

    Raises:
        ValueError: It is none of these.
    """
    scheme, colon, rest = url.partition("://")
    expected = f"scheme://host:port or scheme://user:password@host:port, the scheme one of {', '.join(_SCHEMES)}"
    if not colon or scheme.lower() not in _SCHEMES:
        raise ValueError(f"the URL of a proxy must be {expected}")
    if any(character <= " " or character == "\x7f" for character in rest):
        raise ValueError("the URL of a proxy must hold no spaces and no control characters; write them as %XX")
    userinfo, at, place = rest.removesuffix("/").rpartition("@")
    host, colon, port = place.rpartition(":")
    if any(mark in place for mark in "/?#"):
        raise ValueError(f"the URL of a proxy must end after the port; expected {expected}")
    if not colon or not port or port.endswith("]"):
        raise ValueError(f"the URL of a proxy has no port; expected {expected}")
    if not host:
        raise ValueError(f"the URL of a proxy has no host; expected {expected}")
    user, _, password = userinfo.partition(":")
    try:
        address = host_from_url(host), port_from_url(port)
    except ValueError:
        # Its text shows what it saw, and where an @ is not written as %40 that may be a part of the password.
        raise ValueError(f"the host or the port is wrong in the URL of a proxy; expected {expected}") from None
    protocol = _SCHEMES[scheme.lower()]
    if not at:
        return address, protocol, None
    pair = unquote_to_bytes(user), unquote_to_bytes(password)
    return address, protocol, pair if protocol is None else SOCKSUserAuth(*pair)


def proxy_url(variables: Mapping[str, str], host: str | None) -> str | None:
    """Return the URL of the proxy in *variables* for *host*; None if there is none, or none for that.

    Raises:
        ValueError: It cannot be understood; the text tells the variable, and nothing of its value.
    """
    for name in ("all_proxy", "ALL_PROXY"):  # what is written small counts more, as for curl
        url = variables.get(name, "").strip()
        if not url:
            continue
        if host is not None and _is_excepted(host, variables.get("no_proxy") or variables.get("NO_PROXY", "")):
            return None
        try:
            parse_proxy(url)
        except ValueError as exc:
            raise ValueError(f"the variable {name}: {exc}") from None
        return url
    return None


def _is_excepted(host: str, listed: str) -> bool:
    host = host.strip("[]").rstrip(".").lower()
    return any(_covers(entry, host) for entry in listed.lower().replace(",", " ").split())


def _covers(entry: str, host: str) -> bool:
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:  # at least one of them is a name
        name = entry.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
