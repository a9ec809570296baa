# SPDX-License-Identifier: MIT
"""Which SOCKS protocol does a proxy speak? What to ask it, in which order, and what its answers mean."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from tieline.errors import SOCKSError, SOCKSFailure
from tieline.wire.proxies.socks4 import SOCKS4, SOCKS4a
from tieline.wire.proxies.socks5 import SOCKS5, Credentials, SOCKS5Greeting

if TYPE_CHECKING:
    from tieline.wire.proxies.dialogue import Dialogue

__all__ = ["detection"]


def detection(
    port: int, *, credentials: Credentials | None, user: bytes
) -> Generator[Dialogue[Any], Exception | None, type[SOCKS4] | type[SOCKS5] | None]:
    """Yield the dialogues to have with a proxy, each on a connection of its own; be sent what became of each.

    That is None for a result, else the error. What is returned in the end is the protocol, the best there is, or None
    for no SOCKS proxy.

    For SOCKS5 the greeting tells. The others have nothing but requests, so the proxy is asked to connect to itself, at
    *port* of its loopback interface: that needs no other network. A refusal in the words of the protocol tells enough,
    but one to SOCKS4a may come from a proxy that only knows SOCKS4; that is told by what it says to SOCKS4.

    An error that is neither of the dialogue nor TimeoutError says that nobody is there, and ends it.
    """
    greeted = yield SOCKS5Greeting(credentials=credentials)
    if _speaks(greeted):
        return SOCKS5
    if not isinstance(greeted, SOCKSError | TimeoutError):
        return None
    named = yield SOCKS4a("localhost", port, user=user)
    if named is None:
        return SOCKS4a
    plain = yield SOCKS4("127.0.0.1", port, user=user)
    if plain is None:
        return SOCKS4
    if _speaks(named):
        return SOCKS4a
    return SOCKS4 if _speaks(plain) else None


def _speaks(outcome: Exception | None) -> bool:
    return outcome is None or isinstance(outcome, SOCKSFailure)
