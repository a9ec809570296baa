# SPDX-License-Identifier: MIT
"""The TLS handshakes of a listener: how many at once, and which one goes when there are too many.

A connection in its handshake is nobody's yet: no session, no limit of a session. What it may cost is bounded here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.runtimes.tls.layer import TLSLayer
    from tieline.runtimes.tls.records import Context
    from tieline.wire.limits import Limits

__all__ = ["Handshakes"]

log = logging.getLogger("tieline.Listener")


class Handshakes:
    """The handshakes under way.

    Args:
        context: What to show to peers, and what to ask of them.
        limits: `Limits.max_handshakes` of them at once, `Limits.handshake_timeout` seconds for each, and
            `Limits.tls_shutdown_timeout` for the end of what they became.
        new_layer: `TLSLayer.of` with the host.
        attach: The runtime's: makes a transport of a socket, for a protocol.
    """

    __slots__ = ("_attach", "_context", "_limits", "_new_layer", "_under_way")

    def __init__(
        self,
        context: Context,
        limits: Limits,
        new_layer: Callable[..., TLSLayer],
        attach: Callable[[Any, socket.socket], object],
    ) -> None:
        self._context = context
        self._limits = limits
        self._new_layer = new_layer
        self._attach = attach
        self._under_way: dict[TLSLayer, None] = {}  # oldest first

    def begin(self, upper: Any, sock: socket.socket) -> None:
        """Have *upper* speak TLS on an accepted *sock*. One too many ends the oldest.

        Not the newcomer: an honest handshake takes milliseconds, so the oldest is the one that does not want to end.

        Raises:
            Exception: As the runtime's `attach`.
        """

        def settled(error: BaseException | None) -> None:
            self._under_way.pop(layer, None)
            if error is not None:
                log.info("no TLS with %s: %s", layer.get_extra_info("peername") or "a local peer", error)

        layer = self._new_layer(
            upper,
            context=self._context,
            server_side=True,
            handshake_timeout=self._limits.handshake_timeout,
            shutdown_timeout=self._limits.tls_shutdown_timeout,
            on_handshake=settled,
        )
        self._attach(layer, sock)
        self._under_way[layer] = None
        most = self._limits.max_handshakes
        if most is not None and len(self._under_way) > most:
            self._end(next(iter(self._under_way)))

    def _end(self, layer: TLSLayer) -> None:
        self._under_way.pop(layer, None)
        layer.abort()

    def abort(self) -> None:
        """End all of them at once."""
        for layer in list(self._under_way):
            self._end(layer)
