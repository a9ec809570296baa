# SPDX-License-Identifier: MIT
"""What a layer needs of what it moves bytes through: TLS, or WebSocket, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sized

__all__ = ["Filter"]


class Filter(Protocol):
    """Bytes from the peer to bytes for the protocol above, and the other way round, behind a handshake of its own.

    What the peer does wrong is recorded, never raised.
    """

    @property
    def is_ready(self) -> bool:
        """Whether the handshake is done."""
        ...

    @property
    def error(self) -> Exception | None:
        """What broke the connection; None while it is whole. What the peer is told of it is output, for once."""
        ...

    @property
    def peer_closed(self) -> bool:
        """Whether the peer has said its last word; nothing after it counts."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come out."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether `receive` holds something back for a later turn, for the sake of other connections."""
        ...

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything."""
        ...

    @property
    def unsent(self) -> Sized:
        """What cannot be sent before the peer has answered."""
        ...

    def start(self) -> None:
        """Begin the handshake."""

    def receive(self, data: bytes | memoryview, /) -> bytes:
        """Take what the peer sent, and return what is in it for the protocol above."""
        ...

    def send(self, data: bytes | memoryview, /) -> bytes:
        """Return what is to be sent for *data*."""
        ...

    def data_to_send(self) -> bytes:
        """Return what is to be sent to the peer without the doing of the protocol above."""
        ...

    def close(self) -> bytes:
        """Return what is to be sent last. Nothing is sent after it."""
        ...
