# SPDX-License-Identifier: MIT
"""Through a real SOCKS5 proxy on loopback: how many connections a second, and what a message costs once there is one.

`python -m benchmarks.proxies --help`. The proxy is microsocks; without it nothing is measured, and that is told. All
that is compared meets the same weather: each round goes from one to the next. The client keeps to a core of its own
process, and so does all else, as far as there are two.

Behind a proxy a message takes longer, since it goes one process further. What the client itself does for it must be
the same: that is its CPU time a message, through the proxy and straight.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import importlib.util
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console

import tieline
import tieline.blocking
import tieline.transports
from benchmarks.harness import Program
from benchmarks.peers.raw import SMALL, Caller
from benchmarks.report import Table, machine, show, versions

__all__ = ["CONNECTS", "MESSAGES", "Figure", "main", "measure", "places", "tables"]

FIGURES: Final = Path(__file__).with_name("PROXIES.md")
NO_PROXY: Final = "microsocks is not installed: apt-get install microsocks"
PATIENCE: Final = 10.0  # seconds for the proxy to listen


@dataclass(frozen=True)
class Places:
    """Where the proxy, a server that echoes lines, and a JSON-RPC server listen."""

    proxy: tuple[str, int]
    echo: tuple[str, int]
    calls: str


@dataclass(frozen=True)
class Figure:
    """Microseconds for one operation: as it took, and of this process's CPU time."""

    took: float
    cpu: float


class Silent(asyncio.Protocol):
    """Hears nothing but its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.closed = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


# --- who takes part --------------------------------------------------------------------------------------------------

Dial = Callable[[Places, Callable[[], Any]], Awaitable[tuple[Any, Any]]]
"""Connects a protocol to the echo server, and returns the transport and the protocol."""


async def _straight(places: Places, factory: Callable[[], Any]) -> tuple[Any, Any]:
    return await asyncio.get_running_loop().create_connection(factory, *places.echo)


async def _tieline_straight(places: Places, factory: Callable[[], Any]) -> tuple[Any, Any]:
    return await tieline.create_connection(factory, *places.echo)


async def _tieline(places: Places, factory: Callable[[], Any]) -> tuple[Any, Any]:
    return await tieline.SOCKSProxy(places.proxy, tieline.SOCKS5).create_connection(factory, *places.echo)


async def _python_socks(places: Places, factory: Callable[[], Any]) -> tuple[Any, Any]:
    from python_socks.async_.asyncio import Proxy

    sock = await Proxy.from_url(f"socks5://{places.proxy[0]}:{places.proxy[1]}").connect(*places.echo)
    return await asyncio.get_running_loop().create_connection(factory, sock=sock)


async def _aiorpcx(places: Places, factory: Callable[[], Any]) -> tuple[Any, Any]:
    import aiorpcx

    proxy = aiorpcx.SOCKSProxy(aiorpcx.NetAddress(*places.proxy), aiorpcx.SOCKS5, None)
    made: tuple[Any, Any] = await proxy.create_connection(factory, *places.echo)
    return made


DIALS: Final[dict[str, tuple[str, Dial]]] = {
    "asyncio, straight": ("", _straight),
    "tieline, straight": ("", _tieline_straight),
    "tieline": ("", _tieline),
    "python-socks": ("python_socks", _python_socks),
    "aiorpcX": ("aiorpcx", _aiorpcx),
}
BLOCKING: Final = "tieline, blocking"
CONNECTS: Final = (*DIALS, BLOCKING)
SESSION: Final = "tieline, a call"
SESSION_STRAIGHT: Final = "tieline, a call, straight"
MESSAGES: Final = (*DIALS, SESSION_STRAIGHT, SESSION)

# What goes through the proxy, and the same without it.
PAIRS: Final = {"tieline": "tieline, straight", SESSION: SESSION_STRAIGHT}


def is_installed(name: str) -> bool:
    needed = DIALS[name][0] if name in DIALS else ""
    return not needed or importlib.util.find_spec(needed) is not None


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(work: str, name: str, places: Places, count: int) -> Figure:
    """Do *work* ("connects" or "messages") so many times in the form of *name*, and return what one takes."""
    if name == BLOCKING:
        return _timed(partial(_connect_blocking, places), count)
    with asyncio.Runner() as runner:
        if work == "connects":
            return runner.run(_connects(DIALS[name][1], places, count))
        if name in DIALS:
            return runner.run(_messages(DIALS[name][1], places, count))
        return runner.run(_calls(places, count, is_proxied=name == SESSION))


def _timed(once: Callable[[], object], count: int) -> Figure:
    once()
    gc.collect()
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(count):
        once()
    return _figure(began, cpu, count)


async def _timed_async(once: Callable[[], Awaitable[object]], count: int) -> Figure:
    for _ in range(min(20, count)):
        await once()
    gc.collect()
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(count):
        await once()
    return _figure(began, cpu, count)


def _figure(began: float, cpu: float, count: int) -> Figure:
    took, used = time.perf_counter() - began, time.process_time() - cpu
    return Figure(1e6 * took / count, 1e6 * used / count)


def _connect_blocking(places: Places) -> None:
    proxy = tieline.SOCKSProxy(places.proxy, tieline.SOCKS5)
    transport, _ = tieline.blocking.create_connection(tieline.transports.Protocol, *places.echo, proxy=proxy)
    transport.abort()


async def _connects(dial: Dial, places: Places, count: int) -> Figure:
    async def once() -> None:
        transport, protocol = await dial(places, Silent)
        transport.abort()
        await protocol.closed

    return await _timed_async(once, count)


async def _messages(dial: Dial, places: Places, count: int) -> Figure:
    transport, protocol = await dial(places, Caller)
    try:
        return await _timed_async(lambda: protocol.call(SMALL), count)
    finally:
        transport.abort()
        await protocol.closed


async def _calls(places: Places, count: int, *, is_proxied: bool) -> Figure:
    proxy = tieline.SOCKSProxy(places.proxy, tieline.SOCKS5) if is_proxied else None
    session = tieline.connect(places.calls, proxy=proxy)
    await session.create_connection()
    try:
        return await _timed_async(lambda: session.call("add", 1, 2), count)
    finally:
        await session.aclose()


@contextmanager
def places() -> Iterator[Places]:
    """Start the proxy and the servers, on a core that is not ours where there is one.

    Raises:
        FileNotFoundError: There is no microsocks.
    """
    program = shutil.which("microsocks")
    if program is None:
        raise FileNotFoundError(NO_PROXY)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    theirs = cores[-1] if len(cores) > 1 else None
    with ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        process = stack.enter_context(
            subprocess.Popen([program, "-i", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
        )
        stack.callback(process.kill)
        if theirs is not None:
            os.sched_setaffinity(process.pid, {theirs})
            os.sched_setaffinity(0, {cores[0]})
            stack.callback(os.sched_setaffinity, 0, cores)
        _wait_for(port)
        servers = [
            stack.enter_context(Program(f"benchmarks.peers.{module}", "server", core=theirs))
            for module in ("raw", "tieline_rpc")
        ]
        echo, calls = (server.hear()["address"] for server in servers)
        yield Places(("127.0.0.1", port), ("127.0.0.1", int(echo.rpartition(":")[2])), calls)


def _wait_for(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)  # nothing else tells
        else:
            return


# --- what is told of it ----------------------------------------------------------------------------------------------

Figures = dict[tuple[str, str], list[Figure]]
"""By work and name, one for each round."""


def tables(figures: Figures) -> list[Table]:
    """Return the figures of connecting and of messages, and what a proxy adds to a message in the client itself."""
    connects = Table("Connections", ["who", "a second", "spread", "us each", "CPU us", "vs aiorpcX", "by CPU"])
    messages = Table("Messages, one at a time", ["who", "us each", "spread", "CPU us"])
    theirs = figures.get(("connects", "aiorpcX"))
    for (work, name), rounds in figures.items():
        took = statistics.median(one.took for one in rounds)
        spread = f"{100 * (max(one.took for one in rounds) - min(one.took for one in rounds)) / took:.0f} %"
        cpu = f"{statistics.median(one.cpu for one in rounds):.1f}"
        if work == "connects":
            kinds = () if theirs is None else ("took", "cpu")
            ratios = [f"{_ratio(theirs or (), rounds, kind)[0]:.2f}x" for kind in kinds] or ["", ""]
            connects.rows.append([name, f"{1e6 / took:.0f}", spread, f"{took:.0f}", cpu, *ratios])
        else:
            messages.rows.append([name, f"{took:.1f}", spread, cpu])
    added = Table("CPU time of a message, through the proxy and straight", ["who", "ratio", "rounds from", "to"])
    for name, straight in PAIRS.items():
        through, without = figures.get(("messages", name)), figures.get(("messages", straight))
        if through and without:
            added.rows.append([name, *(f"{one:.2f}x" for one in _ratio(through, without, "cpu"))])
    return [table for table in (connects, messages, added) if table.rows]


def _ratio(ours: Sequence[Figure], theirs: Sequence[Figure], kind: str) -> tuple[float, float, float]:
    """Return the median, the least and the largest of the ratios round by round."""
    found = [getattr(one, kind) / max(getattr(other, kind), 1e-9) for one, other in zip(ours, theirs, strict=True)]
    return statistics.median(found), min(found), max(found)


def _page(found: Sequence[Table], rounds: int, connects: int, messages: int) -> str:
    lines = [
        "# Figures of proxies",
        "",
        "Written by `python -m benchmarks.proxies --write`, which says what is measured.",
        "",
        f"- {dt.datetime.now(dt.UTC):%Y-%m-%d}, {machine()}",
        f"- {versions()}; microsocks",
        f"- {rounds} interleaved rounds of {connects} connections or {messages} messages of {len(SMALL)} bytes each;",
        "  medians of the rounds, and ratios taken round by round.",
        "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(table.markdown() for table in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for, and return what the process is to exit with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxies", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how many rounds (7)")
    parser.add_argument("--connects", type=int, default=300, help="how many connections a round (300)")
    parser.add_argument("--messages", type=int, default=3000, help="how many messages a round (3000)")
    parser.add_argument("--smoke", action="store_true", help="only see that all of it works")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}; for full runs")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 120)
    rounds, counts = options.rounds, {"connects": options.connects, "messages": options.messages}
    if options.smoke:
        rounds, counts = 1, {"connects": 3, "messages": 20}
    figures: Figures = {}
    try:
        with places() as found:
            for _ in range(rounds):
                for work, names in (("connects", CONNECTS), ("messages", MESSAGES)):
                    for name in filter(is_installed, names):
                        figures.setdefault((work, name), []).append(measure(work, name, found, counts[work]))
    except FileNotFoundError as exc:
        console.print(f"nothing was measured: {exc}")
        return 0
    for name in DIALS:
        if not is_installed(name):
            console.print(f"left out: {name} (not installed)")
    shown = tables(figures)
    if options.smoke:
        console.print("only to see that it works: these figures mean nothing")
    show(console, shown)
    if options.write:
        FIGURES.write_text(_page(shown, rounds, **counts), encoding="utf-8")
        console.print(f"written: {FIGURES.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
