# SPDX-License-Identifier: MIT
r"""Messages that end with ``\n``, the framing of JSON-RPC over plain streams.

Owns the unfinished line and its limit. Refuses to know what a line means: ``\r`` before the newline stays on the
line, where JSON reads it as blank space.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final, Self

from tieline.errors import MessageTooLarge
from tieline.wire.framing.base import FramerBase
from tieline.wire.framing.pieces import add_piece, as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["NewlineFramer"]

_NEWLINE: Final = 0x0A

# From this length on, finding a newline and slicing is cheaper than split().
_LONG: Final = 1024


class NewlineFramer(FramerBase):
    r"""Messages are lines that end with ``\n``: the default framing.

    Blank lines (nothing, or a lone ``\r``) are skipped. A line over the limit raises `MessageTooLarge` once, as soon as
    that many bytes of it have arrived, and is dropped up to its newline; then the stream goes on. The work is linear in
    bytes however the stream is split, and at most *max_size* bytes of an unfinished line are stored.

    Args:
        max_size: The longest line in bytes, not counting the newline but counting a ``\r`` before it; 0 is no limit.

    Raises:
        ValueError: *max_size* is negative.
    """

    # Each session has one, and nearly all of them are this.
    __slots__ = ("__dict__", "_held", "_longest", "is_between", "max_size", "pending")

    is_text = True
    # Inside a line whose fault has been reported: nothing of it is kept, up to its newline.
    _discarding: bool = False
    # What was cut behind a fault and not taken yet; None nearly always (an empty deque is 760 bytes).
    _behind: deque[bytes | MessageTooLarge] | None = None

    def __init__(self, max_size: int = 1_000_000) -> None:
        if max_size < 0:
            raise ValueError(f"max_size must be 0 (no limit) or more, not {max_size}")
        self.max_size = max_size
        self.pending = 0
        self._held: list[bytes | bytearray] | None = None  # made when it is needed, as nearly no connection has any
        self.is_between = True
        self._longest = max_size or inf

    @classmethod
    def with_limit(cls, max_size: int) -> Self:
        return cls(max_size) if cls.__init__ is NewlineFramer.__init__ else cls()

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        r"""Return *messages*, each with its ``\n``.

        Raises:
            TypeError: Something in *messages* is not bytes-like. Your fault; nothing was framed.
            ValueError: A message contains a newline, so the peer would read it as several. tieline's codecs never write
                one; a ready-made text (``msgspec.Raw``) may contain one. Your fault.
        """
        lines = as_bytes(messages)
        for line in lines:
            # A search for the integer is one memchr: 0.02 us for a small line and 9 us for 1 MB, a third of the copy
            # below. It buys that no payload can forge a second message.
            if _NEWLINE in line:
                raise ValueError("a message of a line protocol must not hold a newline")
        lines.append(b"")
        return b"\n".join(lines)

    def messages(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that *data* completes, oldest first, without newlines. See `FramerBase.messages`.

        Raises:
            MessageTooLarge: A line is over the limit; the peer's fault. ``messages(b"")`` goes on behind it.
        """
        lines, fault = self._cut(data)
        yield from lines
        if fault is not None:
            raise fault

    def take(self, data: bytes) -> tuple[list[bytes], Exception | None]:
        """Return the lines that *data* completes up to the first fault, and the fault. See `FramerBase.take`."""
        # One line and nothing else is what most reads hold.
        size = len(data)
        if self.is_between and 2 < size <= self._longest and data.find(b"\n") == size - 1:
            return [bytes(data[:-1])], None
        return self._cut(data)

    def __init_subclass__(cls) -> None:
        if "messages" in cls.__dict__ and "take" not in cls.__dict__:
            cls.take = FramerBase.take  # type: ignore[method-assign]  # it asks the subclass, which may change messages

    def _cut(self, data: bytes) -> tuple[list[bytes], MessageTooLarge | None]:
        if type(data) is not bytes:
            data = bytes(data)  # a buffer that its owner may refill must not become part of a line
        first = data.find(b"\n")
        lines: list[bytes] = []
        tail = data
        if first >= 0:
            # split() looks at one byte at a time and is the best for short lines; see `_split_long`.
            lines = data.split(b"\n") if first < _LONG else _split_long(data)
            tail = lines.pop()
        size = self.pending + len(data)  # no line can be longer, so nearly always none needs to be measured
        if lines and (self.pending or self._discarding):
            lines[0] = self._completed(lines[0])
        if self._behind is not None or 0 < self.max_size < size:
            return self._cut_with_faults(lines, tail)
        if tail:
            self._hold(tail)
        self.is_between = not (self.pending or self._discarding)
        if b"" in lines or b"\r" in lines:
            lines = _without_blank(lines)
        return lines, None

    def _cut_with_faults(self, lines: list[bytes], tail: bytes) -> tuple[list[bytes], MessageTooLarge | None]:
        """Queue *lines*, *tail* and what is wrong with them in order, then take from the queue up to a fault.

        The queue makes many faults in one chunk cost what they are long, not the length of the chunk each.
        """
        limit = self.max_size
        behind = self._behind or deque()
        behind.extend(MessageTooLarge(limit, len(line)) if len(line) > limit else line for line in lines)
        seen = self.pending + len(tail)
        if seen > limit and not self._discarding:
            behind.append(MessageTooLarge(limit, seen))
            self._held = None
            self.pending = 0
            self._discarding = True
        else:
            self._hold(tail)
        ready: list[bytes] = []
        fault: MessageTooLarge | None = None
        while behind and fault is None:
            cut = behind.popleft()
            if isinstance(cut, MessageTooLarge):
                fault = cut
            else:
                ready.append(cut)
        self._behind = behind or None
        self.is_between = False  # not worth telling
        return _without_blank(ready), fault

    def _hold(self, piece: bytes) -> None:
        """Keep *piece* of the unfinished line."""
        if self._discarding:
            return
        self.pending += len(piece)
        if self._held is None:
            self._held = []
        add_piece(self._held, piece)

    def _completed(self, end: bytes) -> bytes:
        """Return the held line with its *end*, and hold nothing; blank when the line was being discarded."""
        line = b"" if self._discarding else b"".join((*(self._held or ()), end))
        self._held = None
        self.pending = 0
        if self._discarding:
            self._discarding = False
        return line


def _split_long(data: bytes) -> list[bytes]:
    r"""Return ``data.split(b"\n")``, faster where lines are long: 1 MB costs 9 us, not 280, as much as decoding it."""
    lines: list[bytes] = []
    start = 0
    while (end := data.find(b"\n", start)) - start >= _LONG:
        lines.append(data[start:end])
        start = end + 1
    # The first short line ends the search: a loop over short ones would cost five times what split() does.
    lines += data[start:].split(b"\n") if end >= 0 else [data[start:]]
    return lines


def _without_blank(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line and line != b"\r"]
