# SPDX-License-Identifier: MIT
"""Messages behind headers that tell their length: the base protocol of LSP and DAP.

Owns the grammar of the headers, which is narrow on purpose: two readers that differ about where a message ends can be
made to carry out what one of them never saw. Refuses to know what a body means.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

from tieline.errors import RemoteProtocolError
from tieline.wire.framing.counted import CountedFramer
from tieline.wire.framing.pieces import as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ContentLengthFramer"]

# More digits than these are refused unread: no length needs them, not even one with zeros in front.
_DIGITS: Final = 10

# Blocks as nearly all peers write them, read at once.
_USUAL: Final = re.compile(
    rb"Content-Length: ([0-9]{1,10})\r\n"
    rb"(?:Content-Type: application/vscode-jsonrpc; charset=utf-?8\r\n)?"
    rb"\r\n"
)

# RFC 9112, section 5: a name of token characters (RFC 9110, section 5.6.2), a colon directly behind it, a value that
# blanks may surround. Visible ASCII only: what else there is in values is obsolete there and unknown here.
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEADER: Final = re.compile(rb"(" + _TOKEN + rb")([ \t]*):([\t\x20-\x7e]*)\r\n")
_FIRST: Final = frozenset(b"!#$%&'*+.^_`|~-\r0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

# RFC 9110, section 8.3.1: a media type; parameters follow behind semicolons.
_MEDIA_TYPE: Final = re.compile(_TOKEN + rb"/" + _TOKEN)
_CHARSETS: Final = (b"utf-8", b"utf8", b'"utf-8"', b'"utf8"')


class ContentLengthFramer(CountedFramer[bytes]):
    r"""Messages with a ``Content-Length`` header, as in the Language Server and Debug Adapter Protocols (LSP, DAP).

    Headers are written in the form that all peers accept: ``Content-Length: N``, *content_type* if given, a blank line.

    They are read strictly. Lines end with CRLF; names are case-insensitive and may come in any order; there is no space
    before a colon, and there are no continuation lines. ``Content-Length`` is required once, with 1 to 10 digits.
    ``Content-Type`` may occur once: a JSON type (``application/...json...``) or that of *content_type*, with no charset
    or utf-8 (also spelled utf8). Other headers are ignored. An invalid header raises `RemoteProtocolError`, which names
    it; a length over *max_size* raises `MessageTooLarge` before any of the message is read. After an error the position
    of the next message is unknown, so every further call raises.

    Args:
        max_size: The maximum size of a message in bytes, without its headers; 0 = no limit.
        content_type: The value of the ``Content-Type`` header to send; None = no such header. LSP's is
            ``application/vscode-jsonrpc; charset=utf-8``, which is also the default for its peers.
        max_header: The maximum size of the headers of one message in bytes, including the blank line.
        max_headers: The maximum number of headers of one message.

    Raises:
        ValueError: *max_size* is negative, *max_header* or *max_headers* is not positive, or *content_type* is not
            a valid header value that this framer would accept.
    """

    is_text = True

    def __init__(
        self,
        max_size: int = 1_000_000,
        *,
        content_type: str | None = None,
        max_header: int = 8192,
        max_headers: int = 32,
    ) -> None:
        super().__init__(max_size)
        if max_header <= 0 or max_headers <= 0:
            raise ValueError("max_header and max_headers must be 1 or more")
        self.max_header = max_header
        self.max_headers = max_headers
        self._media_type = b""
        self._behind_length = b"\r\n\r\n"
        if content_type is not None:
            self._set_content_type(content_type)
        self._start_block()

    @classmethod
    def with_limit(cls, max_size: int) -> Self:
        return cls(max_size) if cls.__init__ is ContentLengthFramer.__init__ else cls()

    def _set_content_type(self, content_type: str) -> None:
        value = content_type.encode("ascii", "replace")
        if not content_type.isascii() or _HEADER.fullmatch(b"Content-Type:" + value + b"\r\n") is None:
            raise ValueError("content_type must be visible ASCII")
        self._media_type = value.split(b";")[0].strip().lower()
        try:
            self._check_content_type(value)
        except RemoteProtocolError as exc:
            raise ValueError(str(exc)) from None  # it is no peer's fault
        self._behind_length = b"\r\nContent-Type: " + value.strip() + b"\r\n\r\n"

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """Return *messages*, each after its headers.

        Raises:
            TypeError: Something in *messages* is not bytes-like. Your fault; nothing was framed.
        """
        parts: list[bytes] = []
        for message in as_bytes(messages):
            parts += (b"Content-Length: %d" % len(message), self._behind_length, message)
        return b"".join(parts)

    # --- blocks of headers ---------------------------------------------------------------------------------------

    def _start_block(self) -> None:
        self._line_at = 0  # where the first line begins that has not been read, counted from the block's start
        self._headers = 0
        self._length: int | None = None
        self._has_type = False

    def _read_head(self, data: bytes, at: int) -> tuple[int, int] | None:
        usual = None if self._line_at else _USUAL.match(data, at)
        if usual is not None and usual.end() - at <= self.max_header:
            start = usual.end()
            length = int(usual[1])
        else:
            behind = self._read_lines(data, at)
            if behind is None:
                return None
            if self._length is None:
                raise RemoteProtocolError("the header block has no Content-Length")
            start = behind
            length = self._length
            self._start_block()
        if 0 < self.max_size < length:
            self._check_size(length, self.max_size)
        return start, start + length

    def _read_lines(self, data: bytes, at: int) -> int | None:
        """Read the lines of the block at *at*; return where it ends, or None when that has not come.

        Each line is read once, as soon as it is there, and by its first byte before that. So what is wrong is found
        in the same order however the stream is cut.
        """
        end_of_room = at + self.max_header
        line_at = at + self._line_at
        while line_at < len(data):
            if data[line_at] not in _FIRST:
                raise RemoteProtocolError(_wrong_start(data[line_at]))
            newline = data.find(b"\n", line_at, end_of_room)
            if newline < 0:
                if len(data) > end_of_room:
                    raise RemoteProtocolError(f"header block over {self.max_header} bytes")
                break
            line = data[line_at : newline + 1]
            line_at = newline + 1
            if line == b"\r\n":
                return line_at
            self._read_line(line)
        self._line_at = line_at - at
        return None

    def _read_line(self, line: bytes) -> None:
        self._headers += 1
        if self._headers > self.max_headers:
            raise RemoteProtocolError(f"over {self.max_headers} headers in one block")
        if not line.endswith(b"\r\n"):
            raise RemoteProtocolError("a header line ends with a bare LF, not with CRLF")
        header = _HEADER.fullmatch(line)
        if header is None:
            raise RemoteProtocolError("a header line is not 'Name: value' in visible ASCII")
        name, blanks, value = header.groups()
        name = name.lower()
        value = value.strip(b" \t")
        if blanks:
            raise RemoteProtocolError(f"a blank stands before the colon of {_shown(name)}")
        if name == b"content-length":
            self._read_length(value)
        elif name == b"content-type":
            if self._has_type:
                raise RemoteProtocolError("Content-Type came twice in one block")
            self._has_type = True
            self._check_content_type(value)

    def _read_length(self, value: bytes) -> None:
        if self._length is not None:
            raise RemoteProtocolError("Content-Length came twice in one block")
        if not value.isdigit():  # of bytes, so 0-9 alone
            seen = "a value that is not" if value else "nothing"
            raise RemoteProtocolError(f"Content-Length must be 1 to {_DIGITS} digits; {seen} came")
        if len(value) > _DIGITS:
            raise RemoteProtocolError(f"Content-Length must be 1 to {_DIGITS} digits; {len(value)} came")
        self._length = int(value)

    def _check_content_type(self, value: bytes) -> None:
        kind, *parameters = (part.strip() for part in value.lower().split(b";"))
        if _MEDIA_TYPE.fullmatch(kind) is None:
            raise RemoteProtocolError("Content-Type is not a media type")
        if kind != self._media_type and not (kind.startswith(b"application/") and b"json" in kind):
            raise RemoteProtocolError(f"Content-Type must be one of JSON, not {_shown(kind)}")
        for parameter in parameters:
            name, _, charset = parameter.partition(b"=")
            if name.strip() == b"charset" and charset.strip() not in _CHARSETS:
                raise RemoteProtocolError(f"Content-Type must have the charset utf-8, not {_shown(charset)}")


def _wrong_start(byte: int) -> str:
    """Return what is wrong with a line that begins with *byte*."""
    if byte in b" \t":
        return "a header line is continued, or begins with a blank"
    if byte == 0x0A:
        return "a header line ends with a bare LF, not with CRLF"
    return f"a header line must begin with a name, not with 0x{byte:02x}"


def _shown(token: bytes) -> str:
    """Return a name or a type of the peer's, cut to what a message needs."""
    return repr(token[:40].decode("ascii"))
