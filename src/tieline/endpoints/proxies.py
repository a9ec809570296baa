# SPDX-License-Identifier: MIT
"""Proxies as settings: where they are, what is said to them, and the way through one or several.

All checks happen here, before any I/O. The public classes, which also dial, are in ``runtimes.proxies``.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from tieline.endpoints.proxy_auth import SOCKSRandomAuth, SOCKSUserAuth, basic_credentials
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.urls import Endpoint, StreamEndpoint, carrier_of
from tieline.wire.proxies.dialogue import Dialogue
from tieline.wire.proxies.http_connect import HTTPConnect
from tieline.wire.proxies.socks4 import SOCKS4, SOCKS4a
from tieline.wire.proxies.socks5 import SOCKS5
from tieline.wire.values import replace

__all__ = ["HTTPProxySettings", "ProxySettings", "Route", "SOCKSAuth", "SOCKSProtocol", "SOCKSSettings"]

SOCKSProtocol: TypeAlias = type[SOCKS4] | type[SOCKS4a] | type[SOCKS5]
SOCKSAuth: TypeAlias = SOCKSUserAuth | SOCKSRandomAuth | None


class ProxySettings(ABC):
    """One proxy. What is given stays as it is; `host`, `port` and `peername` tell of the last connection.

    Attributes:
        address: Where the proxy is, as given.
        endpoint: The same, as an endpoint.
        auth: What it is told of who asks.
        host: The target to which it connected last; None before.
        port: The port of that.
        peername: The proxy's own socket address on that connection; None before.
    """

    address: Any
    endpoint: StreamEndpoint
    auth: Any
    host: str | None = None
    port: int | None = None
    peername: object = None

    def __init__(self, address: object, auth: object) -> None:
        self.address = address
        self.endpoint = _endpoint(address)
        self.auth = auth

    @property
    @abstractmethod
    def scheme(self) -> str:
        """What its URL begins with."""

    @abstractmethod
    def credentials(self) -> tuple[bytes, bytes] | None:
        """Return what the next connection is to say of who asks: user name and password; None = nothing."""

    @abstractmethod
    def dialogue(self, host: str, port: int) -> Dialogue[Any]:
        """Return what is to be said for a connection to *host* and *port*.

        Raises:
            ValueError: There is no way to say it to such a proxy.
        """

    def __str__(self) -> str:
        if isinstance(self.endpoint, UnixStream):
            return f"{self.scheme} at {self.endpoint}"
        return f"{self.scheme}://{'***@' if self.auth is not None else ''}{self.endpoint.url.partition('//')[2]}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def _key(self) -> tuple[object, ...]:
        return type(self), self.scheme, self.endpoint, self.auth

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, ProxySettings) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())


class SOCKSSettings(ProxySettings):
    """A SOCKS proxy, its protocol one of `SOCKS4`, `SOCKS4a` and `SOCKS5`."""

    protocol: SOCKSProtocol

    def __init__(self, address: object, protocol: SOCKSProtocol, auth: SOCKSAuth = None) -> None:
        known: object = protocol
        if known not in (SOCKS4, SOCKS4a, SOCKS5):
            raise TypeError(f"protocol must be SOCKS4, SOCKS4a or SOCKS5, not {known!r:.64}")
        given: object = auth
        if not isinstance(given, SOCKSUserAuth | SOCKSRandomAuth | None):
            seen = type(auth).__name__
            raise TypeError(f"auth must be a SOCKSUserAuth, a SOCKSRandomAuth or None, not {seen}")
        super().__init__(address, auth)
        self.protocol = protocol
        if isinstance(auth, SOCKSUserAuth):
            self._check(auth)

    def _check(self, auth: SOCKSUserAuth) -> None:
        user, password = auth.credentials()
        if self.protocol is SOCKS5 and not password:
            raise ValueError("password must be 1 to 255 bytes long for SOCKS5, and is empty")
        if self.protocol is not SOCKS5 and b"\0" in user:
            raise ValueError(f"a user name for {self.protocol.name()} must hold no NUL")

    @property
    def scheme(self) -> str:
        return self.protocol.name().lower()

    def credentials(self) -> tuple[bytes, bytes] | None:
        return None if self.auth is None else self.auth.credentials()

    def for_tor(self) -> tuple[bytes, bytes] | None:
        """Return `credentials`, for RESOLVE and RESOLVE_PTR.

        Raises:
            ValueError: Its protocol has neither.
        """
        if self.protocol is not SOCKS5:
            raise ValueError(f"only SOCKS5 has RESOLVE and RESOLVE_PTR, not {self.protocol.name()}")
        return self.credentials()

    def dialogue(self, host: str, port: int) -> Dialogue[Any]:
        credentials = self.credentials()
        if issubclass(self.protocol, SOCKS5):
            return self.protocol(host, port, credentials=credentials)
        return self.protocol(host, port, user=b"" if credentials is None else credentials[0])


class HTTPProxySettings(ProxySettings):
    """A proxy that is asked by HTTP CONNECT."""

    def __init__(self, address: object, auth: tuple[str | bytes, str | bytes] | None = None) -> None:
        self._credentials = basic_credentials(auth)
        super().__init__(address, auth)

    @property
    def scheme(self) -> str:
        return "http"

    def credentials(self) -> tuple[bytes, bytes] | None:
        return self._credentials

    def dialogue(self, host: str, port: int) -> Dialogue[Any]:
        return HTTPConnect(host, port, credentials=self._credentials)


class Route:
    """The way of one connection, through one proxy or several, each reached through the one before.

    Attributes:
        proxies: The proxies, the nearest first.
        resolves: Whether the target's name is looked up here, and each of its addresses tried. Otherwise names go to
            the proxies, and are never looked up here.
        target: The host and port that the last proxy connected to, once it has.
    """

    __slots__ = ("proxies", "resolves", "target")

    def __init__(self, proxies: Sequence[ProxySettings], *, resolves: bool = False) -> None:
        self.proxies = tuple(proxies)
        self.resolves = resolves
        self.target: tuple[str, int] | None = None
        if not self.proxies:
            raise ValueError("a chain of proxies must not be empty")
        for proxy in self.proxies[1:]:
            if not isinstance(proxy.endpoint, TCP):
                raise ValueError(f"{proxy} cannot be reached through another proxy")

    def __str__(self) -> str:
        return ", ".join(map(str, self.proxies))

    __repr__ = __str__

    def check(self, endpoint: Endpoint) -> None:
        """See that the proxies can be asked for *endpoint*.

        Raises:
            ValueError: They cannot.
        """
        host, port = self.place(endpoint)
        if not self.resolves:
            self.dialogues(host, port)

    def place(self, endpoint: Endpoint) -> tuple[str, int]:
        """Return the host and port of *endpoint*; whether these proxies can be asked for them is another matter.

        Raises:
            ValueError: It has no such.
        """
        endpoint = carrier_of(endpoint)
        if not isinstance(endpoint, TCP):
            raise ValueError(f"a proxy takes TCP endpoints only, not {endpoint}")
        if not isinstance(endpoint.host, str) or endpoint.port == 0:
            raise ValueError(f"can only listen on {endpoint}, not connect to it: that takes one host and a port over 0")
        return endpoint.host, endpoint.port

    def first(self, endpoint: TCP) -> StreamEndpoint:
        """Return where to connect to, on the way to *endpoint*; it is `TCP.local_addr` of that which counts."""
        nearest = self.proxies[0].endpoint
        if isinstance(nearest, TCP) and endpoint.local_addr is not None:
            return replace(nearest, local_addr=endpoint.local_addr)
        return nearest

    def dialogues(self, host: str, port: int) -> list[Dialogue[Any]]:
        """Return what is to be said, in this order and on one connection, to get to *host* and *port*.

        Raises:
            ValueError: A proxy cannot be asked for that.
        """
        places = [(cast("str", hop.host), hop.port) for hop in (cast("TCP", one.endpoint) for one in self.proxies[1:])]
        return [proxy.dialogue(*place) for proxy, place in zip(self.proxies, [*places, (host, port)], strict=True)]

    def note(self, host: str, port: int, peername: object) -> None:
        """Take note of where it led to."""
        self.target = (host, port)
        last = self.proxies[-1]
        last.host, last.port, last.peername = host, port, peername


def _endpoint(address: object) -> StreamEndpoint:
    """Return the endpoint that *address* means.

    Raises:
        ValueError: There can be no proxy.
        TypeError: It is no address at all.
    """
    match address:
        case TCP(host=str(), port=port) if port and address.tls is None:
            return address
        case UnixStream(tls=None):
            return address
        case (str(host), int(port)) | (str(host), int(port), int(_), 0):
            endpoint = TCP(host, port)
        case (str(host), int(port), int(_), int(scope)):
            endpoint = TCP(f"{host.partition('%')[0]}%{scope}", port)
        case str() | os.PathLike():
            path = os.fspath(cast("str | os.PathLike[str]", address))
            if "/" not in path and path[:1] not in ("@", "\0"):
                raise ValueError("address must be (host, port), or the path of a Unix socket with a / in it")
            return UnixStream(path)
        case _:
            seen = type(address).__name__
            raise TypeError(f"address of a proxy must be (host, port), or the path of a Unix socket, not {seen}")
    if endpoint.port == 0:
        raise ValueError("port of a proxy must be over 0")
    return endpoint
