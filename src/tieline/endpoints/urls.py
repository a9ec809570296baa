# SPDX-License-Identifier: MIT
"""The URLs that name endpoints. A new kind of endpoint is one more member of `Endpoint` and one line in `_PARSERS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, TypeAlias

from tieline.endpoints.checks import check_text
from tieline.endpoints.command import Command, Stdio, parse_command, parse_stdio
from tieline.endpoints.tcp import TCP
from tieline.endpoints.tls import TLS
from tieline.endpoints.unix import UnixStream

__all__ = ["Endpoint", "host_from_url", "parse", "port_from_url"]

Endpoint: TypeAlias = TCP | UnixStream | Command | Stdio


def parse(url: str) -> Endpoint:
    """Return the endpoint that *url* names.

    ``tcp://host:port``, with IPv6 addresses in brackets; for listening also ``tcp://one,two:port`` and, on all
    interfaces, ``tcp://:port``. ``tls://host:port`` is the same with ``TLS()``. ``unix:///absolute/path``,
    ``unix:relative/path`` and, on Linux, ``unix:@abstract``; in paths, %XX stands for a byte.
    ``cmd:program arguments`` is a child process: the words are split and quoted as in a POSIX shell, and nothing is
    expanded. ``stdio:`` is what this process was started with, to be served on.

    Raises:
        ValueError: *url* is none of these; the text says what was seen and what was expected, and never repeats
            parts in which people put passwords.
    """
    check_text("url", url)
    return _parse(url)


# Endpoints are values, and a program has few of them: one that connects often need not read its URL each time.
@lru_cache(maxsize=128)
def _parse(url: str) -> Endpoint:
    scheme, colon, rest = url.partition(":")
    parser = _PARSERS.get(scheme.lower()) if colon else None
    if parser is None:
        known = ", ".join(f"{name}:" for name in _PARSERS)
        seen = f"the scheme {scheme[:32]!r}" if colon else "no scheme"
        raise ValueError(f"a URL must start with one of {known} but has {seen}")
    is_command = parser is parse_command  # whose words are apart by spaces
    if not is_command and any(character <= " " or character == "\x7f" for character in rest):
        raise ValueError(f"a {scheme} URL must hold no spaces and no control characters; write them as %XX")
    return parser(rest)


def _parse_tcp(rest: str, scheme: str, tls: TLS | None) -> TCP:
    expected = f"expected {scheme}://host:port"
    if "@" in rest:
        # Not repeated in the text: a password may stand before the @.
        raise ValueError(f"a {scheme} URL has no user and no password (there is an '@' in it); {expected}")
    if not rest.startswith("//"):
        raise ValueError(f"a {scheme} URL needs // behind its scheme; {expected}")
    authority = rest[2:]
    for mark, name in (("#", "fragment"), ("?", "query"), ("/", "path")):
        authority, found, _ = authority.partition(mark)
        if found:
            raise ValueError(f"a {scheme} URL ends behind the port, but a {name} follows ({mark!r}); {expected}")
    names, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        raise ValueError(f"the port is missing in {scheme}://{authority}; {expected}")
    number = port_from_url(port)
    hosts = [host_from_url(name) for name in names.split(",")] if names else None
    return TCP(hosts, number, tls=tls)


def _parse_unix(rest: str) -> UnixStream:
    from urllib.parse import quote, unquote_to_bytes  # lazily: 1.5 ms, for Unix sockets alone

    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host or not slash:
            raise ValueError(
                f"a unix URL has no host, but {host[:64]!r} is in its place; expected unix:///absolute/path, "
                "unix:relative/path or unix:@abstract"
            )
        rest = slash + path
    for mark in "?#":
        if mark in rest:
            raise ValueError(f"a unix URL has no query and no fragment; in a path, write {mark!r} as {quote(mark)}")
    return UnixStream(os.fsdecode(unquote_to_bytes(rest)))


_PARSERS: Final[dict[str, Callable[[str], Endpoint]]] = {
    "tcp": partial(_parse_tcp, scheme="tcp", tls=None),
    "tls": partial(_parse_tcp, scheme="tls", tls=TLS()),
    "unix": _parse_unix,
    "cmd": parse_command,
    "stdio": parse_stdio,
}


def port_from_url(text: str) -> int:
    """Return the port that *text* stands for."""
    # Only ASCII digits: int() would also take signs, underscores and the digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError(f"port must be a number from 0 to 65535, not {text[:32]!r}")
    return int(text)


def host_from_url(text: str) -> str:
    """Return the host that *text* stands for; IPv6 comes in brackets, its zone behind ``%25`` (RFC 6874) or ``%``."""
    if not text.startswith("["):
        if ":" in text:
            raise ValueError(f"an IPv6 address in a URL stands in brackets, [...], but there is {text!r}")
        return text
    if not text.endswith("]"):
        raise ValueError(f"the bracket is not closed in {text!r}")
    address, percent, zone = text[1:-1].partition("%")
    if ":" not in address:
        raise ValueError(f"only an IPv6 address stands in brackets, but there is {text!r}")
    return address + percent + (zone[2:] if zone.startswith("25") and len(zone) > 2 else zone)
