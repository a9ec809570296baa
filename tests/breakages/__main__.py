# SPDX-License-Identifier: MIT
"""Break each promise, and see that a test sees it: ``python -m tests.breakages [part of a promise ...]``."""

from __future__ import annotations

import argparse
import sys
import time

from tests.breakages.breaking import play
from tests.breakages.rows import ROWS

WIDTH = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.breakages", description=__doc__)
    parser.add_argument("promises", nargs="*", help="parts of the promises to break; none = all")
    options = parser.parse_args()
    chosen = [row for row in ROWS if not options.promises or any(part in row.promise for part in options.promises)]
    unseen = []
    for row in chosen:
        start = time.monotonic()
        print(f"{row.promise:{WIDTH}} ", end="", flush=True)
        try:
            seen = play(row)
        except AssertionError as exc:
            unseen.append(row.promise)
            print(f"NOT SEEN\n{exc}", flush=True)
        else:
            print(f"seen in {time.monotonic() - start:3.0f} s: {seen[:120]}", flush=True)
    print(f"{len(chosen)} breakages, {len(unseen)} not seen" + (f": {', '.join(unseen)}" if unseen else ""))
    return int(bool(unseen) or not chosen)


if __name__ == "__main__":
    sys.exit(main())
