# SPDX-License-Identifier: MIT
"""How a breakage is played: in a copy of the source, with pytest in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.breakages.rows import Breakage

__all__ = ["SOURCE", "broken_text", "play"]

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "tieline"
LIMIT = 600.0  # seconds for the tests of one breakage
# What of a test run is this one's own, and not to be handed down.
OWN = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "PYTEST_CURRENT_TEST")


def broken_text(breakage: Breakage) -> str:
    """Return the text of the file with the breakage in it. Fails when the row does not fit the source any more."""
    text = (SOURCE / breakage.file).read_text(encoding="utf-8")
    count = text.count(breakage.old)
    assert count == 1, f"{breakage.promise}: {breakage.file} has {breakage.old!r} {count} times, not once"
    broken = text.replace(breakage.old, breakage.new)
    compile(broken, breakage.file, "exec")
    return broken


def play(breakage: Breakage) -> str:
    """Break the promise in a copy, and return the line of a test that has seen it. Fails when none has."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "tieline"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / breakage.file).write_text(broken_text(breakage), encoding="utf-8")
        environment = {key: value for key, value in os.environ.items() if key not in OWN}
        options = ("-q", "-x", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist")
        done = subprocess.run(
            [sys.executable, "-B", "-m", "pytest", *options, *breakage.tests],
            cwd=ROOT,
            env=environment | {"PYTHONPATH": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, (
        f"{breakage.promise}: nobody has seen it (pytest ended with {done.returncode}):\n{done.stdout[-2000:]}"
    )
    assert failed, f"{breakage.promise}: no test failed by itself:\n{done.stdout[-2000:]}"
    return failed[0].removeprefix("FAILED ")
