# SPDX-License-Identifier: MIT
"""The URLs that name endpoints. A new kind of endpoint is one more member of `Endpoint` and one line in `_PARSERS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, TypeAlias

from tieline.endpoints.checks import check_text
from tieline.endpoints.command import Command, Stdio, parse_command, parse_stdio
from tieline.endpoints.tcp import TCP
from tieline.endpoints.tls import TLS
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.websocket import WebSocket

if TYPE_CHECKING:
    from tieline.endpoints.datagrams import UDP, DatagramEndpoint, UnixDatagram

__all__ = [
    "Endpoint",
    "StreamEndpoint",
    "carrier_of",
    "connection_endpoint",
    "host_from_url",
    "parse",
    "port_from_url",
]

# Streams of bytes, which the runtimes dial and listen on themselves.
StreamEndpoint: TypeAlias = TCP | UnixStream | Command | Stdio
Endpoint: TypeAlias = StreamEndpoint | WebSocket


def carrier_of(endpoint: Endpoint) -> StreamEndpoint:
    """Return what carries *endpoint*: itself, unless it is a layer on another one."""
    return endpoint.under if isinstance(endpoint, WebSocket) else endpoint


def parse(url: str) -> Endpoint | DatagramEndpoint:
    """Return the endpoint that *url* names.

    ``tcp://host:port``, with IPv6 addresses in brackets; to listen, also ``tcp://one,two:port`` and, on all interfaces,
    ``tcp://:port``. ``tls://host:port`` is the same with ``TLS()``. ``unix:///absolute/path``, ``unix:relative/path``
    and, on Linux, ``unix:@abstract``; in paths, %XX stands for a byte. ``ws://host/path?query`` and
    ``wss://host/path?query`` are WebSockets, on port 80 or 443 unless another one is given. ``udp://host:port`` is a
    datagram socket, and so is ``unix-dgram:`` with the paths of ``unix:``. ``cmd:program arguments`` is a child
    process: the words are split and quoted as in a POSIX shell, and nothing is expanded. ``stdio:`` is the standard
    input and output of this process, to serve on.

    Raises:
        ValueError: *url* is none of these; the text says what was seen and what was expected, and never repeats parts
            that may contain passwords.
    """
    check_text("url", url)
    return _parse(url)


def connection_endpoint(where: str | Endpoint) -> Endpoint:
    """Return the endpoint that *where* is or names, for those who need a connection.

    Raises:
        ValueError: It is a URL that cannot be understood, or of a socket of datagrams.
        TypeError: It is neither a URL nor an endpoint of connections.
    """
    found: object = parse(where) if isinstance(where, str) else where
    if isinstance(found, Endpoint):
        return found
    from tieline.endpoints.datagrams import DatagramEndpoint  # lazily: for programs that use datagrams

    if isinstance(found, DatagramEndpoint):
        # Not what is around it: where the caller put it, the caller knows.
        kind = ValueError if isinstance(where, str) else TypeError
        uses = "packets go over it, with protocol=DatagramProtocol(...)"
        raise kind(f"a connection is needed here, and {found} is a socket of datagrams: {uses}")
    raise TypeError(f"an endpoint or a URL is needed, not {type(found).__name__}{_lead(found)}")


def _lead(found: object) -> str:
    """Return how to write what other libraries take in the place of an endpoint, for the end of an error."""
    if isinstance(found, os.PathLike):
        return ": write unix:path, or UnixStream(path)"
    return ": write tcp://host:port, or TCP(host, port)"


def _lead_from(scheme: str, rest: str) -> str:
    """Return how to write a URL that has another scheme or none, for the end of an error; nothing = who knows."""
    if scheme.lower() in _OF_BROWSERS:
        return f": a WebSocket is {_OF_BROWSERS[scheme.lower()]}://host:port/path"
    if "/" in scheme:
        return ": write unix:path"
    return ": write tcp://host:port" if rest.isdigit() or not rest else ""


# Endpoints are values, and a program has few of them: one that connects often need not read its URL each time.
@lru_cache(maxsize=128)
def _parse(url: str) -> Endpoint | DatagramEndpoint:
    scheme, colon, rest = url.partition(":")
    parser = _PARSERS.get(scheme.lower()) if colon else None
    if parser is None:
        known = ", ".join(f"{name}:" for name in _PARSERS)
        seen = f"the scheme {scheme[:32]!r}" if colon else "no scheme"
        raise ValueError(f"a URL must start with one of {known} but has {seen}{_lead_from(scheme, rest)}")
    is_command = parser is parse_command  # whose words are apart by spaces
    if not is_command and any(character <= " " or character == "\x7f" for character in rest):
        raise ValueError(f"a {scheme} URL must hold no spaces and no control characters; write them as %XX")
    return parser(rest)


def _hosts_and_port(rest: str, scheme: str) -> tuple[list[str], int]:
    expected = f"expected {scheme}://host:port"
    if "@" in rest:
        # Not repeated in the text: a password may stand before the @.
        raise ValueError(f"a {scheme} URL has no user and no password (there is an '@' in it); {expected}")
    if not rest.startswith("//"):
        raise ValueError(f"a {scheme} URL needs // after its scheme; {expected}")
    authority = rest[2:]
    for mark, name in (("#", "fragment"), ("?", "query"), ("/", "path")):
        authority, found, _ = authority.partition(mark)
        if found:
            raise ValueError(f"a {scheme} URL ends after the port, but a {name} follows ({mark!r}); {expected}")
    names, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        raise ValueError(f"the port is missing in {scheme}://{authority}; {expected}")
    number = port_from_url(port)
    return [host_from_url(name) for name in names.split(",")] if names else [], number


def _parse_tcp(rest: str, scheme: str, tls: TLS | None) -> TCP:
    hosts, port = _hosts_and_port(rest, scheme)
    return TCP(hosts or None, port, tls=tls)


def _parse_udp(rest: str) -> UDP:
    from tieline.endpoints.datagrams import UDP  # lazily, as above

    hosts, port = _hosts_and_port(rest, "udp")
    return UDP(hosts or None, port)


def _parse_unix_datagram(rest: str) -> UnixDatagram:
    from tieline.endpoints.datagrams import UnixDatagram  # lazily, as above

    return UnixDatagram(_path(rest, "unix-dgram"))


def _parse_websocket(rest: str, scheme: str, tls: TLS | None) -> WebSocket:
    expected = f"expected {scheme}://host:port/path"
    if not rest.startswith("//"):
        raise ValueError(f"a {scheme} URL needs // after its scheme; {expected}")
    if "#" in rest:
        raise ValueError(f"a {scheme} URL has no fragment ('#'), RFC 6455, section 3; {expected}")
    size = min((found for found in (rest.find(mark, 2) for mark in "/?") if found >= 0), default=len(rest))
    authority, target = rest[:size], rest[size:]
    if "@" in authority:
        # Not repeated in the text: a password may stand before the @.
        raise ValueError(f"a {scheme} URL has no user and no password (there is an '@' in it): give headers instead")
    if authority == "//":
        raise ValueError(f"the host is missing in a {scheme} URL; {expected}")
    if ":" not in authority[authority.rfind("]") + 1 :].removeprefix("//"):
        authority += ":80" if tls is None else ":443"
    return WebSocket(_parse_tcp(authority, scheme, tls), target if target.startswith("/") else f"/{target}")


def _path(rest: str, scheme: str) -> str:
    from urllib.parse import quote, unquote_to_bytes  # lazily: 1.5 ms, for Unix sockets alone

    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host or not slash:
            raise ValueError(
                f"a {scheme} URL has no host, but {host[:64]!r} is in its place; expected {scheme}:///absolute/path, "
                f"{scheme}:relative/path or {scheme}:@abstract"
            )
        rest = slash + path
    for mark in "?#":
        if mark in rest:
            raise ValueError(f"a {scheme} URL has no query and no fragment; in a path, write {mark!r} as {quote(mark)}")
    return os.fsdecode(unquote_to_bytes(rest))


_OF_BROWSERS: Final = {"http": "ws", "https": "wss"}

_PARSERS: Final[dict[str, Callable[[str], Endpoint | DatagramEndpoint]]] = {
    "tcp": partial(_parse_tcp, scheme="tcp", tls=None),
    "tls": partial(_parse_tcp, scheme="tls", tls=TLS()),
    "unix": lambda rest: UnixStream(_path(rest, "unix")),
    "ws": partial(_parse_websocket, scheme="ws", tls=None),
    "wss": partial(_parse_websocket, scheme="wss", tls=TLS()),
    "udp": _parse_udp,
    "unix-dgram": _parse_unix_datagram,
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
