# SPDX-License-Identifier: MIT
"""What a server has done so far, in figures: what `tieline top` shows.

This file owns the document: what is in it, and how large it can become. It hears all that as hooks do. It is loaded
when a program counts in this way.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from math import frexp, ldexp
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from tieline.runtimes.hooks import OTHERS, Counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tieline.runtimes.admission import GroupCost
    from tieline.runtimes.hooks import MethodCounts

__all__ = ["STATISTICS", "Statistics"]

STATISTICS: Final = "rpc.statistics"  # JSON-RPC 2.0, section 4: such names are for extensions

VERSION: Final = 1  # of the document; a member that is added leaves it
# How many methods and groups are told one by one, and how many bytes they take at most: so the document is under 200 KB
# whatever peers make up, and whether its characters are escaped or not.
MOST_METHODS: Final = 200
MOST_GROUPS: Final = 100
METHODS_SIZE: Final = 150_000
GROUPS_SIZE: Final = 40_000
# Each power of two is divided into so many buckets, so durations are told to about a tenth.
PARTS: Final = 8
SHORTEST: Final = 1e-6  # seconds; what took less counts as that
# What is added up of sessions, by the names of `SessionStats`.
_TRAFFIC: Final = ("bytes_in", "bytes_out", "messages_in", "messages_out", "errors")


class Statistics(Counts):
    """Hooks that count what ``tieline top`` shows: what `Counts` does, traffic, durations, and costs of groups.

    Give one to `serve` as ``hooks=``; or let a registry offer one to its peers, `Methods.offer_statistics`. Given to
    several servers in one thread, it counts them together. Of packet servers it counts only the connections: packets
    have no costs, and their traffic is not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self._began = monotonic()
        self._sessions: set[Any] = set()
        self._gone: Counter[str] = Counter()  # the traffic of sessions that are gone
        self._durations: dict[str, dict[int, int]] = {}
        self._limits: Counter[str] = Counter()
        self._servers: WeakSet[Any] = WeakSet()
        # Any thread may ask: the traffic of a session must be in the one or in the other, and in one of them only.
        self._lock = threading.Lock()

    # --- what is heard -------------------------------------------------------------------------------------------

    def server_made(self, server: Any) -> None:
        self._servers.add(server)

    def connection_opened(self, session: Any) -> None:
        super().connection_opened(session)
        self._sessions.add(session)

    def connection_closed(self, session: Any, reason: Exception | None) -> None:
        super().connection_closed(session, reason)
        traffic = _traffic(session)
        with self._lock:
            self._sessions.discard(session)
            self._gone.update(traffic)

    def limit_hit(self, session: Any, error: Exception) -> None:
        super().limit_hit(session, error)
        self._limits[type(error).__name__] += 1

    def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
        super().call_ended(session, method, seconds, error)
        # Names are counted one by one where `Counts` does so, and as `OTHERS` where it does not.
        name = method if method in self._methods else OTHERS
        durations = self._durations.get(name)
        if durations is None:
            durations = self._durations[name] = {}
        part, power = frexp(max(seconds, SHORTEST))
        bucket = power * PARTS + int(part * 2 * PARTS) - PARTS
        durations[bucket] = durations.get(bucket, 0) + 1

    # --- what is told --------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return all statistics, as a value that JSON can carry; see "Monitor a server" in the documentation."""
        with self._lock:
            sessions, traffic = list(self._sessions), self._gone.copy()
        running = pending = 0
        for session in sessions:
            traffic.update(_traffic(session))
            stats = getattr(session, "stats", None)
            if stats is not None:
                running += stats.running
                pending += stats.pending
        found = self._told_order()
        methods = _fitting([self._told(*each) for each in found[:MOST_METHODS]], METHODS_SIZE)
        costs = sorted(self._costs(), key=lambda group: (-group.cost, -group.connections, group.group))
        groups = _fitting(
            [
                {"group": each.group, "connections": each.connections, "cost": each.cost, "limit": each.limit}
                for each in costs[:MOST_GROUPS]
            ],
            GROUPS_SIZE,
        )
        return {
            "version": VERSION,
            "process": os.getpid(),
            "seconds": monotonic() - self._began,
            "connections": {
                "open": self.opened - self.closed,
                "opened": self.opened,
                "closed": self.closed,
                "refused": self.refused,
                "limits_hit": self.limits_hit,
            },
            "traffic": {name: traffic[name] for name in _TRAFFIC},
            "running": running,
            "pending": pending,
            "limits": dict(self._limits),
            "methods": methods,
            "methods_left_out": len(found) - len(methods),
            "groups": groups,
            "groups_left_out": len(costs) - len(groups),
        }

    async def told(self) -> dict[str, Any]:
        """As `snapshot`: the method that peers call. Async, so that it waits for no thread of a blocking server."""
        return self.snapshot()

    def _told_order(self) -> list[tuple[str, MethodCounts]]:
        """Return what was counted of each method: those that are registered first, and of each kind the busiest."""
        known = self._registered
        return sorted(self.methods.items(), key=lambda each: (each[0] not in known, -each[1].started, each[0]))

    def _told(self, name: str, counts: MethodCounts) -> dict[str, Any]:
        return {
            "name": name,
            "started": counts.started,
            "ended": counts.ended,
            "errors": counts.errors,
            "seconds": counts.seconds,
            "longest": counts.longest,
            "durations": [[_end_of(bucket), count] for bucket, count in sorted(self._durations.get(name, {}).items())],
        }

    def _costs(self) -> Iterator[GroupCost]:
        for server in list(self._servers):
            yield from server.costs()


def _fitting(told: list[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """Return of *told*, in that order, what fits into so many bytes of JSON."""
    kept: list[dict[str, Any]] = []
    for each in told:
        size = len(json.dumps(each)) + 2  # as ASCII, the longest way to write it
        if size <= room:
            kept.append(each)
            room -= size
    return kept


def _traffic(session: Any) -> dict[str, int]:
    """Return what came and went on a connection; nothing where that is not counted, as with packets."""
    stats = getattr(session, "stats", None)
    return {} if stats is None else {name: getattr(stats, name) for name in _TRAFFIC}


def _end_of(bucket: int) -> float:
    """Return the seconds up to which durations are in *bucket*."""
    power, part = divmod(bucket, PARTS)
    return ldexp((PARTS + part + 1) / (2 * PARTS), power)
