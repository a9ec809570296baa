# SPDX-License-Identifier: MIT
"""What a stream reader of ours holds, and the protocol that feeds it: the same on trio and in blocking code.

How it is waited for is each one's own. (asyncio has readers of its own.)
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from tieline.errors import IncompleteReadError, ReadLimitError
from tieline.runtimes.contract import HearsFailedSends, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FedReader", "FeedingProtocol", "separators_of"]


def separators_of(separator: bytes | Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the separators that `readuntil` was given: one, or several.

    Raises:
        ValueError: There is none, or an empty one.
    """
    if isinstance(separator, bytes | bytearray | memoryview):
        separators: tuple[bytes, ...] = (bytes(separator),)
    else:
        separators = tuple(separator)
    if not separators or not all(separators):
        raise ValueError("a separator must be at least one byte long")
    return separators


class FedReader:
    """The part of a stream reader that does not wait.

    Args:
        limit: How long what `readline` and `readuntil` return may be, in bytes; while more than twice as much waits to
            be read, the transport is paused.

    Raises:
        ValueError: *limit* is not over 0.
    """

    __slots__ = ("_buffer", "_error", "_has_ended", "_limit", "_pause_above", "_paused", "_transport")

    def __init__(self, limit: int = 65536) -> None:
        if limit <= 0:
            raise ValueError(f"limit must be over 0, not {limit!r}")
        self._limit = limit
        self._pause_above: float = 2 * limit
        self._buffer = bytearray()
        self._has_ended = False
        self._error: Exception | None = None
        self._transport: Any = None
        self._paused = False

    # --- for the protocol ----------------------------------------------------------------------------------------

    def set_transport(self, transport: Any) -> None:
        """Set the *transport* to pause while more than twice the limit waits to be read."""
        self._transport = transport

    def feed_data(self, data: bytes | bytearray | memoryview) -> None:
        """Add *data* to the stream, as if it had arrived.

        Raises:
            RuntimeError: After `feed_eof`.
        """
        if self._has_ended:
            raise RuntimeError("feed_data() after feed_eof()")
        if not data:
            return
        self._buffer += data
        self._changed()
        if self._transport is not None and not self._paused and len(self._buffer) > self._pause_above:
            self._paused = True
            self._transport.pause_reading()

    def feed_eof(self) -> None:
        """End the stream."""
        self._has_ended = True
        self._changed()

    def keep_all(self) -> None:
        """Pause the transport no more: what comes from now on is the last that the peer has said."""
        self._pause_above = inf
        if self._paused:
            self._resume()

    def take_unread(self) -> bytes:
        """Return what has come and is not read yet, and forget it."""
        return self._take(len(self._buffer))

    def exception(self) -> Exception | None:
        """Return the error by which the connection was lost; None = none."""
        return self._error

    def set_exception(self, exc: Exception) -> None:
        """Make reads raise *exc*."""
        self._error = exc
        self._changed()

    def _changed(self) -> None:
        """There is something new for whoever waits."""

    # --- for whoever reads ---------------------------------------------------------------------------------------

    def at_eof(self) -> bool:
        """Return whether the stream has ended and all of it was read."""
        return self._has_ended and not self._buffer

    def _check_lost(self, *, has_more: bool) -> None:
        """Raise what the connection was lost with; when the peer takes nothing more, behind what it has said."""
        if self._error is not None and not (has_more and isinstance(self._error, BrokenPipeError)):
            raise self._error

    def _cut(self, separators: Sequence[bytes], searched: int) -> bytes | int:
        """Return what there is up to the first of *separators*, that included; else how much has been *searched*.

        Raises:
            IncompleteReadError: None of them comes any more.
            ReadLimitError: None of them is within the limit.
        """
        found = [(at + len(one), at) for one in separators if (at := self._buffer.find(one, searched)) >= 0]
        if found:
            end, start = min(found)
            if start > self._limit:
                raise ReadLimitError(f"the separator is beyond the limit of {self._limit} bytes", start)
            return self._take(end)
        searched = max(0, len(self._buffer) + 1 - max(map(len, separators)))
        if searched > self._limit:
            raise ReadLimitError(f"there is no separator within the limit of {self._limit} bytes", searched)
        if self._has_ended:
            raise IncompleteReadError(self._take(len(self._buffer)), None)
        return searched

    def _drop_line(self, too_long: ReadLimitError) -> None:
        """Drop what there is of a line that is *too_long*."""
        whole = self._buffer.startswith(b"\n", too_long.consumed)
        self._take(too_long.consumed + 1 if whole else len(self._buffer))

    def _take(self, size: int) -> bytes:
        if size >= len(self._buffer):
            data = bytes(self._buffer)
            self._buffer.clear()
        else:
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
        if self._paused and len(self._buffer) <= self._limit:
            self._resume()
        return data

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()


class FeedingProtocol(HearsFailedSends, Protocol):
    """What a transport drives so that its reader is fed.

    Attributes:
        reader: The reader.
    """

    __slots__ = ("_has_ended", "_transport", "reader")

    def __init__(self, reader: Any) -> None:
        self._has_ended = False
        self._transport: Any = None
        self.reader = reader

    def set_transport(self, transport: Any) -> None:
        self._transport = transport
        self.reader.set_transport(transport)

    def connection_made(self, transport: Any) -> None:
        self.set_transport(transport)

    def data_received(self, data: bytes) -> None:
        self.reader.feed_data(data)

    def eof_received(self) -> bool:
        self._has_ended = True
        self.reader.feed_eof()
        return bool(self._transport.can_write_eof())

    def sending_failed(self) -> None:
        self.reader.keep_all()

    def connection_lost(self, exc: BaseException | None) -> None:
        if isinstance(exc, Exception) and not self._has_ended:  # else it was writing that failed
            self.reader.set_exception(exc)
        else:
            self.reader.feed_eof()
