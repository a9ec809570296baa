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
    """Switch to TLS, and return the new transport after the handshake; the old *transport* is used up.

    Like the method of an asyncio event loop. Everything written before is sent first, in plain text; *protocol* is told
    to pause writing, and must not write during the handshake. There is no second ``connection_made``, and reading that
    was paused stays paused. All data that arrived before came in plain text, and may have been sent by anybody: a
    *protocol* that has kept some of it must discard it now.

    If the handshake fails, or this is cancelled, the connection is lost, and ``connection_lost`` of *protocol* is
    called.

    Args:
        transport: An open stream transport, as returned by `create_connection`, or passed by a server to its protocols.
        protocol: Its protocol, or another one that receives the data from now on.
        sslcontext: The settings: a `TLS` value, True for `TLS()`, or an ``ssl.SSLContext``.
        server_side: Whether this side answers the handshake.
        server_hostname: The name that the certificate must contain. A client must give one, here or in the `TLS` value,
            since the host is not known here. **Dangerous:** ``""`` turns the check off.
        ssl_handshake_timeout: Seconds for the handshake; None = 60.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS; None = 5.

    Raises:
        ValueError: There is no name to check, or there are no settings for this side. Nothing was sent.
        TypeError: One is of the wrong type.
        ClosedError: The connection is closed.
        OSError: The handshake failed: the other side is not trusted, or does not speak TLS, or the connection was lost.
        TimeoutError: Not within *ssl_handshake_timeout*.
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
