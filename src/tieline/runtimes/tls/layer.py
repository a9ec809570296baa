# SPDX-License-Identifier: MIT
"""The TLS layer: what a layer does whose filter is `Records`, and how it comes upon a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from tieline.errors import TLSTruncated
from tieline.runtimes.layers.layer import Layer
from tieline.runtimes.tls.records import Records
from tieline.wire.addresses import named

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tieline.runtimes.host import Host
    from tieline.runtimes.link import Link
    from tieline.runtimes.ports import Transport
    from tieline.runtimes.tls.records import Context

__all__ = ["TLSLayer", "put_under", "secured", "upgraded"]


class TLSLayer(Layer):
    """TLS between a transport and the protocol above; see `Layer`, whose filter here is a `Records`.

    A stream that ends without the peer's close_notify ends *upper* with `TLSTruncated`; broken TLS (a certificate
    that is refused behind the handshake is told like that, too) with an ``ssl.SSLError``. A clean end is
    `eof_received`, then the connection is closed, whatever that returned.

    RFC 8446, section 6.1: each side says close_notify before it closes, whatever the other one did.
    """

    __slots__ = ("_is_lax",)

    title: ClassVar[str] = "TLS"
    _filter: Records

    @classmethod
    def of(
        cls,
        upper: Any,
        host: Any,
        context: Context,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        **settings: Any,
    ) -> Self:
        """Return what a connection is given as its protocol, so that *upper* speaks TLS on it.

        *context*, *server_side* and *server_hostname* are those of `Records`; *settings* are those of `Layer`.

        Raises:
            ValueError: The context wants a name to match.
            OSError: The context is made for the other side.
        """
        records = Records(context, server_side=server_side, server_hostname=server_hostname)
        return cls(upper, records, host, **settings)

    def be_lax(self) -> None:
        """Say no close_notify, and take an end without the peer's for a clean one.

        For peers that do so themselves. **Dangerous** where the protocol above does not say itself how long its
        messages are: whoever can cut the connection can then cut the stream, and nobody notices.
        """
        self._is_lax = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about TLS (ssl_object, sslcontext, peercert, cipher, compression) or the transport below."""
        ssl_object = self._filter.ssl_object
        match name:
            case "ssl_object":
                return ssl_object
            case "sslcontext":
                return ssl_object.context
            case "peercert":
                return ssl_object.getpeercert() if self._filter.is_ready else default
            case "cipher":
                return ssl_object.cipher()
            case "compression":
                return ssl_object.compression()
            case _:
                return super().get_extra_info(name, default)

    def _end_truncated(self) -> None:
        if not hasattr(self, "_is_lax"):
            super()._end_truncated()
            return
        self._peer_closed()
        self.close()

    def _say_close(self) -> None:
        if not hasattr(self, "_is_lax") or self._filter.unsent:
            super()._say_close()
        else:
            self._end(None)

    def _peer_closed(self) -> None:
        self._call_upper(self._upper.eof_received)

    def _cut_handshake(self) -> TLSTruncated:
        return TLSTruncated("the peer ended the connection in the middle of the TLS handshake")

    def _cut_stream(self) -> TLSTruncated:
        return TLSTruncated("the TLS stream ended without close_notify: it may have been cut")


def put_under(link: Link, layer: TLSLayer) -> None:
    """Put *layer* between *link*, whose it is, and its transport."""

    def change(lower: Any) -> Transport:
        layer.go_between(lower)
        return layer

    link.change_transport(change)


async def secured(
    host: Host,
    layer_class: type[TLSLayer],
    upper: Any,
    *,
    connect: Callable[[TLSLayer], Awaitable[object]],
    what: str,
    context: Context,
    **settings: Any,
) -> TLSLayer:
    """Have *connect* give a connection to a new layer, and return the layer when its handshake is done.

    Args:
        host: The host of the connection.
        layer_class: The class of the layer.
        upper: The protocol that speaks inside TLS.
        connect: Makes a connection with the protocol that it is given.
        what: What has failed when the handshake fails: the beginning of its error's text.
        context: What to trust, and what to show.
        settings: As for `TLSLayer.of`.

    There is no other limit of time. Cancelled, and failed as well, it leaves no connection behind; *upper* then sees
    nothing, unless it was there before, or it was cancelled in the moment in which the handshake was done.

    Raises:
        ValueError: The context wants a name to match.
        OSError: No handshake: an ``ssl.SSLError``, or the connection was lost.
        Exception: What *connect* raises, or the ``connection_made`` of *upper*, as it is.
    """
    waiter: Any = host.new_waiter()  # None when nobody waits any more

    def settle(error: BaseException | None) -> bool:
        if waiter is None or waiter.done():
            return False
        # As its result: an exception that nobody comes to wait for, asyncio would report.
        waiter.set_result(named(error, what) if isinstance(error, OSError) else error)
        return True

    layer = layer_class.of(upper, host, context, on_handshake=settle, **settings)
    failure: BaseException | None = None
    try:
        await connect(layer)
        failure = await waiter
        if failure is not None:
            raise failure
    except BaseException:
        waiter = None
        layer.abort()
        raise
    finally:
        waiter = failure = None  # its frames refer to what has it
    return layer


async def upgraded(
    host: Host, layer_class: type[TLSLayer], transport: Any, protocol: Any, *, unread: bytes = b"", **settings: Any
) -> TLSLayer:
    """Put TLS between *transport* and its *protocol*, and return the layer when its handshake is done.

    *unread* is what has come that nobody has read; the others are as for `secured`. When it fails, or is cancelled,
    the connection is lost, and *protocol* hears it. It is given no data before this has returned: until then it cannot
    know its new transport.

    Raises:
        Exception: What `secured` raises.
    """

    async def connect(layer: TLSLayer) -> None:
        layer.go_between(transport, unread)
        layer.pause_reading()

    was_reading = transport.is_reading()
    layer = await secured(host, layer_class, protocol, connect=connect, is_made=True, **settings)
    if was_reading:
        layer.resume_reading()
    return layer
