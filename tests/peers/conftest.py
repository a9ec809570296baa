# SPDX-License-Identifier: MIT
"""What several files of this folder need: where foreign programs are, and our sides of a conversation in packets."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.peers.packet_sides import SIDES, Side
from tests.peers.programs import HERE


@pytest.fixture(params=SIDES, ids=str)
def side(request: pytest.FixtureRequest) -> Side:
    """Give what runs a conversation through packet clients: asynchronous ones on each event loop, and blocking ones."""
    return cast("Side", request.param)


@pytest.fixture(scope="session")
def openssl(need) -> Path:
    path: Path = need("openssl", "apt-get install openssl, or make test-peers")
    return path


@pytest.fixture(scope="session")
def vscode(need) -> Callable[[str], tuple[Path, Path, Path]]:
    """Give what makes the command that runs a script of ours with vscode-jsonrpc."""
    node: Path = need("node", "install Node.js")
    package: Path = need("vscode-jsonrpc", "make test-peers installs it into .peers/")
    return lambda script: (node, HERE / script, package)
