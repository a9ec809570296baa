# SPDX-License-Identifier: MIT
"""How the messages of a WebSocket come to the session above it, which knows streams: in lines, or behind their length.

Neither framing leaves the process.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from tieline.wire.framing.length_prefixed import LengthPrefixedFramer
from tieline.wire.framing.newline import NewlineFramer

__all__ = ["PREFIX", "CountedMessages", "MessageLines"]

# 64 bits, so that no message is too long for it: what a message may have is for limits to say.
PREFIX: Final = Struct(">Q")


class CountedMessages(LengthPrefixedFramer):
    """Messages of any content as they pass between a session and the WebSocket below it: the carriage "counted".

    Args:
        max_size: The longest message in bytes; 0 is no limit.
    """

    def __init__(self, max_size: int = 1_000_000) -> None:
        super().__init__(size=PREFIX.size, max_size=max_size)

    @classmethod
    def with_limit(cls, max_size: int) -> CountedMessages:
        return cls(max_size)


class MessageLines(NewlineFramer):
    """Messages of JSON as they pass between a session and the WebSocket below it: the carriage "lines".

    Args:
        max_size: As for `NewlineFramer`.
    """

    __slots__ = ()

    is_text = False  # the first message of a WebSocket is no beginning of TLS, whatever it is
