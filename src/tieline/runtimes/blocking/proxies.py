# SPDX-License-Identifier: MIT
"""The proxies that users make, with what they can do by themselves in blocking code; the twin of ``runtimes.proxies``.

To go through a proxy those of `tieline` serve in blocking code as well.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from tieline.endpoints.proxies import HTTPProxySettings, ProxySettings, Route, SOCKSAuth, SOCKSSettings
from tieline.endpoints.secured import TLSChoice, endpoint_with_tls
from tieline.endpoints.tcp import TCP
from tieline.finite import check_timeout
from tieline.runtimes.blocking.dialling import connector
from tieline.runtimes.blocking.polled import PolledTransport, dial_polled
from tieline.runtimes.blocking.sockets import at_once
from tieline.runtimes.proxies import as_route
from tieline.runtimes.proxy_checks import checked, detected
from tieline.wire.addresses import Late
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT
from tieline.wire.proxies.socks5 import SOCKS5Resolve, SOCKS5ResolvePTR

if TYPE_CHECKING:
    from tieline.endpoints.urls import StreamEndpoint
    from tieline.wire.proxies.dialogue import Dialogue
    from tieline.wire.proxies.survey import ProxyReport

__all__ = ["HTTPConnectProxy", "SOCKSProxy", "check_proxy"]

ProtocolT = TypeVar("ProtocolT")


class _Backend:
    """What asks one question, for what is written once for all runtimes. Nothing in it waits but by blocking."""

    async def converse(self, endpoint: StreamEndpoint, dialogue: Dialogue[Any], *, timeout: float | None) -> Any:
        """Have *dialogue* on a connection of its own; see `AsyncBackend.converse`."""
        deadline = inf if timeout is None else time.monotonic() + timeout
        try:
            return await connector(deadline).converse(endpoint, dialogue)
        except Late:
            raise TimeoutError(errno.ETIMEDOUT, f"no answer from {endpoint} within {timeout:g} s") from None


class _Dialling(ProxySettings):
    """What every kind of proxy can do by itself."""

    def create_connection(
        self,
        protocol_factory: Callable[[], ProtocolT],
        host: str,
        port: int,
        *,
        resolve: bool = False,
        ssl: TLSChoice = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        timeout: float | None = 30.0,
    ) -> tuple[PolledTransport, ProtocolT]:
        """Connect to *host* and *port* through the proxy; return a `PolledTransport`, and the protocol.

        Otherwise as `tieline.SOCKSProxy.create_connection` and `tieline.blocking.create_connection`.
        """
        timeout = check_timeout("timeout", timeout)
        endpoint = endpoint_with_tls(TCP(host, port, family=family, proto=proto, flags=flags), ssl, "ssl")
        route = Route((self,), resolves=resolve)
        transport, protocol = dial_polled(
            protocol_factory,
            cast("TCP", endpoint),
            timeout=timeout,
            route=route,
            handshake_timeout=None,
            shutdown_timeout=TLS_SHUTDOWN_TIMEOUT,
        )
        try:
            protocol._address = route.target  # type: ignore[attr-defined]  # the old API's word
        except (AttributeError, TypeError):  # it has slots
            pass
        return transport, protocol


class SOCKSProxy(SOCKSSettings, _Dialling):
    """A SOCKS proxy for blocking code: `tieline.SOCKSProxy` with plain methods in place of async ones.

    The arguments and attributes are the same, and both classes are accepted as ``proxy=`` on every runtime.
    """

    @classmethod
    def auto_detect_address(
        cls, address: object, auth: SOCKSAuth = None, *, timeout: float | None = 5.0
    ) -> Self | None:
        """Return a proxy for *address*, with the best protocol that it speaks; None if it speaks none.

        As `tieline.SOCKSProxy.auto_detect_address`.
        """
        return at_once(detected(cls, _Backend(), address, auth, timeout))

    @classmethod
    def auto_detect_host(
        cls, host: str, ports: Iterable[int], auth: SOCKSAuth = None, *, timeout: float | None = 5.0
    ) -> Self | None:
        """Return a proxy for the first of *ports* on *host* that speaks SOCKS; None if none does."""
        for port in ports:
            found = cls.auto_detect_address((host, port), auth, timeout=timeout)
            if found is not None:
                return found
        return None

    @classmethod
    def auto_detect_at_address(cls, address: object, auth: SOCKSAuth = None) -> Self | None:
        """Do the same as `auto_detect_address`, which is the older name."""
        return cls.auto_detect_address(address, auth)

    @classmethod
    def auto_detect_at_host(cls, host: str, ports: Iterable[int], auth: SOCKSAuth = None) -> Self | None:
        """Do the same as `auto_detect_host`, which is the older name."""
        return cls.auto_detect_host(host, ports, auth)

    def resolve(self, host: str, *, timeout: float | None = 30.0) -> str:
        """Have Tor resolve the name *host*, and return one of its addresses; as `tieline.SOCKSProxy.resolve`."""
        return self._asked(SOCKS5Resolve(host, credentials=self.for_tor()), timeout)

    def resolve_ptr(self, address: str, *, timeout: float | None = 30.0) -> str:
        """Have Tor return the name of an IPv4 or IPv6 *address*; as `tieline.SOCKSProxy.resolve_ptr`."""
        return self._asked(SOCKS5ResolvePTR(address, credentials=self.for_tor()), timeout)

    def _asked(self, dialogue: Dialogue[str], timeout: float | None) -> str:
        timeout = check_timeout("timeout", timeout)
        answer: str = at_once(_Backend().converse(self.endpoint, dialogue, timeout=timeout))
        return answer


class HTTPConnectProxy(HTTPProxySettings, _Dialling):
    """An HTTP proxy for blocking code: `tieline.HTTPConnectProxy` with a plain ``create_connection``."""


def check_proxy(proxy: ProxySettings | str, *, timeout: float | None = 5.0) -> ProxyReport:
    """Find out which protocols a proxy speaks and what it supports; as `tieline.check_proxy`."""
    route: Route = as_route([proxy])
    return at_once(checked(_Backend(), route.proxies[0], timeout))
