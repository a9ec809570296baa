# SPDX-License-Identifier: MIT
"""Who may open a WebSocket: a server's rules about ``Origin`` and ``Host``.

A web page may open a WebSocket to any address that the browser can reach, the user's own machine included. All that
tells the server of it is the header ``Origin``, which a page cannot choose (RFC 6455, section 10.2). And a page's own
name may be made to point to the user's machine, so that the browser takes the server for the page's own: then ``Host``
tells, which is that name (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from tieline.wire.values import dataclass

__all__ = ["LOOPBACK", "Visitors"]

# What a server on the loopback interface is called.
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Visitors:
    """Whose WebSockets are accepted.

    Attributes:
        origins: The origins of web pages that may come, each as browsers write it, ``https://example.com``; ``"*"``
            in it is any. None = pages from the server itself: of the host and the port that the client has asked for.
            Clients that are no browsers send no origin, and may always come.
        hosts: The names and addresses, without port, by which the server may have been asked for; None = any. A
            server that listens on a loopback interface wants `LOOPBACK` here.
    """

    origins: Collection[str] | None = None
    hosts: Collection[str] | None = None

    def objection(self, host: str | None, origin: str | None) -> str | None:
        """Return why a client with these headers may not come; None = it may."""
        place = None if host is None else _place(f"//{host}", None)
        if place is None:
            return "the header Host is missing, or is no host"
        if self.hosts is not None and place[0] not in self.hosts:
            return "the header Host names another server"
        if origin is None:
            return None
        if self.origins is not None:
            known = "*" in self.origins or origin.lower() in {each.lower() for each in self.origins}
            return None if known else "the header Origin names a page that may not connect"
        scheme = origin.partition(":")[0].lower()
        asked = (place[0], place[1] or _PORTS.get(scheme))
        if asked == _place(origin, _PORTS.get(scheme)):
            return None
        return "the header Origin names a page of another server"


def _place(url: str, port: int | None) -> tuple[str, int | None] | None:
    """Return the host that *url* names, in lower case, and its port, or else *port*; None: it names none."""
    try:
        parts = urlsplit(url)
        name = parts.hostname
        found = parts.port
    except ValueError:
        return None
    if not name or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return name.removesuffix("."), port if found is None else found
