# SPDX-License-Identifier: MIT
"""From a URL or an endpoint to the packet client for it: for `tieline.connect` and `tieline.blocking.connect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.clients.arguments import route_to
from tieline.clients.datagram_arguments import datagrams_to
from tieline.endpoints import TCP, UDP, Command, Stdio, UnixDatagram, UnixStream, parse
from tieline.endpoints.secured import check_name_to_match, endpoint_with_tls
from tieline.wire.limits import Default, Limits
from tieline.wire.protocols import checked_datagram_protocol, checked_stream_protocol

if TYPE_CHECKING:
    from tieline.endpoints import DatagramEndpoint, StreamEndpoint
    from tieline.endpoints.secured import TLSChoice

__all__ = ["async_client_to", "blocking_client_to", "refuse_others"]


# The classes, and where they are.
_HOMES: Final = {
    "AsyncStreamClient": "tieline.clients.async_stream",
    "AsyncTCPNetworkClient": "tieline.clients.async_tcp",
    "AsyncUDPNetworkClient": "tieline.clients.async_udp",
    "AsyncUnixDatagramClient": "tieline.clients.async_unix_datagram",
    "AsyncUnixStreamClient": "tieline.clients.async_unix_stream",
    "StreamClient": "tieline.clients.stream",
    "TCPNetworkClient": "tieline.clients.tcp",
    "UDPNetworkClient": "tieline.clients.udp",
    "UnixDatagramClient": "tieline.clients.unix_datagram",
    "UnixStreamClient": "tieline.clients.unix_stream",
}


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
        ValueError: The URL cannot be understood, or there are no packets over that.
        TypeError: *protocol* is none of that kind of endpoint, or another argument of a wrong type.
    """
    from tieline.clients.async_datagram import AsyncDatagramClient  # lazily: a program uses one kind, as a rule
    from tieline.clients.async_stream import AsyncStreamClient

    endpoint = _endpoint(where, tls)
    client: Any
    match endpoint:
        case UDP() | UnixDatagram():
            checked_datagram_protocol(protocol)
            asked, route = datagrams_to(endpoint, proxy)
            client = _unmade(f"Async{_names(endpoint)}")
            AsyncDatagramClient.__init__(client, endpoint, asked, protocol, None, route=route)
        case _:
            checked_stream_protocol(protocol)
            client = _unmade(f"Async{_names(endpoint)}")
            AsyncStreamClient.__init__(
                client, endpoint, None, protocol, None, proxy=_route(endpoint, proxy), timeout=_seconds(connect_timeout)
            )
    return client


def blocking_client_to(
    where: Any, protocol: Any, tls: TLSChoice, proxy: Any, connect_timeout: float | Default | None
) -> Any:
    """Return a blocking client, connected; otherwise as `async_client_to`.

    Raises:
        OSError: Nobody there, or no way to get there.
        TimeoutError: Not within *connect_timeout* seconds.
    """
    from tieline.clients.datagram import DatagramClient  # lazily, as above
    from tieline.clients.stream import StreamClient

    endpoint = _endpoint(where, tls)
    timeout = _seconds(connect_timeout)
    client: Any
    match endpoint:
        case UDP() | UnixDatagram():
            checked_datagram_protocol(protocol)
            asked, route = datagrams_to(endpoint, proxy)
            client = _unmade(_names(endpoint))
            DatagramClient.__init__(client, endpoint, asked, protocol, route=route, timeout=timeout)
        case _:
            checked_stream_protocol(protocol)
            client = _unmade(_names(endpoint))
            StreamClient.__init__(client, endpoint, None, protocol, route=_route(endpoint, proxy), timeout=timeout)
    return client


def _endpoint(where: Any, tls: TLSChoice) -> StreamEndpoint | DatagramEndpoint:
    found: object = parse(where) if isinstance(where, str) else where
    if isinstance(found, UDP | UnixDatagram):
        if tls:
            raise ValueError(f"tls is for streams, and {found} is a socket of datagrams")
        return found
    endpoint = endpoint_with_tls(where, tls)
    if isinstance(endpoint, TCP | UnixStream | Command):
        check_name_to_match(endpoint)
        return endpoint
    if isinstance(endpoint, Stdio):
        raise ValueError(f"{endpoint} is to be served on, not to connect to")
    raise ValueError(f"there are no packets over {endpoint}: a WebSocket carries messages, for sessions")


def _names(endpoint: object) -> str:
    """Return what the blocking client for *endpoint* is called."""
    match endpoint:
        case UDP():
            return "UDPNetworkClient"
        case UnixDatagram():
            return "UnixDatagramClient"
        case UnixStream():
            return "UnixStreamClient"
        case Command():
            return "StreamClient"
        case _:
            return "TCPNetworkClient"


def _unmade(name: str) -> Any:
    """Return a client of the class *name*, not made yet: what its constructor checks, the endpoint has checked."""
    from importlib import import_module  # lazily, as above

    kind: Any = getattr(import_module(_HOMES[name]), name)
    return kind.__new__(kind)


def _route(endpoint: Any, proxy: Any) -> Any:
    if proxy is None or isinstance(endpoint, TCP):
        return route_to(endpoint, proxy)
    raise ValueError(f"a proxy takes TCP and UDP only, not {endpoint}")


def _seconds(connect_timeout: float | Default | None) -> float | None:
    if isinstance(connect_timeout, Default):
        return Limits().resolved(accepted=False).connect_timeout
    return connect_timeout
