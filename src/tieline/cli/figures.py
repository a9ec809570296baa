# SPDX-License-Identifier: MIT
"""What a server has done between two looks: from its statistics, read with care, since anybody may have sent them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec

from tieline.cli.exits import Exit, Failure

__all__ = ["Document", "Figures", "Group", "Order", "Row", "document_of", "figures"]

VERSION: Final = 1  # of the document, up to which it is read

# With these bounds nothing that is reckoned overflows, and nothing fills a screen.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e18)]  # a number that is none (NaN) is not within them


class Order(StrEnum):
    """By what the methods are sorted: by name, or the highest first."""

    METHOD = "method"
    CALLS = "calls"
    ERRORS = "errors"
    P99 = "p99"


# --- what a server says ----------------------------------------------------------------------------------------------


class Method(msgspec.Struct):
    """What it says of a method; *durations* are pairs: up to so many seconds, so many calls."""

    name: str
    started: Count
    ended: Count
    errors: Count
    longest: Amount
    durations: list[tuple[Amount, Count]]


class Connections(msgspec.Struct):
    """What it says of its connections."""

    open: Count
    opened: Count
    closed: Count
    refused: Count
    limits_hit: Count


class Traffic(msgspec.Struct):
    """What it says of all that came and went."""

    bytes_in: Count
    bytes_out: Count
    messages_in: Count
    messages_out: Count
    errors: Count


class Group(msgspec.Struct):
    """What it says of a group of peers; *limit* None = there is none."""

    group: str
    connections: Count
    cost: Amount
    limit: Amount | None


class _Version(msgspec.Struct):
    """What every version of the document has."""

    version: Count


class Document(msgspec.Struct):
    """What a server answers to ``rpc.statistics``."""

    process: Count
    seconds: Amount
    connections: Connections
    traffic: Traffic
    running: Count
    pending: Count
    limits: dict[str, Count]
    methods: list[Method]
    methods_left_out: Count
    groups: list[Group]
    groups_left_out: Count


def document_of(answer: object) -> Document:
    """Return what a server has answered.

    Raises:
        Failure: Those are no statistics, or of a later version.
    """
    try:
        version = msgspec.convert(answer, _Version).version  # first: what a later one has besides is not known
        if version > VERSION:
            text = f"the peer's rpc.statistics returns version {version}, and this program reads up to {VERSION}"
            raise Failure(Exit.LOST, text)
        return msgspec.convert(answer, Document)
    except msgspec.ValidationError as exc:
        raise Failure(Exit.LOST, f"the peer's rpc.statistics returns no statistics: {exc}") from exc


# --- what came between -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A method: *calls* and *errors* in all, the rest between two looks; None where no call has ended."""

    name: str
    calls: int
    calls_per_second: float
    errors: int
    p50: float | None
    p99: float | None
    longest: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What there is to show.

    Attributes:
        told: What the server has said last.
        seconds: How long ago the look before was; at the first, when the server began to count.
        calls: How many calls a second were started meanwhile.
        bytes_in, bytes_out: How many bytes a second came and went.
        rows: The methods.
    """

    told: Document
    seconds: float
    calls: float
    bytes_in: float
    bytes_out: float
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        """Return them for programs."""
        told = self.told
        return {
            "process": told.process,
            "uptime": told.seconds,
            "seconds": self.seconds,
            "calls_per_second": self.calls,
            "bytes_in_per_second": self.bytes_in,
            "bytes_out_per_second": self.bytes_out,
            **{name: msgspec.to_builtins(getattr(told, name)) for name in ("connections", "traffic", "limits")},
            "running": told.running,
            "pending": told.pending,
            "methods": [{name: getattr(row, name) for name in Row.__slots__} for row in self.rows],
            "methods_left_out": told.methods_left_out,
            "groups": msgspec.to_builtins(told.groups),
            "groups_left_out": told.groups_left_out,
        }


def figures(before: Document | None, now: Document, order: Order = Order.METHOD) -> Figures:
    """Return what came between two looks; without a first one, or of a server that began anew, since its beginning."""
    if before is not None and (before.process != now.process or before.seconds >= now.seconds):
        before = None
    seconds = max(now.seconds - (0.0 if before is None else before.seconds), 1e-9)
    known = {} if before is None else {method.name: method for method in before.methods}
    rows = [_row(known.get(method.name), method, seconds) for method in now.methods]
    came, went = (0, 0) if before is None else (before.traffic.bytes_in, before.traffic.bytes_out)
    return Figures(
        told=now,
        seconds=seconds,
        calls=sum(row.calls_per_second for row in rows),
        bytes_in=max(0, now.traffic.bytes_in - came) / seconds,
        bytes_out=max(0, now.traffic.bytes_out - went) / seconds,
        rows=_sorted(rows, order),
    )


def _row(before: Method | None, now: Method, seconds: float) -> Row:
    durations = dict(now.durations)
    started = now.started
    if before is not None:
        started -= before.started
        for end, count in before.durations:
            durations[end] = durations.get(end, 0) - count
    return Row(
        name=now.name,
        calls=now.started,
        calls_per_second=max(0, started) / seconds,
        errors=now.errors,
        p50=_percentile(durations, 50, now.longest),
        p99=_percentile(durations, 99, now.longest),
        longest=now.longest,
    )


def _percentile(durations: Mapping[float, int], percent: int, longest: float) -> float | None:
    """Return how long so many percent of the calls took at most; None when there are none."""
    found = sorted((end, count) for end, count in durations.items() if count > 0)
    wanted, seen = percent * sum(count for _, count in found) / 100, 0
    for end, count in found:
        seen += count
        if seen >= wanted:
            return min(end, longest)
    return None


def _sorted(rows: Sequence[Row], order: Order) -> list[Row]:
    by_name = sorted(rows, key=lambda row: row.name)
    match order:
        case Order.METHOD:
            return by_name
        case Order.CALLS:
            return sorted(by_name, key=lambda row: (-row.calls_per_second, -row.calls))
        case Order.ERRORS:
            return sorted(by_name, key=lambda row: -row.errors)
        case Order.P99:
            return sorted(by_name, key=lambda row: -(row.p99 or 0.0))
