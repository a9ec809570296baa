# SPDX-License-Identifier: MIT
"""Packets as they are: bytes and lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from tieline.errors import DeserializeError
from tieline.wire.serializers.abc import AbstractPacketSerializer
from tieline.wire.serializers.framed import DEFAULT_LIMIT
from tieline.wire.serializers.separated import AutoSeparatedPacketSerializer, SeparatedDecoder

if TYPE_CHECKING:
    from tieline.wire.serializers.decoding import PacketDecoder

__all__ = ["BytesSerializer", "StringLineSerializer"]

_NEWLINES: Final = {"LF": b"\n", "CR": b"\r", "CRLF": b"\r\n"}


class BytesSerializer(AbstractPacketSerializer[bytes | bytearray | memoryview, bytes]):
    """Packets that are bytes already. In streams it needs a frame around it, as `LengthPrefixedSerializer` has."""

    __slots__ = ()

    def serialize(self, packet: bytes | bytearray | memoryview, /) -> bytes:
        """Return *packet* as bytes.

        Raises:
            TypeError: It is not bytes-like. Your fault.
        """
        return packet if type(packet) is bytes else bytes(memoryview(packet))

    def deserialize(self, data: bytes, /) -> bytes:
        """Return *data*."""
        return data


class StringLineSerializer(AutoSeparatedPacketSerializer[str, str]):
    r"""Packets are lines of text, by default without their newlines. An empty line is a packet as well.

    Args:
        newline: What ends a line: "LF" (``\n``), "CR" (``\r``) or "CRLF" (``\r\n``). Other characters are part of the
            line, so with "LF" a peer that sends ``\r\n`` leaves its ``\r`` on it.
        encoding: The encoding of the text; ASCII characters must have one byte each in it, as in ASCII, UTF-8 and
            Latin-1.
        unicode_errors: What happens to bytes that are not text, and to characters that cannot be encoded; see
            ``str.encode``.
        keep_end: Whether the newline at the end of a line is part of the packet. Then a packet to be sent may end with
            one, which is not doubled.
        limit: The maximum size of a received line in bytes, not counting the newline. A longer one is dropped.

    Raises:
        ValueError: *newline* is none of these, or *limit* is not positive.
        LookupError: There is no such encoding.
    """

    __slots__ = ("_encoding", "_errors", "_keep_end")

    def __init__(
        self,
        newline: Literal["LF", "CR", "CRLF"] = "LF",
        *,
        encoding: str = "ascii",
        unicode_errors: str = "strict",
        keep_end: bool = False,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        if newline not in _NEWLINES:
            raise ValueError(f"newline must be one of {', '.join(_NEWLINES)}, not {newline!r}")
        super().__init__(_NEWLINES[newline], limit=limit)
        if "\n".encode(encoding, unicode_errors) != b"\n":
            raise ValueError(f"in {encoding} the newline has more than one byte, so lines cannot be told apart")
        self._encoding = encoding
        self._errors = unicode_errors
        self._keep_end = keep_end

    @property
    def encoding(self) -> str:
        """The encoding of the text."""
        return self._encoding

    @property
    def unicode_errors(self) -> str:
        """What happens to bytes that are no text, and to characters that cannot be encoded."""
        return self._errors

    @property
    def keep_end(self) -> bool:
        """Whether the newline at the end of a line is part of the packet."""
        return self._keep_end

    def serialize(self, packet: str, /) -> bytes:
        r"""Return the line as bytes, without its newline; with `keep_end` with the one that *packet* has at its end.

        Raises:
            TypeError: *packet* is no str.
            ValueError: It cannot be encoded, or holds a NUL or the newline.
        """
        if not isinstance(packet, str):
            raise TypeError(f"a line must be a str, not {type(packet).__name__}")
        data = packet.encode(self._encoding, self._errors)
        if 0 in data:  # quicker by the integer, see `json.py`
            raise ValueError("a line must not hold a NUL")
        if data.find(self._separator) >= 0 and not (self._keep_end and self._is_only_end(data)):
            raise ValueError("a line must not hold its newline")
        return data

    def _is_only_end(self, data: bytes) -> bool:
        """Return whether the first newline in *data* is at its end."""
        return data.find(self._separator) == len(data) - len(self._separator)

    def deserialize(self, data: bytes, /) -> str:
        """Return the line that *data* is; a newline at its end is not part of it, but with `keep_end`.

        Raises:
            DeserializeError: It is no text in the encoding, or holds a NUL, which readers in C would take for its end.
        """
        if not self._keep_end:
            data = data.removesuffix(self._separator)
        if 0 in data:  # quicker by the integer, see `json.py`
            raise DeserializeError("the line holds a NUL")
        try:
            return data.decode(self._encoding, self._errors)
        except ValueError:
            raise DeserializeError(f"the line is not {self._encoding}") from None  # the cause would hold the line

    def frame(self, packet: str, /) -> bytes:
        """Return the line as bytes, with its newline.

        Raises:
            TypeError, ValueError: As `serialize`.
        """
        data = self.serialize(packet)
        if self._keep_end:
            data = data.removesuffix(self._separator)
        framed = data + self._separator
        if framed.find(self._separator) != len(data):  # a subclass may serialize in its own way
            raise ValueError("a line must not hold its newline")
        return framed

    def new_decoder(self) -> PacketDecoder[str]:
        """Return a decoder for one connection."""
        if not self._keep_end:
            return super().new_decoder()
        newline = self._separator
        return SeparatedDecoder(newline, self._limit, lambda line: self.deserialize(line + newline))
