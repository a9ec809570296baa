# SPDX-License-Identifier: MIT
"""The attacked server as a fixture: one process per loop for all tests of a module."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.attacks.attacked import AttackedServer
from tests.loops import Runtime, runtimes

LOOPS = [str(runtime) for runtime in runtimes()]


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackedServer]:
    with AttackedServer(tmp_path_factory.mktemp("hostile"), request.param) as attacked:
        yield attacked


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, AttackedServer]]:
    """Give one server per loop."""
    with ExitStack() as stack:
        yield {loop: stack.enter_context(AttackedServer(tmp_path_factory.mktemp("hostile"), loop)) for loop in LOOPS}


@pytest.fixture
def twin(runtime: Runtime, servers: dict[str, AttackedServer]) -> AttackedServer:
    """Give an async test the server that runs on the same kind of loop."""
    return servers[str(runtime)]


@pytest.fixture(params=["tcp", "unix"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
