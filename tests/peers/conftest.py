# SPDX-License-Identifier: MIT
"""What several files of this folder need: where foreign programs are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.programs import HERE


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
