# SPDX-License-Identifier: MIT
"""Lines of a child process that are no protocol, sorted out of those that are.

Programs print what they should not: a banner, a warning, a line for debugging. A line that does not begin as a JSON
text of JSON-RPC does, with an object or an array, is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tieline.wire.framing.base import FramerBase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tieline.wire.framing.newline import NewlineFramer

__all__ = ["StrayLines"]

_BLANK = b" \t\r"  # RFC 8259, section 2; a newline ends the line


class StrayLines(FramerBase):
    """A framer of lines that hands those which are no messages to somebody else.

    Args:
        framer: Cuts the lines.
        on_stray: Is given each of them, decoded, with what is no UTF-8 replaced.
    """

    is_text = True

    def __init__(self, framer: NewlineFramer, on_stray: Callable[[str], object]) -> None:
        self._framer = framer
        self._on_stray = on_stray

    @property
    def pending(self) -> int:  # type: ignore[override]  # asked for, never set
        """How many bytes of an unfinished line are held."""
        return self._framer.pending

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        """Return *messages*, each with its newline."""
        return self._framer.frame(messages)

    def messages(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that *data* completes and that may be messages."""
        lines, fault = self.take(data)
        yield from lines
        if fault is not None:
            raise fault

    def take(self, data: bytes) -> tuple[list[bytes], Exception | None]:
        """Return the lines that *data* completes and that may be messages, and the first fault; see `FramerBase`."""
        lines, fault = self._framer.take(data)
        kept: list[bytes] = []
        for line in lines:
            if line.lstrip(_BLANK)[:1] in {b"{", b"["}:
                kept.append(line)
            else:
                self._on_stray(line.decode("utf-8", "replace").rstrip("\r"))
        return kept, fault
