# SPDX-License-Identifier: MIT
"""What each framer costs a byte, by the size of messages and of the pieces in which they come.

`python -m benchmarks.framing --help`. No I/O: bytes in, messages out. A framer whose work is linear costs the same a
byte for large messages as for small ones, however they are cut; the last column says how far that is so. A message is
not cut into more than a million pieces: what would take longer is left out, and nothing is extrapolated.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import tieline
from benchmarks.report import Table, machine, show, versions

__all__ = ["PIECES", "SIZES", "Figures", "Step", "main", "measure", "steps", "tables"]

FIGURES: Final = Path(__file__).with_name("FRAMING.md")
FRAMERS: Final[dict[str, type[tieline.FramerBase[Any]]]] = {
    framer.__name__: framer
    for framer in (
        *(tieline.NewlineFramer, tieline.ContentLengthFramer, tieline.LengthPrefixedFramer, tieline.VarintFramer),
        *(tieline.NetstringFramer, tieline.RecordSeparatorFramer, tieline.JSONStreamFramer, tieline.BitcoinFramer),
    )
}

KIB: Final = 1 << 10
MIB: Final = 1 << 20
SIZES: Final = (KIB, 32 * KIB, MIB, 64 * MIB)
PIECES: Final = (1, 100, 65536)
MOST_PIECES: Final = 1 << 20

# So many bytes go through at least, in messages of the size: a single small one says little about its cost.
LEAST: Final = {1: 16 * KIB, 100: 256 * KIB, 65536: 4 * MIB}


@dataclass(frozen=True)
class Step:
    """One measurement."""

    framer: str
    size: int
    piece: int  # 0 = of `frame`


Figures = dict[Step, float]
"""Nanoseconds a byte."""


def document(size: int) -> bytes:
    """Return a call of about so many bytes: records of short strings and numbers, which is what JSON is mostly."""
    record = {"name": "a record", "tags": ["x", "y"], "value": 12.5, "note": 'said "so", and left'}
    text = json.dumps(record).encode()
    head, tail = b'{"jsonrpc":"2.0","method":"store","params":[', b'],"id":1}'
    return head + b",".join([text] * max(1, (size - len(head) - len(tail)) // (len(text) + 1))) + tail


def message(framer: str, size: int) -> Any:
    return (b"block", document(size)) if framer == "BitcoinFramer" else document(size)


def steps(framers: Sequence[str], sizes: Sequence[int]) -> Iterator[Step]:
    """Yield what is to be measured."""
    for framer in framers:
        for size in sizes:
            yield from (Step(framer, size, piece) for piece in PIECES if size // piece <= MOST_PIECES)
            yield Step(framer, size, 0)


def measure(step: Step, runs: int) -> float:
    """Return nanoseconds a byte: the best of so many runs.

    Raises:
        ValueError: Not all messages came out.
    """
    make = FRAMERS[step.framer]
    one = message(step.framer, step.size)
    least = LEAST.get(step.piece, 4 * MIB)
    messages = [one] * max(1, least // step.size)
    stream = make.with_limit(0).frame(messages)
    run: Callable[[], float]
    if step.piece:
        pieces = [stream[at : at + step.piece] for at in range(0, len(stream), step.piece)]
        run = lambda: _seconds_to_read(make.with_limit(0), pieces, len(messages))  # noqa: E731  # one of two
    else:
        run = lambda: _seconds_to_frame(make.with_limit(0), messages)  # noqa: E731  # as above
    gc.collect()
    return 1e9 * min(run() for _ in range(runs)) / len(stream)


def _seconds_to_read(framer: tieline.FramerBase[Any], pieces: Sequence[bytes], count: int) -> float:
    found = 0
    began = time.perf_counter()
    for piece in pieces:
        found += len(framer.take(piece)[0])
    took = time.perf_counter() - began
    if found != count or framer.pending:
        raise ValueError(f"{type(framer).__name__} gave {found} of {count} messages")
    return took


def _seconds_to_frame(framer: tieline.FramerBase[Any], messages: Sequence[Any]) -> float:
    began = time.perf_counter()
    framer.frame(messages)
    return time.perf_counter() - began


# --- what is told of it ----------------------------------------------------------------------------------------------


def tables(figures: Figures) -> list[Table]:
    """Return the figures as a table for each size of pieces, and one of writing."""
    sizes = sorted({step.size for step in figures})
    names = list(dict.fromkeys(step.framer for step in figures))
    found = []
    for piece in (65536, 100, 1, 0):
        title = f"Read in pieces of {piece} byte{'s' if piece > 1 else ''}" if piece else "Written"
        columns = ["ns a byte, by size of messages", *map(_size, sizes), "largest / smallest"]
        table = Table(f"{title}", columns)
        for name in names:
            row = [figures.get(Step(name, size, piece)) for size in sizes]
            there = [figure for figure in row if figure is not None]
            if there:
                cells = ["" if figure is None else f"{figure:.2f}" for figure in row]
                table.rows.append([name, *cells, f"{there[-1] / there[0]:.2f}x"])
        found.append(table)
    return [table for table in found if table.rows]


def _size(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def _page(found: Sequence[Table], runs: int) -> str:
    lines = [
        "# Figures of the framers",
        "",
        "Written by `python -m benchmarks.framing --write`, which says what is measured.",
        "",
        f"- {dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine()}",
        f"- {versions()}",
        f"- The best of {runs} runs each. The messages are JSON: records of short strings and numbers.",
        "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(table.markdown() for table in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for, and return what the process is to exit with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.framing", description=__doc__)
    parser.add_argument("--framers", nargs="+", choices=FRAMERS, default=list(FRAMERS), metavar="NAME")
    parser.add_argument("--runs", type=int, default=5, help="how many runs, of which the best counts (5)")
    parser.add_argument("--smoke", action="store_true", help="only see that all of it works")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}; for full runs")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120)
    plan = list(steps(options.framers, SIZES[:1] if options.smoke else SIZES))
    runs = 1 if options.smoke else options.runs
    figures: Figures = {}
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # It is drawn between the measurements: a thread that draws all the time would be measured too.
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        bar = progress.add_task("", total=len(plan))
        for step in plan:
            progress.update(bar, description=f"{step.framer} {_size(step.size)}", refresh=True)
            figures[step] = measure(step, runs)
            progress.advance(bar)
        progress.update(bar, description="done", refresh=True)
    found = tables(figures)
    show(console, found)
    if options.write:
        FIGURES.write_text(_page(found, runs), encoding="utf-8")
        console.print(f"written: {FIGURES.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
