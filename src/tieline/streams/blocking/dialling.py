# SPDX-License-Identifier: MIT
"""Connections with protocols of users' own in blocking code: asyncio's signatures, and transports that are polled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tieline.endpoints.secured import TLSChoice
from tieline.runtimes.blocking.polled import PolledTransport, dial_polled
from tieline.streams.arguments import (
    CONNECT_TIMEOUT,
    check_callable,
    check_connect_timeout,
    check_proxied,
    endpoint_to_dial,
    route_to,
    settings_to_dial,
    tls_seconds,
    unix_to_dial,
)
from tieline.wire.limits import DEFAULT, Default

if TYPE_CHECKING:
    import os
    import socket
    from collections.abc import Callable

    from tieline.endpoints.urls import Endpoint

__all__ = ["create_connection", "create_unix_connection"]

ProtocolT = TypeVar("ProtocolT")


def create_connection(
    protocol_factory: Callable[[], ProtocolT],
    host: str | Endpoint | None = None,
    port: int | None = None,
    *,
    ssl: TLSChoice = None,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    sock: socket.socket | None = None,
    local_addr: tuple[str, int] | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    happy_eyeballs_delay: float | Default | None = DEFAULT,
    interleave: int | None = None,
    proxy: Any = None,
    connect_timeout: float | None = CONNECT_TIMEOUT,
) -> tuple[PolledTransport, ProtocolT]:
    """Connect, and return (transport, protocol). The transport works only while it is polled: `PolledTransport.poll`.

    In this order: connect (through proxies, and with the TLS handshake), call *protocol_factory*, call
    ``connection_made`` of the protocol, return. With TLS, the factory is called before the handshake and
    ``connection_made`` after it. An interrupt leaves nothing behind.

    Args:
        protocol_factory: Returns the protocol: of a class of ``tieline.transports``, of asyncio's, or of neither.
        host: As for `tieline.create_connection`, like all other arguments.
        port: The port.
        ssl: How the connection is encrypted.
        family: As `TCP.family`.
        proto: As `TCP.proto`.
        flags: As `TCP.flags`.
        sock: A connected stream socket to use.
        local_addr: As `TCP.local_addr`.
        server_hostname: The name that the certificate must contain. **Dangerous:** ``""`` turns the check off.
        ssl_handshake_timeout: Seconds for the TLS handshake; None = what *connect_timeout* leaves.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS; None = 5.
        happy_eyeballs_delay: As `TCP.happy_eyeballs_delay`.
        interleave: As `TCP.interleave`.
        proxy: A proxy, its URL, or a list of them; or an object whose plain function
            ``create_connection((host, port), timeout)`` returns a connected socket, as `socket.create_connection` does.
        connect_timeout: Seconds for all of it, except for resolving the name, which has the timeout of the system's
            resolver. None = unlimited.

    Raises:
        ValueError: Invalid arguments, or ones that exclude each other. Nothing was tried.
        TypeError: An argument has the wrong type.
        UnsupportedOperation: *proxy* connects in asynchronous code only.
        OSError: The peer cannot be reached, or its certificate is not trusted: of the class that all attempts have in
            common, and the text lists each of them.
        TimeoutError: Not within *connect_timeout*, or *ssl_handshake_timeout*.
        Exception: What *protocol_factory* or ``connection_made`` raised. The connection is closed.
    """
    check_callable("protocol_factory", protocol_factory)
    connect_timeout = check_connect_timeout(connect_timeout)
    settings = settings_to_dial(
        happy_eyeballs_delay, interleave, family=family, proto=proto, flags=flags, local_addr=local_addr
    )
    check_proxied(proxy, host, sock)
    endpoint = endpoint_to_dial(host, port, sock, ssl, server_hostname, settings)
    proxy = route_to(endpoint, proxy)  # by the same name: from here on no frame knows a password
    handshake_timeout, shutdown_timeout = tls_seconds(endpoint.tls, ssl_handshake_timeout, ssl_shutdown_timeout)
    return dial_polled(
        protocol_factory,
        endpoint,
        timeout=connect_timeout,
        sock=sock,
        route=proxy,
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
    )


def create_unix_connection(
    protocol_factory: Callable[[], ProtocolT],
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
    *,
    ssl: TLSChoice = None,
    sock: socket.socket | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    connect_timeout: float | None = CONNECT_TIMEOUT,
) -> tuple[PolledTransport, ProtocolT]:
    """Connect to a Unix socket, and return (transport, protocol); otherwise as `create_connection`.

    Args:
        protocol_factory: As there.
        path: The path of the socket file; ``@name`` (or with a leading NUL) in Linux's abstract namespace. Excludes
            *sock*.
        ssl: As there; it needs *server_hostname*.
        sock: A connected Unix stream socket.
        server_hostname: As there.
        ssl_handshake_timeout: As there.
        ssl_shutdown_timeout: As there.
        connect_timeout: As there.
    """
    check_callable("protocol_factory", protocol_factory)
    connect_timeout = check_connect_timeout(connect_timeout)
    endpoint = unix_to_dial(path, sock, ssl, server_hostname)
    handshake_timeout, shutdown_timeout = tls_seconds(endpoint.tls, ssl_handshake_timeout, ssl_shutdown_timeout)
    return dial_polled(
        protocol_factory,
        endpoint,
        timeout=connect_timeout,
        sock=sock,
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
    )
