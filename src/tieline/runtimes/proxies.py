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
            protocol_factory: Makes the protocol, once the connection stands.
            host: A name, which the proxy looks up, or an address.
            port: The port.
            resolve: Look the name up here instead, and have the proxy try each of its addresses.
            loop: None, or the running loop.
            ssl: What encrypts the connection to the target: see `tieline.ClientSession`. The name that is verified is
                *host*.
            family: For a look-up here, as *proto* and *flags*.
            proto: As `TCP.proto`.
            flags: As `TCP.flags`.
            timeout: Seconds for everything: connecting to the proxy, the dialogue and TLS. None = as long as it takes.
            nursery: On trio the nursery that the connection is to live in; None elsewhere.

        Afterwards ``host``, ``port`` and ``peername`` tell of this connection, until the next one. What was connected
        to is also ``protocol._address``, where the protocol allows that. Cancelling leaves nothing behind.

        Raises:
            SOCKSError: The proxy refuses, fails, or does not follow the protocol; HTTPConnectError: an HTTP proxy does.
            OSError: The proxy cannot be reached, or there is no TLS with the target.
            TimeoutError: Not within *timeout* seconds.
            ValueError: Such a proxy cannot be asked for that target; nothing was sent.
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

    Names are never looked up here unless that is asked for: the proxy gets them as they are.

    Args:
        address: (host, port); or the path of a Unix socket, or ``@name``. For IPv6 also the four items of a socket
            address. All addresses of a host's name are tried.
        protocol: `SOCKS4` (to IPv4 addresses alone), `SOCKS4a` (to names too) or `SOCKS5` (to IPv6 as well).
        auth: A `SOCKSUserAuth`, or `SOCKSRandomAuth()`; None = none. With one, a SOCKS5 proxy must check it: one that
            would let anybody in is refused.

    Attributes:
        address: Where the proxy is, as given.
        endpoint: The same, as an endpoint.
        protocol: As given.
        auth: As given.
        host: The target that the proxy connected to last; None before. These three are a convenience: where one proxy
            is used for several connections at once, ask the session (``get_extra_info("proxy_target")``).
        port: The port of that.
        peername: The proxy's own socket address on that connection; None before.

    Raises:
        ValueError: An address that no proxy can have, or *auth* that the protocol cannot tell.
        TypeError: A value of the wrong type.
    """

    @classmethod
    async def auto_detect_address(
        cls, address: object, auth: SOCKSAuth = None, *, loop: object = None, timeout: float | None = 5.0
    ) -> Self | None:
        """Return a proxy for *address*, with the best protocol that is spoken there; None if none is.

        SOCKS5 is tried first, then SOCKS4a, then SOCKS4, each within *timeout* seconds. For SOCKS5 nothing but the
        greeting is sent. The other two have no greeting: they are asked to connect to their own port.

        Raises:
            ValueError: As the constructor; TypeError as well.
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
        """Return a proxy for the first of *ports* of *host* at which one is found; None if none is.

        Otherwise as `auto_detect_address`.
        """
        for port in ports:
            found = await cls.auto_detect_address((host, port), auth, loop=loop, timeout=timeout)
            if found is not None:
                return found
        return None

    @classmethod
    async def auto_detect_at_address(cls, address: object, auth: SOCKSAuth = None) -> Self | None:
        """Do what `auto_detect_address` does; the newer spelling."""
        return await cls.auto_detect_address(address, auth)

    @classmethod
    async def auto_detect_at_host(cls, host: str, ports: Iterable[int], auth: SOCKSAuth = None) -> Self | None:
        """Do what `auto_detect_host` does; the newer spelling."""
        return await cls.auto_detect_host(host, ports, auth)

    async def resolve(self, host: str, *, timeout: float | None = 30.0) -> str:
        """Have Tor look up the name *host*, and return an address of it (RESOLVE, which other proxies do not know).

        Raises:
            SOCKSFailure: There is none, or the proxy is not Tor; otherwise as `create_connection`.
        """
        return await self._asked(SOCKS5Resolve(host, credentials=self.for_tor()), timeout)

    async def resolve_ptr(self, address: str, *, timeout: float | None = 30.0) -> str:
        """Have Tor look up the name of an IPv4 or IPv6 *address* (RESOLVE_PTR); otherwise as `resolve`."""
        return await self._asked(SOCKS5ResolvePTR(address, credentials=self.for_tor()), timeout)

    async def _asked(self, dialogue: Dialogue[str], timeout: float | None) -> str:
        timeout = check_timeout("timeout", timeout)
        answer: str = await current_backend().converse(self.endpoint, dialogue, timeout=timeout)
        return answer


class HTTPConnectProxy(HTTPProxySettings, _Dialling):
    """An HTTP proxy that lets through what it is asked for by CONNECT (RFC 9110, section 9.3.6).

    Args:
        address: As for `SOCKSProxy`.
        auth: User name and password for Basic authentication, as a `SOCKSUserAuth` or any pair; None = none.

    The attributes are those of `SOCKSProxy`, without its protocol.

    Raises:
        ValueError: An address that no proxy can have, or *auth* that cannot be told: a colon in the user name.
        TypeError: A value of the wrong type.
    """


async def check_proxy(proxy: ProxySettings | str, *, timeout: float | None = 5.0) -> ProxyReport:
    """Find out what a proxy is and can do, and return that.

    It is asked to connect to itself: no other network is needed. User name and password, if it has any, are told in
    the protocol that it is given with alone.

    Args:
        proxy: A proxy, or the URL of one.
        timeout: Seconds for each question; None = as long as it takes. Some proxies let one or two of about ten run
            into it: they say nothing to who speaks another protocol.

    Raises:
        OSError: Nobody is there.
        ValueError: The URL cannot be understood.
        TypeError: It is no proxy.
    """
    return await checked(current_backend(), _proxy(proxy), timeout)


def proxy_from_environment(
    host: str | None = None, variables: Mapping[str, str] | None = None
) -> SOCKSProxy | HTTPConnectProxy | None:
    """Return the proxy that ``all_proxy`` or ``ALL_PROXY`` names; None if there is none, or not for *host*.

    Nothing else here looks at these variables: give the result as ``proxy=``. ``no_proxy`` or ``NO_PROXY`` names the
    hosts that are reached without it, with commas between: names (with all below them), addresses, networks
    (``10.0.0.0/8``), or ``*`` for all. Names are compared, and never looked up.

    Args:
        host: Where it is to lead to; None = do not ask whether it is for that.
        variables: Instead of ``os.environ``.

    Raises:
        ValueError: The URL in the variable cannot be understood. The text does not repeat it.
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
