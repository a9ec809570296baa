# SPDX-License-Identifier: MIT
"""What is measured: the workloads by name, and how a client plays one.

A client plays an operation many times: a small call, a batch of 100, a call with a large payload, or connecting for
one call. How an operation is done is the peer's part (`benchmarks.peers`); this file knows no peer and no process.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "BATCH",
    "BULK",
    "PACKET",
    "STREAM",
    "TEXT",
    "WORKLOADS",
    "Connect",
    "Job",
    "Jobs",
    "Player",
    "Together",
    "Workload",
    "check",
    "checked",
]

BATCH = 100  # calls in a batch
BULK = 1_000_000  # bytes of a large payload, each way
TEXT = "x" * BULK  # made once: connections are measured too, and none of them pays for it
# A typed packet: with its newline, 110 bytes of JSON.
PACKET = {
    "id": 12345,
    "name": "sensor-17",
    "values": [1.5, 2.25, 3.125],
    "unit": "degrees celsius",
    "ok": True,
    "tags": ["a", "b"],
}
STREAM = 256  # packets that are sent one by one before any of them is received; sockets hold more than that


class Job(NamedTuple):
    """One operation of a peer's client, and what it must return."""

    start: Callable[[], Awaitable[object]]
    answer: object


Jobs = dict[str, Job]
"""What an open connection of a client can do: "small", "batch" and "bulk", "packet" and "stream", as far as the peer
knows them.

Where several small calls at once are made in another way than one at a time, "many" is such a call.
"""

Connect = Callable[[str], AbstractAsyncContextManager[Jobs]]
"""Opens a connection of a client, by the address that the peer's server has told."""

Together = Callable[[Sequence[Coroutine[Any, Any, None]]], Awaitable[object]]
"""Runs coroutines side by side until all are done: `asyncio.gather`, or a nursery."""


@dataclass(frozen=True)
class Workload:
    """One workload.

    Attributes:
        title: What it is, for people.
        job: The operation that it repeats.
        connections: How many connections take part.
        outstanding: How many operations each of them has under way at once.
        counts: How many requests one operation is.
        connects: Each operation opens a connection of its own and closes it.
        preformatted: Played by `benchmarks.peers.load` instead of the peer's own client.
        ancestor: The peer that all others are compared with.
    """

    title: str
    job: str = "small"
    connections: int = 1
    outstanding: int = 1
    counts: int = 1
    connects: bool = False
    preformatted: bool = False
    ancestor: str = "aiorpcx"


WORKLOADS = {
    "W1": Workload("ping-pong, 1 call outstanding"),
    "W2-64": Workload("one connection, 64 calls outstanding", outstanding=64),
    "W2-1000": Workload("one connection, 1000 calls outstanding", outstanding=1000),
    "s2": Workload("server alone against a preformatted load", preformatted=True),
    "W3": Workload("100 connections, 1 call outstanding on each", connections=100),
    "W4": Workload("batches of 100 calls", job="batch", counts=BATCH),
    "W5-ping": Workload("typed packets, one at a time", job="packet", ancestor="easynetwork"),
    "W5-stream": Workload("typed packets, streamed", job="stream", counts=STREAM, ancestor="easynetwork"),
    "W6": Workload("payloads of 1 000 000 bytes, both ways", job="bulk"),
    "W6-raw": Workload("packets of 1 000 000 raw bytes, both ways", job="bulk", ancestor="easynetwork"),
    "W7": Workload("connect + call + close", connects=True),
}


class Player:
    """Plays one workload with a peer's asynchronous client, in the running loop."""

    def __init__(self, workload: Workload, connect: Connect, address: str, together: Together) -> None:
        self._workload = workload
        self._connect = connect
        self._address = address
        self._together = together
        self._stack = AsyncExitStack()
        self._open: list[Job] = []

    async def open(self) -> None:
        """Open the connections, and see that the operation does what it should."""
        if self._workload.connects:
            await self._connect_once()
            return
        for _ in range(self._workload.connections):
            jobs = await self._stack.enter_async_context(self._connect(self._address))
            job = jobs[self._workload.job]
            if self._workload.outstanding > 1:
                job = jobs.get("many", job)
            await check(job)
            self._open.append(job)

    async def run(self, operations: int) -> None:
        """Do so many operations."""
        left = itertools.repeat(None, operations)
        if self._workload.connects:
            for _ in left:
                await self._connect_once()
            return
        # What is left is shared by all, so that all are busy up to the end.
        workers = [_repeat(job.start, left) for job in self._open for _ in range(self._workload.outstanding)]
        if len(workers) == 1:
            await workers[0]
        else:
            await self._together(workers)

    async def close(self) -> None:
        """Close the connections."""
        await self._stack.aclose()

    async def _connect_once(self) -> None:
        async with self._connect(self._address) as jobs:
            await jobs["small"].start()


async def check(job: Job) -> None:
    """Do an operation, and see that it returns what it should.

    Raises:
        ValueError: It does not.
    """
    checked(await job.start(), job.answer)


def checked(got: object, wanted: object) -> None:
    """See that an operation has returned what it should.

    Raises:
        ValueError: It has not.
    """
    if got != wanted:
        raise ValueError(f"the operation returned {repr(got)[:200]}, not {repr(wanted)[:200]}")


async def _repeat(start: Callable[[], Awaitable[object]], left: Iterator[None]) -> None:
    for _ in left:
        await start()
