# SPDX-License-Identifier: MIT
"""Plain frames of WebSocket, which hold a whole message of text or bytes (RFC 6455, section 5.2): how they are made."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    ApplyMask = Callable[[bytes | memoryview, bytes], bytes]

__all__ = ["MASKED", "MASK_SIZE", "SHORT", "PlainWriter", "head_size", "load_apply_mask"]

# The bit of the second byte that tells of a mask.
MASKED: Final = 0x80
MASK_SIZE: Final = 4
# A length up to this stands in the second byte. Over it, that tells how long the length behind it is: two bytes, eight.
SHORT: Final = 125
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_FINAL: Final = 0x80
_TWO: Final = Struct(">H")
_EIGHT: Final = Struct(">Q")
_HEAD_OF_TWO: Final = Struct(">BBH")
_HEAD_OF_EIGHT: Final = Struct(">BBQ")
_MASK: Final = Struct(f"{MASK_SIZE}s")
# Masks are asked of the system for so many frames at once: a system call each would double what a frame costs.
_MASKS: Final = 64


def head_size(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content begins of a frame that is longer than `SHORT`, and how long it is.

    *at* is where its head begins in *data*, which holds at least two bytes of it. When the content begins behind
    *data*, the head is cut, and its length is nothing yet.
    """
    size = 2 if data[at + 1] & 0x7F == _TWO_BYTES else 8
    start = at + 2 + size + (MASK_SIZE if data[at + 1] & MASKED else 0)
    if start > len(data):
        return start, 0
    length: int = (_TWO if size == 2 else _EIGHT).unpack_from(data, at + 2)[0]
    return start, length


class PlainWriter:
    """Writes plain frames.

    Args:
        is_binary: Whether they are of bytes, not of text.
        random_bytes: Where a client takes its masks from (RFC 6455, section 5.3): it returns so many bytes that nobody
            can foretell. None: this side is a server, which masks nothing.
    """

    __slots__ = ("_apply_mask", "_first", "_heads", "_mark", "_masks", "_random_bytes", "is_binary")

    def __init__(self, *, is_binary: bool, random_bytes: Callable[[int], bytes] | None) -> None:
        self.is_binary = is_binary
        self._random_bytes = random_bytes
        self._first = _FINAL | (2 if is_binary else 1)
        self._mark = MASKED if random_bytes else 0
        self._heads = _HEADS[self._first, self._mark]
        self._apply_mask = load_apply_mask() if random_bytes else None
        self._masks: list[bytes] = []  # those that have not been used

    def frame(self, content: bytes | memoryview) -> bytes:
        """Return *content* in a frame."""
        size = len(content)
        head = self._heads[size] if size <= SHORT else self._long_head(size)
        if self._apply_mask is None:
            return head + content
        if not self._masks:
            self._add_masks(_MASKS)
        mask = self._masks.pop()
        return b"".join((head, mask, self._apply_mask(content, mask)))

    def frames(self, contents: Sequence[bytes | memoryview]) -> bytes:
        """Return *contents*, each in a frame."""
        heads, apply_mask = self._heads, self._apply_mask
        if max(map(len, contents), default=0) > SHORT:
            return b"".join(map(self.frame, contents))
        if apply_mask is None:
            return b"".join([heads[len(content)] + content for content in contents])
        masks = self._masks
        if len(masks) < len(contents):
            self._add_masks(max(_MASKS, len(contents)))
        return b"".join(
            [heads[len(content)] + (mask := masks.pop()) + apply_mask(content, mask) for content in contents]
        )

    def _long_head(self, size: int) -> bytes:
        if size < 1 << 16:
            return _HEAD_OF_TWO.pack(self._first, self._mark | _TWO_BYTES, size)
        return _HEAD_OF_EIGHT.pack(self._first, self._mark | _EIGHT_BYTES, size)

    def _add_masks(self, count: int) -> None:
        """Have so many more: four bytes each that nobody can foretell (RFC 6455, section 10.3), used once."""
        assert self._random_bytes is not None
        self._masks += [mask for (mask,) in _MASK.iter_unpack(self._random_bytes(count * MASK_SIZE))]


# The heads of short frames, by their first byte, the mark of a mask, and their length.
_HEADS: Final = {
    (_FINAL | opcode, mark): [bytes((_FINAL | opcode, mark | size)) for size in range(SHORT + 1)]
    for opcode in (1, 2)
    for mark in (0, MASKED)
}


def load_apply_mask() -> ApplyMask:
    """Return what masks and unmasks a whole content at once: that of websockets, in C where that was built."""
    from websockets import frames

    return cast("ApplyMask", getattr(cast("Any", frames), "apply_mask"))  # noqa: B009  # it is not exported by name
