# SPDX-License-Identifier: MIT
"""Play conversations of many seeds: ``python -m tests.seeds [--count N] [--seed FIRST] [TARGET ...]``.

Each seed that fails is named, and ``--count 1 --seed SEED TARGET`` plays it again. Without targets hypothesis drives
two connected machines as well, through thousands of sequences of a hundred steps.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import Any

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.seeds.targets import TARGETS, Target
from tests.wire.jsonrpc.test_stateful import TwoEnds

STATES = "states"
STEPS = 100
WIDTH = 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.seeds", description=__doc__)
    names = ", ".join([*map(str, TARGETS), STATES])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=names)
    parser.add_argument("--count", type=int, default=2000, help="how many seeds of each (2000)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30), help="the first one")
    options = parser.parse_args()
    known = {target.name: target for target in TARGETS}
    chosen = options.targets or [*known, STATES]
    if unknown := set(chosen) - {*known, STATES}:
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}; there are {names}")
    print(f"seeds from {options.seed} on")
    broken = [
        name
        for name in chosen
        if not (states_hold(options.count) if name == STATES else held(known[name], options.seed, options.count))
    ]
    print(f"broken: {', '.join(broken)}" if broken else "all held")
    return int(bool(broken))


def held(target: Target, first: int, count: int) -> bool:
    """Play *count* seeds of a target; return whether none failed."""
    start, failed = time.monotonic(), 0
    for number in range(count):
        seed = first + number
        try:
            target.play(seed)
        except (Exception, pytest.fail.Exception) as exc:
            failed += 1
            print(f"{target} of seed {seed}: {type(exc).__name__}: {exc}")
        if sys.stderr.isatty():
            done = (number + 1) * WIDTH // count
            print(f"\r{target.name:18} [{'#' * done}{'.' * (WIDTH - done)}] {number + 1}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    print(f"{target.name:18} {count} seeds in {time.monotonic() - start:.0f} s, {failed} failed", flush=True)
    return not failed


def states_hold(count: int) -> bool:
    """Have hypothesis drive two machines; return whether they held."""
    start = time.monotonic()
    machine: Any = TwoEnds
    checks = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large]
    settings = hypothesis.settings(
        max_examples=count, stateful_step_count=STEPS, deadline=None, suppress_health_check=checks, print_blob=True
    )
    try:
        run_state_machine_as_test(machine, settings=settings)
    except Exception as exc:
        print(f"{STATES}: {type(exc).__name__}: {exc}", *getattr(exc, "__notes__", ()), sep="\n  ")
        return False
    print(f"{STATES:18} {count} sequences of {STEPS} steps in {time.monotonic() - start:.0f} s, 0 failed", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
