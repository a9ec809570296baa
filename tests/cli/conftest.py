# SPDX-License-Identifier: MIT
"""A server of `tieline serve`, for all tests of commands that talk to one; and commands run in this process."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.certificates import Certificates
from tests.cli.programs import SERVICE, CommandLine, started
from tests.loops import Runtime, runtimes


@pytest.fixture
def runtime() -> Runtime:
    """One loop is enough here: what is tested runs in other processes, on loops of their own."""
    return next(iter(runtimes()))


@dataclass
class Served:
    """Where the server listens."""

    tcp: str
    tls: str
    unix: str

    @property
    def tls_port(self) -> str:
        return self.tls.rpartition(":")[2]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Served]:
    """Serve the tests of one file: the errors of all files together would cost so much that calls are delayed."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "service.py").write_text(SERVICE)
    urls = ("tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix:s")
    options = [word for url in urls for word in ("--listen", url)]
    with started("serve", "service.py", *options, "--tls-cert", certificates.server, "--stats", cwd=folder) as server:
        tcp, tls, unix = server.urls()
        yield Served(tcp, tls, f"unix:{folder}/{unix.removeprefix('unix:')}")


@pytest.fixture
def tieline(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)
