# SPDX-License-Identifier: MIT
"""Soak a server: `python -m tests.soak [--short] [--clients 500] [--loop trio] [--seconds N] [--seed N]`.

Nine tenths of the clients are honest, and a ledger is kept of all that they ask for. The others do what they should
not, and are killed now and then. An hour on each loop, or with --short a minute.
"""

import argparse
import json
import random
import sys
from math import isnan
from pathlib import Path

from tests.promptness import is_slow_box
from tests.soak.figures import MEGA, Outcome
from tests.soak.honest import World
from tests.soak.running import Plan, soak
from tieline.cli.latencies import Latencies, shown

HOUR, MINUTE = 3600.0, 60.0
WIDTH, MOST_GROWN = 30, 10
STEEPEST = 1.0  # MB an hour that memory may grow
LONG_ENOUGH = 1800.0  # seconds behind the warm-up, from which on that is judged: an hour's 1 MB is then 128 pages
SLOWER = 3.0  # times that honest clients may wait longer with hostile ones


class Bar:
    """A progress bar on a terminal; elsewhere a line for each tenth."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._is_live = sys.stderr.isatty()
        self._told = -1

    def __call__(self, phase: str, elapsed: float, world: World) -> None:
        part = min(1.0, elapsed / self._plan.seconds)
        done = int(part * WIDTH)
        ledger = world.ledger
        text = (
            f"{self._plan.loop:7} [{'#' * done}{'.' * (WIDTH - done)}] {elapsed:5.0f} s, {world.present} clients, "
            f"{ledger.made} orders, {ledger.lost} lost, {ledger.doubled} doubled; {phase}"
        )
        if self._is_live:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
        elif int(part * 10) > self._told:
            self._told = int(part * 10)
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def waited(waits: Latencies) -> str:
    if not waits.count:
        return "nothing"
    return f"{shown(waits.percentile(50))} p50, {shown(waits.percentile(99))} p99, {shown(waits.longest)} at most"


def rows(plan: Plan, outcome: Outcome) -> list[tuple[str, str]]:
    ledger, judged = outcome.ledger, outcome.judged
    ends = ", ".join(f"{count} {how}" for how, count in sorted(ledger.ends.items()))
    attacks = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(outcome.attacks.items()))
    memory = f"{judged[0].server / MEGA:.1f} to {judged[-1].server / MEGA:.1f} MiB" if judged else "-"
    at_ebb = ", ".join(f"{one.server / MEGA:.1f}" for one in outcome.ebbs)
    in_use = ", ".join(f"{one.in_use / MEGA:.2f}" for one in outcome.ebbs)
    grown = ", ".join(f"{count:+} {name}" for name, count in list(outcome.grown.items())[:MOST_GROWN])
    return [
        ("loop, clients, seed", f"{plan.loop}, {plan.clients} of which {plan.hostile} are hostile, seed {plan.seed}"),
        ("time", f"{outcome.seconds:.0f} s, of which {plan.warm_up:.0f} s of warming up"),
        ("orders", f"{ledger.made} ({ledger.made / outcome.seconds:.0f} a second): {ends}"),
        ("LOST, DOUBLED, WRONG, OPEN", f"{ledger.lost}, {ledger.doubled}, {ledger.wrong}, {ledger.open_orders}"),
        ("could not connect", f"{outcome.refused} times"),
        ("attacks", f"{outcome.attacks.total()}, killed {outcome.kills} times: {attacks}"),
        ("waited, quiet", waited(outcome.quiet)),
        ("waited, with hostile clients", waited(outcome.loaded)),
        ("memory of the server", f"{memory}; slope {outcome.server_slope:+.2f} MB/h over {len(judged)} samples"),
        ("while nobody was there", f"{at_ebb} MiB; slope {outcome.ebb_slope:+.2f} MB/h"),
        ("in use of that", f"{in_use} MiB; slope {outcome.in_use_slope:+.2f} MB/h"),
        ("more objects then", grown or "none"),
        ("memory of the clients", f"slope {outcome.clients_slope:+.2f} MB/h"),
        ("left behind", str(outcome.left or "nothing")),
        ("log of the server", f"{outcome.records} records, {outcome.tracebacks} tracebacks"),
    ]


def verdicts(plan: Plan, outcome: Outcome) -> list[str]:
    """Return what is wrong; what cannot be judged here is said."""
    found = outcome.faults()
    grown = outcome.ebb_slope
    if plan.seconds - plan.warm_up < LONG_ENOUGH:
        print(f"the slope is not judged: that takes {LONG_ENOUGH:.0f} s behind the warm-up")
    elif isnan(grown) or grown >= STEEPEST:
        found.append(f"memory grows by {grown:.2f} MB an hour (limit {STEEPEST:.0f})")
    quiet, loaded = outcome.quiet.percentile(99), outcome.loaded.percentile(99)
    if is_slow_box():
        print("waits and refused connections are not judged: this machine has other work")
    elif outcome.refused:
        found.append(f"{outcome.refused} times an honest client could not connect")
    if loaded >= SLOWER * quiet and not is_slow_box():
        found.append(f"p99 is {shown(loaded)} with hostile clients, over {SLOWER:.0f} times the {shown(quiet)} without")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a minute on each loop, not an hour")
    parser.add_argument("--seconds", type=float, help="how long on each loop")
    parser.add_argument("--clients", type=int, default=500, help="how many; a tenth of them is hostile (500)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "trio"), nargs="+", default=("asyncio", "trio"))
    parser.add_argument("--pause", type=float, default=2.0, help="seconds that a client rests, on the average (2)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30), help="by chance")
    parser.add_argument("--figures", type=Path, help="a file for all that the server tells of itself, as JSON lines")
    options = parser.parse_args()
    seconds = options.seconds or (MINUTE if options.short else HOUR)
    failed = False
    for loop in options.loop:
        plan = Plan(loop, options.clients, seconds, options.seed, options.pause)
        bar = Bar(plan)
        outcome = soak(plan, bar)
        bar.end()
        for name, value in rows(plan, outcome):
            print(f"{name:30} {value}")
        if options.figures is not None:
            with options.figures.open("a") as file:
                file.writelines(json.dumps({"loop": loop} | each) + "\n" for each in outcome.figures)
        found = verdicts(plan, outcome)
        failed |= bool(found)
        if outcome.log:
            print("the last of the server's log:", *outcome.log, sep="\n  ")
        print("\n  ".join(["FAILED", *found]) if found else "all borne", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
