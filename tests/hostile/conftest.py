# SPDX-License-Identifier: MIT
"""The attacked server as a fixture: one process per loop for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.hostile.attacked import AttackedServer
from tests.loops import runtimes

LOOPS = [str(runtime) for runtime in runtimes()]


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackedServer]:
    with AttackedServer(tmp_path_factory.mktemp("hostile"), request.param) as attacked:
        yield attacked


@pytest.fixture(params=["tcp", "unix"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
