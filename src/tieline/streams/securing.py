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
    """Speak TLS from here on, and return the transport for that when the handshake is done; *transport* is used up.

    As a loop of asyncio does. What was written before leaves before, in plain text; what *protocol* writes meanwhile
    is to wait, and it is told to pause writing. It hears no second ``connection_made``. One that has paused reading
    has still paused it. All that has come before came in plain text, by whomever it was sent: a *protocol* that keeps
    some of it for later must forget it now.

    When the handshake fails, or this is cancelled, there is no way back: the connection is lost, and *protocol* hears
    so by ``connection_lost``.

    Args:
        transport: An open one of a stream, as `create_connection` returns and servers give to their protocols.
        protocol: Its protocol, or another that hears what comes from now on.
        sslcontext: What to trust and to show: a `TLS` value, True for `TLS()`, or an ``ssl.SSLContext``.
        server_side: Whether this side answers the handshake.
        server_hostname: The name that the certificate must be made out to. The client must give one, here or in the
            `TLS` value: it is not known which host was meant. **Dangerous:** ``""`` turns the matching off.
        ssl_handshake_timeout: Seconds for the handshake; None = 60.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS; None = 5.

    Raises:
        ValueError: There is no name to match, or there are no settings for this side. Nothing was said.
        TypeError: One is of the wrong type.
        ClosedError: The connection is closed.
        OSError: No handshake: nobody whom the settings trust, no TLS at the other side, or the connection was lost.
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
