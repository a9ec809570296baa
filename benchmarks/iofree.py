# SPDX-License-Identifier: MIT
"""The I/O-free path: bytes in, bytes out to a transport that only takes them. `python -m benchmarks.iofree --help`.

No socket, no second process, no wait: what is left is tieline's own work, which repeats to a few percent. So this is
what CI can guard. Each figure is the best of many short turns: what else the machine does can only add time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from math import inf
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import tieline
import tieline.runtimes.link as links
from benchmarks import iofree_websocket as over_websocket
from benchmarks.iofree_blocking import blocking_packet_turn, blocking_turn
from benchmarks.iofree_transport import Transport, Turn
from benchmarks.report import cpu_model
from benchmarks.workloads import PACKET
from tieline.clients import AsyncTCPNetworkClient
from tieline.clients.engine import PacketEngine
from tieline.protocol import StreamProtocol
from tieline.runtimes.asyncio.backend import BACKEND
from tieline.runtimes.link import Link
from tieline.serializers import JSONSerializer
from tieline.wire.packets import PacketConnection

__all__ = ["BUDGETS", "FIGURES", "main", "measure"]

FIGURES: Final = Path(__file__).with_name("iofree.json")
WORSE: Final = 1.2  # times the stored figure is too much
READ: Final = 64  # messages in a read
BATCH: Final = 100
# How fast the machine is right now: work that is not ours. 2.4 to 2.8 us where the budgets were made.
SPEED: Final = "(json.loads of a request)"

# Microseconds a request or call, by section 5 of the performance spec; it has none for the other work.
BUDGETS: Final = {
    "sync request, 64 to a read": 0.8,
    "async request, 64 to a read": 1.0,
    "lone async request": 2.0,
    "call and reply, 64 at once": 1.2,
}

# Room for a whole batch at once: handlers that have not begun yet have their places already.
ROOMY: Final = tieline.Limits(governance=tieline.Governance(initial_concurrent=BATCH))
methods = tieline.Methods()


@methods.method(name="sync")
def add_sync(a: int, b: int) -> int:
    return a + b


@methods.method(name="async")
async def add_async(a: int, b: int) -> int:
    return a + b


def connected(session: tieline.SessionBase, *, accepted: bool) -> tuple[Link, Transport]:
    """Return the link and the transport of a session that is connected to nothing."""
    link, transport = session.new_link(accepted=accepted), Transport()
    link.connection_made(transport)
    return link, transport


# --- the server's side -----------------------------------------------------------------------------------------------


def requests(method: str, count: int) -> list[dict[str, Any]]:
    return [{"jsonrpc": "2.0", "id": number, "method": method, "params": [number, 2]} for number in range(count)]


async def server_turn(read: bytes, reads: int, answers: int) -> Turn:
    """Return what gives a server session the same read so many times, each with so many answers.

    Where tasks do not start eagerly (CPython 3.11), an async handler needs a turn of the loop, which is counted.
    """
    link, transport = connected(tieline.ServerSession(methods=methods, limits=ROOMY), accepted=True)

    async def answered(times: int) -> None:
        for _ in range(times):
            before = transport.writes
            link.data_received(read)
            while transport.writes == before:  # noqa: ASYNC110  # each turn counts, and there is nothing to wait for
                await asyncio.sleep(0)

    async def turn() -> float:
        before = transport.writes
        began = time.perf_counter()
        await answered(reads)
        took = time.perf_counter() - began
        if transport.writes - before != reads:
            raise ValueError(f"{transport.writes - before} writes for {reads} reads: one each was expected")
        return took

    await answered(1)
    results = [reply["result"] for reply in parsed(transport.written)]
    if results != [number + 2 for number in range(answers)]:
        raise ValueError(f"wrong answers: {results}")
    return turn


def parsed(written: bytes) -> list[Any]:
    """Return the replies in what was written: lines, or one batch."""
    values = [json.loads(line) for line in written.splitlines()]
    return values[0] if isinstance(values[0], list) else values


def lines(method: str, count: int) -> bytes:
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests(method, count))


# --- the client's side -----------------------------------------------------------------------------------------------


def calling_turn(count: int) -> Turn:
    """Return what makes so many calls at once and gives their replies. The tasks that would be woken are left out."""
    session = tieline.ClientSession("tcp://nowhere:1")
    link, transport = connected(session, accepted=False)

    async def turn() -> float:
        began = time.perf_counter()
        calls = [session.call("add", 1, 2) for _ in range(count)]
        for call in calls:
            call.send(None)
        link.settle()  # the write that is planned for the loop's next turn
        took = time.perf_counter() - began
        read = replies_to(transport.written)
        began = time.perf_counter()
        link.data_received(read)
        took += time.perf_counter() - began
        for call in calls:
            finish(call)
        return took

    # The first of several calls leaves at once when nothing else is under way: so one is, for ever.
    session.send_request("add", [1, 2], timeout=None)
    return turn


def lone_calling_turn(count: int) -> Turn:
    """Return what makes so many calls, one after the other, and gives the reply to each before the next."""
    session = tieline.ClientSession("tcp://nowhere:1")
    link, transport = connected(session, accepted=False)

    async def turn() -> float:
        took = 0.0
        for _ in range(count):
            began = time.perf_counter()
            call = session.call("add", 1, 2)
            call.send(None)
            took += time.perf_counter() - began
            read = replies_to(transport.written)
            began = time.perf_counter()
            link.data_received(read)
            took += time.perf_counter() - began
            finish(call)
        return took

    return turn


def replies_to(written: bytes) -> bytes:
    replies = [{"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": 3} for line in written.splitlines()]
    return b"".join(json.dumps(reply).encode() + b"\n" for reply in replies)


def finish(call: Any, answer: object = 3) -> None:
    """Let a coroutine that has been answered return."""
    try:
        call.send(None)
    except StopIteration as done:
        if done.value == answer:
            return
    raise ValueError("a call was not answered")


def batching_turn(count: int) -> Turn:
    """Return what sends a batch and gives its reply."""
    session = tieline.ClientSession("tcp://nowhere:1")
    link, transport = connected(session, accepted=False)

    async def turn() -> float:
        began = time.perf_counter()
        batch = session.new_batch()
        for _ in range(count):
            batch.add_request("add", [1, 2])
        session.send_batch(batch)
        link.settle()
        took = time.perf_counter() - began
        items = json.loads(transport.written)
        read = json.dumps([{"jsonrpc": "2.0", "id": item["id"], "result": 3} for item in items]).encode() + b"\n"
        began = time.perf_counter()
        link.data_received(read)
        took += time.perf_counter() - began
        if batch.results != (3,) * count:
            raise ValueError("the batch was not answered")
        return took

    return turn


# --- packets ---------------------------------------------------------------------------------------------------------


def packet_turn(count: int, at_once: int) -> Turn:
    """Return what sends and receives so many packets, so many at a time."""
    protocol: StreamProtocol[Any] = StreamProtocol(JSONSerializer())
    client: AsyncTCPNetworkClient[Any] = AsyncTCPNetworkClient(("nowhere", 1), protocol)
    limits = tieline.Limits().resolved(accepted=False)
    engine = PacketEngine(BACKEND, PacketConnection(protocol, limits, accepted=False))
    engine.link.connection_made(Transport())
    client._engine = engine  # as if it had connected
    client._is_closed = True  # nobody is to be told that it was not
    read = b"".join(protocol.framer()(PACKET) for _ in range(at_once))

    async def turn() -> float:
        began = time.perf_counter()
        for _ in range(count // at_once):
            for _ in range(at_once):
                await client.send_packet(PACKET)
            if at_once > 1:
                engine.link.settle()  # the write that is planned for the loop's next turn
            receiving = client.recv_packet()
            receiving.send(None)
            engine.link.data_received(read)
            finish(receiving, PACKET)
            for _ in range(at_once - 1):
                await client.recv_packet()
        return time.perf_counter() - began

    return turn


def parsing_turn(count: int) -> Turn:
    """Return what parses a request by the standard library so many times."""
    line = lines("add", 1)

    async def turn() -> float:
        began = time.perf_counter()
        for _ in range(count):
            json.loads(line)
        return time.perf_counter() - began

    return turn


# --- figures ---------------------------------------------------------------------------------------------------------


def unhurried() -> AbstractContextManager[object]:
    """Let no turn end for the time it takes: one that is cut in two, where the machine stalls, is other work."""
    return patch.object(links, "TURN_SECONDS", inf)


async def turns() -> dict[str, tuple[Turn, int]]:
    """Return what does each kind of work once, and how many requests that is. In a running loop."""
    batch = json.dumps(requests("async", BATCH)).encode() + b"\n"
    return {
        SPEED: (parsing_turn(200), 200),
        "sync request, 64 to a read": (await server_turn(lines("sync", READ), 8, READ), 8 * READ),
        "async request, 64 to a read": (await server_turn(lines("async", READ), 8, READ), 8 * READ),
        "lone sync request": (await server_turn(lines("sync", 1), 200, 1), 200),
        "lone async request": (await server_turn(lines("async", 1), 200, 1), 200),
        "request in a batch of 100": (await server_turn(batch, 4, BATCH), 4 * BATCH),
        "call and reply, 64 at once": (calling_turn(READ), READ),
        "lone call and reply": (lone_calling_turn(100), 100),
        "lone call and reply, blocking": (blocking_turn(100), 100),
        "call and reply in a batch of 100": (batching_turn(BATCH), BATCH),
        "packet out and in, 64 at once": (packet_turn(4 * READ, READ), 4 * READ),
        "lone packet out and in": (packet_turn(100, 1), 100),
        "packet out and in, 64 at once, blocking": (blocking_packet_turn(4 * READ, READ), 4 * READ),
        "lone packet out and in, blocking": (blocking_packet_turn(100, 1), 100),
        **await websocket_turns(),
    }


async def websocket_turns() -> dict[str, tuple[Turn, int]]:
    """Return what of that is done over WebSocket."""

    def calls(count: int, at_once: int) -> Turn:
        return over_websocket.calling_turn(Transport(), replies_to, finish, count, at_once)

    async def served(count: int, reads: int) -> Turn:
        session = tieline.ServerSession(methods=methods, limits=ROOMY)
        return await over_websocket.server_turn(session, lines("sync", count), reads, count)

    return {
        "ws: sync request, 64 to a read": (await served(READ, 8), 8 * READ),
        "ws: lone sync request": (await served(1, 200), 200),
        "ws: call and reply, 64 at once": (calls(READ, READ), READ),
        "ws: lone call and reply": (calls(100, 1), 100),
    }


def measure(seconds: float) -> dict[str, float]:
    """Return microseconds a request of each kind of work: the best of the turns of so many seconds in all."""
    with unhurried():
        return asyncio.run(_measure(seconds))


async def _measure(seconds: float) -> dict[str, float]:
    work = await turns()
    best = dict.fromkeys(work, float("inf"))
    gc.collect()
    until = time.perf_counter() + seconds
    for number in itertools.count():
        for name, (turn, count) in work.items():
            best[name] = min(best[name], 1e6 * await turn() / count)
        if number % 16 == 0:
            await asyncio.sleep(0)  # what was planned for later must not pile up
        if time.perf_counter() >= until:
            return best
    raise AssertionError("unreachable")


def machine_class() -> str:
    """Return what machines must have in common for their figures to be compared."""
    return f"{cpu_model()}, {sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"


def stored() -> dict[str, dict[str, float]]:
    """Return the stored figures by class of machine."""
    found: dict[str, dict[str, float]] = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
    return found


def verdict(name: str, figure: float) -> str:
    """Return how a figure stands to its budget."""
    budget = BUDGETS.get(name)
    return "no budget" if budget is None else f"budget {budget} us {'met' if figure <= budget else 'MISSED'}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.iofree", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--guard", action="store_true", help="exit 1 when a figure is 20 %% over the stored one")
    group.add_argument("--store", action="store_true", help="store the figures for this class of machine")
    options = parser.parse_args(arguments)
    best, known = measure(options.seconds), stored().get(machine_class())
    if options.guard and known is not None and worse(best, known):
        print("too slow at first: measured again, for longer")  # somebody else may have had the machine
        again = measure(3 * options.seconds)
        best = {name: min(figure, again[name]) for name, figure in best.items()}
    print(f"{machine_class()}: microseconds, best of {options.seconds:g} s")
    for name, figure in best.items():
        before = f"stored {known[name]:.2f}" if known and name in known else "not stored"
        print(f"  {name:40} {figure:6.2f}   {verdict(name, figure):24} {before}")
    if options.store:
        figures = stored() | {machine_class(): {name: round(figure, 3) for name, figure in best.items()}}
        FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if options.guard:
        return guard(best, known)
    return 0


def worse(best: dict[str, float], known: dict[str, float]) -> list[str]:
    """Return the names of figures too far over the stored ones; a machine that is slower itself is forgiven."""
    slower = max(1.0, best[SPEED] / known[SPEED])
    names = [name for name in best if name != SPEED and name in known]
    return [name for name in names if best[name] > WORSE * slower * known[name]]


def guard(best: dict[str, float], known: dict[str, float] | None) -> int:
    """Say how the guard judges, and return what the process is to exit with."""
    if known is None:
        print("no figures are stored for this class of machine: nothing to compare with (--store stores them)")
        return 0
    slow = worse(best, known)
    for name in slow:
        print(f"TOO SLOW: {name}: {best[name]:.2f} us, over {WORSE:g} times the stored {known[name]:.2f} us")
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
