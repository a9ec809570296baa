# SPDX-License-Identifier: MIT
"""TLS on trio: the one layer of all runtimes, over our own transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.runtimes.tls.layer import TLSLayer
from tieline.runtimes.tls.records import Records
from tieline.runtimes.trio.streams import StreamTransport
from tieline.wire.addresses import named
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tieline.runtimes.link import Link
    from tieline.runtimes.ports import Transport
    from tieline.runtimes.tls.records import Context
    from tieline.runtimes.trio.host import TrioHost

__all__ = ["secured", "server_layer", "start_tls", "upgraded"]


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
    server_side: bool = False,
    is_made: bool = False,
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
        server_side: Whether this side answers the handshake.
        is_made: As for `TLSLayer`.

    There is no other limit of time. Cancelled, and failed as well, it leaves no connection behind; *upper* then sees
    nothing, unless it was there before, or it was cancelled in the moment in which the handshake was done.

    Raises:
        ValueError: The context wants a name to match.
        OSError: No handshake: an ``ssl.SSLError``, or the connection was lost.
        Exception: What *connect* raises, or the ``connection_made`` of *upper*, as it is.
    """
    waiter = host.new_waiter()

    def settle(error: BaseException | None) -> bool:
        if waiter.done():
            return False
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(named(error, what) if isinstance(error, OSError) else error)
        return True

    layer = TLSLayer(
        upper,
        Records(context, server_side=server_side, server_hostname=server_hostname),
        host,
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
        on_handshake=settle,
        is_made=is_made,
    )
    try:
        await connect(layer)
        await waiter
    except BaseException:
        layer.abort()
        raise
    return layer


def start_tls(link: Link, context: Context, *, server_side: bool, server_hostname: str | None, **settings: Any) -> None:
    """Put TLS between *link* and its transport; *settings* are those of `AsyncBackend.start_tls`."""
    records = Records(context, server_side=server_side, server_hostname=server_hostname)

    def change(lower: Any) -> Transport:
        layer = TLSLayer(link, records, link.host, is_made=True, **settings)
        layer.go_between(lower)
        return layer

    link.change_transport(change)


async def upgraded(transport: Any, protocol: Any, *, unread: bytes = b"", **settings: Any) -> TLSLayer:
    """Put TLS between *transport* and its *protocol*, and return the layer when its handshake is done.

    *unread* is what has come that nobody has read; *settings* are those of `secured`. When it fails, or is cancelled,
    the connection is lost, and *protocol* hears it. It is given no data before this has returned: until then it cannot
    know its new transport.

    Raises:
        TypeError: *transport* is none of a stream.
        Exception: What `secured` raises.
    """
    if not isinstance(transport, StreamTransport | TLSLayer):
        raise TypeError(f"TLS can start on the transport of a stream, not on {type(transport).__name__}")

    async def connect(layer: TLSLayer) -> None:
        layer.go_between(transport, unread)
        layer.pause_reading()

    host: Any = transport.host
    was_reading = transport.is_reading()
    layer = await secured(host, protocol, connect=connect, is_made=True, **settings)
    if was_reading:
        layer.resume_reading()
    return layer
