# SPDX-License-Identifier: MIT
"""From a URL or an endpoint to the packet client for it: for `tieline.connect` and `tieline.blocking.connect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.clients.arguments import check_connect_timeout, route_to
from tieline.clients.datagram_arguments import datagrams_to
from tieline.endpoints.command import Stdio
from tieline.endpoints.datagrams import UDP, UnixDatagram
from tieline.endpoints.secured import check_name_to_match, endpoint_with_tls
from tieline.endpoints.tcp import TCP
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.urls import carrier_of, parse
from tieline.wire.limits import Default, Limits
from tieline.wire.protocols import checked_datagram_protocol, checked_stream_protocol

if TYPE_CHECKING:
    from tieline.endpoints.datagrams import DatagramEndpoint
    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.urls import Endpoint

__all__ = ["async_client_to", "blocking_client_to", "refuse_others"]


def refuse_others(given: dict[str, Any]) -> None:
    """Refuse what is for sessions, where a packet client is asked for; None stands for what was not given.

    Raises:
        TypeError: Something was.
    """
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise TypeError(f"{', '.join(names)}: for sessions of calls, and protocol= asks for a client of packets")


def async_client_to(
    where: Any, protocol: Any, tls: TLSChoice, proxy: Any, connect_timeout: float | Default | None
) -> Any:
    """Return an asynchronous client, not connected yet.

    Raises:
        ValueError: The URL cannot be understood, or is only for serving.
        TypeError: *protocol* is none of that kind of endpoint, or another argument of a wrong type.
    """
    endpoint = _endpoint(where, tls)
    kind = _async_kind(endpoint)
    if isinstance(endpoint, UDP | UnixDatagram):
        checked_datagram_protocol(protocol)
        asked, route = datagrams_to(endpoint, proxy)
        return kind.to(endpoint, asked, protocol, None, route=route)
    checked_stream_protocol(protocol)
    way = _route(endpoint, proxy)
    return kind.to(endpoint, None, protocol, None, proxy=way, timeout=_seconds(connect_timeout))


def blocking_client_to(
    where: Any, protocol: Any, tls: TLSChoice, proxy: Any, connect_timeout: float | Default | None
) -> Any:
    """Return a blocking client, connected; otherwise as `async_client_to`.

    Raises:
        OSError: Nobody there, or no way to get there.
        TimeoutError: Not within *connect_timeout* seconds.
    """
    endpoint = _endpoint(where, tls)
    kind = _blocking_kind(endpoint)
    timeout = _seconds(connect_timeout)
    if isinstance(endpoint, UDP | UnixDatagram):
        checked_datagram_protocol(protocol)
        asked, route = datagrams_to(endpoint, proxy)
        return kind.to(endpoint, asked, protocol, route=route, timeout=timeout)
    checked_stream_protocol(protocol)
    return kind.to(endpoint, None, protocol, route=_route(endpoint, proxy), timeout=timeout)


def _endpoint(where: Any, tls: TLSChoice) -> Endpoint | DatagramEndpoint:
    found: object = parse(where) if isinstance(where, str) else where
    if isinstance(found, UDP | UnixDatagram):
        if tls:
            raise ValueError(f"tls is for streams, and {found} is a socket of datagrams")
        return found
    endpoint = endpoint_with_tls(where, tls)
    if isinstance(endpoint, Stdio):
        raise ValueError(f"{endpoint} is for serving, not for connecting")
    check_name_to_match(endpoint)
    return endpoint


def _async_kind(endpoint: object) -> Any:
    """Return the class of the asynchronous client for *endpoint*; imported here: a program uses one, as a rule."""
    match endpoint:
        case UDP():
            from tieline.clients.async_udp import AsyncUDPNetworkClient

            return AsyncUDPNetworkClient
        case UnixDatagram():
            from tieline.clients.async_unix_datagram import AsyncUnixDatagramClient

            return AsyncUnixDatagramClient
        case UnixStream():
            from tieline.clients.async_unix_stream import AsyncUnixStreamClient

            return AsyncUnixStreamClient
        case TCP():
            from tieline.clients.async_tcp import AsyncTCPNetworkClient

            return AsyncTCPNetworkClient
        case _:
            from tieline.clients.async_stream import AsyncStreamClient

            return AsyncStreamClient


def _blocking_kind(endpoint: object) -> Any:
    """Return the class of the blocking client for *endpoint*."""
    match endpoint:
        case UDP():
            from tieline.clients.udp import UDPNetworkClient

            return UDPNetworkClient
        case UnixDatagram():
            from tieline.clients.unix_datagram import UnixDatagramClient

            return UnixDatagramClient
        case UnixStream():
            from tieline.clients.unix_stream import UnixStreamClient

            return UnixStreamClient
        case TCP():
            from tieline.clients.tcp import TCPNetworkClient

            return TCPNetworkClient
        case _:
            from tieline.clients.stream import StreamClient

            return StreamClient


def _route(endpoint: Any, proxy: Any) -> Any:
    if proxy is None:
        return None
    carrier = carrier_of(endpoint)
    if isinstance(carrier, TCP):
        return route_to(carrier, proxy)
    raise ValueError(f"a proxy takes TCP and UDP only, not {endpoint}")


def _seconds(connect_timeout: float | Default | None) -> float | None:
    if isinstance(connect_timeout, Default):
        return Limits().resolved(accepted=False).connect_timeout
    return check_connect_timeout(connect_timeout)
