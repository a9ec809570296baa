# SPDX-License-Identifier: MIT
"""Messages behind their length, a whole number of one, two, four or eight bytes."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, Literal, Self

from tieline.errors import OutgoingMessageTooLarge, RemoteProtocolError
from tieline.wire.framing.counted import CountedFramer
from tieline.wire.framing.pieces import as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LengthPrefixedFramer"]

_LETTERS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
_ORDERS: Final = {"big": ">", "little": "<"}


class LengthPrefixedFramer(CountedFramer[bytes]):
    """Messages with a length prefix: an unsigned integer of a fixed size.

    A message may be empty. A length over *max_size* raises `MessageTooLarge` before any of the message is read; a
    length that includes the prefix, but is smaller than it, raises `RemoteProtocolError`. After an error the position
    of the next message is unknown, so every further call raises.

    Args:
        size: The size of the prefix in bytes: 1, 2, 4 or 8.
        byteorder: ``"big"`` (network byte order) or ``"little"``.
        includes_header: Whether the length includes the prefix itself.
        max_size: The maximum size of a message in bytes, without the prefix; 0 = no limit.

    Raises:
        ValueError: *size* or *byteorder* is not one of these, or *max_size* is negative.
    """

    def __init__(
        self,
        size: int = 4,
        byteorder: Literal["big", "little"] = "big",
        includes_header: bool = False,
        max_size: int = 1_000_000,
    ) -> None:
        super().__init__(max_size)
        if size not in _LETTERS:
            raise ValueError(f"size must be 1, 2, 4 or 8, not {size}")
        if byteorder not in _ORDERS:
            raise ValueError(f"byteorder must be 'big' or 'little', not {byteorder!r}")
        self.size = size
        self.byteorder = byteorder
        self.includes_header = includes_header
        self._prefix = Struct(_ORDERS[byteorder] + _LETTERS[size])
        self._counted = size if includes_header else 0  # how much of the prefix its length counts

    @classmethod
    def with_limit(cls, max_size: int) -> Self:
        return cls(max_size=max_size) if cls.__init__ is LengthPrefixedFramer.__init__ else cls()

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """Return *messages*, each after its length.

        Raises:
            TypeError: Something in *messages* is not bytes-like. Your fault; nothing was framed.
            OutgoingMessageTooLarge: A message is too long for the prefix. Your fault; nothing was framed.
        """
        longest = 256**self.size - 1 - self._counted
        parts: list[bytes] = []
        for message in as_bytes(messages):
            if len(message) > longest:
                raise OutgoingMessageTooLarge(longest, len(message))
            parts += (self._prefix.pack(len(message) + self._counted), message)
        return b"".join(parts)

    def _read_head(self, data: bytes, at: int) -> tuple[int, int] | None:
        start = at + self.size
        if start > len(data):
            return None
        length: int = self._prefix.unpack_from(data, at)[0] - self._counted
        if length < 0:
            told = length + self._counted
            raise RemoteProtocolError(f"a length must count the {self.size} bytes of its prefix; it is {told}")
        if 0 < self.max_size < length:
            self._check_size(length, self.max_size)
        return start, start + length
