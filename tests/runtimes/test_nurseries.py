# SPDX-License-Identifier: MIT
"""Nurseries of trio that are over: nothing that is to live in one is made, or it hears of no end and nobody ends it."""

import socket
from pathlib import Path
from typing import Any

import pytest
import trio

import tieline
from tests.runtimes.sockets import open_sockets
from tieline import LocalProtocolError, Methods, connect, serve
from tieline.runtimes.trio.host import _hosts
from tieline.testing import MemoryNetwork
from tieline.transports import Protocol, SubprocessProtocol

URL = "tcp://127.0.0.1:0"


class Hears(Protocol):
    """A protocol that must hear nothing."""

    def connection_made(self, transport: Any) -> None:
        raise AssertionError("it has heard of a connection")

    def connection_lost(self, exc: BaseException | None) -> None:
        raise AssertionError("it has heard of an end")


async def in_memory(nursery: trio.Nursery, *_: object) -> object:
    network = MemoryNetwork()
    try:
        return await network.serve(Methods()).listen(nursery=nursery)
    finally:
        assert "0 listeners" in repr(network)


WAYS: dict[str, Any] = {
    "connection": lambda nursery, port, _: tieline.create_connection(Hears, "127.0.0.1", port, nursery=nursery),
    "connection with TLS": lambda nursery, port, _: tieline.create_connection(
        Hears, "localhost", port, ssl=True, nursery=nursery
    ),
    "streams": lambda nursery, port, _: tieline.open_connection("127.0.0.1", port, nursery=nursery),
    "session": lambda nursery, port, _: connect(f"tcp://127.0.0.1:{port}").create_connection(nursery=nursery),
    "server": lambda nursery, *_: tieline.create_server(Hears, ["127.0.0.1", "127.0.0.2"], 0, nursery=nursery),
    "Unix server": lambda nursery, _, path: tieline.create_unix_server(Hears, path, nursery=nursery),
    "server of calls": lambda nursery, *_: serve(Methods(), URL).listen(nursery=nursery),
    "server in memory": in_memory,
    "child": lambda nursery, _, path: connect(f"cmd:touch {path}").create_connection(nursery=nursery),
    "process": lambda nursery, _, path: tieline.subprocess_exec(SubprocessProtocol, "touch", path, nursery=nursery),
}


@pytest.mark.row("T7")
@pytest.mark.parametrize("way", WAYS)
def test_a_nursery_that_is_over_takes_nothing(way: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            pass
        held, hosts = open_sockets(), len(_hosts)
        path = tmp_path / "made"
        is_refused = pytest.raises(LocalProtocolError, match=r"nursery .* is over")
        with socket.create_server(("127.0.0.1", 0)) as there, trio.fail_after(10), is_refused:
            await WAYS[way](nursery, there.getsockname()[1], str(path))
        assert open_sockets() == held
        assert len(_hosts) == hosts
        assert not path.exists()

    trio.run(main)


@pytest.mark.row("T7")
def test_a_nursery_that_ends_while_somebody_is_dialled_for_it_takes_nothing() -> None:
    async def main() -> None:
        is_asked, is_over = trio.Event(), trio.Event()

        class Slow:
            async def create_connection(self, factory: Any, host: str, port: int, *, nursery: trio.Nursery) -> Any:
                is_asked.set()
                await is_over.wait()
                return await tieline.create_connection(factory, host, port, nursery=nursery)

        async def dial(nursery: trio.Nursery, port: int) -> None:
            with pytest.raises(LocalProtocolError, match=r"nursery .* is over"):
                await tieline.create_connection(Hears, "127.0.0.1", port, proxy=Slow(), nursery=nursery)

        with socket.create_server(("127.0.0.1", 0)) as there, trio.fail_after(10):
            async with trio.open_nursery() as outer:
                async with trio.open_nursery() as inner:
                    outer.start_soon(dial, inner, there.getsockname()[1])
                    await is_asked.wait()
                is_over.set()

    trio.run(main)
