# SPDX-License-Identifier: MIT
"""Who may open a WebSocket: a server's rules about ``Origin`` and ``Host``.

A web page may open a WebSocket to any address that the browser can reach, the user's own machine included. All that
tells the server of it is the header ``Origin``, which a page cannot choose (RFC 6455, section 10.2). And a page's own
name may be made to point to the user's machine, so that the browser takes the server for the page's own: then ``Host``
tells, which is that name (DNS rebinding).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from tieline.wire.values import dataclass

__all__ = ["LOOPBACK", "Visitors", "is_host"]

# What a server on the loopback interface is called.
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS: Final = {"http": 80, "https": 443}
# What browsers and programs write, and no more of what URLs may hold (RFC 9110, section 7.2): no other reader of the
# header is to find another host in it.
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\]|[A-Za-z0-9_.-]+)(?::([0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class Visitors:
    """Whose WebSockets are accepted.

    Attributes:
        origins: The origins of web pages that may come, each as browsers write it, ``https://example.com``; ``"*"``
            in it is any. None = pages from the server itself: of the host and the port that the client has asked for.
            Clients that are no browsers send no origin, and may always come.
        hosts: The names and addresses, without port, by which the server may have been asked for; None = any. A
            server that listens on a loopback interface wants `LOOPBACK` here.
        is_secure: Whether the server has TLS, so that a page that came without it is none of its own. (One without TLS
            may be behind a proxy that has it.)
    """

    origins: Collection[str] | None = None
    hosts: Collection[str] | None = None
    is_secure: bool = False

    def objection(self, host: str, origin: str | None) -> str | None:
        """Return why a client with these headers may not come; None = it may. *host* is one; see `is_host`."""
        place = _place(host)
        if place is None or (self.hosts is not None and place[0] not in self.hosts):
            return "the header Host names another server"
        if origin is None:
            return None
        if self.origins is not None:
            known = "*" in self.origins or origin.lower() in {each.lower() for each in self.origins}
            return None if known else "the header Origin names a page that may not connect"
        # Only pages that came by HTTP have a server. Those of programs with a browser in them (app://localhost) have a
        # host that is nobody's.
        scheme, _, rest = origin.lower().partition("://")
        page = _place(rest)
        usual = _PORTS.get(scheme)
        is_own = usual is not None and not (self.is_secure and scheme == "http")
        if is_own and page is not None and (page[0], page[1] or usual) == (place[0], place[1] or usual):
            return None
        return "the header Origin names a page of another server"


def is_host(text: str) -> bool:
    """Return whether a header ``Host`` may say so."""
    return _place(text) is not None


def _place(text: str) -> tuple[str, int | None] | None:
    """Return the host in *text*, in lower case and without brackets, and its port; None: that is no such thing."""
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    port = int(found[2]) if found[2] else None
    if port is not None and port >= 1 << 16:
        return None
    return found[1].lower().strip("[]").removesuffix("."), port
