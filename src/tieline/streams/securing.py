# SPDX-License-Identifier: MIT
"""Starting TLS on a connection that is open, for protocols of users' own: asyncio's signature, on every runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tieline.runtimes.detect import current_backend
from tieline.runtimes.tls.starting import settings_to_start

if TYPE_CHECKING:
    from tieline.endpoints.secured import TLSChoice
    from tieline.runtimes.contract import Transport

__all__ = ["start_tls"]


async def start_tls(
    transport: Transport,
    protocol: Any,
    sslcontext: TLSChoice,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> Transport:
    """Upgrade a connection to TLS, and return the new transport after the handshake; *transport* is no longer usable.

    This is like the method of an asyncio event loop. Data written before is sent before, in plain text. During the
    handshake, ``pause_writing`` of *protocol* is in effect. ``connection_made`` is not called again, and a paused
    transport stays paused. All data received before was plain text, and anybody on the network may have sent it: a
    *protocol* that keeps some of it for later must discard it now.

    If the handshake fails, or this is cancelled, the connection is lost, and ``connection_lost`` of *protocol* is
    called.

    Args:
        transport: The open transport of a stream, from `create_connection` or from a server.
        protocol: Its protocol, or another one that receives all further callbacks.
        sslcontext: How to encrypt: a `TLS` value, True for `TLS()`, or an ``ssl.SSLContext``.
        server_side: Whether this side is the TLS server.
        server_hostname: The name that the certificate must contain. Required on the client, here or in the `TLS` value,
            since the host is not known. **Dangerous:** ``""`` turns the check off.
        ssl_handshake_timeout: Seconds for the handshake; None = 60.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS; None = 5.

    Raises:
        ValueError: There is no name to check, or the settings are not for this side. Nothing was sent.
        TypeError: An argument has the wrong type.
        ClosedError: The connection is closed.
        OSError: The handshake failed: the peer's certificate is not trusted, the peer does not speak TLS, or the
            connection was lost.
        TimeoutError: The handshake took longer than *ssl_handshake_timeout*.
    """
    backend = current_backend()
    settings = settings_to_start(
        transport,
        sslcontext,
        server_side=server_side,
        server_hostname=server_hostname,
        handshake_timeout=ssl_handshake_timeout,
        shutdown_timeout=ssl_shutdown_timeout,
    )
    return cast("Transport", await backend.upgrade(transport, protocol, **settings))
