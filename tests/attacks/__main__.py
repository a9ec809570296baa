# SPDX-License-Identifier: MIT
"""Play the cases and print a table: `python -m tests.attacks [number ...] [--over tls] [--loop uvloop] [--short]`.

All of them cross a socket to a server process. Cases in which a caller of ours is attacked, or cancelled, are played by
pytest (`by_pytest.py`), in the full form.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.attacks.attacked import MEGA, AttackedServer
from tests.attacks.by_pytest import verdicts
from tests.attacks.cases import CASES
from tests.attacks.programs import Missing
from tests.attacks.table import TRANSPORTS, Case, loop_of, play_case
from tests.loops import runtimes

LOOPS = [*(str(runtime) for runtime in runtimes()), "trio"]
WIDTH = 46
HEAD = f"{'case':>4} {'what':{WIDTH}} {'over':4} {'loop':7} {'verdict':7} {'MiB':>6} {'waited':>7} {'took':>8}"


def chosen(options: argparse.Namespace, loop: str) -> Iterator[tuple[Case, str]]:
    """Yield what is to be played on a loop. The short form takes one loop, and not that which the tests take."""
    shortens = options.short and len(options.loop) > 1
    for case in CASES:
        if options.numbers and case.numbers.isdisjoint(options.numbers):
            continue
        for transport in case.transports:
            if transport in options.over and (
                not shortens or loop == loop_of(case.number + 1, transport, options.loop)
            ):
                yield case, transport


def play(case: Case, transport: str, loop: str, server: AttackedServer, *, rests: bool) -> str | None:
    """Play a case, print its row, and return what is wrong."""
    print(f"{case.number:4} {case.name[:WIDTH]:{WIDTH}} {transport:4} {loop:7} ", end="", flush=True)
    start = time.monotonic()
    try:
        seen = play_case(case, server, transport, rests=rests)
    except Missing as exc:
        print(f"skipped  {exc}", flush=True)
        return None
    except Exception as exc:  # a socket's errors are failures as well
        print(f"FAILED  {time.monotonic() - start:>23.2f} s\n     {type(exc).__name__}: {exc}", flush=True)
        return f"{case} over {transport} on {loop}"
    took = time.monotonic() - start
    waited = f"{seen['wait'] * 1000:4.0f} ms" if "wait" in seen else f"{'-':>7}"
    print(f"{case.outcome.value:7} {seen['growth'] / MEGA:6.1f} {waited} {took:6.2f} s", flush=True)
    return None


def play_by_pytest(numbers: Sequence[int], loops: Sequence[str]) -> tuple[int, list[str]]:
    """Let pytest play its cases and print their rows; return how many there are, and what is wrong."""
    try:
        found = verdicts(numbers, loops)
    except RuntimeError as exc:
        print(exc, flush=True)
        return 1, ["the cases of pytest"]
    failures = []
    for one in found:
        name = f"{one.file.removeprefix('tests/')}, {one.passed} tests"
        verdict = "FAILED" if one.failures else "passed" if one.passed else "skipped"
        print(f"{one.number:4} {name[:WIDTH]:{WIDTH}} {'-':4} {one.loop:7} {verdict:7} {'-':>6} {'-':>7} ", end="")
        print(f"{one.seconds:6.2f} s", *one.failures, sep="\n     ", flush=True)
        if one.failures:
            failures.append(f"{one.number} {one.file} on {one.loop}")
    return len(found), failures


def options_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.attacks",
        description="Attack a server process, case by case, beside a bystander. The full form also has pytest play the "
        "cases in which a caller is attacked or cancelled (34-36, 60 and more), unless --over leaves transports out.",
    )
    parser.add_argument("numbers", type=int, nargs="*", help="the cases to play, by their numbers; none = all")
    parser.add_argument("--over", choices=TRANSPORTS, nargs="+", default=TRANSPORTS, help="the transports")
    parser.add_argument("--loop", choices=LOOPS, nargs="+", default=LOOPS, help="the loops that the server runs on")
    parser.add_argument("--short", action="store_true", help="smaller attacks, each transport on one loop, no pytest")
    return parser.parse_args()


def main() -> int:
    options = options_given()
    sys.setswitchinterval(0.001)  # the bystander is a thread of this process: it must not wait for the attacker
    start = time.monotonic()
    played, failures = 0, []
    print(HEAD)
    for loop in options.loop:
        with (
            tempfile.TemporaryDirectory() as folder,
            AttackedServer(Path(folder), loop, is_short=options.short, has_packets=True) as server,
        ):
            for case, transport in chosen(options, loop):
                played += 1
                if failure := play(case, transport, loop, server, rests=not options.short):
                    failures.append(failure)
            server.check_rest()
            print(f"     {loop} at the end: {server.figures()}", flush=True)
    if not options.short and set(options.over) == set(TRANSPORTS):
        count, failed = play_by_pytest(options.numbers, options.loop)
        played += count
        failures += failed
    if not played:
        print("none of these cases is played so; with fewer options they may be")
        return 1
    print(f"{played} attacks in {time.monotonic() - start:.0f} s: ", end="")
    print("all borne" if not failures else "\n  ".join([f"{len(failures)} FAILED", *failures]))
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
