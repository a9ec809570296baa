# SPDX-License-Identifier: MIT
"""How many instructions of the interpreter the I/O-free path takes. `python -m benchmarks.bytecodes --help`.

Time on a shared machine is good to 20 %; this is the same each time, so a test holds it to the stored figures. What is
cold, as everything is between two reads of a real connection, costs about what it takes in instructions. Work in C is
not seen: for that `iofree.py` measures time. Needs `sys.monitoring`, which came with CPython 3.12.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from types import CodeType
from typing import Any, Final

from benchmarks import iofree
from benchmarks.iofree_transport import Turn

__all__ = ["CAN_COUNT", "MARGIN", "count", "stored"]

FIGURES: Final = Path(__file__).with_name("bytecodes.json")
VERSION: Final = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
MARGIN: Final = 1.03  # times the stored figure is too much
CAN_COUNT: Final = sys.version_info >= (3, 12)
TURNS: Final = 3


def count() -> dict[str, float]:
    """Return the instructions a request of each kind of work in `iofree.turns`, but for what is not tieline's."""
    with iofree.unhurried():
        return asyncio.run(_count())


async def _count() -> dict[str, float]:
    found: dict[str, float] = {}
    for name, (turn, requests) in (await iofree.turns()).items():
        if name != iofree.SPEED:
            await turn()  # the interpreter adapts instructions to what it sees, in their first runs
            found[name] = await _instructions(turn) / (TURNS * requests)
    return found


async def _instructions(turn: Turn) -> int:
    seen: Counter[CodeType] = Counter()

    def note(code: CodeType, _offset: int) -> None:
        seen[code] += 1

    monitoring: Any = vars(sys)["monitoring"]  # not there before CPython 3.12, by whose rules types are checked
    tool = monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "tieline benchmarks")
    try:
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, note)
        monitoring.set_events(tool, monitoring.events.INSTRUCTION)
        for _ in range(TURNS):
            await turn()
        monitoring.set_events(tool, 0)
    finally:
        monitoring.free_tool_id(tool)
    # Handlers' shortcuts are compiled by tieline, under a name of its own.
    return sum(
        times for code, times in seen.items() if "tieline" in code.co_filename and "bench" not in code.co_filename
    )


def stored() -> dict[str, float]:
    """Return the stored figures for this interpreter; nothing when there are none."""
    found: dict[str, dict[str, float]] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found.get(VERSION, {})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bytecodes", description=__doc__)
    parser.add_argument("--store", action="store_true", help="store the figures for this interpreter")
    options = parser.parse_args()
    if not CAN_COUNT:
        raise SystemExit("counting needs CPython 3.12 or newer")
    known, found = stored(), count()
    print(f"{VERSION}: instructions a request")
    for name, figure in found.items():
        print(f"  {name:40} {figure:7.1f}   {f'stored {known[name]:.1f}' if name in known else 'not stored'}")
    if options.store:
        all_stored = json.loads(FIGURES.read_text(encoding="utf-8"))
        all_stored[VERSION] = {name: round(figure, 2) for name, figure in found.items()}
        FIGURES.write_text(json.dumps(all_stored, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
