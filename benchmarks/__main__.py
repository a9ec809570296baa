# SPDX-License-Identifier: MIT
"""Run the benchmarks: `make bench`, or `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import iofree
from benchmarks.cases import CASES, is_installed
from benchmarks.plot import svg
from benchmarks.report import Table, markdown, show, tables
from benchmarks.results import Results
from benchmarks.running import SMOKE_CASES, Plan, Step, run, smoke, steps
from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "RESULTS.md"
PLOT = ROOT.parent / "docs" / "explanation" / "performance.svg"
INTERRUPTED = 130  # as shells say it
ALL = (*WORKLOADS, "memory", "scaling", "W8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return what the process is to exit with."""
    options = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150)
    cases = [CASES[name] for name in options.peers or (SMOKE_CASES if options.smoke else CASES)]
    for case in cases:
        if not is_installed(case):
            console.print(f"left out: {case.title} (not installed)")
    installed = [case for case in cases if is_installed(case)]
    plan = Plan(
        installed, options.workloads or ALL, options.rounds, options.seconds, options.connections, options.apart
    )
    results = Results()
    try:
        if options.smoke:
            smoke(plan, results)
        else:
            _run_with_progress(plan, results, console)
    except KeyboardInterrupt:
        console.print("[bold]stopped; so far there is this[/bold]")
        show(console, tables(results))
        return INTERRUPTED
    found = [*tables(results), _iofree(0.05 if options.smoke else 5.0)]
    if options.smoke:
        console.print("[bold]only to see that it works: these figures mean nothing[/bold]")
    show(console, found)
    for text in results.failures:
        console.print(f"FAILED: {text}", style="red")
    if options.write and results.failures:
        console.print(f"not written, since something failed: {RESULTS.name}, {PLOT.name}", style="red")
    elif options.write:
        RESULTS.write_text(markdown(results, found, _how(plan)), encoding="utf-8")
        PLOT.write_text(svg(results), encoding="utf-8")
        console.print(f"written: {RESULTS.name}, {PLOT.name}")
    return 1 if results.failures else 0


def _how(plan: Plan) -> str:
    """Return how a run was made, for people."""
    cores = "on two cores" if plan.apart else "both on one core (s2, scaling: on two)"
    rounds = f"{plan.rounds} interleaved rounds of {plan.seconds:g} s a measurement"
    return f"{rounds}; a server and a client process each, {cores}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure tieline and its peers.")
    add = parser.add_argument
    add("--workloads", nargs="+", choices=ALL, metavar="NAME", help=f"which workloads: {', '.join(ALL)}")
    add("--peers", nargs="+", choices=CASES, metavar="NAME", help=f"which peers: {', '.join(CASES)}")
    add("--rounds", type=int, default=5, help="how many rounds (5)")
    add("--seconds", type=float, default=0.5, help="how long each measurement is (0.5)")
    add("--connections", type=int, default=1000, help="how many idle connections are weighed (1000)")
    add("--apart", action="store_true", help="server and client on a core each, not on one")
    add("--write", action="store_true", help=f"write {RESULTS.name} and the plot {PLOT.name}; for full runs")
    add("--smoke", action="store_true", help="only see that all of it works, in a few seconds")
    return parser.parse_args(arguments)


def _run_with_progress(plan: Plan, results: Results, console: Console) -> None:
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    # It is drawn between the measurements: a thread that draws all the time would be measured too.
    with Progress(*columns, *times, console=console, auto_refresh=False) as progress:
        bar = progress.add_task("", total=sum(1 for _ in steps(plan)))
        done = iter(range(1 << 30))

        def tell(step: Step) -> None:
            progress.update(bar, description=f"{step.workload} {step.peer}", completed=next(done), refresh=True)

        run(plan, results, tell=tell)
        progress.update(bar, description="done", completed=next(done), refresh=True)


def _iofree(seconds: float) -> Table:
    table = Table("The I/O-free path", ["work", "us each", "budget"])
    for name, figure in iofree.measure(seconds).items():
        table.rows.append([name, f"{figure:.2f}", iofree.verdict(name, figure)])
    return table


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so it is when a shell starts this in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    raise SystemExit(main())
