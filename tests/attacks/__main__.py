# SPDX-License-Identifier: MIT
"""Play all cases and print a table: `python -m tests.attacks [number ...] [--loop uvloop]`."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.attacks.attacked import AttackedServer
from tests.attacks.cases import CASES
from tests.attacks.table import play_case

parser = argparse.ArgumentParser(prog="python -m tests.attacks", description="Attack a server, case by case.")
parser.add_argument("numbers", type=int, nargs="*", help="the cases to play; none = all")
parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
options = parser.parse_args()

failures = 0
print(f"{'case':4} {'what':58} {'over':5} {'outcome':7} {'ms':>7} {'RSS MiB':>8} {'others ms':>9}")
with tempfile.TemporaryDirectory() as folder, AttackedServer(Path(folder), options.loop) as server:
    for case in CASES:
        for transport in ("tcp", "unix"):
            if options.numbers and case.number not in options.numbers:
                continue
            start = f"{case.number:4} {case.name[:58]:58} {transport:5} {case.outcome.value:7}"
            try:
                seen = play_case(case, server, transport)
            except AssertionError as exc:
                failures += 1
                print(f"{start} FAILED: {exc}")
            else:
                growth = seen["growth"] / (1 << 20)
                print(f"{start} {seen['seconds'] * 1000:7.1f} {growth:8.1f} {seen['wait'] * 1000:9.1f}")
    idle = server.figures()
print(f"{failures} failed" if failures else f"all good; at the end {idle}")
sys.exit(bool(failures))
