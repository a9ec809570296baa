# SPDX-License-Identifier: MIT
"""What is measured in a soak: how memory grows, and all that is told at the end."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import nan

from tests.soak.ledger import Ledger
from tieline.cli.latencies import Latencies

__all__ = ["MEGA", "Outcome", "Sample", "floors", "slope"]

MEGA = 1 << 20
MOST_SAMPLES = 400  # whose pairs are compared: 80 000
PARTS = 12


@dataclass(frozen=True)
class Sample:
    """One look at the memory.

    Attributes:
        at: Seconds since the start.
        server: Resident memory of the server, in bytes, what is free given back to the system.
        in_use: How much of it is in use; the rest is what its allocators keep, and code.
        clients: Resident memory of the process of the honest clients, as it is.
    """

    at: float
    server: int
    in_use: int
    clients: int


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return by how much the second number grows while the first grows by 1: the median over all pairs (Theil, Sen).

    One sample that was taken at a bad moment does not move it. nan = there are fewer than two points.
    """
    step = len(points) // MOST_SAMPLES + 1
    pairs = combinations(points[::step], 2)
    slopes = [(later[1] - first[1]) / (later[0] - first[0]) for first, later in pairs if later[0] > first[0]]
    return statistics.median(slopes) if slopes else nan


def floors(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the lowest point of each of some equal parts of the time, without what is in use only for a moment."""
    if not points:
        return []
    start, width = points[0][0], (points[-1][0] - points[0][0]) / PARTS or 1.0
    lowest: dict[int, tuple[float, float]] = {}
    for at, size in points:
        part = min(int((at - start) / width), PARTS - 1)
        if part not in lowest or size < lowest[part][1]:
            lowest[part] = (at, size)
    return [lowest[part] for part in sorted(lowest)]


@dataclass
class Outcome:
    """What a soak came to.

    Attributes:
        ledger: Of all honest clients, in the whole soak.
        seconds: How long it took.
        warm_up: From when on memory was judged.
        present: How many honest clients were connected, at most.
        attacks: What hostile clients did, how often.
        refused: How often an honest client could not connect.
        kills: How often all hostile clients were killed at once.
        samples: What memory was taken, over time.
        figures: All that the server told of itself at these times.
        quiet: How long honest clients waited for an answer while there were no hostile ones.
        loaded: How long they did with them, from the end of the warm-up on.
        ebbs: What memory was taken while nobody was there: behind the warm-up, now and then, and at the end.
        grown: Of which types there were more objects at the last of them than at the first.
        left: What the server held then and had not held before: (before, after) by name.
        tracebacks: How many tracebacks the server has logged.
        records: How many records the server has logged.
        stderr: What the server has written there.
        log: The last of these records, when something was lost.
        crashes: Exceptions of the honest clients themselves.
    """

    ledger: Ledger = field(default_factory=Ledger)
    seconds: float = 0.0
    warm_up: float = 0.0
    present: int = 0
    attacks: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    kills: int = 0
    samples: list[Sample] = field(default_factory=list)
    figures: list[dict[str, float]] = field(default_factory=list)
    ebbs: list[Sample] = field(default_factory=list)
    grown: dict[str, int] = field(default_factory=dict)
    quiet: Latencies = field(default_factory=Latencies)
    loaded: Latencies = field(default_factory=Latencies)
    left: dict[str, tuple[float, float]] = field(default_factory=dict)
    tracebacks: int = 0
    records: int = 0
    stderr: str = ""
    log: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)

    @property
    def judged(self) -> list[Sample]:
        """The samples behind the warm-up."""
        return [one for one in self.samples if one.at >= self.warm_up]

    @property
    def server_slope(self) -> float:
        """How the server's memory grew behind the warm-up, in MB an hour."""
        return slope(floors([(one.at, one.server) for one in self.judged])) * 3600 / MEGA

    @property
    def ebb_slope(self) -> float:
        """How it grew from one moment without clients to the next: nothing of it is that of what they just did."""
        return slope([(one.at, one.server) for one in self.ebbs]) * 3600 / MEGA

    @property
    def in_use_slope(self) -> float:
        """How what is in use then did: it grows by what leaks, and not by how that lies in memory."""
        return slope([(one.at, one.in_use) for one in self.ebbs]) * 3600 / MEGA

    @property
    def clients_slope(self) -> float:
        """How that of the honest clients' process did."""
        return slope(floors([(one.at, one.clients) for one in self.judged])) * 3600 / MEGA

    def faults(self) -> list[str]:
        """Return what is wrong, whatever the machine has to do besides: texts."""
        ledger = self.ledger
        found = [f"a client failed: {text}" for text in self.crashes]
        if not ledger.is_balanced:
            found.append(
                f"{ledger.lost} lost, {ledger.doubled} doubled, {ledger.wrong} wrong, {ledger.open_orders} open: "
                + "; ".join(ledger.faults)
            )
        if self.left:
            found.append(f"left behind in the server (before, after): {self.left}")
        if self.tracebacks:
            found.append(f"{self.tracebacks} tracebacks in the server's log")
        if self.stderr:
            found.append(f"the server wrote to stderr: {self.stderr[-1000:]}")
        return found
