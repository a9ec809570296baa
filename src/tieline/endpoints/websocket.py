# SPDX-License-Identifier: MIT
"""WebSocket endpoints: a stream endpoint below, and what is said in the opening handshake."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Sized
from typing import TYPE_CHECKING, Any, Final, cast

from tieline.endpoints.checks import check_text
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.finite import check_seconds
from tieline.wire.values import dataclass

if TYPE_CHECKING:
    from tieline.endpoints.tls import TLS

__all__ = ["WebSocket"]

# What may stand in a request's target (RFC 3986, sections 3.3 and 3.4).
_TARGET: Final = r"/[A-Za-z0-9\-._~%!$&'()*+,;=:@/]*(?:\?[A-Za-z0-9\-._~%!$&'()*+,;=:@/?]*)?"
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2
# Where None stands for whatever comes, not for nothing.
_NONE_IS_ANY: Final = frozenset({"origins", "hosts"})
_VALUE: Final = r"[\t -~]*"
# What the handshake says itself.
_OURS: Final = frozenset({
    "upgrade", "connection", "origin", "content-length", "transfer-encoding", "sec-websocket-key",
    "sec-websocket-version", "sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class WebSocket:
    """A WebSocket endpoint (RFC 6455), to connect to or to listen on. It needs the extra ``ws``.

    Attributes:
        under: What carries it: a `TCP` endpoint, with `TLS` in it for ``wss``, or a `UnixStream`.
        path: The path that a client requests, including the query. The path that a server serves, without query; None =
            any path.
        subprotocols: The subprotocols that are spoken, the preferred one first. A server refuses clients that offer
            only others.
        headers: Additional headers for the opening handshake, names and values. They are never shown: they may be
            secrets.
        origin: The origin of the web page to present; None = none, as programs do. Dialling only.
        origins: The origins of web pages that may connect, such as ``https://example.com``; ``"*"`` in it = any. None =
            pages from the server itself. Programs send no origin, and may always connect. Listening only.
        hosts: The names and addresses, without port, by which clients may ask for the server (the header Host). None =
            any; but on a loopback address only local names, so that a web page whose name was made to resolve to this
            machine cannot connect. On other addresses, give them to a server without TLS. Listening only.
        health_path: A path that is answered with status 200, for health checks; None = none. Listening only.
        binary: Send binary messages in place of text. Both are accepted.
        compression: Offer or accept permessage-deflate (RFC 7692). It costs memory and time for each connection, and
            the length of data that is compressed together may reveal secrets.
        ping_interval: Seconds of silence after which the peer receives a ping; None = never.
        ping_timeout: Seconds for its answer; then the connection is closed.

    Raises:
        ValueError: A value that no WebSocket endpoint can have.
        TypeError: A value of the wrong type.
    """

    under: TCP | UnixStream
    path: str | None = "/"
    subprotocols: Sequence[str] = ()
    headers: Sequence[tuple[str, str]] = ()
    origin: str | None = None
    origins: Collection[str] | None = None
    hosts: Collection[str] | None = None
    health_path: str | None = None
    binary: bool = False
    compression: bool = False
    ping_interval: float | None = 20.0
    ping_timeout: float = 20.0

    def __post_init__(self) -> None:
        under: object = self.under
        if not isinstance(under, TCP | UnixStream):
            raise TypeError(f"under must be a TCP or a UnixStream endpoint, not {type(under).__name__}")
        for name in ("path", "health_path"):
            target: Any = getattr(self, name)
            if target is not None:
                _check_target(name, target)
        for name in ("subprotocols", "origins", "hosts"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        for token in self.subprotocols:
            if not _is(_TOKEN, token):
                raise ValueError(f"a subprotocol must be a token of HTTP, not {token[:64]!r}")
        if self.hosts is not None:
            object.__setattr__(self, "hosts", tuple(map(_checked_name, self.hosts)))
        object.__setattr__(self, "headers", _checked_headers(self.headers))
        if self.origin is not None:
            check_text("origin", self.origin)
            if not _is(_VALUE, self.origin):
                raise ValueError("origin must hold printable ASCII characters alone")
        for name in ("ping_interval", "ping_timeout"):
            seconds = getattr(self, name)
            if seconds is None and name == "ping_interval":
                continue
            if seconds is None or not 0 < check_seconds(name, seconds) <= 1e9:
                raise ValueError(f"{name} must be a number of seconds over 0, not {seconds!r}")

    @property
    def tls(self) -> TLS | None:
        """How what carries it is encrypted; None = not at all."""
        return self.under.tls

    @property
    def url(self) -> str:
        """The URL that `parse` reads back; it holds host, port, path and whether there is TLS, and no other settings.

        For what has none, over Unix sockets, it is that of the socket with the path behind it, which no program reads.
        """
        path = self.path or "/"
        scheme = "ws" if self.tls is None else "wss"
        if isinstance(self.under, UnixStream):
            return f"{scheme}+{self.under.url}:{path}"
        return f"{scheme}:{self.under.url.partition(':')[2]}{path}"

    def __str__(self) -> str:
        # Texts of errors have this: what stands behind the question mark may be a key.
        return self.url.partition("?")[0]

    def __repr__(self) -> str:
        shown = [repr(self.under)]
        for name in WebSocket.__annotations__:
            value = getattr(self, name)
            if name == "headers":
                value = tuple(header for header, _ in value)  # what they hold may be a password
            elif name == "path" and value is not None:
                value = value.partition("?")[0]
            if name != "under" and value not in (None, False, (), "/", 20.0):
                shown.append(f"{name}={value!r}")
        return f"WebSocket({', '.join(shown)})"


def _is(pattern: str, text: str) -> bool:
    import re  # lazily, and the patterns with it: for the few programs that speak WebSocket

    return re.fullmatch(pattern, text) is not None


def _checked_name(host: str) -> str:
    """Return *host* as the header of a client is compared with it."""
    name = host.lower().removesuffix(".")
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    if ":" in name and name.count(":") == 1:
        raise ValueError(f"hosts are given without a port, not as {host[:64]!r}")
    return name


def _check_target(name: str, target: object) -> None:
    if not isinstance(target, str):
        raise TypeError(f"{name} must be a str, not {type(target).__name__}")
    if not _is(_TARGET, target):
        raise ValueError(f"{name} must begin with / and hold what a URL may hold; write other characters as %XX")


def _are_several(values: object) -> bool:
    return isinstance(values, Iterable) and not isinstance(values, str | bytes)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(cast("Sized", value)) == 2


def _texts(name: str, values: Any) -> tuple[str, ...] | None:
    if values is None and name in _NONE_IS_ANY:
        return None
    if not _are_several(values):
        kind = "None" if values is None else f"one {type(values).__name__}"
        raise TypeError(f"{name} must be several texts in a tuple, not {kind}")
    texts = tuple(cast("Iterable[str]", values))
    for text in texts:
        check_text(f"what is in {name}", text)
    return texts


def _checked_headers(headers: Any) -> tuple[tuple[str, str], ...]:
    """Refuse headers that are none, or that the handshake says itself. Values are not repeated: they may be secrets."""
    checked: list[tuple[str, str]] = []
    if not _are_several(headers):
        raise TypeError(f"headers must be pairs of name and value in a tuple, not {type(headers).__name__}")
    for pair in cast("Iterable[Any]", headers):
        if not _is_pair(pair):
            raise TypeError(f"each of headers must be a pair of name and value, not {type(pair).__name__}")
        name, value = pair
        check_text("the name of a header", name)
        check_text("the value of a header", value)
        if not _is(_TOKEN, name):
            raise ValueError(f"the name of a header must be a token of HTTP, not {name[:64]!r}")
        if not _is(_VALUE, value):
            raise ValueError(f"the value of the header {name} must hold printable ASCII characters alone")
        if name.lower() in _OURS:
            raise ValueError(f"the header {name} is said by the handshake itself")
        checked.append((name, value))
    return tuple(checked)
