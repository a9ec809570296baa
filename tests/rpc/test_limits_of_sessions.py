# SPDX-License-Identifier: MIT
"""The limits that runtimes and sessions keep, not machines: one below, at and above each, on a clock of the test's."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.clock import ClockLoop, on_clock
from tests.rpc.sessions import pair, until
from tests.runtimes.sockets import full_unix_listener
from tieline import ClientSession, Limits, Methods, RPCError, UnixStream

AROUND = [-1, 0, 1]

pytestmark = pytest.mark.row("J11")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says EAGAIN where the accept queue is full")
@pytest.mark.parametrize("by", AROUND)
def test_connect_timeout(by: int, tmp_path: Path) -> None:
    endpoint = UnixStream(tmp_path / "s")

    async def dial(clock: ClockLoop) -> None:
        with full_unix_listener(str(endpoint.path)) as listener:
            session = ClientSession(endpoint, limits=Limits(connect_timeout=10.0))
            dialling = asyncio.create_task(session.create_connection())
            await clock.turns()
            await clock.move_to(110.0 + by)
            assert dialling.done() is (by >= 0)
            if by < 0:
                listener.accept()[0].close()  # room in the queue
                await clock.move_to(110.0)
                await dialling
                session.abort()
                await session.wait_closed()
            else:
                with pytest.raises(TimeoutError, match=r"cannot connect to unix:.* within 10 s"):
                    await dialling

    on_clock(dial)


@pytest.mark.parametrize("by", AROUND)
def test_handler_timeout(by: int) -> None:
    methods = Methods()
    methods.method(name="hang")(asyncio.Event().wait)

    async def hang(clock: ClockLoop) -> None:
        async with pair(methods, limits=Limits(handler_timeout=8.0)) as both:
            calls = [both.client.send_request("hang", timeout=None)]
            await until(lambda: both.peer.stats.running == 1)
            await clock.move_to(100.5)
            calls.append(both.client.send_request("hang", timeout=None))
            await until(lambda: both.peer.stats.running == 2)
            # Up to one eighth late: the first together with the second, which came just before a look.
            await clock.move_to(109.0 + by / 100)
            await until(lambda: both.peer.stats.running == (2 if by < 0 else 0))
            if by < 0:
                assert not any(call.done() for call in calls)
                await clock.move_to(109.0)
            for call in calls:
                with pytest.raises(RPCError, match="handler cancelled") as caught:
                    await call
                assert caught.value.code == -102

    on_clock(hang)
