# SPDX-License-Identifier: MIT
"""TLS on asyncio: the one layer of all runtimes, in the form that the running loop's transports drive best."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes import contract
from tieline.runtimes.asyncio.base_classes import know_transports
from tieline.runtimes.asyncio.host import FULL_READ, AsyncioHost, current_host
from tieline.runtimes.tls.layer import TLSLayer
from tieline.runtimes.tls.records import Records
from tieline.wire.addresses import named
from tieline.wire.limits import TLS_SHUTDOWN_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tieline.runtimes.link import Link
    from tieline.runtimes.ports import Transport
    from tieline.runtimes.tls.records import Context

__all__ = ["secured", "server_layer", "start_tls", "upgraded"]

# How much is read at once. A record can be as short as 23 bytes and costs 1.5 us: four times as much could keep the
# others waiting for 20 ms, and bulk data is not faster for it.
LONGEST_READ: Final = 64 * 1024


class PlainTLSLayer(TLSLayer, asyncio.Protocol):  # type: ignore[misc]  # it asks less of its transport than typeshed says
    """A layer for loops whose transports hand out bytes of their own (uvloop)."""

    __slots__ = ()

    def data_received(self, data: bytes | memoryview) -> None:
        super().data_received(data)
        if len(data) >= FULL_READ:
            # libuv reads on, up to 32 times a turn, for as long as its buffer comes back full; the others would wait.
            self.take_breath()


class BufferedTLSLayer(TLSLayer, asyncio.BufferedProtocol):  # type: ignore[misc]  # as above
    """A layer for selector loops: all read into the one buffer of their loop, and decrypt from there."""

    __slots__ = ()

    _host: AsyncioHost

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._host.buffer[:LONGEST_READ]

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(self._host.buffer[:nbytes])


def server_layer(
    upper: Any,
    context: Context,
    *,
    handshake_timeout: float | None,
    shutdown_timeout: float,
    on_handshake: Callable[[BaseException | None], object] | None = None,
) -> PlainTLSLayer | BufferedTLSLayer:
    """Return what an accepted connection is given as its protocol, so that *upper* speaks TLS on it.

    Nothing is logged here. See `TLSLayer` for the callbacks and timeouts; its `abort` ends a handshake early.
    """
    return _layer(
        upper,
        Records(context, server_side=True),
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
        on_handshake=on_handshake,
    )


async def secured(
    upper: Any,
    *,
    context: Context,
    server_hostname: str | None,
    connect: Callable[[PlainTLSLayer | BufferedTLSLayer], Awaitable[object]],
    what: str,
    handshake_timeout: float | None = None,
    shutdown_timeout: float = TLS_SHUTDOWN_TIMEOUT,
    server_side: bool = False,
    is_made: bool = False,
) -> PlainTLSLayer | BufferedTLSLayer:
    """Have *connect* give a connection to a new layer, and return the layer when its handshake is done.

    Args:
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
    waiter: Any = asyncio.get_running_loop().create_future()  # None when nobody waits any more

    def settle(error: BaseException | None) -> bool:
        if waiter is None or waiter.done():
            return False
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(named(error, what) if isinstance(error, OSError) else error)
        return True

    layer = _layer(
        upper,
        Records(context, server_side=server_side, server_hostname=server_hostname),
        handshake_timeout=handshake_timeout,
        shutdown_timeout=shutdown_timeout,
        on_handshake=settle,
        is_made=is_made,
    )
    try:
        await connect(layer)
        await waiter
    except BaseException:
        waiter.cancel()
        layer.abort()
        raise
    finally:
        waiter = None  # it has the error, whose frames refer to what has it
    return layer


def start_tls(link: Link, context: Context, *, server_side: bool, server_hostname: str | None, **settings: Any) -> None:
    """Put TLS between *link* and its transport; *settings* are those of `AsyncBackend.start_tls`."""
    records = Records(context, server_side=server_side, server_hostname=server_hostname)
    layer = _layer(link, records, is_made=True, **settings)

    def change(lower: Any) -> Transport:
        layer.go_between(lower)
        return layer

    link.change_transport(change)


async def upgraded(transport: Any, protocol: Any, *, unread: bytes = b"", **settings: Any) -> Transport:
    """Put TLS between *transport* and its *protocol*, and return the layer when its handshake is done.

    *unread* is what has come that nobody has read; *settings* are those of `secured`. When it fails, or is cancelled,
    the connection is lost, and *protocol* hears it. It is given no data before this has returned: until then it cannot
    know its new transport.

    Raises:
        TypeError: *transport* is none of a stream.
        Exception: What `secured` raises.
    """
    know_transports()
    if not isinstance(transport, contract.Transport):
        raise TypeError(f"TLS can start on the transport of a stream, not on {type(transport).__name__}")

    async def connect(layer: PlainTLSLayer | BufferedTLSLayer) -> None:
        layer.go_between(transport, unread)
        layer.pause_reading()

    was_reading = transport.is_reading()
    layer = await secured(protocol, connect=connect, is_made=True, **settings)
    if was_reading:
        layer.resume_reading()
    return layer


def _layer(upper: Any, records: Records, **settings: Any) -> PlainTLSLayer | BufferedTLSLayer:
    host = current_host()
    return (BufferedTLSLayer if host.buffer else PlainTLSLayer)(upper, records, host, **settings)
