# SPDX-License-Identifier: MIT
"""Reads by generators for serializers of users: so many bytes, or up to a separator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.errors import LimitOverrunError
from tieline.wire.serializers.framed import checked_limit, overrun
from tieline.wire.serializers.generated import Skipped, StreamEndedWithin

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["GeneratorStreamReader"]


class GeneratorStreamReader:
    """Reads the bytes of a packet in an `AbstractIncrementalPacketSerializer.incremental_deserialize`.

    Create one for each packet, read with ``yield from``, and return the packet together with what `read_all` returns.

    Args:
        initial_bytes: Bytes that have arrived already.
    """

    __slots__ = ("_held",)

    def __init__(self, initial_bytes: bytes = b"") -> None:
        self._held = bytearray(initial_bytes)

    def read_all(self) -> bytes:
        """Return the bytes that have arrived and are not read yet, perhaps none, without waiting."""
        return self._cut(len(self._held))

    def read(self, size: int) -> Generator[None, bytes, bytes]:
        """Read what has arrived, at least one byte and at most *size*; with 0 nothing.

        Raises:
            ValueError: *size* is negative.
        """
        _check_size(size)
        while size and not self._held:
            self._held += yield
        return self._cut(min(size, len(self._held)))

    def read_exactly(self, size: int) -> Generator[None, bytes, bytes]:
        """Read *size* bytes, no fewer.

        First check a size that the peer has sent against a limit of your own: that many bytes are stored.

        Raises:
            ValueError: *size* is negative.
        """
        _check_size(size)
        while len(self._held) < size:
            self._held += yield
        return self._cut(size)

    def read_until(self, separator: bytes, limit: int, *, keep_end: bool = True) -> Generator[Any, bytes, bytes]:
        """Read up to *separator*, which is part of the result unless *keep_end* is False.

        Data of more than *limit* bytes, not counting the separator, is dropped up to its separator and then refused (or
        when the stream ends in it): so the stream goes on after it, and no part of it is mistaken for a packet.

        Raises:
            LimitOverrunError: It is longer than *limit*; its ``remaining_data`` is what has arrived after it.
            ValueError: *separator* is empty, or *limit* not positive.
            TypeError: *limit* is no int.
        """
        if not separator:
            raise ValueError("separator must not be empty")
        checked_limit(limit)
        held = self._held
        overlap = len(separator) - 1  # what of a separator may have come before the rest of it
        seen = thrown = 0
        while (end := held.find(separator, max(0, seen - overlap))) < 0:
            seen = len(held)
            if not (thrown or seen - overlap > limit):
                held += yield
                continue
            gone = seen - overlap
            thrown += gone
            del held[:gone]
            seen = overlap
            fault = overrun(limit, thrown)
            try:
                held += yield Skipped(gone, fault)
            except StreamEndedWithin:
                raise fault from None
        size = thrown + end
        line = self._cut(end + len(separator))
        if size > limit:
            raise self._over(limit, size)
        return line if keep_end else line[:end]

    def _cut(self, size: int) -> bytes:
        data = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        return data

    def _over(self, limit: int, size: int) -> LimitOverrunError:
        error = overrun(limit, size, "{} bytes received")
        error.remaining_data = self.read_all()
        return error


def _check_size(size: int) -> None:
    if size < 0:
        raise ValueError(f"size must not be negative, but is {size}")
