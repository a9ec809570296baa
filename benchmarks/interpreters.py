# SPDX-License-Identifier: MIT
"""How the gates stand on other interpreters, all of them measured in one interleaved run.

`python -m benchmarks.interpreters PYTHON...`: each PYTHON is an interpreter that has what `make bench` installs, such
as that of an environment that was made by `make bench VENV=.venv-3.12 PYTHON=python3.12`. Peers that one of them lacks
are left out for all. Memory, imports and large payloads are left to `make bench`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.cases import CASES
from benchmarks.gates import GATES, Gate
from benchmarks.harness import ROOT, bytecode
from benchmarks.report import Table, machine, show
from benchmarks.results import Key, Results
from benchmarks.running import Plan, Step, steps, take
from benchmarks.workloads import WORKLOADS

__all__ = ["Interpreter", "gates", "main", "tables"]

FIGURES: Final = Path(__file__).with_name("INTERPRETERS.md")
LEFT_OUT: Final = ("W6", "W6-raw")  # memory is copied by the system's library, not by Python
ASKED: Final = """
import json, platform
from benchmarks.cases import CASES, is_installed
from benchmarks.report import versions
peers = [case.name for case in CASES.values() if is_installed(case)]
print(json.dumps([platform.python_version(), versions(), peers]))
"""


@dataclass(frozen=True)
class Interpreter:
    """One interpreter, and what was measured with it.

    Attributes:
        path: What starts it.
        version: Its version, which names it in tables.
        versions: The versions of all that takes part, for people.
        peers: The names of the peers that are installed.
    """

    path: str
    version: str
    versions: str
    peers: Sequence[str]
    results: Results = field(default_factory=Results)

    @classmethod
    def ask(cls, path: str) -> Interpreter:
        """Have the interpreter at *path* say what it is and has.

        Raises:
            OSError: It cannot be started.
            subprocess.CalledProcessError: It lacks what the benchmarks themselves need, and has said so.
        """
        asked = subprocess.run([path, "-c", ASKED], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return cls(path, *json.loads(asked.stdout))


def gates() -> list[Gate]:
    """Return the gates that are about time, of calls and of small packets."""
    return [gate for gate in GATES if gate.workload in WORKLOADS and gate.mine.workload in WORKLOADS.keys() - LEFT_OUT]


def keys_of(gate: Gate) -> Iterator[Key]:
    """Yield the series that a gate compares."""
    yield from (key for key in (gate.mine, gate.other, gate.bare) if key is not None)


def plan_of(interpreters: Sequence[Interpreter], workloads: Sequence[str], rounds: int, seconds: float) -> list[Step]:
    """Return what is to be measured with each interpreter: what the gates of *workloads* compare."""
    everywhere = set(CASES).intersection(*(interpreter.peers for interpreter in interpreters))
    wanted = {(key.workload, key.peer) for gate in gates() for key in keys_of(gate) if key.workload in workloads}
    cases = [case for case in CASES.values() if case.name in everywhere]
    every = steps(Plan(cases, workloads, rounds, seconds))
    return [step for step in every if (step.workload, step.peer) in wanted]


# --- what is told of it ----------------------------------------------------------------------------------------------


def tables(interpreters: Sequence[Interpreter]) -> list[Table]:
    """Return how the gates stand on each, and what a request costs tieline there."""
    names = [interpreter.version for interpreter in interpreters]
    stand = Table("Gates", ["workload", "compared", "must", "ambition", *names], words=2)
    bare = Table("The bare echo in the place of tieline", ["workload", "compared", "must", *names], words=2)
    costs = Table("CPU of tieline, us a request, both ends together", ["workload", "form", *names], words=2)
    for gate in gates():
        judged = [gate.judge(interpreter.results) for interpreter in interpreters]
        if all(verdict.seen is None for verdict in judged):
            continue
        cells = ["" if verdict.seen is None else f"{gate.number(verdict.seen.median)} {verdict}" for verdict in judged]
        ambition = gate.bound(gate.ambition) if gate.ambition != gate.must else ""
        stand.rows.append([gate.workload, gate.text, gate.bound(gate.must), ambition, *cells])
        echoes = [gate.by_bare(interpreter.results) for interpreter in interpreters]
        if any(echoes):
            cells = ["" if echo is None else gate.number(echo.median) for echo in echoes]
            bare.rows.append([gate.workload, gate.text, gate.bound(gate.must), *cells])
    for workload, peer in dict.fromkeys((gate.mine.workload, gate.mine.peer) for gate in gates()):
        spreads = [interpreter.results.spread(Key(workload, peer, "cpu")) for interpreter in interpreters]
        if any(spreads):
            cells = ["" if spread is None else f"{spread.median:.2f}" for spread in spreads]
            costs.rows.append([workload, CASES[peer].title, *cells])
    return [table for table in (stand, bare, costs) if table.rows]


def _page(interpreters: Sequence[Interpreter], found: Sequence[Table], rounds: int, seconds: float) -> str:
    lines = [
        "# Figures of interpreters",
        "",
        "Written by `python -m benchmarks.interpreters --write PYTHON...`, which says what is measured.",
        "",
        f"- {dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine()}",
        *(f"- {interpreter.versions}" for interpreter in interpreters),
        f"- {rounds} interleaved rounds of {seconds:g} s a measurement; a server and a client process each, both on one"
        " core (s2: on two). A ratio is the median of the ratios of rounds, of processes that all run on the same"
        " interpreter.",
        "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(table.markdown() for table in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for, and return what the process is to exit with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interpreters", description=__doc__)
    workloads = list(dict.fromkeys(gate.workload for gate in gates()))
    parser.add_argument("pythons", nargs="+", metavar="PYTHON", help="an interpreter, by its path")
    parser.add_argument("--workloads", nargs="+", choices=workloads, default=workloads, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5, help="how many rounds (5)")
    parser.add_argument("--seconds", type=float, default=0.2, help="how long each measurement is (0.2)")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}; for full runs")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 200)
    try:
        interpreters = [Interpreter.ask(path) for path in options.pythons]
    except (OSError, subprocess.CalledProcessError) as exc:
        console.print(f"an interpreter that has what `make bench` installs is needed: {exc}", style="red")
        return 2
    plan = plan_of(interpreters, options.workloads, options.rounds, options.seconds)
    one_by_one = [(step, interpreter) for step in plan for interpreter in interpreters]
    base = Plan([], options.workloads, options.rounds, options.seconds)
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    # It is drawn between the measurements: a thread that draws all the time would be measured too.
    with bytecode(), Progress(*columns, *times, console=console, auto_refresh=False) as progress:
        bar = progress.add_task("", total=len(one_by_one))
        for step, interpreter in one_by_one:
            what = f"{step.workload} {step.peer}, {interpreter.version}"
            progress.update(bar, description=what, refresh=True)
            take(step, replace(base, python=interpreter.path), interpreter.results)
            progress.advance(bar)
        progress.update(bar, description="done", refresh=True)
    found = tables(interpreters)
    show(console, found)
    failures = [text for interpreter in interpreters for text in interpreter.results.failures]
    for text in failures:
        console.print(f"FAILED: {text}", style="red")
    if options.write and failures:
        console.print(f"not written, since something failed: {FIGURES.name}", style="red")
    elif options.write:
        FIGURES.write_text(_page(interpreters, found, options.rounds, options.seconds), encoding="utf-8")
        console.print(f"written: {FIGURES.name}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
