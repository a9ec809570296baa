# SPDX-License-Identifier: MIT
"""What the two sides of a WebSocket have told each other while it was opened."""

from __future__ import annotations

from tieline.wire.values import dataclass

__all__ = ["WebSocketInfo"]


@dataclass(frozen=True, slots=True)
class WebSocketInfo:
    """What is known of an open WebSocket: ``get_extra_info("websocket")``.

    Attributes:
        path: What the client asked for, the query included.
        headers: The headers that the other side sent, in their order, as they were spelled. They are the peer's words.
        subprotocol: What both agreed on (RFC 6455, section 1.9); None = nothing.
        origin: What the client said of the web page that it belongs to (RFC 6454); None = it said nothing.
    """

    path: str
    headers: tuple[tuple[str, str], ...] = ()
    subprotocol: str | None = None
    origin: str | None = None

    def __repr__(self) -> str:
        # Without what the headers hold, and what stands behind the question mark: both may be secrets.
        names = tuple(name for name, _ in self.headers)
        said = f"subprotocol={self.subprotocol!r}, origin={self.origin!r}"
        return f"WebSocketInfo(path={self.path.partition('?')[0]!r}, headers={names!r}, {said})"

    def header(self, name: str) -> str | None:
        """Return the first header of that name, whatever its case; None = there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)
