# SPDX-License-Identifier: MIT
"""What `tieline top` draws: a few lines about the server, a table of methods, and one of what groups of peers cost."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from tieline.cli.figures import Figures
from tieline.cli.latencies import shown
from tieline.cli.showing import line

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["amount", "lines_of", "screen_of"]

# Rows of groups on a terminal; what is left is for the methods.
_MOST_GROUPS: Final = 6
# Lines of a terminal that are no rows: those about the server, empty ones, titles, and those about what is left out.
_OTHER_LINES: Final = 10
_UNITS: Final = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def lines_of(found: Figures, where: str) -> list[str]:
    """Return all of it as plain lines, for whatever is no terminal."""
    from rich.console import Console

    printed = StringIO()
    console = Console(file=printed, highlight=False, width=10_000, no_color=True, color_system=None)
    for part in _parts(found, where, len(found.rows), len(found.told.groups)):
        console.print(part)
    return [row.rstrip() for row in printed.getvalue().splitlines()]


def screen_of(found: Figures, where: str, height: int) -> Any:
    """Return what fits on a terminal of so many lines."""
    from rich.console import Group

    groups = min(len(found.told.groups), _MOST_GROUPS)
    return Group(*_parts(found, where, max(1, height - _OTHER_LINES - groups), groups))


def amount(number: float) -> str:
    """Return a number of bytes for people."""
    for unit, size in _UNITS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} B"


def _parts(found: Figures, where: str, most_rows: int, most_groups: int) -> list[Any]:
    from rich.text import Text

    told = found.told
    parts: list[Any] = [Text(text) for text in _about(found, where)]
    parts += [Text(), _methods(found, most_rows)]
    left_out = told.methods_left_out + max(0, len(found.rows) - most_rows)
    if left_out:
        parts.append(Text(f"and {left_out} more methods"))
    if told.groups:
        parts += [Text(), _groups(found, most_groups)]
        left_out = told.groups_left_out + max(0, len(told.groups) - most_groups)
        if left_out:
            parts.append(Text(f"and {left_out} more groups"))
    return parts


def _about(found: Figures, where: str) -> list[str]:
    told, seen = found.told, found.told.connections
    limits = ", ".join(f"{line(name)} {count}" for name, count in sorted(told.limits.items())[:_MOST_GROUPS])
    errors = sum(row.errors for row in found.rows)
    return [
        f"{line(where)}  process {told.process}, up {_time(told.seconds)}",
        f"calls {found.calls:,.1f}/s, {told.running} running, {told.pending} of its own open; "
        f"{errors:,} answered with errors, {told.traffic.errors:,} faults",
        f"connections {seen.open} open, {seen.opened} opened, {seen.closed} closed, {seen.refused} refused, "
        f"{seen.limits_hit} over a limit{f' ({limits})' if limits else ''}",
        f"received {amount(found.bytes_in)}/s, {amount(told.traffic.bytes_in)} in all; "
        f"sent {amount(found.bytes_out)}/s, {amount(told.traffic.bytes_out)} in all",
    ]


def _methods(found: Figures, most: int) -> Table:
    rows = [
        (
            line(row.name),
            f"{row.calls_per_second:,.1f}",
            f"{row.calls:,}",
            f"{row.errors:,}",
            "-" if row.p50 is None else shown(row.p50),
            "-" if row.p99 is None else shown(row.p99),
            shown(row.longest),
        )
        for row in found.rows[:most]
    ]
    return _table(("method", "calls/s", "calls", "errors", "p50", "p99", "longest"), rows)


def _groups(found: Figures, most: int) -> Table:
    rows = [
        (
            line(each.group),
            f"{each.connections:,}",
            f"{each.cost:,.0f}",
            "-" if each.limit is None else f"{each.limit:,.0f}",
            "-" if not each.limit else f"{each.cost / each.limit:.0%}",
        )
        for each in found.told.groups[:most]
    ]
    return _table(("peers", "connections", "cost", "limit", "used"), rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for place, title in enumerate(titles):
        table.add_column(title, justify="right" if place else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # no markup: a peer has chosen some of it
    return table


def _time(seconds: float) -> str:
    """Return a duration as people read clocks."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days} d ' if days else ''}{hours:02}:{minutes:02}:{rest:02}"
