# SPDX-License-Identifier: MIT
"""Sessions and a server in memory, with faults and a clock that jumps, on asyncio and on trio."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import tieline
from tests import aio
from tests.loops import Runtime, TrioRuntime
from tieline.testing import Faults, MemoryNetwork, VirtualClockLoop

__all__ = ["play_on_asyncio", "play_on_trio"]

ASYNCIO = Runtime("asyncio, jumping", lambda: VirtualClockLoop(jumps=True))
TRIO = TrioRuntime("trio, jumping", lambda: trio.testing.MockClock(autojump_threshold=0.0))
LIMIT = 1e6  # seconds of virtual time: whatever waits for ever is found at once
# A connection in memory may be as slow as chance has it.
PATIENT: dict[str, Any] = {
    "call_timeout": None,
    "handler_timeout": None,
    "handshake_timeout": 1e5,
    "idle_timeout": None,
    "message_timeout": None,
    "write_timeout": None,
}
GONE = (tieline.ConnectionLost, tieline.ClosedError)


def play_on_asyncio(seed: int) -> None:
    """Play one evening of some clients on asyncio, and fail with what is wrong about it."""
    ASYNCIO.run(lambda: conversation(seed), limit=LIMIT)


def play_on_trio(seed: int) -> None:
    """Do the same on trio."""
    TRIO.run(lambda: conversation(seed), limit=LIMIT)


async def conversation(seed: int) -> None:
    rng = random.Random(seed)
    cut = rng.choice((0.0, 0.0, 0.0, 0.7))
    faults = Faults(
        seed,
        chunk=rng.choice((0, 16, 64, 1000)),
        delay=rng.choice((0.0, 0.1, 2.0)),
        blocked=rng.choice((0.0, 0.3)),
        cut=cut,
        cut_within=rng.choice((10, 1000, 20_000)),
    )
    network = MemoryNetwork(capacity=rng.choice((100, 5000, 65536)), faults=faults)
    place = Place(rng)
    limits = tieline.Limits(max_pending=rng.choice((1, 4, 64)), max_calls=rng.choice((3, 1000)), **PATIENT)
    async with network.serve(place.methods, limits=limits) as server:
        guests = [aio.create_task(Guest(place, f"guest {number}", may_break=cut > 0).live(network, server.url))
                  for number in range(rng.randrange(1, 4))]  # fmt: skip
        await aio.gather(*guests)
        if rng.random() < 0.5:
            await server.shutdown(rng.choice((0.0, 5.0)))
    assert not server.sessions
    assert max(place.ran.values(), default=0) <= 1, "a call that ran twice"


class Place:
    """What the server offers, and what it has done."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.ran: Counter[str] = Counter()
        self.methods = tieline.Methods()
        for method in (self.work, self.fail, self.ask_back, self.note):
            self.methods.method(method)

    async def work(self, key: str, text: str) -> list[str]:
        self.ran[key] += 1
        if self.rng.random() < 0.5:
            await aio.sleep(self.rng.choice((0.0, 0.1, 3.0)))
        return [key, text]

    def fail(self, key: str) -> None:
        self.ran[key] += 1
        raise tieline.RPCError(7, "on purpose")

    async def ask_back(self, session: tieline.SessionBase, key: str) -> Any:
        self.ran[key] += 1
        return await session.call("who", key)

    def note(self, key: str) -> None:
        self.ran[key] += 1


class Guest:
    """A client that does this and that, and checks what it gets."""

    def __init__(self, place: Place, name: str, *, may_break: bool) -> None:
        self.place, self.rng, self.name, self.may_break = place, place.rng, name, may_break
        self.number = 0
        self.methods = tieline.Methods()
        self.methods.method(name="who")(lambda key: [self.name, key])

    async def live(self, network: MemoryNetwork, url: str) -> None:
        orders = (self.work, self.work, self.fail, self.ask_back, self.note, self.batch, self.give_up, self.at_once)
        try:
            async with tieline.connect(url, self.methods, proxy=network, limits=tieline.Limits(**PATIENT)) as session:
                for _ in range(self.rng.randrange(12)):
                    await self.rng.choice(orders)(session)
                    if self.rng.random() < 0.2:
                        await aio.sleep(self.rng.random())
                if self.rng.random() < 0.3:
                    await session.aclose()
        except GONE:
            assert self.may_break, "the connection broke by itself"

    def key(self) -> str:
        self.number += 1
        return f"{self.name}, {self.number}"

    def text(self) -> str:
        return "x" * self.rng.randrange(self.rng.choice((1, 100, 1000)))

    async def work(self, session: tieline.ClientSession) -> None:
        key, text = self.key(), self.text()
        assert await session.call("work", key, text) == [key, text]
        assert self.place.ran[key] == 1

    async def fail(self, session: tieline.ClientSession) -> None:
        key = self.key()
        with pytest.raises(tieline.RPCError, match="on purpose"):
            await session.call("fail", key)
        assert self.place.ran[key] == 1

    async def ask_back(self, session: tieline.ClientSession) -> None:
        key = self.key()
        assert await session.call("ask_back", key) == [self.name, key]

    async def note(self, session: tieline.ClientSession) -> None:
        keys = [self.key() for _ in range(self.rng.randrange(5))]
        for key in keys:
            await session.notify("note", key)
        await self.work(session)
        assert [self.place.ran[key] for key in keys] == [1] * len(keys), "a notification that was lost"

    async def batch(self, session: tieline.ClientSession) -> None:
        wanted = [[self.key(), self.text()] for _ in range(self.rng.randrange(1, 4))]
        async with session.batch() as batch:
            for params in wanted:
                batch.add_request("work", params)
        for result, params in zip(batch.results, wanted, strict=True):
            if isinstance(result, GONE):
                raise result
            # More calls than are accepted at once may be refused, where the server has calls open here.
            assert result == params or (isinstance(result, tieline.RPCError) and result.code == -102), result

    async def give_up(self, session: tieline.ClientSession) -> None:
        """Have a call time out, or cancel it, at any time."""
        seconds = self.rng.choice((0.0, 0.01, 0.2, 2.0))
        key, text = self.key(), self.text()
        if self.rng.random() < 0.5:
            with suppress(TimeoutError):
                assert await session.call("work", key, text, timeout=seconds) == [key, text]
            return
        with suppress(TimeoutError):
            async with aio.timeout(seconds):
                assert await session.call("work", key, text) == [key, text]

    async def at_once(self, session: tieline.ClientSession) -> None:
        """Make calls from some tasks at once, and cancel one of them."""
        wanted = [[self.key(), self.text()] for _ in range(self.rng.randrange(2, 6))]
        tasks = [aio.create_task(session.call("work", *params)) for params in wanted]
        await aio.sleep(self.rng.choice((0.0, 0.05)))
        cancelled = self.rng.randrange(len(tasks))
        tasks[cancelled].cancel()
        await aio.wait(tasks)
        ends = await aio.gather(*tasks, return_exceptions=True)
        for number, (end, params) in enumerate(zip(ends, wanted, strict=True)):
            if isinstance(end, GONE):
                raise end
            assert end == params or (number == cancelled and isinstance(end, aio.CancelledError)), repr(end)
