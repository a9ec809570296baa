# SPDX-License-Identifier: MIT
"""Fixtures for pytest. Ask for them in your ``conftest.py``: ``pytest_plugins = ["tieline.testing.pytest_plugin"]``.

Fixtures: ``virtual_clock``, a new `VirtualClock`; ``faults``, new `Faults` with a seed by chance, which a test that
fails tells; ``memory_network``, a new `MemoryNetwork` without faults. ``--tieline-seed=N`` sets the seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from tieline.testing.clock import VirtualClock
from tieline.testing.faults import Faults
from tieline.testing.network import MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["faults", "memory_network", "pytest_addoption", "pytest_runtest_makereport", "virtual_clock"]

_SEEDED = pytest.StashKey[Faults]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the seed."""
    text = "the seed of the fixture `faults` of tieline.testing; by chance for each test, if it is not given"
    parser.getgroup("tieline").addoption("--tieline-seed", type=int, default=None, help=text)


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Return a new `VirtualClock`."""
    return VirtualClock()


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Faults:
    """Return `Faults` with a random seed. A test that fails reports it, and ``--tieline-seed`` sets it."""
    made = Faults(cast("int | None", request.config.getoption("--tieline-seed")))
    request.node.stash[_SEEDED] = made
    return made


@pytest.fixture
def memory_network() -> MemoryNetwork:
    """Return a new `MemoryNetwork`, without faults."""
    return MemoryNetwork()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the seed to the report of a test that fails."""
    report = yield
    made = item.stash.get(_SEEDED, None)
    if made is not None and report.failed:
        report.sections.append(("tieline faults", f"{made!r}: run it again by --tieline-seed={made.seed}"))
    return report
