# SPDX-License-Identifier: MIT
"""Tables of a run: for the terminal by rich, and as Markdown for RESULTS.md. No host names, no paths."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.cases import CASES
from benchmarks.gates import GATES, NOT_MEASURED
from benchmarks.imports import IMPORTS
from benchmarks.results import Key, Results
from benchmarks.scaling import CONNECTIONS, FORMS
from benchmarks.workloads import WORKLOADS

__all__ = ["Table", "cpu_model", "machine", "markdown", "show", "tables", "versions"]

_PACKAGES = (
    "msgspec", "uvloop", "trio", "anyio", "aiorpcX", "python-socks", "grpcio", "pjrpc", "websockets", "picows", "pygls",
    "easynetwork",
)  # fmt: skip


@dataclass
class Table:
    """A table; all cells but those of the first column are numbers or short words."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    words: int = 1  # how many columns hold words, not numbers

    def markdown(self) -> str:
        """Return it as Markdown."""
        marks = ["---" if index < self.words else "---:" for index in range(len(self.columns))]
        lines = [self.columns, marks, *self.rows]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def rich(self) -> RichTable:
        """Return it for a terminal."""
        table = RichTable(title=self.title, title_justify="left", title_style="bold")
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="left" if index < self.words else "right")
        for row in self.rows:
            style = "red" if "MISSED" in row else "green" if "met" in row or "ambition" in row else ""
            table.add_row(*row, style=style)
        return table


def tables(results: Results) -> list[Table]:
    """Return all tables that the results can fill: the gates first."""
    found = [_gates(results)]
    found += [_workload(results, name) for name in WORKLOADS]
    found += [_scaling(results), _memory(results), _imports(results)]
    return [table for table in found if table.rows]


def _gates(results: Results) -> Table:
    table = Table(
        "Gates",
        ["workload", "compared", "must", "ambition", "verdict", "seen", "rounds from", "to", "by CPU", "bare echo"],
        words=5,
    )
    for gate in GATES:
        verdict = gate.judge(results)
        if verdict.seen is not None:
            wanted = [gate.bound(gate.must), gate.bound(gate.ambition) if gate.ambition != gate.must else ""]
            seen = [gate.number(value) for value in verdict.seen]
            cpu = gate.by_cpu(results)
            bare = gate.by_bare(results)
            seen += ["" if other is None else gate.number(other.median) for other in (cpu, bare)]
            table.rows.append([gate.workload, gate.text, *wanted, str(verdict), *seen])
    return table


def _workload(results: Results, workload: str) -> Table:
    """Return the table of a workload, the fastest peer first."""
    ancestor = WORKLOADS[workload].ancestor
    against = f"vs {CASES[ancestor].title.partition(' ')[0]}"
    columns = ["peer", "requests/s", "spread", "us each", "server CPU us", "client CPU us", against]
    table = Table(f"{workload}: {WORKLOADS[workload].title}", columns)
    rows = []
    for peer in results.peers(workload):
        rate = results.spread(Key(workload, peer))
        server, client = (results.spread(Key(workload, peer, side)) for side in ("server", "client"))
        if rate is None or server is None or client is None:
            continue
        ratio = results.compared(Key(workload, peer), Key(workload, ancestor), lambda mine, other: mine / other)
        numbers = [f"{rate.median:,.0f}".replace(",", " "), f"{rate.percent:.0f} %", f"{1e6 / rate.median:.2f}"]
        numbers += [f"{server.median:.2f}", f"{client.median:.2f}", f"{ratio.median:.2f}x" if ratio else ""]
        rows.append((rate.median, [CASES[peer].title, *numbers]))
    table.rows = [row for _, row in sorted(rows, reverse=True)]
    return table


def _scaling(results: Results) -> Table:
    """Return the table of workers. The ratio is against the same in one process."""
    title = f"Scaling: workers on one port, {CONNECTIONS} connections; the client takes of the same cores"
    columns = ["peer", "requests/s", "spread", "vs 1 worker", "server CPU us", "client CPU us", "on the busiest"]
    table = Table(title, columns)
    for name, form in FORMS.items():
        keys = [Key("scaling", name, quantity) for quantity in ("rate", "server", "client", "busiest")]
        rate, server, client, busiest = (results.spread(key) for key in keys)
        if rate is None or server is None or client is None or busiest is None:
            continue
        ratio = results.compared(keys[0], Key("scaling", form.single), lambda mine, other: mine / other)
        numbers = [
            f"{rate.median:,.0f}".replace(",", " "),
            f"{rate.percent:.0f} %",
            f"{ratio.median:.2f}x" if ratio else "",
        ]
        numbers += [f"{server.median:.2f}", f"{client.median:.2f}", f"{busiest.least:.0f} to {busiest.largest:.0f}"]
        table.rows.append([form.title, *numbers])
    return table


def _memory(results: Results) -> Table:
    quantities = ["idle session, traced KiB", "idle session, RSS KiB", "at the client, traced KiB", "server RSS MiB"]
    table = Table("Memory of a server", ["peer", *quantities])
    for peer in results.peers("memory"):
        spreads = [results.spread(Key("memory", peer, quantity)) for quantity in ("traced", "rss", "held", "base")]
        table.rows.append([CASES[peer].title, *(f"{spread.median:.2f}" for spread in spreads if spread)])
    return table


def _imports(results: Results) -> Table:
    table = Table("W8: imports", ["what", "ms", "spread"])
    for name in IMPORTS:
        spread = results.spread(Key("W8", name, "import"))
        if spread is not None:
            table.rows.append([name, f"{spread.median:.1f}", f"{spread.percent:.0f} %"])
    return table


def show(console: Console, found: Iterable[Table]) -> None:
    """Print tables."""
    for table in found:
        console.print(table.rich())
        console.print()


# --- the page --------------------------------------------------------------------------------------------------------


def markdown(results: Results, found: Iterable[Table], how: str) -> str:
    """Return the page of a run. *how* tells how it was measured."""
    verdicts = [str(gate.judge(results)) for gate in GATES]
    counts = ", ".join(f"{verdicts.count(word)} {word.lower()}" for word in ("ambition", "met", "MISSED"))
    lines = [
        "# Results",
        "",
        "Written by `make bench ARGS=--write`. `workloads.py` and `gates.py` say what is measured, and what is wanted.",
        "",
        f"- {dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine()}",
        f"- {versions()}",
        f"- {how}",
        f"- Gates: {counts}.",
        "- Ratios are medians of ratios taken round by round; trust them to about 20 %. Spread: largest less least of"
        " the rounds, in percent of the median. CPU: microseconds of each process a request; by CPU: the same"
        " comparison by the CPU time of both processes together, which others on the machine disturb less.",
        "- Bare echo: the same comparison for an echo of bytes without any library, where there is one (for W5 that of"
        " W1). It shows how far one could get on this machine, by whose kernel and processor it differs how much of a"
        " call is anybody's own work.",
        *(f"- Not measured: {text}" for text in NOT_MEASURED),
        "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(table.markdown() for table in found)


def machine() -> str:
    """Return what kind of machine this is."""
    return f"{platform.system()} on {os.cpu_count()} cores of {cpu_model()}"


def cpu_model() -> str:
    """Return the name of the processor."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> str:
    """Return the versions of all that took part."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    how = "" if "--enable-optimizations" in options or not options else " (configured without --enable-optimizations)"
    found = [f"{platform.python_implementation()} {platform.python_version()}{how}"]
    for name in ("tieline", *_PACKAGES):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
