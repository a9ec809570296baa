# SPDX-License-Identifier: MIT
"""TLS on trio: the one layer of all runtimes, over our own transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.runtimes.tls import Records, TLSLayer
from tieline.wire.addresses import named
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tieline.runtimes.link import Link
    from tieline.runtimes.tls.records import Context
    from tieline.runtimes.transport import Transport
    from tieline.runtimes.trio.host import TrioHost

__all__ = ["secured", "server_layer", "start_tls"]


def server_layer(
    host: TrioHost,
    upper: Any,
    context: Context,
    *,
    handshake_timeout: float | None,
    shutdown_timeout: float,
    on_handshake: Callable[[BaseException | None], object] | None = None,
) -> TLSLayer:
    """Return what an accepted connection is given as its protocol, so that *upper* speaks TLS on it.

    Nothing is logged here. See `TLSLayer` for the callbacks and timeouts; its `abort` ends a handshake early.
    """
    return TLSLayer(
        upper,
        Records(context, server_side=True),
        host,
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
        on_handshake=on_handshake,
    )


async def secured(
    host: TrioHost,
    upper: Any,
    *,
    context: Context,
    server_hostname: str | None,
    connect: Callable[[TLSLayer], Awaitable[object]],
    what: str,
    handshake_timeout: float | None = None,
    shutdown_timeout: float = TLS_SHUTDOWN_TIMEOUT,
) -> TLSLayer:
    """Have *connect* give a connection to a new layer, and return the layer when its handshake is done.

    Args:
        host: The host of the connection.
        upper: The protocol that speaks inside TLS.
        context: What to trust, and what to show.
        server_hostname: The name that the server's certificate must be made out to; None = it is not matched.
        connect: Makes a connection with the protocol that it is given.
        what: What has failed when the handshake fails: the beginning of its error's text.
        handshake_timeout: As for `TLSLayer`.
        shutdown_timeout: As for `TLSLayer`.

    There is no other limit of time. Cancelled, and failed as well, it leaves no connection behind; *upper* then sees
    nothing, unless it was cancelled in the moment in which the handshake was done.

    Raises:
        ValueError: The context wants a name to match.
        OSError: No handshake: an ``ssl.SSLError``, or the connection was lost.
        Exception: What *connect* raises, as it is.
    """
    waiter = host.new_waiter()

    def settle(error: BaseException | None) -> None:
        if waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(named(error, what) if isinstance(error, OSError) else error)

    layer = TLSLayer(
        upper,
        Records(context, server_hostname=server_hostname),
        host,
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
        on_handshake=settle,
    )
    try:
        await connect(layer)
        await waiter
    except BaseException:
        layer.abort()
        raise
    return layer


def start_tls(
    link: Link,
    context: Context,
    *,
    server_side: bool,
    server_hostname: str | None,
    handshake_timeout: float | None,
    shutdown_timeout: float,
    on_handshake: Callable[[BaseException | None], object],
) -> None:
    """Put TLS between *link* and its transport; see `AsyncBackend.start_tls`."""
    records = Records(context, server_side=server_side, server_hostname=server_hostname)

    def change(lower: Any) -> Transport:
        layer = TLSLayer(
            link,
            records,
            lower.host,
            handshake_timeout=handshake_timeout,
            shutdown_timeout=shutdown_timeout,
            on_handshake=on_handshake,
            is_made=True,
        )
        # In this order, and in one turn: nothing can come between.
        lower.pause_reading()
        lower.set_protocol(layer)
        layer.connection_made(lower)
        lower.resume_reading()
        return layer

    link.change_transport(change)
