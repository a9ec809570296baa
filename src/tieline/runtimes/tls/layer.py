# SPDX-License-Identifier: MIT
"""The TLS layer: what a layer does whose filter is `Records`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tieline.errors import TLSTruncated
from tieline.runtimes.layers.layer import Layer

if TYPE_CHECKING:
    from tieline.runtimes.tls.records import Records

__all__ = ["TLSLayer"]


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
