# SPDX-License-Identifier: MIT
"""The attacked servers as fixtures: one process per loop, and which transport is attacked on which loop.

All transports on all loops would be nine runs of each test; `python -m tests.attacks` plays those. Here each transport
has one loop of asyncio: TCP the stock one, Unix uvloop, and TLS uvloop where the test has no better idea; and trio has
all three.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.attacks.attacked import AttackedServer
from tests.loops import Runtime, TrioRuntime, runtimes

LOOPS = [str(runtime) for runtime in runtimes()]
PAIRS = [("tcp", LOOPS[0]), ("unix", LOOPS[-1]), ("tls", LOOPS[-1]), ("tcp", "trio"), ("unix", "trio"), ("tls", "trio")]

Servers = dict[str, AttackedServer]


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Give the servers by loop; all tests of this folder share them."""
    started: dict[str, AttackedServer] = {}
    with ExitStack() as stack:
        for loop in (*LOOPS, "trio"):
            new = AttackedServer(tmp_path_factory.mktemp("attacked"), loop, is_short=True, has_packets=True)
            started[loop] = stack.enter_context(new)
        yield started


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Give a transport and the loop on which it is attacked."""
    transport, loop = request.param
    return transport, loop


@pytest.fixture
def transport(pair: tuple[str, str]) -> str:
    return pair[0]


@pytest.fixture
def server(pair: tuple[str, str], servers: Servers) -> AttackedServer:
    return servers[pair[1]]


@pytest.fixture
def twin(runtime: Runtime, servers: Servers) -> AttackedServer:
    """Give an async test the server that runs on the same kind of loop."""
    return servers[str(runtime)]


@pytest.fixture(params=["plain", "tls"])
def way(request: pytest.FixtureRequest, runtime: Runtime) -> str:
    """Give an async test a transport: TLS, or the plain one that its loop has."""
    return "tls" if request.param == "tls" else "tcp" if str(runtime) == LOOPS[0] else "unix"


def ways(*plain: str, on_trio: bool = False) -> pytest.MarkDecorator:
    """Run an async test with a server of its own over the transports *plain* on each loop, and over TLS on one.

    *on_trio*: there as well, over the first of them.
    """
    chosen: list[tuple[Runtime | TrioRuntime, str]]
    chosen = [(runtime, name) for runtime in runtimes() for name in plain]
    chosen.append((runtimes()[-1], "tls"))
    if on_trio:
        chosen.append((TrioRuntime(), plain[0]))
    values = [pytest.param(runtime, name, id=f"{runtime}-{name}") for runtime, name in chosen]
    return pytest.mark.parametrize(("runtime", "transport"), values, indirect=["runtime"])
