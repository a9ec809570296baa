# SPDX-License-Identifier: MIT
"""Netstrings: the length in decimal digits, a colon, the message, a comma (D. J. Bernstein, 1997)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

from tieline.errors import RemoteProtocolError
from tieline.wire.framing.counted import CountedFramer
from tieline.wire.framing.pieces import as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NetstringFramer"]

# As many as `ContentLengthFramer` takes.
_DIGITS: Final = 10
_HEAD: Final = re.compile(rb"(0|[1-9][0-9]{0,9}):")
_NUMBER: Final = re.compile(rb"[0-9]{0,11}")
_COMMA: Final = 0x2C


class NetstringFramer(CountedFramer[bytes]):
    """Netstrings, such as ``5:hello,``.

    A length has 1 to 10 digits, without leading zeros. Anything else raises `RemoteProtocolError`; a length over
    *max_size* raises `MessageTooLarge` before any of the message is read. After an error the position of the next
    message is unknown, so every further call raises. A message is returned when its comma has arrived; it may be empty.

    Args:
        max_size: The maximum size of a message in bytes, without its length and punctuation; 0 = no limit.

    Raises:
        ValueError: *max_size* is negative.
    """

    is_text = True

    def __init__(self, max_size: int = 1_000_000) -> None:
        super().__init__(max_size)

    @classmethod
    def with_limit(cls, max_size: int) -> Self:
        return cls(max_size) if cls.__init__ is NetstringFramer.__init__ else cls()

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """Return *messages* as netstrings.

        Raises:
            TypeError: Something in *messages* is not bytes-like. Your fault; nothing was framed.
        """
        parts: list[bytes] = []
        for message in as_bytes(messages):
            parts += (b"%d:" % len(message), message, b",")
        return b"".join(parts)

    def _read_head(self, data: bytes, at: int) -> tuple[int, int] | None:
        head = _HEAD.match(data, at)
        if head is None:
            _check_number(data, at)
            return None
        length = int(head[1])
        self._check_size(length, self.max_size)
        return head.end(), head.end() + length + 1  # the comma as well

    def _finish(self, body: bytes, taken: list[bytes]) -> None:
        if body[-1] != _COMMA:
            raise RemoteProtocolError(f"a netstring must end with a comma, not with 0x{body[-1]:02x}")
        taken.append(body[:-1])


def _check_number(data: bytes, at: int) -> None:
    """Refuse what cannot become the head of a netstring."""
    number = _NUMBER.match(data, at)
    assert number is not None  # it may be empty
    digits = number[0]
    if digits.startswith(b"0") and len(digits) > 1:
        raise RemoteProtocolError("the length of a netstring must have no zeros in front")
    if len(digits) > _DIGITS:
        raise RemoteProtocolError(f"the length of a netstring must be 1 to {_DIGITS} digits")
    if number.end() < len(data):
        byte = data[number.end()]
        raise RemoteProtocolError(f"a netstring must begin with digits and a colon, not with 0x{byte:02x}")
