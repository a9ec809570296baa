# SPDX-License-Identifier: MIT
"""Many durations in little memory: how many there were of each size, to about one hundredth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import exp, floor, log
from typing import Final

__all__ = ["Latencies", "shown"]

_STEP: Final = log(1.01)
_LEAST: Final = 1e-7  # seconds; nothing that a clock can tell is shorter


class Latencies:
    """How long calls took.

    Attributes:
        count: How many were added.
        longest: The longest, exactly; 0 when there is none.
    """

    __slots__ = ("_buckets", "_total", "count", "longest", "shortest")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._total = 0.0
        self.count = 0
        self.shortest = self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Add one."""
        self._buckets[floor(log(max(seconds, _LEAST)) / _STEP)] += 1
        self._total += seconds
        self.shortest = min(self.shortest, seconds) if self.count else seconds
        self.longest = max(self.longest, seconds)
        self.count += 1

    def mean(self) -> float:
        """Return the mean in seconds."""
        return self._total / self.count

    def percentile(self, percent: float) -> float:
        """Return how long *percent* of the calls took at most, in seconds, to about one hundredth."""
        wanted, seen = percent / 100 * self.count, 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(exp((bucket + 1) * _STEP), self.longest)
        return self.longest

    def histogram(self, rows: int) -> Iterator[tuple[float, float, int]]:
        """Yield (from, to, how many) for *rows* ranges that grow by the same factor, from the shortest to the longest.

        They are fewer where all are so close together that they would be narrower than what is known of each. Those of
        the last hundredth of a percent share the last row, so that one outlier does not hide the others.
        """
        start, end = max(self.shortest, _LEAST), max(self.percentile(99.99), _LEAST)
        whole = log(end / start)
        rows = max(1, min(rows, floor(whole / _STEP)))
        width = whole / rows
        edges = [start * exp(width * row) for row in range(1, rows)]
        counts = [0] * rows
        for bucket, count in self._buckets.items():
            middle = exp((bucket + 0.5) * _STEP)
            counts[sum(middle >= edge for edge in edges)] += count
        yield from zip([self.shortest, *edges], [*edges, self.longest], counts, strict=True)


def shown(seconds: float) -> str:
    """Return a duration for people, in the unit that suits it."""
    unit, size = next(((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3)) if seconds >= size), ("us", 1e-6))
    number = seconds / size
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
