# SPDX-License-Identifier: MIT
"""JSON texts one behind the other, with nothing between them: the framing of OVSDB, QEMU's QMP and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from tieline.errors import MessageTooLarge, RemoteProtocolError
from tieline.wire.framing.counted import check_limit
from tieline.wire.framing.cutting import CuttingFramer
from tieline.wire.framing.json_texts import SHALLOW_TEXT, TEXT_ENDS, TEXT_FIRST, WINDOW, TextEnd, skip_blanks
from tieline.wire.framing.pieces import add_piece, as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["JSONStreamFramer"]


class JSONStreamFramer(CuttingFramer[bytes]):
    """JSON texts one after another, with whitespace between them or nothing at all.

    An object, array or string ends where it is closed; a number or literal ends at whitespace, or where a text of
    another kind begins. Brackets are counted, not matched, so a text may still be invalid JSON: it is returned, the
    JSON layer rejects it, and the stream continues with the next one. Two errors end the stream, and every further call
    then raises: a text over *max_size* (`MessageTooLarge`), and a byte between two texts that cannot begin a text, such
    as an extra closing bracket (`RemoteProtocolError`). If such bytes were skipped, the header lines of an HTTP request
    would be skipped too, and its body executed.

    After a bracket that is never closed, all that follows belongs to that text, up to *max_size*.

    Args:
        max_size: The maximum size of a text in bytes, without the whitespace around it; 0 = no limit.

    Raises:
        ValueError: *max_size* is negative.
    """

    is_text = True

    def __init__(self, max_size: int = 1_000_000) -> None:
        check_limit("max_size", max_size)
        super().__init__()
        self.max_size = max_size
        self._text = TextEnd()

    @classmethod
    def with_limit(cls, max_size: int) -> Self:
        return cls(max_size) if cls.__init__ is JSONStreamFramer.__init__ else cls()

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """Return *messages*, which must each be one JSON text; those that do not end by themselves get a newline.

        Raises:
            TypeError: Something in *messages* is not bytes-like. Your fault; nothing was framed.
            ValueError: A message cannot be a JSON text, by its first byte that is no blank; more is not looked at. Your
                fault; nothing was framed.
        """
        parts: list[bytes] = []
        for message in as_bytes(messages):
            start = skip_blanks(message, 0)
            if start == len(message) or message[start] not in TEXT_FIRST:
                raise ValueError("a message of a JSON stream must be a JSON text, and begin as one")
            parts.append(message)
            if message[-1] not in TEXT_ENDS:
                parts.append(b"\n")
        return b"".join(parts)

    def _cut(self, data: bytes, taken: list[bytes]) -> None:
        at = 0
        size = len(data)
        while at < size:
            if not self.pending:
                whole = SHALLOW_TEXT.match(data, at, at + WINDOW)
                if whole is not None:
                    at = whole.end()
                    self._take_text(whole[1], taken)
                    continue
                at = skip_blanks(data, at)
                if at == size:
                    return
                if data[at] not in TEXT_FIRST:
                    raise RemoteProtocolError(f"a JSON text cannot begin with 0x{data[at]:02x}")
            end = self._text.find(data, at, size)
            add_piece(self._held, data[at : end if end >= 0 else size])
            if end < 0:
                self.pending += size - at
                self._check_size(self.pending)
                return
            at = end
            held, self._held = self._held, []
            self.pending = 0
            self._take_text(b"".join(held), taken)

    def _take_text(self, text: bytes, taken: list[bytes]) -> None:
        self._check_size(len(text))
        taken.append(text)

    def _check_size(self, size: int) -> None:
        if 0 < self.max_size < size:
            raise MessageTooLarge(self.max_size, size)
