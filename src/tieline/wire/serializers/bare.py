# SPDX-License-Identifier: MIT
"""Packets as they are: bytes and lines of text."""

from __future__ import annotations

from typing import Final, Literal

from tieline.errors import DeserializeError
from tieline.wire.serializers.abc import AbstractPacketSerializer
from tieline.wire.serializers.framed import DEFAULT_LIMIT
from tieline.wire.serializers.separated import AutoSeparatedPacketSerializer

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
    r"""Lines of text, without their newlines. An empty line is a packet as well.

    Args:
        newline: What ends a line: "LF" (``\n``), "CR" (``\r``) or "CRLF" (``\r\n``). The other characters are part
            of the line, so with "LF" a peer that sends ``\r\n`` leaves its ``\r`` on it.
        encoding: The encoding of the text; ASCII characters must have one byte each in it, as in ASCII, UTF-8 and
            Latin-1.
        unicode_errors: What happens to bytes that are no text, and to characters that cannot be encoded; see
            ``str.encode``.
        limit: The most bytes of a line that is received, the newline not counted. A longer one is thrown away.

    Raises:
        ValueError: *newline* is none of these, or *limit* is not positive.
        LookupError: There is no such encoding.
    """

    __slots__ = ("_encoding", "_errors")

    def __init__(
        self,
        newline: Literal["LF", "CR", "CRLF"] = "LF",
        *,
        encoding: str = "ascii",
        unicode_errors: str = "strict",
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        if newline not in _NEWLINES:
            raise ValueError(f"newline must be one of {', '.join(_NEWLINES)}, not {newline!r}")
        super().__init__(_NEWLINES[newline], limit=limit)
        if "\n".encode(encoding, unicode_errors) != b"\n":
            raise ValueError(f"in {encoding} the newline has more than one byte, so lines cannot be told apart")
        self._encoding = encoding
        self._errors = unicode_errors

    def serialize(self, packet: str, /) -> bytes:
        r"""Return the line as bytes, without its newline.

        Raises:
            TypeError: *packet* is no str.
            ValueError: It cannot be encoded, or holds a NUL or the newline.
        """
        if not isinstance(packet, str):
            raise TypeError(f"a line must be a str, not {type(packet).__name__}")
        data = packet.encode(self._encoding, self._errors)
        if 0 in data:  # quicker by the integer, see `json.py`
            raise ValueError("a line must not hold a NUL")
        if data.find(self._separator) >= 0:
            raise ValueError("a line must not hold its newline")
        return data

    def deserialize(self, data: bytes, /) -> str:
        """Return the line that *data* is; a newline at its end is not part of it.

        Raises:
            DeserializeError: It is no text in the encoding, or holds a NUL, which readers in C would take for its end.
        """
        data = data.removesuffix(self.separator)
        if 0 in data:  # quicker by the integer, see `json.py`
            raise DeserializeError("the line holds a NUL")
        try:
            return data.decode(self._encoding, self._errors)
        except ValueError:
            raise DeserializeError(f"the line is no {self._encoding}") from None  # the cause would hold the line
