# SPDX-License-Identifier: MIT
"""Finding out about proxies, written once for all runtimes. What is asked is decided in ``wire.proxies``.

*backend* is whatever has ``converse``: see `AsyncBackend`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tieline.endpoints.proxies import ProxySettings, SOCKSAuth, SOCKSSettings
from tieline.endpoints.tcp import TCP
from tieline.errors import HTTPConnectError, SOCKSError
from tieline.finite import check_timeout
from tieline.wire.proxies.socks5 import SOCKS5
from tieline.wire.proxies.survey import detection, survey

if TYPE_CHECKING:
    from tieline.endpoints.urls import StreamEndpoint
    from tieline.wire.proxies.dialogue import Dialogue
    from tieline.wire.proxies.survey import ProxyReport

__all__ = ["asked", "checked", "detected"]

FoundT = TypeVar("FoundT")
ProxyT = TypeVar("ProxyT", bound=SOCKSSettings)

# Where a Unix socket has no port of its own to be asked for.
_SOME_PORT: Final = 1080


def _port_to_ask_for(endpoint: StreamEndpoint) -> int:
    """Return the port of a proxy, which it is asked to connect to."""
    return endpoint.port if isinstance(endpoint, TCP) else _SOME_PORT


async def asked(
    backend: Any,
    endpoint: StreamEndpoint,
    asking: Generator[Dialogue[Any], Exception | None, FoundT],
    timeout: float | None,
    *,
    must_be_there: bool = False,
) -> FoundT:
    """Have all dialogues that *asking* yields, each on a connection of its own, and return what it returns.

    Args:
        backend: What has each of them.
        endpoint: Where the proxy is.
        asking: As `detection`.
        timeout: Seconds for each; None = as long as it takes.
        must_be_there: Whether it is an error that nobody is there at the first of them.

    Raises:
        OSError: The proxy cannot be reached.
    """
    timeout = check_timeout("timeout", timeout)
    dialogue = next(asking)
    while True:
        outcome: Exception | None = None
        try:
            await backend.converse(endpoint, dialogue, timeout=timeout)
        except OSError as exc:
            if must_be_there and not isinstance(exc, SOCKSError | HTTPConnectError | TimeoutError):
                raise
            outcome = exc
        must_be_there = False
        try:
            dialogue = asking.send(outcome)
        except StopIteration as done:
            found: FoundT = done.value
            return found


async def checked(backend: Any, proxy: ProxySettings, timeout: float | None) -> ProxyReport:
    """Return what *proxy* is and can do; see `tieline.check_proxy`."""
    protocol = proxy.protocol.name() if isinstance(proxy, SOCKSSettings) else "HTTP CONNECT"
    asking = survey(_port_to_ask_for(proxy.endpoint), protocol=protocol, credentials=proxy.credentials())
    return await asked(backend, proxy.endpoint, asking, timeout, must_be_there=True)


async def detected(
    kind: type[ProxyT], backend: Any, address: object, auth: SOCKSAuth, timeout: float | None
) -> ProxyT | None:
    """Return a proxy of the class *kind* for *address*; see `tieline.SOCKSProxy.auto_detect_address`."""
    probe = kind(address, SOCKS5, auth)
    credentials = probe.credentials()
    user = b"" if credentials is None else credentials[0]
    asking = detection(_port_to_ask_for(probe.endpoint), credentials=credentials, user=user)
    found = await asked(backend, probe.endpoint, asking, timeout)
    return None if found is None else kind(address, found, auth)
