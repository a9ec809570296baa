# SPDX-License-Identifier: MIT
"""What the arguments of `start_tls` mean, for protocols of users' own: all is checked before anything is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.endpoints.secured import as_tls, with_name
from tieline.errors import ClosedError
from tieline.finite import check_finite_seconds
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT

if TYPE_CHECKING:
    from tieline.endpoints.secured import TLSChoice

__all__ = ["HANDSHAKE_TIMEOUT", "settings_to_start"]

# As in asyncio.
HANDSHAKE_TIMEOUT: Final = 60.0


def settings_to_start(
    transport: Any,
    choice: TLSChoice,
    *,
    server_side: bool,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float | None,
) -> dict[str, Any]:
    """Return what `AsyncBackend.upgrade` takes besides the transport and its protocol.

    Raises:
        ValueError: There are no settings for this side, or no name to match, or no time.
        TypeError: *choice* means no TLS settings.
        OSError: A file of the settings cannot be read.
        ClosedError: *transport* is closing or closed.
    """
    tls = as_tls(choice, "sslcontext")
    if tls is None:
        raise ValueError(f"start_tls takes True, a TLS value or an ssl.SSLContext, not {choice!r}")
    if handshake_timeout is not None:
        handshake_timeout = check_finite_seconds("ssl_handshake_timeout", handshake_timeout, over_zero=True)
    if shutdown_timeout is not None:
        shutdown_timeout = check_finite_seconds("ssl_shutdown_timeout", shutdown_timeout, over_zero=True)
    if server_side:
        if server_hostname is not None:
            raise ValueError("server_hostname is for the client's side")
        context, name_to_match = tls.server_context(), None
    else:
        tls = with_name(tls, server_hostname)
        context, name_to_match = tls.client_context(), tls.name_for(None)
    if transport.is_closing():
        raise ClosedError("the connection is closed")
    peer = transport.get_extra_info("peername")
    return {
        "context": context,
        "server_side": server_side,
        "server_hostname": name_to_match,
        "handshake_timeout": HANDSHAKE_TIMEOUT if handshake_timeout is None else handshake_timeout,
        "shutdown_timeout": TLS_SHUTDOWN_TIMEOUT if shutdown_timeout is None else shutdown_timeout,
        "what": f"cannot start TLS with {peer or 'a local peer'}",
    }
