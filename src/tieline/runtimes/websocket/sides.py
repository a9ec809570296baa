# SPDX-License-Identifier: MIT
"""The two sides of a WebSocket, as an endpoint wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.endpoints.tcp import TCP
from tieline.wire.limits import Limits
from tieline.wire.websocket.carrying import STREAM_MESSAGE
from tieline.wire.websocket.client import WebSocketClient
from tieline.wire.websocket.server import WebSocketServer
from tieline.wire.websocket.visitors import LOOPBACK, Visitors

if TYPE_CHECKING:
    from types import TracebackType

    from tieline.endpoints.urls import StreamEndpoint
    from tieline.endpoints.websocket import WebSocket
    from tieline.wire.carriage import Carriage

__all__ = ["Telling", "check_installed", "client_side", "server_side", "visitors_of"]

# What a server on a Unix socket is called by those who must call it something.
_LOCAL_HOST: Final = "localhost"


def check_installed() -> None:
    """Refuse to go on where the package is missing that speaks WebSocket.

    Raises:
        ModuleNotFoundError: It is.
    """
    from importlib.util import find_spec  # lazily: for WebSockets alone

    if find_spec("websockets") is None:
        text = "WebSocket needs the package websockets, which the extra ws installs: pip install 'tieline[ws]'"
        raise ModuleNotFoundError(text, name="websockets")


class Telling:
    """Has what goes wrong in the body of a ``with`` tell of *endpoint*, as the user has, and not of its carrier."""

    __slots__ = ("_endpoint",)

    def __init__(self, endpoint: WebSocket) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> None: ...

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError | ValueError):
            return
        carrier, url = str(self._endpoint.under), str(self._endpoint)
        error.args = tuple(part.replace(carrier, url, 1) if isinstance(part, str) else part for part in error.args)
        if isinstance(error, OSError) and error.strerror:
            error.strerror = error.strerror.replace(carrier, url, 1)


def client_side(endpoint: WebSocket, upper: Any) -> WebSocketClient:
    """Return a client's side for the protocol *upper*, which is to connect to *endpoint*."""
    from secrets import token_bytes  # lazily: for clients alone

    under = endpoint.under
    is_tcp = isinstance(under, TCP) and isinstance(under.host, str)
    return WebSocketClient(
        _asked_for(str(under.host)) if isinstance(under, TCP) and is_tcp else _LOCAL_HOST,
        under.port if isinstance(under, TCP) else (80 if endpoint.tls is None else 443),
        random_bytes=token_bytes,
        secure=endpoint.tls is not None,
        path=endpoint.path or "/",
        headers=endpoint.headers,
        origin=endpoint.origin,
        subprotocols=tuple(endpoint.subprotocols),
        compression=endpoint.compression,
        max_message=_max_message(upper, accepted=False),
        binary=endpoint.binary,
        carriage=_carriage(upper),
    )


def server_side(endpoint: WebSocket, visitors: Visitors, upper: Any) -> WebSocketServer:
    """Return a server's side for the protocol *upper*, on a connection that was accepted for *endpoint*."""
    return WebSocketServer(
        path=endpoint.path,
        health_path=endpoint.health_path,
        visitors=visitors,
        headers=endpoint.headers,
        subprotocols=tuple(endpoint.subprotocols),
        compression=endpoint.compression,
        max_message=_max_message(upper, accepted=True),
        binary=endpoint.binary,
        carriage=_carriage(upper),
    )


def visitors_of(endpoint: WebSocket, listening: list[StreamEndpoint]) -> Visitors:
    """Return who may come to a server that was told *endpoint* and listens at *listening*."""
    hosts = endpoint.hosts
    if hosts is None and all(isinstance(each, TCP) and _is_loopback(str(each.host)) for each in listening):
        asked = endpoint.under.hosts if isinstance(endpoint.under, TCP) else ()
        hosts = LOOPBACK.union(host.lower() for host in asked if host is not None)
    if hosts is not None:
        hosts = frozenset(map(_asked_for, hosts))
    return Visitors(endpoint.origins, hosts, is_secure=endpoint.tls is not None)


def _asked_for(host: str) -> str:
    """Return what the header ``Host`` calls *host*: no letters but those of ASCII, and no zone (RFC 6874)."""
    return host.partition("%")[0] if host.isascii() else host.encode("idna").decode("ascii")


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    address = ip_address(host.partition("%")[0])
    # CPython 3.13 looks into IPv4 addresses that are written as IPv6 ones; before that they are told apart here.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _carriage(upper: Any) -> Carriage:
    """Return how messages come to *upper*; to protocols that are no links of ours behind their lengths."""
    machine: Any = getattr(upper, "machine", None)
    found: Carriage = getattr(machine, "carriage", "counted")
    return found


def _max_message(upper: Any, *, accepted: bool) -> int | None:
    """Return how long a message for *upper* may be; protocols that have no limit of their own get the default.

    Where messages are pieces of a stream, their lengths say nothing of what is in it, and those of tieline's own sender
    are taken in any case.
    """
    machine: Any = getattr(upper, "machine", None)  # that of a link
    limits: Limits = Limits().resolved(accepted=accepted) if machine is None else machine.limits
    max_message = limits.max_message
    if not isinstance(max_message, int):
        return None
    return max(max_message, STREAM_MESSAGE) if _carriage(upper) == "stream" else max_message
