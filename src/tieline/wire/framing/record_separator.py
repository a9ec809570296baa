# SPDX-License-Identifier: MIT
"""JSON text sequences (RFC 7464): each text between a record separator, 0x1E, and a newline."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

from tieline.errors import MessageTooLarge, RemoteProtocolError
from tieline.wire.framing.counted import check_limit
from tieline.wire.framing.cutting import CuttingFramer
from tieline.wire.framing.json_texts import SHALLOW_TEXT, WINDOW, TextEnd, skip_blanks
from tieline.wire.framing.pieces import add_piece, as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RecordSeparatorFramer"]

_RS: Final = b"\x1e"

# RFC 7464, section 2.1: separators with nothing between them are to be ignored.
_NOTHING: Final = re.compile(rb"[\x1e \t\n\r]*")


class RecordSeparatorFramer(CuttingFramer[bytes]):
    """JSON text sequences (RFC 7464): RS (0x1e), a JSON text, a newline.

    A record ends at the first newline after its text, so a text may span several lines; or at the next RS. A record
    that its writer did not complete (RFC 7464, section 2.4) is returned too if every parser must reject it: an object,
    an array or a string that is not closed. A number or a literal without whitespace after it may be truncated without
    anybody noticing, so it raises `RemoteProtocolError`, as does anything but whitespace between a newline and the next
    RS. A record over *max_size* raises `MessageTooLarge`. After an error every further call raises. Empty records are
    skipped.

    Args:
        max_size: The maximum size of a record in bytes, without its RS and newline; 0 = no limit.

    Raises:
        ValueError: *max_size* is negative.
    """

    is_text = True

    def __init__(self, max_size: int = 1_000_000) -> None:
        check_limit("max_size", max_size)
        super().__init__()
        self.max_size = max_size
        self._text = TextEnd()
        self._has_begun = False  # something has come of a record that is no blank
        self._is_whole = False  # its text is complete; blanks may follow, up to its newline

    @classmethod
    def with_limit(cls, max_size: int) -> Self:
        return cls(max_size) if cls.__init__ is RecordSeparatorFramer.__init__ else cls()

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """Return *messages*, which must each be one JSON text, as a sequence.

        Raises:
            TypeError: Something in *messages* is not bytes-like. Your fault; nothing was framed.
            ValueError: A message is blank or contains an RS: it would not arrive as one record. Your fault; nothing was
                framed.
        """
        parts: list[bytes] = []
        for message in as_bytes(messages):
            if _RS in message or not message.strip():
                raise ValueError("a message of a JSON text sequence must hold no RS (0x1e), and not be blank")
            parts += (_RS, message, b"\n")
        return b"".join(parts)

    def _cut(self, data: bytes, taken: list[bytes]) -> None:
        at = 0
        size = len(data)
        while at < size:
            if not self._has_begun:
                at = self._begin_record(data, at)
                continue
            separator = data.find(_RS, at)
            stop = separator if separator >= 0 else size
            newline = self._end_of_record(data, at, stop)
            self._hold(data[at : newline if newline >= 0 else stop])
            if newline >= 0:
                at = newline + 1
            elif separator < 0:
                break
            elif self._text.is_scalar and not self._is_whole:
                raise RemoteProtocolError("a number or literal has no blank behind it: it may have been cut off")
            else:
                at = separator
            taken.append(b"".join(self._held))
            self._end_record()

    def _begin_record(self, data: bytes, at: int) -> int:
        """Read on to where a record's text begins, or to the end of *data*; return the place."""
        if not self.pending:  # no RS has come
            at = skip_blanks(data, at)
            if at < len(data) and data[at] != _RS[0]:
                raise RemoteProtocolError(f"a JSON text must come behind RS (0x1e), not behind 0x{data[at]:02x}")
        nothing = _NOTHING.match(data, at)
        assert nothing is not None  # it may be empty
        if nothing.end() > at:
            self.pending = 1
        self._has_begun = nothing.end() < len(data)
        return nothing.end()

    def _end_of_record(self, data: bytes, at: int, stop: int) -> int:
        """Return where in *data* the newline is that ends the record; -1: not before *stop*."""
        if not self._is_whole:
            whole = None if self._text.begun else SHALLOW_TEXT.match(data, at, min(stop, at + WINDOW))
            at = self._text.find(data, at, stop) if whole is None else whole.end()
            if at < 0:
                return -1
            self._is_whole = True
        return data.find(b"\n", at, stop)

    def _hold(self, piece: bytes) -> None:
        self.pending += len(piece)
        if 0 < self.max_size < self.pending - 1:
            raise MessageTooLarge(self.max_size, self.pending - 1)
        add_piece(self._held, piece)

    def _end_record(self) -> None:
        self._held = []
        self.pending = 0
        self._text.forget()
        self._has_begun = self._is_whole = False
