# SPDX-License-Identifier: MIT
"""Starting TLS on a connection that is open, for protocols of users' own in blocking code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.runtimes.blocking.polled import PolledTransport, upgrade_polled
from tieline.runtimes.tls.starting import settings_to_start

if TYPE_CHECKING:
    from tieline.endpoints.secured import TLSChoice

__all__ = ["start_tls"]


def start_tls(
    transport: PolledTransport,
    protocol: Any,
    sslcontext: TLSChoice,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> PolledTransport:
    """Speak TLS from here on, and return *transport*, which speaks it, when the handshake is done.

    Otherwise as `tieline.start_tls`. When it fails, or is interrupted (Ctrl-C), the connection is lost.

    Args:
        transport: An open one of `create_connection`.
        protocol: Its protocol, or another one that receives the data from now on.
        sslcontext: As there, like all others.
        server_side: Whether this side answers the handshake.
        server_hostname: The name that the certificate must contain. **Dangerous:** ``""`` turns the check off.
        ssl_handshake_timeout: Seconds for the handshake; None = 60.
        ssl_shutdown_timeout: Seconds for the peer's part in closing TLS; None = 5.

    Raises:
        LocalProtocolError: Called from within a callback.
        Exception: As `tieline.start_tls`.
    """
    settings = settings_to_start(
        transport,
        sslcontext,
        server_side=server_side,
        server_hostname=server_hostname,
        handshake_timeout=ssl_handshake_timeout,
        shutdown_timeout=ssl_shutdown_timeout,
    )
    upgrade_polled(transport, protocol, **settings)
    return transport
