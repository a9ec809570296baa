# SPDX-License-Identifier: MIT
"""A server that is killed with -9: its callers learn it at once, and it starts again where it was."""

import os
import signal
from pathlib import Path

import pytest

import tieline
from tests import aio
from tests.attacks.attacked import AttackedServer
from tests.attacks.conftest import ways
from tests.loops import Runtime
from tests.promptness import is_slow_box

AT_ONCE = 0.25 if is_slow_box() else 0.05


async def handled(session: tieline.ClientSession, count: int) -> None:
    """Return when the server handles so many calls."""
    async with aio.timeout(20):
        while (await session.call("figures"))["running"] < count:
            pass


@pytest.mark.row("H54", "S7")
@ways("tcp", "unix")
async def test_a_hundred_callers_of_a_killed_server_get_connection_lost(
    transport: str, tmp_path: Path, runtime: Runtime
) -> None:
    with AttackedServer(tmp_path, str(runtime), has_bystander=False) as server:
        async with (
            tieline.connect(server.urls["v2"]["unix"]) as other,
            server.connect("v2", transport) as session,
        ):
            ended: list[float] = []

            async def caller() -> None:
                try:
                    await session.call("sleep", 60)
                finally:
                    ended.append(aio.now())

            callers = [aio.create_task(caller()) for _ in range(100)]
            await handled(other, 64)  # as many as it accepts of one connection
            assert session.stats.pending == 100
            os.kill(server.process.pid, signal.SIGKILL)
            start = aio.now()
            outcomes = await aio.gather(*callers, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [tieline.ConnectionLost] * 100
            assert len({id(outcome) for outcome in outcomes}) == 100
            assert max(ended) - start <= AT_ONCE
            assert session.stats.pending == 0
            assert isinstance(session.close_reason, tieline.ConnectionLost)
            with pytest.raises(tieline.ConnectionLost):
                await session.call("add", 1, 2)
        server.kill()


@pytest.mark.row("H54", "S7")
async def test_a_task_group_sees_that_the_server_was_killed(tmp_path: Path, runtime: Runtime) -> None:
    with AttackedServer(tmp_path, str(runtime), has_bystander=False) as server:
        async with tieline.connect(server.urls["v2"]["tcp"]) as session:
            start = 0.0

            async def kill() -> None:
                nonlocal start
                os.kill(server.process.pid, signal.SIGKILL)
                start = aio.now()
                await aio.sleep(60)

            async def batch() -> None:
                async with session.batch() as calls:
                    calls.add_request("sleep", [60])

            async def group() -> None:
                async with aio.TaskGroup() as tasks:
                    for _ in range(5):
                        tasks.create_task(session.call("sleep", 60))
                    tasks.create_task(batch())
                    await session.call("add", 1, 2)
                    tasks.create_task(kill())

            with pytest.raises(ExceptionGroup) as caught:
                await group()
            assert aio.now() - start <= AT_ONCE
            assert {type(error) for error in caught.value.exceptions} == {tieline.ConnectionLost}
        server.kill()


@pytest.mark.row("H54")
def test_a_killed_server_starts_again_on_its_port_and_path(tmp_path: Path, runtime: Runtime) -> None:
    with AttackedServer(tmp_path, str(runtime), has_bystander=False) as first:
        urls = first.urls["v2"]
        peers = [first.peer(transport=transport) for transport in ("tcp", "unix") for _ in range(5)]
        for peer in peers:
            assert peer.call("add", 1, 2) == 3
        first.kill()
        assert Path(urls["unix"].removeprefix("unix://")).exists()
        port = int(urls["tcp"].rsplit(":", 1)[1])
        with AttackedServer(tmp_path, str(runtime), port, has_bystander=False) as second:
            assert [second.urls["v2"][kind] for kind in ("tcp", "unix")] == [urls["tcp"], urls["unix"]]
            for transport in ("tcp", "unix"):
                with second.peer(transport=transport) as peer:
                    assert peer.call("add", 1, 2) == 3
        for peer in peers:
            peer.close()
