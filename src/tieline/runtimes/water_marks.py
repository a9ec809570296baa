# SPDX-License-Identifier: MIT
"""With how much that is unsent a protocol is told to pause writing, and to resume: the rule of all our transports."""

from __future__ import annotations

from typing import Final

__all__ = ["HIGH_WATER", "LOW_WATER", "water_marks"]

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
