# SPDX-License-Identifier: MIT
"""With how much that is unsent a protocol is told to pause writing, and to resume: the rule of all our transports."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HIGH_WATER", "LOW_WATER", "UnsentBytes", "WaterMarks", "water_marks"]

# As asyncio has it.
HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = HIGH_WATER // 4


def water_marks(high: int | None, low: int | None) -> tuple[int, int]:
    """Return the low and the high mark that the arguments of ``set_write_buffer_limits`` mean, in bytes.

    Where only one is given the other follows from it: the low mark is a quarter of the high one.

    Raises:
        ValueError: Not 0 <= low <= high.
    """
    if high is None:
        high = HIGH_WATER if low is None else 4 * low
    if low is None:
        low = high // 4
    if not high >= low >= 0:
        raise ValueError(f"the limits must be 0 <= low <= high, not low={low!r} and high={high!r}")
    return low, high


class WaterMarks:
    """The part of a transport that has its protocol pause writing when much is unsent, and resume when little is."""

    __slots__ = ("__dict__", "_protocol")

    _protocol: Any
    # What nearly all transports have is the class's, until one has others.
    _low: int = LOW_WATER
    _high: int = HIGH_WATER
    _is_full: bool = False  # as the protocol has been told

    @abstractmethod
    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set over how many unsent bytes the protocol is told to pause writing, and at how many to resume.

        Raises:
            ValueError: Not 0 <= low <= high.
        """
        if high == self._high and low == self._low:
            return
        self._low, self._high = water_marks(high, low)
        self._check_full()

    def _check_full(self) -> None:
        """More may be unsent than before, or too much by now."""
        if not self._is_full and self.get_write_buffer_size() > self._high:
            self._fill_up()

    def _fill_up(self) -> None:
        """Take nothing more until less is unsent."""
        if not self._is_full:
            self._is_full = True
            self._tell(self._protocol.pause_writing)

    def _check_room(self) -> None:
        """Less may be unsent than before."""
        if self._is_full and self.get_write_buffer_size() <= self._low:
            self._is_full = False
            self._tell(self._protocol.resume_writing)

    def _tell(self, callback: Callable[[], object]) -> None:
        """Call a callback of the protocol."""
        callback()


class UnsentBytes(WaterMarks):
    """The part of a transport that keeps what is unsent in one piece.

    Attributes:
        unsent: What was written and is not sent yet.
    """

    __slots__ = ("unsent",)

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self.unsent = bytearray()

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)
