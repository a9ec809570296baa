# SPDX-License-Identifier: MIT
"""Where to connect or listen, as frozen values, and the URLs that name them.

All checks happen when a value is made, before any I/O, so whoever holds an endpoint holds a possible one. What it
resolves to, and whether anybody is there, is for the runtimes. A new kind of endpoint is one more class here, one more
member of `Endpoint` and one more line in `_PARSERS`.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

__all__ = ["TCP", "Endpoint", "UnixStream", "parse"]

# struct sockaddr_un: 108 bytes on Linux, 104 on the BSDs and macOS, the closing NUL included.
_MAX_UNIX_PATH: Final = 107 if sys.platform == "linux" else 103

# 253 characters and a closing dot (RFC 1035, section 2.3.4: 255 bytes on the wire).
_MAX_HOST: Final = 254


@dataclass(frozen=True, slots=True)
class TCP:
    """A TCP endpoint.

    Attributes:
        host: A name, or an IPv4 or IPv6 address without brackets. For listening also None, which is all interfaces,
            or several of them, kept as a tuple (a sequence of one becomes that one).
        port: 0 to 65535; 0 is for listening: the system chooses, one port for all hosts.
        family: An address family to stay within; 0 is any.
        proto: The protocol number for the resolver; 0 is any.
        flags: The resolver's flags (``socket.AI_...``).
        local_addr: Host and port to connect from. Dialling only.
        happy_eyeballs_delay: Seconds until the next address is tried beside the one that has not answered
            (RFC 8305, section 5); None tries one after the other. Dialling only.
        interleave: How many addresses of the first family come before the families take turns; 0 keeps the
            resolver's order. Dialling only.
        reuse_port: Let several processes listen on the same port (SO_REUSEPORT). Listening only.
        backlog: How many connections may wait to be accepted. 1024 because 100 let a burst of clients wait for
            seconds; the system may cap it (``net.core.somaxconn``). Listening only.

    Raises:
        ValueError: A value that no TCP endpoint can have.
        TypeError: A value of the wrong type.
    """

    host: str | Sequence[str] | None
    port: int
    family: int = 0
    proto: int = 0
    flags: int = 0
    local_addr: tuple[str, int] | None = None
    happy_eyeballs_delay: float | None = 0.25
    interleave: int = 1
    reuse_port: bool = False
    backlog: int = 1024

    def __post_init__(self) -> None:
        if self.host is not None:
            hosts = (self.host,) if isinstance(self.host, str) else tuple(self.host)
            if not hosts:
                raise ValueError("hosts must not be an empty sequence; None stands for all interfaces")
            for host in hosts:
                _check_host(host)
            object.__setattr__(self, "host", hosts[0] if len(hosts) == 1 else hosts)
        _check_integer("port", self.port, 65535)
        _check_integer("interleave", self.interleave)
        _check_integer("backlog", self.backlog)
        delay = self.happy_eyeballs_delay
        if delay is not None and not (isfinite(delay) and delay >= 0):
            raise ValueError(f"happy_eyeballs_delay must be a finite number >= 0 or None, not {delay!r}")
        if self.local_addr is not None:
            local_host, local_port = self.local_addr
            _check_host(local_host)
            _check_integer("port of local_addr", local_port, 65535)
            object.__setattr__(self, "local_addr", (local_host, local_port))

    @property
    def hosts(self) -> tuple[str | None, ...]:
        """All hosts, also when it is one; (None,) is all interfaces."""
        return (self.host,) if self.host is None or isinstance(self.host, str) else tuple(self.host)

    @property
    def url(self) -> str:
        """The URL that `parse` reads back; it holds hosts and port, and none of the other settings."""
        return f"tcp://{','.join(map(_host_in_url, self.hosts))}:{self.port}"

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class UnixStream:
    """A Unix stream socket.

    Attributes:
        path: The path of the socket file, or ``@name`` (also written with a leading NUL) for a name in Linux's
            abstract namespace, which has no file. A file whose own name starts with ``@`` is ``./@name``.
        mode: The file's permissions from the first moment on; the umask does not matter. Who may write to the file
            may connect. An abstract name has none: every process of the network namespace may connect.
            Listening only.
        backlog: How many connections may wait to be accepted. Listening only.

    Raises:
        ValueError: A path that no socket can have: empty, with a NUL in it, or longer than the system's 108 bytes.
        TypeError: A value of the wrong type.
    """

    path: str | os.PathLike[str]
    mode: int = 0o600
    backlog: int = 1024

    def __post_init__(self) -> None:
        path = os.fspath(self.path)
        _check_text("path", path)
        if path.startswith("\0"):
            path = "@" + path[1:]
        object.__setattr__(self, "path", path)
        if path in {"", "@"}:
            raise ValueError(f"path of a Unix socket must not be empty, but is {path!r}")
        if "\0" in path:
            raise ValueError(f"path of a Unix socket must hold no NUL, but is {path!r}")
        size = len(os.fsencode(path))  # an abstract name has a NUL where we write "@", so it counts the same
        if size > _MAX_UNIX_PATH:
            raise ValueError(
                f"path of a Unix socket is {size} bytes long, and the system allows {_MAX_UNIX_PATH}: {path!r}"
            )
        _check_integer("mode", self.mode, 0o777)
        _check_integer("backlog", self.backlog)

    @property
    def is_abstract(self) -> bool:
        """Whether it is a name in the abstract namespace and no file."""
        return str(self.path).startswith("@")

    @property
    def address(self) -> str:
        """What the socket functions take."""
        path = str(self.path)
        return "\0" + path[1:] if self.is_abstract else path

    @property
    def url(self) -> str:
        """The URL that `parse` reads back; it holds the path, and none of the other settings."""
        path = str(self.path)
        return ("unix://" if path.startswith("/") else "unix:") + quote(os.fsencode(path), safe="/@:+,=~")

    def __str__(self) -> str:
        return self.url


Endpoint: TypeAlias = TCP | UnixStream


def parse(url: str) -> Endpoint:
    """Return the endpoint that *url* names.

    ``tcp://host:port``, with IPv6 addresses in brackets; for listening also ``tcp://one,two:port`` and, on all
    interfaces, ``tcp://:port``. ``unix:///absolute/path``, ``unix:relative/path`` and, on Linux, ``unix:@abstract``;
    in paths, %XX stands for a byte.

    Raises:
        ValueError: *url* is none of these; the text says what was seen and what was expected, and never repeats
            parts in which people put passwords.
    """
    _check_text("url", url)
    scheme, colon, rest = url.partition(":")
    parser = _PARSERS.get(scheme.lower()) if colon else None
    if parser is None:
        known = ", ".join(f"{name}:" for name in _PARSERS)
        seen = f"the scheme {scheme[:32]!r}" if colon else "no scheme"
        raise ValueError(f"a URL must start with one of {known} but has {seen}")
    if any(character <= " " or character == "\x7f" for character in rest):
        raise ValueError(f"a {scheme} URL must hold no spaces and no control characters; write them as %XX")
    return parser(rest)


def _parse_tcp(rest: str) -> TCP:
    expected = "expected tcp://host:port"
    if "@" in rest:
        # Not repeated in the text: a password may stand before the @.
        raise ValueError(f"a tcp URL has no user and no password (there is an '@' in it); {expected}")
    if not rest.startswith("//"):
        raise ValueError(f"a tcp URL needs // behind its scheme; {expected}")
    authority = rest[2:]
    for mark, name in (("#", "fragment"), ("?", "query"), ("/", "path")):
        authority, found, _ = authority.partition(mark)
        if found:
            raise ValueError(f"a tcp URL ends behind the port, but a {name} follows ({mark!r}); {expected}")
    names, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        raise ValueError(f"the port is missing in tcp://{authority}; {expected}")
    # Only ASCII digits: int() would also take signs, underscores and the digits of other scripts.
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"port must be a number from 0 to 65535, not {port[:32]!r}")
    hosts = [_host_from_url(name) for name in names.split(",")] if names else None
    return TCP(hosts, int(port))


def _parse_unix(rest: str) -> UnixStream:
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


_PARSERS: Final[dict[str, Callable[[str], Endpoint]]] = {"tcp": _parse_tcp, "unix": _parse_unix}


def _host_from_url(text: str) -> str:
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


def _host_in_url(host: str | None) -> str:
    if host is None:
        return ""
    return f"[{host.replace('%', '%25')}]" if ":" in host else host


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")


def _check_host(host: str) -> None:
    """Refuse what cannot be a host, so that nothing strange reaches a resolver, a proxy or a log."""
    _check_text("host", host)
    if not host:
        raise ValueError("host must not be empty; for listening, None stands for all interfaces")
    if len(host) > _MAX_HOST:
        raise ValueError(f"host is {len(host)} characters long, and {_MAX_HOST} are allowed")
    if host.startswith("["):
        raise ValueError(f"an IPv6 host is given without brackets, not as {host!r}")
    if any(character <= " " or character in "\x7f/?#@,*[]\\" or character.isspace() for character in host):
        raise ValueError(f"host must hold no spaces, control characters or any of / ? # @ , * [ ] \\ but is {host!r}")
    if ":" in host or "%" in host:
        _check_ipv6(host)
        return
    try:
        ascii_form = host.encode("idna")
    except UnicodeError as exc:
        # The text of exc tells which rule is broken: an empty label, one over 63 bytes, a forbidden character.
        raise ValueError(f"host {host!r} is no valid name: {exc}") from exc
    if len(ascii_form) > _MAX_HOST:
        raise ValueError(f"host is {len(ascii_form)} bytes long in its IDNA form, and {_MAX_HOST} are allowed")


def _check_ipv6(host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError as exc:
        raise ValueError(f"host {host!r} is neither a name nor an IPv6 address: {exc}") from exc


def _check_integer(name: str, value: object, highest: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 0 or (highest is not None and value > highest):
        allowed = "0 or more" if highest is None else f"from 0 to {highest}"
        raise ValueError(f"{name} must be {allowed}, not {value}")
