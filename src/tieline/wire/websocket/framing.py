# SPDX-License-Identifier: MIT
"""How the messages of a WebSocket come to the session above it, which knows streams: each behind its length.

This framing never leaves the process.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from tieline.wire.framing.length_prefixed import LengthPrefixedFramer

__all__ = ["PREFIX", "WebSocketFramer"]

# 64 bits, so that no message is too long for it: what a message may have is for limits to say.
PREFIX: Final = Struct(">Q")


class WebSocketFramer(LengthPrefixedFramer):
    """Messages as they pass between a session and the WebSocket below it.

    Args:
        max_size: The longest message in bytes; 0 is no limit.
    """

    def __init__(self, max_size: int = 1_000_000) -> None:
        super().__init__(size=PREFIX.size, max_size=max_size)

    @classmethod
    def with_limit(cls, max_size: int) -> WebSocketFramer:
        return cls(max_size)
