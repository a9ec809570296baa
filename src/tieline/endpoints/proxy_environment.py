# SPDX-License-Identifier: MIT
"""The variables that name a proxy for all of a user's programs, as curl reads them. Looked at only on demand."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from tieline.endpoints.proxy_urls import parse_proxy

__all__ = ["proxy_url"]


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
