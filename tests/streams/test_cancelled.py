# SPDX-License-Identifier: MIT
"""The public faces, cancelled in any turn: nothing is left, and a protocol is told of both ends or of neither."""

import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import until
from tests.runtimes.scripted_proxies import Good, listening
from tests.runtimes.sockets import V4, V6, black_hole, name, open_sockets, settled
from tests.streams.scene import Served, Story, connect, open_streams, serving, tls_client, tls_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="open sockets are counted by /proc")

SCENES = ["plain", "TLS", "named", "proxy", "proxy and TLS"]


async def _scene(
    what: str, stack: AsyncExitStack, patch: pytest.MonkeyPatch, certificates: Certificates
) -> tuple[Served, Callable[[Any], Any], Callable[[], Any]]:
    """Return a server, what connects a protocol of a factory to it, and what opens streams to it."""
    settings: dict[str, Any] = {}
    tls = None
    if "TLS" in what:
        settings["ssl"], tls = tls_client(certificates), tls_server(certificates)
    served = await stack.enter_async_context(serving(ssl=tls))
    target: tuple[Any, ...] = ("127.0.0.1", served.port)
    if what == "named":
        silent = stack.enter_context(black_hole(V6))
        name(patch, "name.example", (V6, "::1", silent), (V4, "127.0.0.1", served.port))
        target = ("name.example", 1)
        settings["happy_eyeballs_delay"] = 0
    if "proxy" in what:
        proxy = stack.enter_context(listening(Good({"host.example": "127.0.0.1"})))
        target = ("host.example", served.port)
        settings["proxy"] = f"socks5://127.0.0.1:{proxy.port}"
    return (
        served,
        lambda factory: connect(factory, *target, **settings),
        lambda: open_streams(*target, **settings),
    )


@pytest.mark.row("D1", "D2", "H60")
@pytest.mark.parametrize("what", SCENES)
async def test_create_connection_cancelled_in_any_turn_leaves_nothing(
    what: str, monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    made: list[Story] = []

    def factory() -> Story:
        made.append(Story())
        return made[-1]

    async with AsyncExitStack() as stack:
        served, dial, _ = await _scene(what, stack, monkeypatch, certificates)
        held, tasks = None, aio.all_tasks()
        done = turns = 0
        while done < 3:  # past the turn in which it is through
            made.clear()
            dialling = aio.create_task(dial(factory))
            for _ in range(turns):
                await aio.sleep(0)
            cancelled = dialling.cancel()
            await aio.wait({dialling})
            # On trio a task that was woken with its result has it, and meets the cancellation at its next wait.
            assert dialling.cancelled() == cancelled or aio.on_trio()
            if not dialling.cancelled():
                done += not cancelled
                transport, protocol = dialling.result()
                assert [protocol] == made
                transport.abort()
            del dialling
            await until(lambda: all(not one.told or one.lost_with for one in made))
            assert [one.told for one in made] in ([], [[]], [["made", "lost"]])
            await served.lost()
            assert all(one.told in ([], ["made", "lost"]) for one in made)
            if "proxy" not in what:
                held = await _same_sockets(held)
            await until(lambda: aio.all_tasks() <= tasks)  # the proxy's threads end when they are run
            turns += 1 if turns < 40 else 10


async def _same_sockets(held: int | None) -> int:
    """Check that as many sockets are open as *held*, as soon as the server's ends are gone."""
    if held is None:
        await aio.sleep(0.01)  # the first round may still be leaving; whatever is open then stays the measure
        return open_sockets()
    for _ in range(200):
        if await settled(held) <= held:
            break
        await aio.sleep(0.001)
    assert open_sockets() <= held
    return held


@pytest.mark.row("T8", "H60")
@pytest.mark.parametrize("what", ["plain", "TLS"])
async def test_open_connection_cancelled_in_any_turn_leaves_nothing(
    what: str, monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> None:
    async with AsyncExitStack() as stack:
        _, _, opened = await _scene(what, stack, monkeypatch, certificates)
        held, tasks = None, aio.all_tasks()
        done = turns = 0
        while done < 2:
            opening = aio.create_task(opened())
            for _ in range(turns):
                await aio.sleep(0)
            cancelled = opening.cancel()
            await aio.wait({opening})
            assert opening.cancelled() == cancelled or aio.on_trio()
            if not opening.cancelled():
                done += not cancelled
                _, writer = opening.result()
                writer.close()
                await writer.wait_closed()
                del writer
            del opening
            held = await _same_sockets(held)
            assert await aio.settled_tasks(tasks) == tasks
            turns += 1 if turns < 40 else 10


@pytest.mark.row("D5", "H60")
async def test_create_server_cancelled_in_any_turn_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    held, tasks = open_sockets(), aio.all_tasks()
    name(monkeypatch, "here.example", (V4, "127.0.0.1", 0), (V6, "::1", 0))
    done = turns = 0
    while done < 2:
        for starts in (True, False):
            serving_ = aio.create_task(
                tieline.create_server(Story, "here.example", 0, start_serving=starts, nursery=aio.nursery())
            )
            for _ in range(turns):
                await aio.sleep(0)
            cancelled = serving_.cancel()
            await aio.wait({serving_})
            assert serving_.cancelled() == cancelled
            if not cancelled:
                done += 1
                serving_.result().close()
                await serving_.result().wait_closed()
            del serving_
            assert await settled(held) == held
            assert await aio.settled_tasks(tasks) == tasks
        turns += 1
