# SPDX-License-Identifier: MIT
"""Messages behind their length as a varint: the delimited streams of Protocol Buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from tieline.errors import RemoteProtocolError
from tieline.wire.framing.counted import CountedFramer
from tieline.wire.framing.pieces import as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["VarintFramer"]

# A number of 64 bits in groups of seven.
_LONGEST: Final = 10


class VarintFramer(CountedFramer[bytes]):
    """Messages after their length as a varint (unsigned LEB128), as in ``writeDelimitedTo`` of Protocol Buffers.

    A length in more bytes than it needs, or over 64 bits, raises `RemoteProtocolError`, one over *max_size* raises
    `MessageTooLarge` before anything of the message is read; then nobody knows where the next message begins, and
    every further call raises. An empty message is a message.

    Args:
        max_size: The longest message in bytes, the length not counted; 0 is no limit.

    Raises:
        ValueError: *max_size* is negative.
    """

    def __init__(self, max_size: int = 1_000_000) -> None:
        super().__init__(max_size)

    @classmethod
    def with_limit(cls, max_size: int) -> Self:
        return cls(max_size) if cls.__init__ is VarintFramer.__init__ else cls()

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """Return *messages*, each after its length.

        Raises:
            TypeError: Something in *messages* is not bytes-like. Your fault; nothing was framed.
        """
        parts: list[bytes] = []
        for message in as_bytes(messages):
            parts += (_varint(len(message)), message)
        return b"".join(parts)

    def _read_head(self, data: bytes, at: int) -> tuple[int, int] | None:
        # A group of seven bits a byte, the lowest first; all but the last have the eighth bit set.
        length = shift = 0
        for byte in data[at : at + _LONGEST]:
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if not byte and shift > 7:
                    raise RemoteProtocolError("a length takes more bytes than it needs")
                if length >= 1 << 64:
                    break
                self._check_size(length, self.max_size)
                return at, at + length
        if shift == 7 * _LONGEST:
            raise RemoteProtocolError("a length is over 64 bits")
        return None


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
