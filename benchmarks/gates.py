# SPDX-License-Identifier: MIT
"""The gates: how tieline has to stand against its peers before a release ("must"), and where it wants to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Key, Results, Spread

__all__ = ["GATES", "NOT_MEASURED", "Gate", "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """How a gate was met.

    Attributes:
        seen: What was measured; None when it was not.
        is_met: It reaches "must".
        reaches_ambition: It reaches the ambition.
    """

    seen: Spread | None
    is_met: bool = False
    reaches_ambition: bool = False

    def __str__(self) -> str:
        if self.seen is None:
            return "not measured"
        return "ambition" if self.reaches_ambition else "met" if self.is_met else "MISSED"


@dataclass(frozen=True)
class Gate:
    """One gate.

    Attributes:
        workload: The workload, for people.
        text: What is compared with what.
        mine: The series of tieline.
        other: What it is compared with; None = nothing, the value itself counts.
        must: What has to be reached.
        ambition: What is wanted.
        compare: How to compare the two.
        at_most: Whether less is better.
        unit: What stands behind the numbers.
        bare: An echo of bytes without any library, which shows how far one could get on this machine; None = there is
            nothing like it.
    """

    workload: str
    text: str
    mine: Key
    other: Key | None
    must: float
    ambition: float
    compare: Callable[[float, float], float] = lambda mine, other: mine / other
    at_most: bool = False
    unit: str = "x"
    bare: Key | None = None

    def judge(self, results: Results) -> Verdict:
        """Return how the gate was met."""
        if self.other is None:
            seen = results.spread(self.mine)
        else:
            seen = results.compared(self.mine, self.other, self.compare)
        return Verdict(seen) if seen is None else Verdict(seen, *(self._reaches(seen, n) for n in self.wanted))

    def by_cpu(self, results: Results) -> Spread | None:
        """Return the same comparison by the CPU time of server and client, for a rate; else None.

        Not what the gate is about, but what stays true on a machine that is shared: others take time, not CPU time.
        """
        if self.other is None or self.mine.quantity != "rate":
            return None
        mine, other = self.mine._replace(quantity="cpu"), self.other._replace(quantity="cpu")
        return results.compared(mine, other, lambda first, second: second / first)

    def by_bare(self, results: Results) -> Spread | None:
        """Return the same comparison for the bare echo in the place of tieline, where there is one.

        A peer may be slow, but it writes and reads as the echo does: where that is most of its time, no library is five
        times as quick. What has to be reached may be more than this shows.
        """
        if self.other is None or self.bare is None:
            return None
        return results.compared(self.bare, self.other, self.compare)

    @property
    def wanted(self) -> tuple[float, float]:
        """What has to be reached, and what is wanted."""
        return self.must, self.ambition

    def _reaches(self, seen: Spread, wanted: float) -> bool:
        return seen.median <= wanted if self.at_most else seen.median >= wanted

    def number(self, value: float) -> str:
        """Return a value as text."""
        return f"{value:.2f} {self.unit}" if self.unit != "x" else f"{value:.2f}x" if value < 10 else f"{value:.1f}x"

    def bound(self, value: float) -> str:
        """Return a value that has to be reached as text."""
        return f"{'<=' if self.at_most else '>='} {value:g}{'' if self.unit == 'x' else ' '}{self.unit}"


_ECHOES = {
    "tieline": "buffered",
    "tieline-uvloop": "uvloop",
    "tieline-packets": "buffered",
    "tieline-packets-uvloop": "uvloop",
    "tieline-packets-trio": "trio-streams",
    "tieline-packets-blocking": "blocking",
}


def _rate(workload: str, mine: str, other: str, must: float, ambition: float) -> Gate:
    """Return a gate for requests a second."""
    # Where many are written at once an echo that writes each by itself is no limit.
    echo = _ECHOES.get(mine) if other.startswith("aiorpcx") and workload in {"W1", "W3", "W7"} else None
    bare = None if echo is None else Key(workload, echo)
    return Gate(workload, f"{mine} / {other}", Key(workload, mine), Key(workload, other), must, ambition, bare=bare)


def _client(workload: str, mine: str, other: str, must: float, ambition: float) -> Gate:
    """Return a gate for the CPU time of a client alone, where all have the same server."""
    first, second = (Key(workload, peer, "client") for peer in (mine, other))
    text = f"client CPU, {other} / {mine}"
    echo = _ECHOES.get(mine) if workload == "W5-ping" else None
    bare = None if echo is None else Key("W1", echo, "client")  # it sends and receives as often
    return Gate(workload, text, first, second, must, ambition, compare=lambda mine, other: other / mine, bare=bare)


def _most(workload: str, text: str, key: Key, must: float, ambition: float, unit: str) -> Gate:
    """Return a gate for a value that must not be larger."""
    return Gate(workload, text, key, None, must, ambition, at_most=True, unit=unit)


_IMPORTED = Key("W8", "tieline with asyncio", "import")
_BARE = Key("W8", "import tieline", "import")
_ASYNCIO = Key("W8", "import asyncio", "import")
_BLOCKING = Key("W8", "tieline in blocking code", "import")
_NEEDED = Key("W8", "msgspec, socket, selectors, threading", "import")

GATES = (
    _rate("W1", "tieline", "aiorpcx", 5, 7),
    _rate("W1", "tieline", "buffered", 0.55, 0.65),
    _rate("W1", "tieline-uvloop", "aiorpcx-uvloop", 5, 8),
    _rate("W1", "tieline-uvloop", "uvloop", 0.55, 0.75),
    _rate("W1", "tieline-blocking-uvloop", "blocking", 0.45, 0.55),
    _rate("W1", "tieline-blocking-uvloop", "tieline-uvloop", 1, 1.25),
    _rate("W2-64", "tieline", "aiorpcx", 15, 25),
    _rate("W2-64", "tieline-uvloop", "aiorpcx-uvloop", 15, 25),
    _rate("W2-64", "tieline", "streams", 4, 7),
    _rate("W2-64", "tieline", "buffered", 1, 1),
    _rate("W2-64", "tieline-stdlib", "aiorpcx", 6, 6),
    _rate("W2-1000", "tieline", "aiorpcx", 15, 25),
    _rate("W2-1000", "tieline-uvloop", "aiorpcx-uvloop", 15, 25),
    _rate("W2-1000", "tieline", "streams", 4, 7),
    _rate("W2-1000", "tieline", "buffered", 1, 1),
    _rate("W2-1000", "tieline-stdlib", "aiorpcx", 6, 6),
    Gate(
        "s2",
        "server CPU, aiorpcx / tieline",
        Key("s2", "tieline", "server"),
        Key("s2", "aiorpcx", "server"),
        30,
        50,
        compare=lambda mine, other: other / mine,
    ),
    _most("s2", "server CPU a request", Key("s2", "tieline", "server"), 1.3, 0.8, "us"),
    _rate("W3", "tieline", "aiorpcx", 10, 15),
    _most("W3", "idle session, traced", Key("memory", "tieline", "traced"), 4, 3, "KiB"),
    _most("W3", "idle session, RSS", Key("memory", "tieline", "rss"), 4, 3, "KiB"),
    _most("W3", "idle session on trio, traced", Key("memory", "tieline-trio", "traced"), 9, 9, "KiB"),
    _most("W3", "idle session on trio, RSS", Key("memory", "tieline-trio", "rss"), 9, 9, "KiB"),
    _most("W5", "idle packet connection, server", Key("memory", "tieline-packet-server", "traced"), 6, 6, "KiB"),
    _most("W5", "idle packet connection, client", Key("memory", "tieline-packet-server", "held"), 6, 6, "KiB"),
    _rate("W4", "tieline", "aiorpcx", 15, 22),
    _rate("W4", "tieline", "pjrpc", 6, 6),
    # Over WebSocket there is one thing to be reached and another to be aimed at.
    *(_rate(workload, "tieline-ws", "pjrpc", 3, 3) for workload in ("W1", "W2-64", "W2-1000")),
    *(_rate(workload, "tieline-ws", "picows", 0, 0.6) for workload in ("W1", "W2-64", "W2-1000")),
    _client("W5-ping", "tieline-packets", "easynetwork", 3, 4.5),
    _client("W5-ping", "tieline-packets-uvloop", "easynetwork-uvloop", 3, 4.5),
    _client("W5-ping", "tieline-packets-trio", "easynetwork-trio", 3, 4.5),
    _client("W5-ping", "tieline-packets-blocking", "easynetwork-blocking", 4, 7),
    _client("W5-ping", "tieline-packets-blocking", "packets-blocking", 1.5, 1.5),
    _client("W5-stream", "tieline-packets", "easynetwork", 8, 13),
    _client("W5-stream", "tieline-packets-uvloop", "easynetwork-uvloop", 8, 13),
    _client("W5-stream", "tieline-packets-trio", "easynetwork-trio", 8, 13),
    _client("W5-stream", "tieline-packets-blocking", "easynetwork-blocking", 5, 8),
    _client("W5-stream", "tieline-packets-blocking", "packets-blocking", 1.5, 1.5),
    _rate("W6", "tieline", "aiorpcx", 2, 2.5),
    _rate("W6", "tieline", "grpc", 1, 1),
    _client("W6-raw", "tieline-packets", "protocol", 0.8, 0.8),
    _client("W6-raw", "tieline-packets-blocking", "protocol", 0.8, 0.8),
    _client("W6-raw", "tieline-packets-blocking", "blocking", 0, 0.95),  # which throws away what it reads
    _rate("W7", "tieline", "aiorpcx", 2.5, 2.5),
    _rate("W7", "tieline", "buffered", 0.7, 0.85),
    Gate("W8", "import with asyncio / import asyncio", _IMPORTED, _ASYNCIO, 1.4, 1.25, at_most=True),
    Gate("W8", "import of blocking code / what it needs", _BLOCKING, _NEEDED, 1.3, 1.15, at_most=True),
    _most("W8", "bare import tieline", _BARE, 3, 3, "ms"),
    Gate(
        "W8",
        "server RSS over raw asyncio's",
        Key("memory", "tieline", "base"),
        Key("memory", "buffered", "base"),
        4,
        2,
        compare=lambda mine, other: mine - other,
        at_most=True,
        unit="MiB",
    ),
)

NOT_MEASURED = ("How quick servers of packets are (W5 and W6-raw measure clients against a server that echoes bytes).",)
