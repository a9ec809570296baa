# SPDX-License-Identifier: MIT
"""What is a proxy, and what can it do? What to ask it, in which order, and what its answers mean.

Nothing outside is needed: it is asked to connect to itself, by its loopback interface.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from tieline.errors import HTTPConnectError, SOCKSError, SOCKSFailure
from tieline.wire.proxies.codes import REFUSED_PASSWORD
from tieline.wire.proxies.dialogue import Dialogue
from tieline.wire.proxies.http_connect import HTTPConnect
from tieline.wire.proxies.socks4 import SOCKS4, SOCKS4a
from tieline.wire.proxies.socks5 import SOCKS5, Credentials, SOCKS5Associate, SOCKS5Greeting

__all__ = ["ProxyFinding", "ProxyReport", "detection", "survey"]

_PLACEHOLDER: Final = (b"?", b"?")  # offered to see whether passwords are taken, and never sent
_WANTED: Final = "it wants a user name and a password"
_REFUSED: Final = "it refuses the user name or the password"

# By these it says that it has looked for the target, so it takes targets of that kind.
_HAS_TRIED: Final = frozenset({0x03, 0x04, 0x05, 0x06})
_NOT_SUPPORTED: Final = frozenset({0x07, 0x08})
_NETWORK_UNREACHABLE: Final = 0x03

# What servers say that are no proxies.
_NO_CONNECT: Final = frozenset({400, 404, 405, 501})


class ProxyFinding(NamedTuple):
    """A finding: True, False, or None if it is unknown; and the reason, if there is one."""

    answer: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ProxyReport:
    """What a proxy supports, as far as it can be found out without any other network.

    Attributes:
        protocols: Whether it speaks each of SOCKS5, SOCKS4a, SOCKS4 and HTTP CONNECT, by these names.
        open: Whether it accepts clients without user name and password.
        password: Whether it supports user name and password; if they were given: whether it accepts those.
        names: Whether it accepts names as targets, and looks them up itself.
        ipv6: Whether it accepts IPv6 addresses as targets. True does not mean that it can reach any.
        udp: Whether it relays datagrams.
    """

    protocols: dict[str, ProxyFinding]
    open: ProxyFinding
    password: ProxyFinding
    names: ProxyFinding
    ipv6: ProxyFinding
    udp: ProxyFinding

    def speaks(self, protocol: str) -> bool:
        """Return whether it is known to speak *protocol*."""
        return bool(self.protocols[protocol].answer)


class _Part(NamedTuple):
    """What one protocol tells."""

    spoken: ProxyFinding
    open: ProxyFinding
    password: ProxyFinding
    names: ProxyFinding
    ipv6: ProxyFinding
    udp: ProxyFinding


_Talks: TypeAlias = Generator[Dialogue[Any], Exception | None, _Part]
_UNKNOWN: Final = ProxyFinding(None)


def survey(
    port: int, *, protocol: str, credentials: Credentials | None
) -> Generator[Dialogue[Any], Exception | None, ProxyReport]:
    """Yield the dialogues to have with a proxy, each on a connection of its own; be sent what became of each.

    That is None for a result, else the error.

    Args:
        port: Its port, which it is asked to connect to.
        protocol: As what it is known: the name of a protocol. User name and password are told in that one alone.
        credentials: These; None = none.
    """
    own = {protocol: credentials}
    socks5 = yield from _socks5(port, own.get("SOCKS5"))
    users = own.get("SOCKS4a") or own.get("SOCKS4") or (b"", b"")
    socks4a, socks4 = yield from _socks4(port, users[0], is_alone=not socks5.spoken.answer)
    http = yield from _http(port, own.get("HTTP CONNECT"))
    parts = {"SOCKS5": socks5, "SOCKS4a": socks4a, "SOCKS4": socks4, "HTTP CONNECT": http}
    # Its other facts are those of the protocol that it is known by, or else of the best that it speaks.
    order = (protocol, "SOCKS5", "HTTP CONNECT", "SOCKS4a", "SOCKS4")
    told = next((parts[name] for name in order if parts[name].spoken.answer), _Part(*[_UNKNOWN] * 6))
    return ProxyReport({name: part.spoken for name, part in parts.items()}, *told[1:])


def _says(outcome: Exception | None) -> str:
    """Return what became of a question, for people."""
    if isinstance(outcome, SOCKSFailure):
        return f"{outcome.meaning} (reply code 0x{outcome.code:02X})"
    if isinstance(outcome, TimeoutError):
        return "no reply in time"
    return str(outcome)


# --- SOCKS5 ----------------------------------------------------------------------------------------------------------


def _socks5(port: int, credentials: Credentials | None) -> _Talks:
    greeted = yield SOCKS5Greeting()
    if not (greeted is None or isinstance(greeted, SOCKSFailure)):
        return _Part(ProxyFinding(False, _says(greeted)), *[_UNKNOWN] * 5)
    offered = yield SOCKS5Greeting(credentials=credentials or _PLACEHOLDER)
    is_open = ProxyFinding(greeted is None)
    password = ProxyFinding(
        offered is None, "" if offered is None or isinstance(offered, SOCKSFailure) else _says(offered)
    )
    used = credentials if password.answer else None
    if not (used or is_open.answer):
        return _Part(ProxyFinding(True), is_open, password, *[ProxyFinding(None, _WANTED)] * 3)
    named = yield SOCKS5("localhost", port, credentials=used)
    if isinstance(named, SOCKSFailure) and named.meaning == REFUSED_PASSWORD:
        return _Part(ProxyFinding(True), is_open, ProxyFinding(False, _REFUSED), *[ProxyFinding(None, _REFUSED)] * 3)
    ipv6 = yield SOCKS5("::1", port, credentials=used)
    udp = yield SOCKS5Associate(credentials=used)
    return _Part(ProxyFinding(True), is_open, password, _reached(named), _reached_ipv6(ipv6), _relays(udp))


def _reached(outcome: Exception | None) -> ProxyFinding:
    """Return whether such targets are taken, by what became of one."""
    if outcome is None:
        return ProxyFinding(True)
    code = outcome.code if isinstance(outcome, SOCKSFailure) else None
    if code in _HAS_TRIED:
        return ProxyFinding(True)
    return ProxyFinding(False if code in _NOT_SUPPORTED else None, _says(outcome))


def _reached_ipv6(outcome: Exception | None) -> ProxyFinding:
    if isinstance(outcome, SOCKSFailure) and outcome.code == _NETWORK_UNREACHABLE:
        return ProxyFinding(False, _says(outcome))
    return _reached(outcome)


def _relays(outcome: Exception | None) -> ProxyFinding:
    if outcome is None:
        return ProxyFinding(True)
    return ProxyFinding(False if isinstance(outcome, SOCKSError) else None, _says(outcome))


# --- SOCKS4 and SOCKS4a ----------------------------------------------------------------------------------------------


def _socks4(
    port: int, user: bytes, *, is_alone: bool
) -> Generator[Dialogue[Any], Exception | None, tuple[_Part, _Part]]:
    """Ask in both. A refusal is in the words of SOCKS4, but proxies that speak SOCKS5 alone know these words too."""
    named = yield SOCKS4a("localhost", port, user=user)
    if named is None:
        return _old(ProxyFinding(True), named=True), _old(ProxyFinding(True), named=False)
    silent = isinstance(named, TimeoutError)
    plain = named if silent else (yield SOCKS4("127.0.0.1", port, user=user))
    if plain is None:
        return _old(ProxyFinding(False, _says(named)), named=True), _old(ProxyFinding(True), named=False)
    found: list[ProxyFinding] = []
    for outcome in (named, plain):
        is_refusal = isinstance(outcome, SOCKSFailure)
        found.append(ProxyFinding((True if is_alone else None) if is_refusal else False, _says(outcome)))
    return _old(found[0], named=True), _old(found[1], named=False)


def _old(spoken: ProxyFinding, *, named: bool) -> _Part:
    title = "SOCKS4a" if named else "SOCKS4"
    no = ProxyFinding(False, f"{title} has none")
    return _Part(spoken, _UNKNOWN, no, ProxyFinding(True) if named else no, no, no)


# --- HTTP ------------------------------------------------------------------------------------------------------------


def _http(port: int, credentials: Credentials | None) -> _Talks:
    named = yield HTTPConnect("localhost", port, credentials=credentials)
    status = 200 if named is None else named.status if isinstance(named, HTTPConnectError) else None
    if status is None or status in _NO_CONNECT:
        return _Part(ProxyFinding(False, _says(named)), *[_UNKNOWN] * 5)
    udp = ProxyFinding(False, "HTTP CONNECT has none")
    if status in (401, 407):
        password = ProxyFinding(True) if credentials is None else ProxyFinding(False, _REFUSED)
        why = _WANTED if credentials is None else _REFUSED
        return _Part(
            ProxyFinding(True), ProxyFinding(False), password, ProxyFinding(None, why), ProxyFinding(None, why), udp
        )
    ipv6 = yield HTTPConnect("::1", port, credentials=credentials)
    is_open = ProxyFinding(True) if credentials is None else _UNKNOWN
    password = _UNKNOWN if credentials is None else ProxyFinding(True)
    return _Part(ProxyFinding(True), is_open, password, _tunnelled(named), _tunnelled(ipv6), udp)


def _tunnelled(outcome: Exception | None) -> ProxyFinding:
    return ProxyFinding(True) if outcome is None else ProxyFinding(None, _says(outcome))


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
