# SPDX-License-Identifier: MIT
"""Examples, each in a process of its own, as a user would start it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PATIENCE = 60.0  # seconds; a program that needs more is stuck


def command(name: str, *args: str) -> list[str]:
    """Return what starts an example; warnings are errors there as they are here."""
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *args]


def run(name: str, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = command(name, *args)
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=PATIENCE, check=False)


def output_of(name: str, *args: str, stdin: str = "") -> list[str]:
    """Run an example to its end, which must be a good one, and return the lines that it printed."""
    done = run(name, *args, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, ""), f"ended by {done.returncode}: {done.stderr}{done.stdout}"
    return done.stdout.splitlines()


@contextlib.contextmanager
def started(name: str, *args: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start an example and go on while it runs; *variables* are for its environment."""
    pipe, env = subprocess.PIPE, {**os.environ, **variables}
    with subprocess.Popen(command(name, *args), stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().rstrip("\n")


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return how a process ended: exit code, the rest of its output, errors."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err
