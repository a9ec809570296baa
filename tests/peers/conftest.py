# SPDX-License-Identifier: MIT
"""What several files of this folder need: where foreign programs are."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def openssl(need) -> Path:
    path: Path = need("openssl", "apt-get install openssl, or make test-peers")
    return path
