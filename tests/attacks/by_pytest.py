# SPDX-License-Identifier: MIT
"""Cases in which a caller of ours is attacked, or cancelled, are played by pytest: its verdicts as rows of the table.

`verdicts` runs pytest in a process of its own, in which this module is a plugin.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What plays a case with a process, a socket or a caller that `cases.py` has not.
FILES = (
    "tests/attacks/test_hostile_server.py",
    "tests/attacks/test_callers.py",
    "tests/attacks/test_killed.py",
    "tests/attacks/test_ten_thousand.py",
    "tests/attacks/test_orderly_shutdown.py",
    "tests/attacks/test_stdio.py",
    "tests/rpc/test_odd_peers.py",
    "tests/rpc/test_server_shutdown.py",
    "tests/rpc/test_session_cancelled.py",
    "tests/rpc/test_signals.py",
    "tests/rpc/test_tls.py",
    "tests/runtimes/test_dialling_cancelled.py",
    "tests/runtimes/test_unix_paths.py",
    "tests/test_secrets_in_texts.py",
)


@dataclass
class Verdict:
    """What the tests of one file say about one case, on one loop where they have one."""

    number: int
    file: str
    loop: str
    passed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def verdicts(numbers: Sequence[int], loops: Sequence[str]) -> list[Verdict]:
    """Let pytest play the cases with these numbers (none = all) on these loops. Raises RuntimeError if it cannot."""
    usual = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "verdicts.json")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *("-p", "tests.attacks.by_pytest", "--verdicts", str(out)),
                *("--cases", ",".join(map(str, numbers)), "--loops", ",".join(loops), *FILES),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode not in usual:
            raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout.decode()[-2000:]}")
        return [Verdict(**one) for one in json.loads(out.read_text())]


# --- the plugin ------------------------------------------------------------------------------------------------------

_seen = pytest.StashKey[dict[tuple[int, str, str], Verdict]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("attacks")
    group.addoption("--cases", default="", help="the hostile cases to play, by their numbers; none = all")
    group.addoption("--loops", default="", help="the loops to play them on")
    group.addoption("--verdicts", help="the JSON file for what was seen")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_seen] = {}


def _numbers(item: pytest.Item) -> set[int]:
    names = [name for mark in item.iter_markers("row") for name in mark.args]
    return {int(name[1:]) for name in names if re.fullmatch("H[0-9]+", name)}


def _loop(item: pytest.Item) -> str:
    """Return the loop that a test runs on; "-" where it has none, or both."""
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    return str(parameters.get("runtime") or parameters.get("loop") or "-")


def _wanted(item: pytest.Item) -> set[int]:
    """Return the cases that a test is to be played for."""
    cases = {int(number) for number in item.config.getoption("cases").split(",") if number}
    loops = (*item.config.getoption("loops").split(","), "-")
    found = _numbers(item)
    return (found & cases if cases else found) if _loop(item) in loops else set()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not _wanted(item)])
    items[:] = [item for item in items if _wanted(item)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    file = Path(report.location[0]).as_posix()
    for number in _wanted(item):
        key = (number, file, _loop(item))
        verdict = item.config.stash[_seen].setdefault(key, Verdict(*key))
        verdict.seconds += report.duration
        verdict.passed += report.when == "call" and report.passed
        verdict.skipped += report.skipped
        if report.failed:
            verdict.failures.append(f"{report.nodeid}: {report.longreprtext[-1000:]}")
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    found = [asdict(verdict) for _, verdict in sorted(session.config.stash[_seen].items())]
    if place := session.config.getoption("verdicts"):
        Path(place).write_text(json.dumps(found))
