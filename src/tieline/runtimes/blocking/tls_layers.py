# SPDX-License-Identifier: MIT
"""TLS in blocking code: the one layer of all runtimes, on a socket that is moved by whoever waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.runtimes.tls.layer import TLSLayer
from tieline.runtimes.tls.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.blocking.host import BlockingHost
    from tieline.runtimes.link import Link
    from tieline.runtimes.ports import Transport
    from tieline.runtimes.tls.records import Context

__all__ = ["new_layer", "start_tls"]


def new_layer(
    upper: Any,
    host: BlockingHost,
    context: Context,
    *,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float,
    on_handshake: Callable[[BaseException | None], object],
    server_side: bool = False,
    is_made: bool = False,
) -> TLSLayer:
    """Return what a connection is given as its protocol, so that *upper* speaks TLS on it.

    *handshake_timeout* is in seconds; None = no limit.

    Raises:
        ValueError: The context wants a name to match.
        OSError: The context is made for the other side.
    """
    return TLSLayer(
        upper,
        Records(context, server_side=server_side, server_hostname=server_hostname),
        host,
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
        on_handshake=on_handshake,
        is_made=is_made,
    )


def start_tls(link: Link, host: BlockingHost, context: Context, **settings: Any) -> None:
    """Put TLS between *link* and its transport; *settings* are those of `Backend.start_tls`."""
    layer = new_layer(link, host, context, is_made=True, **settings)

    def change(lower: Any) -> Transport:
        layer.go_between(lower)
        return layer

    link.change_transport(change)
