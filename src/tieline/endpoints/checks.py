# SPDX-License-Identifier: MIT
"""What the arguments of endpoints must be. Nothing is looked up here: only the values are judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

__all__ = [
    "all_hosts",
    "check_bool",
    "check_host",
    "check_integer",
    "check_local_addr",
    "check_text",
    "checked_hosts",
    "hosts_in_url",
    "is_pem",
    "kind_of",
]

# What SOCKS5 can say to a proxy, which may know other names than DNS (there 254 are the most, with a closing dot:
# RFC 1035, section 2.3.4 has 255 bytes on the wire). A resolver refuses for itself what is too long for it.
_MAX_HOST: Final = 255


def check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")


def check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):  # a text from a configuration, "no" for one, would count as true
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")


def is_pem(text: str) -> bool:
    """Return whether *text* is no path, but what such a file holds."""
    return "-----BEGIN " in text


def check_host(host: str, name: str = "host") -> None:
    """Refuse what cannot be a host, so that nothing strange reaches a resolver, a proxy or a log; *name* is for errors.

    Raises:
        ValueError: It is none. TypeError: It is no text.
    """
    check_text(name, host)
    if _is_usual(host):
        return
    if not host:
        raise ValueError(f"{name} must not be empty; for listening, None stands for all interfaces")
    if len(host) > _MAX_HOST:
        raise ValueError(f"{name} is {len(host)} characters long, and {_MAX_HOST} are allowed")
    if "@" in host:
        # Not repeated in the text: a password may stand before the @.
        raise ValueError(f"{name} has no user and no password, but there is an '@' in it")
    if host.startswith("["):
        raise ValueError(f"{name} is an IPv6 address, which is given without brackets, not as {host!r}")
    if any(character <= " " or character in "\x7f/?#,*[]\\" or character.isspace() for character in host):
        raise ValueError(f"{name} must hold no spaces, control characters or any of / ? # , * [ ] \\ but is {host!r}")
    if ":" in host or "%" in host:
        _check_ipv6(host, name)
        return
    if host.isascii() and all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        return  # just what the codec below asks of such names; its tables of Unicode take 5 ms and 1 MB to load
    try:
        ascii_form = host.encode("idna")
    except UnicodeError as exc:
        # The text of exc tells which rule is broken: an empty label, one over 63 bytes, a forbidden character.
        raise ValueError(f"{name} {host!r} is not a valid name: {exc}") from exc
    if len(ascii_form) > _MAX_HOST:
        raise ValueError(f"{name} is {len(ascii_form)} bytes long in its IDNA form, and {_MAX_HOST} are allowed")


def _is_usual(host: str) -> bool:
    """Return whether *host* is so short and plain a name, or an IPv4 address, that there is no more to look for."""
    return (
        0 < len(host) < 64
        and host.isascii()
        and host.replace(".", "x").replace("-", "x").isalnum()
        and ".." not in f".{host}"  # no empty label
    )


def _check_ipv6(host: str, name: str) -> None:
    import ipaddress  # lazily: 1.5 ms, for the few hosts that are IPv6 addresses

    try:
        ipaddress.IPv6Address(host)
    except ValueError as exc:
        raise ValueError(f"{name} {host!r} is neither a name nor an IPv6 address: {exc}") from exc


def check_local_addr(address: tuple[str, int]) -> tuple[str, int]:
    """Return where to connect from, as a tuple. A host of "" is any address, as the socket functions take it.

    Raises:
        ValueError: It is nowhere. TypeError: A part of it is of the wrong type.
    """
    host, port = address
    if host != "":
        check_host(host, "host of local_addr")
    check_integer("port of local_addr", port, 65535)
    return host, port


def kind_of(value: object) -> str:
    """Return what errors say of the type of *value*: of a tuple, of those in it."""
    seen: Any = value
    if isinstance(value, tuple):
        return f"({', '.join(type(one).__name__ for one in seen)})"
    return type(seen).__name__


def check_integer(name: str, value: object, highest: int | None = None, *, lowest: int = 0) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < lowest or (highest is not None and value > highest):
        allowed = f"{lowest} or more" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"{name} must be {allowed}, not {value}")


def checked_hosts(host: str | Sequence[str]) -> str | tuple[str, ...]:
    """Return one host, or several of them as a tuple; a sequence of one becomes that one.

    Raises:
        ValueError: There is none, or one that no host can be.
        TypeError: One is no text, or it is neither one nor several.
    """
    seen: object = host
    if not isinstance(seen, Sequence) or isinstance(seen, bytes):
        raise TypeError(f"host must be a str, several of them or None, not {type(seen).__name__}")
    hosts = (host,) if isinstance(host, str) else tuple(host)
    if not hosts:
        raise ValueError("hosts must not be an empty sequence; None stands for all interfaces")
    for one in hosts:
        check_host(one)
    return hosts[0] if len(hosts) == 1 else hosts


def all_hosts(host: str | Sequence[str] | None) -> tuple[str | None, ...]:
    """Return all hosts, also when it is one; (None,) is all interfaces."""
    return (host,) if host is None or isinstance(host, str) else tuple(host)


def hosts_in_url(host: str | Sequence[str] | None) -> str:
    """Return how a URL names them."""
    return ",".join(map(_host_in_url, all_hosts(host)))


def _host_in_url(host: str | None) -> str:
    if host is None:
        return ""
    return f"[{host.replace('%', '%25')}]" if ":" in host else host
