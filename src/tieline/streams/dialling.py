# SPDX-License-Identifier: MIT
"""Connections with protocols of users' own: the signatures of asyncio, on every asynchronous runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from tieline.endpoints.secured import TLSChoice
from tieline.runtimes.detect import current_backend
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
    from tieline.runtimes.contract import Transport

__all__ = ["create_connection", "create_unix_connection"]

ProtocolT = TypeVar("ProtocolT")


async def create_connection(
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
    nursery: object = None,
) -> tuple[Transport, ProtocolT]:
    """Connect, and return (transport, protocol), like the method of an asyncio event loop.

    In this order: connect (through proxies, and with the TLS handshake), call *protocol_factory*, call
    ``connection_made`` of the protocol, return. With TLS, the factory is called before the handshake and
    ``connection_made`` after it. Cancelling leaves nothing behind.

    Args:
        protocol_factory: Returns the protocol: of a class of ``tieline.transports``, of asyncio's, or of neither.
        host: A name or an address; None or "" = this machine. Without *port* also an endpoint or a URL.
        port: The port.
        ssl: How the connection is encrypted: True for `TLS()`, an ``ssl.SSLContext``, or a `TLS` value; None = not at
            all.
        family: As `TCP.family`; *proto*, *flags*, *local_addr*, *happy_eyeballs_delay* (0.25 s) and *interleave* as
            well.
        proto: See *family*.
        flags: See *family*.
        sock: A connected stream socket to use. It excludes *host*, *port* and all arguments for connecting. It belongs
            to the transport as soon as the arguments have been checked.
        local_addr: See *family*.
        server_hostname: The name that the certificate must contain; None = *host*. Only with TLS. Required if there is
            no host. **Dangerous:** ``""`` turns the check off.
        ssl_handshake_timeout: Seconds for the TLS handshake; None = what *connect_timeout* leaves.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS; None = 5.
        happy_eyeballs_delay: See *family*. None = one address after another.
        interleave: See *family*. None = 1, or 0 if *happy_eyeballs_delay* is None.
        proxy: A proxy, its URL, or a list of them; see `ClientSession`.
        connect_timeout: Seconds for all of it; None = unlimited.
        nursery: On trio the nursery that the connection lives in; None elsewhere.

    Raises:
        ValueError: Invalid arguments, or ones that exclude each other, or *nursery* on asyncio. Nothing was tried.
        TypeError: An argument has the wrong type.
        LocalProtocolError: On trio, *nursery* is missing or closed.
        OSError: The peer cannot be reached, or its certificate is not trusted: of the class that all attempts have in
            common, and the text lists each of them.
        TimeoutError: Not within *connect_timeout*, or *ssl_handshake_timeout*.
        Exception: What *protocol_factory* or ``connection_made`` raised. The connection is closed; ``connection_lost``
            receives the same error.
    """
    backend = current_backend()
    backend.check_nursery(nursery)
    check_callable("protocol_factory", protocol_factory)
    connect_timeout = check_connect_timeout(connect_timeout)
    settings = settings_to_dial(
        happy_eyeballs_delay, interleave, family=family, proto=proto, flags=flags, local_addr=local_addr
    )
    check_proxied(proxy, host, sock)
    endpoint = endpoint_to_dial(host, port, sock, ssl, server_hostname, settings)
    proxy = route_to(endpoint, proxy)  # by the same name: from here on no frame knows a password
    handshake_timeout, shutdown_timeout = tls_seconds(endpoint.tls, ssl_handshake_timeout, ssl_shutdown_timeout)
    return await backend.dial(
        protocol_factory,
        endpoint,
        timeout=connect_timeout,
        sock=sock,
        proxy=proxy,
        tls_handshake_timeout=handshake_timeout,
        tls_shutdown_timeout=shutdown_timeout,
        nursery=nursery,
    )


async def create_unix_connection(
    protocol_factory: Callable[[], ProtocolT],
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
    *,
    ssl: TLSChoice = None,
    sock: socket.socket | None = None,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    connect_timeout: float | None = CONNECT_TIMEOUT,
    nursery: object = None,
) -> tuple[Transport, ProtocolT]:
    """Connect to a Unix socket, and return (transport, protocol); otherwise as `create_connection`.

    Args:
        protocol_factory: As there.
        path: Where the socket is; ``@name`` (or with a leading NUL) in Linux's abstract namespace. Excludes *sock*.
        ssl: As there. It needs *server_hostname*, which may be ``""``.
        sock: A connected Unix stream socket to use.
        server_hostname: As there.
        ssl_handshake_timeout: As there.
        ssl_shutdown_timeout: As there.
        connect_timeout: As there.
        nursery: As there.
    """
    backend = current_backend()
    backend.check_nursery(nursery)
    check_callable("protocol_factory", protocol_factory)
    connect_timeout = check_connect_timeout(connect_timeout)
    endpoint = unix_to_dial(path, sock, ssl, server_hostname)
    handshake_timeout, shutdown_timeout = tls_seconds(endpoint.tls, ssl_handshake_timeout, ssl_shutdown_timeout)
    return await backend.dial(
        protocol_factory,
        endpoint,
        timeout=connect_timeout,
        sock=sock,
        tls_handshake_timeout=handshake_timeout,
        tls_shutdown_timeout=shutdown_timeout,
        nursery=nursery,
    )
