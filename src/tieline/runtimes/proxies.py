# SPDX-License-Identifier: MIT
"""The proxies that users make, with what they can do by themselves; and what ``proxy=`` takes.

What is said to them and what is allowed is in ``wire.proxies`` and ``endpoints.proxies``. Here is only the asynchronous
face of it, written once for all runtimes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from tieline.endpoints.proxies import HTTPProxySettings, ProxySettings, Route, SOCKSAuth, SOCKSSettings
from tieline.endpoints.proxy_auth import SOCKSUserAuth
from tieline.endpoints.proxy_urls import parse_proxy, proxy_url
from tieline.endpoints.secured import TLSChoice, endpoint_with_tls
from tieline.endpoints.tcp import TCP
from tieline.finite import check_timeout
from tieline.runtimes.detect import current_backend
from tieline.runtimes.proxy_checks import checked, detected
from tieline.wire.proxies.socks5 import SOCKS5, SOCKS5Resolve, SOCKS5ResolvePTR

if TYPE_CHECKING:
    from tieline.endpoints.urls import Endpoint
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.wire.proxies.dialogue import Dialogue
    from tieline.wire.proxies.survey import ProxyReport

__all__ = [
    "HTTPConnectProxy",
    "SOCKSProxy",
    "as_route",
    "check_proxy",
    "datagram_route",
    "proxy_from_environment",
    "route_to",
]


class _Dialling(ProxySettings):
    """What every kind of proxy can do by itself."""

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: str,
        port: int,
        *,
        resolve: bool = False,
        loop: object = None,
        ssl: TLSChoice = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        timeout: float | None = 30.0,
        nursery: object = None,
    ) -> tuple[Any, Any]:
        """Connect to *host* and *port* through the proxy, and return (transport, protocol) as a loop does.

        Args:
            protocol_factory: Returns the protocol; called once the connection is established.
            host: A name, which the proxy resolves, or an address.
            port: The port.
            resolve: Resolve the name on this side instead, and have the proxy try each of its addresses.
            loop: None, or the running loop.
            ssl: How the connection to the target is encrypted: see `tieline.ClientSession`. The certificate must be
                for *host*.
            family: For resolving on this side, as are *proto* and *flags*.
            proto: As `TCP.proto`.
            flags: As `TCP.flags`.
            timeout: Seconds for connecting to the proxy, the dialogue with it and TLS together; None = unlimited.
            nursery: On trio, the nursery for the connection; None elsewhere.

        Afterwards the attributes ``host``, ``port`` and ``peername`` describe this connection, until the next one. The
        target is also set as ``protocol._address``, if the protocol accepts that. Cancelling leaves nothing behind.

        Raises:
            SOCKSError: The proxy refuses, fails, or does not follow the protocol; HTTPConnectError: an HTTP proxy does.
            OSError: The proxy cannot be reached, or the TLS handshake with the target failed.
            TimeoutError: Not connected within *timeout* seconds.
            ValueError: A proxy of that kind cannot connect to that target; nothing was sent.
        """
        backend = current_backend()
        backend.check_loop(loop)
        timeout = check_timeout("timeout", timeout)
        endpoint = endpoint_with_tls(TCP(host, port, family=family, proto=proto, flags=flags), ssl, "ssl")
        route = Route((self,), resolves=resolve)
        transport, protocol = await backend.dial(
            protocol_factory, endpoint, timeout=timeout, proxy=route, nursery=nursery
        )
        try:
            protocol._address = route.target
        except (AttributeError, TypeError):  # it has slots
            pass
        return transport, protocol


class SOCKSProxy(SOCKSSettings, _Dialling):
    """A SOCKS proxy.

    Host names are resolved by the proxy, and on this side only if that is requested.

    Args:
        address: (host, port); or the path of a Unix socket, or ``@name`` for one in Linux's abstract namespace. For
            IPv6 also a socket address of four items. If the host has several addresses, all are tried.
        protocol: `SOCKS4` (IPv4 addresses only), `SOCKS4a` (names too) or `SOCKS5` (IPv6 as well).
        auth: A `SOCKSUserAuth`, or `SOCKSRandomAuth()`; None = no authentication. A SOCKS5 proxy must then request it:
            one that accepts clients without authentication is refused.

    Attributes:
        address: The address of the proxy, as it was given.
        endpoint: The same as an endpoint.
        protocol: As it was given.
        auth: As it was given.
        host: The target of the last connection; None before the first one. This and the next two attributes are for
            convenience: if several connections share a proxy, ask the session: ``get_extra_info("proxy_target")``.
        port: The port of that target.
        peername: The proxy's socket address on that connection; None before the first one.

    Raises:
        ValueError: The address is invalid, or the protocol cannot transmit *auth*.
        TypeError: A value of the wrong type.
    """

    @classmethod
    async def auto_detect_address(
        cls, address: object, auth: SOCKSAuth = None, *, loop: object = None, timeout: float | None = 5.0
    ) -> Self | None:
        """Return a proxy for *address*, with the best protocol that it speaks; None if it speaks none.

        SOCKS5 is tried first, then SOCKS4a, then SOCKS4, each for at most *timeout* seconds. For SOCKS5, only the
        greeting is sent. The other two have no greeting: the proxy is asked to connect to its own port.

        Raises:
            ValueError, TypeError: As the constructor.
        """
        backend = current_backend()
        backend.check_loop(loop)
        return await detected(cls, backend, address, auth, timeout)

    @classmethod
    async def auto_detect_host(
        cls,
        host: str,
        ports: Iterable[int],
        auth: SOCKSAuth = None,
        *,
        loop: object = None,
        timeout: float | None = 5.0,
    ) -> Self | None:
        """Return a proxy for the first of *ports* on *host* that speaks SOCKS; None if none does.

        Otherwise as `auto_detect_address`.
        """
        for port in ports:
            found = await cls.auto_detect_address((host, port), auth, loop=loop, timeout=timeout)
            if found is not None:
                return found
        return None

    @classmethod
    async def auto_detect_at_address(cls, address: object, auth: SOCKSAuth = None) -> Self | None:
        """Do the same as `auto_detect_address`, which is the older name."""
        return await cls.auto_detect_address(address, auth)

    @classmethod
    async def auto_detect_at_host(cls, host: str, ports: Iterable[int], auth: SOCKSAuth = None) -> Self | None:
        """Do the same as `auto_detect_host`, which is the older name."""
        return await cls.auto_detect_host(host, ports, auth)

    async def resolve(self, host: str, *, timeout: float | None = 30.0) -> str:
        """Have Tor resolve the name *host*, and return one of its addresses (RESOLVE, an extension of Tor).

        Raises:
            SOCKSFailure: The name has no address, or the proxy is not Tor.
            Exception: Otherwise as `create_connection`.
        """
        return await self._asked(SOCKS5Resolve(host, credentials=self.for_tor()), timeout)

    async def resolve_ptr(self, address: str, *, timeout: float | None = 30.0) -> str:
        """Have Tor return the name of an IPv4 or IPv6 *address* (RESOLVE_PTR); otherwise as `resolve`."""
        return await self._asked(SOCKS5ResolvePTR(address, credentials=self.for_tor()), timeout)

    async def _asked(self, dialogue: Dialogue[str], timeout: float | None) -> str:
        timeout = check_timeout("timeout", timeout)
        answer: str = await current_backend().converse(self.endpoint, dialogue, timeout=timeout)
        return answer


class HTTPConnectProxy(HTTPProxySettings, _Dialling):
    """An HTTP proxy that supports the CONNECT method (RFC 9110, section 9.3.6).

    Args:
        address: As for `SOCKSProxy`.
        auth: User name and password for Basic authentication, as a `SOCKSUserAuth` or a pair; None = none.

    The attributes are those of `SOCKSProxy`, except for *protocol*.

    Raises:
        ValueError: The address is invalid, or the user name contains a colon, which Basic authentication cannot
            transmit.
        TypeError: A value of the wrong type.
    """


async def check_proxy(proxy: ProxySettings | str, *, timeout: float | None = 5.0) -> ProxyReport:
    """Find out which protocols a proxy speaks and what it supports, and return a report.

    The proxy is asked to connect to itself, so no other network is needed. The user name and password, if there are
    any, are only sent in the protocol of *proxy*.

    Args:
        proxy: A proxy, or the URL of one.
        timeout: Seconds for each question; None = unlimited. Some proxies do not answer a protocol that they do not
            speak, so one or two of about ten questions may take that long.

    Raises:
        OSError: The proxy cannot be reached.
        ValueError: The URL is invalid.
        TypeError: *proxy* is neither a proxy nor a URL.
    """
    return await checked(current_backend(), _proxy(proxy), timeout)


def proxy_from_environment(
    host: str | None = None, variables: Mapping[str, str] | None = None
) -> SOCKSProxy | HTTPConnectProxy | None:
    """Return the proxy that ``all_proxy`` or ``ALL_PROXY`` specifies; None if neither is set, or *host* is excluded.

    Nothing else in tieline reads these variables: pass the result as ``proxy=``. ``no_proxy`` or ``NO_PROXY`` excludes
    hosts, separated by commas: names (and their subdomains), addresses, networks (``10.0.0.0/8``), or ``*`` for all.
    Names are compared as text, and never resolved.

    Args:
        host: The host to connect to; None = ignore ``no_proxy``.
        variables: The environment variables; None = ``os.environ``.

    Raises:
        ValueError: The URL in the variable is invalid. The message does not contain it.
    """
    url = proxy_url(os.environ if variables is None else variables, host)
    return None if url is None else cast("SOCKSProxy | HTTPConnectProxy", _proxy(url))


def as_route(choice: Any) -> Any:
    """Return the route that an argument ``proxy=`` means.

    That is None for None, and *choice* itself where it is some other object that dials, by ``create_connection``.

    Args:
        choice: A proxy, or a URL that names one (see `parse_proxy`), or a sequence of them: a chain, the nearest first.

    Raises:
        ValueError: The URL cannot be understood, or there can be no such chain.
        TypeError: It is none of these.
    """
    if choice is None or isinstance(choice, Route):
        return choice
    if isinstance(choice, str | ProxySettings):
        return Route((_proxy(choice),))
    if type(choice) in _OCTETS:
        raise _no_proxy(choice)
    if isinstance(choice, Sequence):
        chain = cast("Sequence[object]", choice)
        if not chain:
            raise ValueError("proxy must name at least one proxy, or be None")
        return Route([_proxy(one) for one in chain])
    if callable(getattr(choice, "create_connection", None)):
        return choice
    raise _no_proxy(choice)


def route_to(endpoint: Endpoint, proxy: Any) -> Any:
    """Return the route to *endpoint* that *proxy* means; something that dials by itself is returned as it is.

    Raises:
        ValueError: The endpoint cannot be reached that way, or the proxy cannot be understood.
        TypeError: It is no proxy.
    """
    route = as_route(proxy)
    if isinstance(route, Route):
        route.check(endpoint)
    return route


def datagram_route(proxy: Any, asked: Asked) -> Route:
    """Return the route for datagrams that *proxy* means.

    Raises:
        ValueError: There is none that way, or the proxy cannot be understood.
        TypeError: It is no proxy.
    """
    route = as_route(proxy)
    last = route.proxies[-1] if isinstance(route, Route) and len(route.proxies) == 1 else None
    if not isinstance(last, SOCKSSettings) or last.protocol is not SOCKS5:
        raise ValueError("datagrams go through one SOCKS5 proxy; no other proxy takes them, and no chain")
    if asked.is_unix:
        raise ValueError("a proxy takes UDP only, and no Unix socket")
    checked: Route = route
    return checked


_OCTETS = (bytes, bytearray, memoryview)  # sequences, and yet no chains


def _no_proxy(choice: object) -> TypeError:
    # It is not shown: it may hold a password.
    return TypeError(f"proxy must be a proxy, its URL, or a list of these, not {type(choice).__name__}")


def _proxy(choice: object) -> ProxySettings:
    if isinstance(choice, ProxySettings):
        return choice
    if not isinstance(choice, str):
        raise TypeError(f"proxy may be a list of proxies and their URLs, but {type(choice).__name__} is in it")
    address, protocol, auth = parse_proxy(choice)
    if protocol is None:
        return HTTPConnectProxy(address, auth)
    return SOCKSProxy(address, protocol, auth if isinstance(auth, SOCKSUserAuth) else None)
