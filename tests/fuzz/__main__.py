# SPDX-License-Identifier: MIT
"""Have atheris look for inputs that break a promise: ``python -m tests.fuzz [--seconds N] [--keep] [TARGET ...]``.

Each target gets a process of its own. An input that breaks one is named in full; with ``--keep`` what reaches code that
the corpus did not reach joins the corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.playing import corpus_of, write_corpus
from tests.fuzz.targets import TARGETS, Target

LONGEST = 2000  # bytes of an input


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(map(str, TARGETS)))
    parser.add_argument("--seconds", type=int, default=60, help="how long for each target (60)")
    parser.add_argument("--keep", action="store_true", help="keep what was found in the corpus")
    options = parser.parse_args()
    known = {target.name: target for target in TARGETS}
    unknown = set(options.targets) - set(known)
    if unknown:
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}")
    failed = [
        target.name
        for target in TARGETS
        if (not options.targets or target.name in options.targets)
        and not fuzzed(target, options.seconds, keep=options.keep)
    ]
    print(f"broken: {', '.join(failed)}" if failed else "no target was broken")
    return 1 if failed else 0


def fuzzed(target: Target, seconds: int, *, keep: bool) -> bool:
    """Fuzz one target for so long, and return whether it held."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found, before = folder / "found", folder / "before"
        found.mkdir()
        before.mkdir()
        for number, data in enumerate([*target.seeds, *corpus_of(target)]):
            (before / f"{number:05}").write_bytes(data)
        limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=2048"]
        done = libfuzzer(target, *limits, f"-artifact_prefix={folder}/broken-", str(found), str(before))
        broken = sorted(folder.glob("broken-*"))
        if done.returncode or broken:
            print(done.stdout[done.stdout.find(" === Uncaught") :][-4000:])
            for path in broken:
                print(f"{target}: broken by {path.read_bytes().hex()}")
            return False
        print(f"{target}: held for {seconds} s; {len(list(found.iterdir()))} inputs reach more than the corpus did")
        if keep:
            seeds = set(target.seeds)
            new = {path.read_bytes() for path in found.iterdir()}
            write_corpus(target, [data for data in new.union(corpus_of(target)) if data not in seeds])
        return True


def libfuzzer(target: Target, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.child", target.name, "-verbosity=0", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")


if __name__ == "__main__":
    sys.exit(main())
