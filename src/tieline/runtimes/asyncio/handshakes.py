# SPDX-License-Identifier: MIT
"""The TLS handshakes of a listener: how many at once, and which one goes when there are too many.

A connection in its handshake is nobody's yet: no session, no limit of a session. What it may cost is bounded here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tieline.runtimes.asyncio.accepting import attach
from tieline.runtimes.asyncio.tls_layers import server_layer

if TYPE_CHECKING:
    import asyncio
    import socket

    from tieline.runtimes.tls import TLSLayer
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
    """

    __slots__ = ("_context", "_limits", "_under_way")

    def __init__(self, context: Context, limits: Limits) -> None:
        self._context = context
        self._limits = limits
        self._under_way: dict[TLSLayer, None] = {}  # oldest first

    def begin(self, upper: asyncio.BaseProtocol, sock: socket.socket) -> None:
        """Have *upper* speak TLS on an accepted *sock*. One too many ends the oldest.

        Not the newcomer: an honest handshake takes milliseconds, so the oldest is the one that does not want to end.

        Raises:
            Exception: As `attach`.
        """

        def settled(error: BaseException | None) -> None:
            self._under_way.pop(layer, None)
            if error is not None:
                log.info("no TLS with %s: %s", layer.get_extra_info("peername") or "a local peer", error)

        layer = server_layer(
            upper,
            self._context,
            handshake_timeout=self._limits.handshake_timeout,
            shutdown_timeout=self._limits.tls_shutdown_timeout,
            on_handshake=settled,
        )
        attach(layer, sock)
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
