# SPDX-License-Identifier: MIT
"""What a run has shown: a series of values, one a round, for each workload, peer and quantity.

Ratios are taken round by round, so that a machine that slows down for a while slows down both sides of them; of these
the median counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

from benchmarks.harness import Figure, Memory

__all__ = ["Key", "Results", "Spread"]


class Key(NamedTuple):
    """What a series is of.

    The quantities: "rate" (requests a second), "server", "client" and "cpu" (CPU microseconds a request, of the one, of
    the other and of both), "traced" and "rss" (KiB an idle session), "held" (KiB of it traced at the client), "base"
    (MiB of an idle server), "import" (milliseconds; the peer is then a name of `imports.IMPORTS`), "busiest"
    (connections of the worker that has most; the peer is then a name of `scaling.FORMS`).
    """

    workload: str
    peer: str
    quantity: str = "rate"


class Spread(NamedTuple):
    """A median, with the least and the largest of its rounds."""

    median: float
    least: float
    largest: float

    @property
    def percent(self) -> float:
        """How far apart the rounds are, in percent of the median."""
        return 100 * (self.largest - self.least) / self.median if self.median else 0.0


class Results:
    """All series of a run."""

    def __init__(self) -> None:
        self._series: dict[Key, dict[int, float]] = {}
        self.failures: list[str] = []

    def add(self, key: Key, round_number: int, value: float) -> None:
        """Note the value of a round."""
        self._series.setdefault(key, {})[round_number] = value

    def add_figure(self, workload: str, peer: str, round_number: int, figure: Figure) -> None:
        """Note what one measurement showed."""
        self.add(Key(workload, peer), round_number, figure.requests / figure.seconds)
        self.add(Key(workload, peer, "server"), round_number, 1e6 * figure.server_cpu / figure.requests)
        self.add(Key(workload, peer, "client"), round_number, 1e6 * figure.client_cpu / figure.requests)
        both = figure.client_cpu + figure.server_cpu
        self.add(Key(workload, peer, "cpu"), round_number, 1e6 * both / figure.requests)

    def add_memory(self, peer: str, round_number: int, memory: Memory) -> None:
        """Note what idle sessions cost."""
        self.add(Key("memory", peer, "traced"), round_number, memory.traced / 1024)
        self.add(Key("memory", peer, "rss"), round_number, memory.rss / 1024)
        self.add(Key("memory", peer, "held"), round_number, memory.client / 1024)
        self.add(Key("memory", peer, "base"), round_number, memory.base / 1024 / 1024)

    def spread(self, key: Key) -> Spread | None:
        """Return the median of a series and its spread; None when nothing was measured."""
        return _spread(self._series.get(key, {}).values())

    def compared(self, mine: Key, other: Key, compare: Callable[[float, float], float]) -> Spread | None:
        """Return two series compared round by round; None when no round has both."""
        first, second = self._series.get(mine, {}), self._series.get(other, {})
        return _spread(compare(first[number], second[number]) for number in first if number in second)

    def peers(self, workload: str) -> list[str]:
        """Return the peers that took part in a workload."""
        return list(dict.fromkeys(key.peer for key in self._series if key.workload == workload))


def _spread(values: Iterable[float]) -> Spread | None:
    known = list(values)
    return Spread(median(known), min(known), max(known)) if known else None
