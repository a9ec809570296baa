# SPDX-License-Identifier: MIT
"""The fixtures for pytest, in a project of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = 'pytest_plugins = ["tieline.testing.pytest_plugin"]\n'
TESTS = """
def test_has_what_it_asks_for(virtual_clock, memory_network, faults):
    assert virtual_clock.now() == 100 and faults.seed is not None
    assert repr(memory_network) == "<MemoryNetwork of 0 listeners>"

def test_fails(faults):
    assert faults.seed == 5, "the reason"
"""


def ran(folder: Path, *arguments: str) -> str:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-q", *arguments]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False).stdout


def test_a_test_that_fails_says_its_seed_and_one_can_give_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    printed = ran(tmp_path, "--tieline-seed=4711")
    assert "1 failed, 1 passed" in printed
    assert "Faults(4711): run it again by --tieline-seed=4711" in printed
    assert "2 passed" in ran(tmp_path, "--tieline-seed=5")
    assert "Faults(" in ran(tmp_path)
