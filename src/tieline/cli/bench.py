# SPDX-License-Identifier: MIT
"""`tieline bench`: how many calls a second a server answers, and how long they take."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import typer

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import NO_SUCH_METHOD, talk_failed
from tieline.cli.latencies import Latencies, shown
from tieline.cli.loops import Loop, run
from tieline.cli.options import ArgsArgument, JSONOption, LoopOption
from tieline.cli.peer import Peer, connected, with_peer
from tieline.cli.sending import called
from tieline.cli.showing import as_json, line, out
from tieline.cli.terminal import restored
from tieline.cli.words import arguments

__all__ = ["bench"]

_PERCENTILES = (50, 90, 99, 99.9)
_ROWS = 12
_BAR = 40


@dataclass(slots=True)
class _Load:
    """What is to be done, and what came of it."""

    method: str
    args: Any
    deadline: float
    left: int | None
    timeout: float | None
    latencies: Latencies = field(default_factory=Latencies)
    errors: Counter[str] = field(default_factory=Counter[str])

    def is_over(self) -> bool:
        return (self.left is not None and self.left <= 0) or time.perf_counter() >= self.deadline


@with_peer
def bench(
    peer: Peer,
    method: Annotated[
        str | None,
        typer.Argument(metavar="METHOD", help="What to call; by default rpc.discover.", show_default=False),
    ] = None,
    args: ArgsArgument = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, metavar="N", help="How many calls are pending at a time.")
    ] = 100,
    connections: Annotated[int, typer.Option(min=1, metavar="N", help="How many connections to use.")] = 1,
    duration: Annotated[
        float, typer.Option("--duration", "-d", min=0.01, metavar="SECONDS", help="How long to measure.")
    ] = 5.0,
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", min=1, metavar="N", help="Stop after this many calls, not after a time."),
    ] = None,
    json: JSONOption = False,
    loop: LoopOption = Loop.AUTO,
) -> None:
    """Call a method repeatedly, and measure how many calls per second are answered, and how long they take.

    Each caller waits for a reply before its next call, so a server that stalls receives fewer calls meanwhile. Error
    replies count as replies, and are reported. If client and server run on one machine, they share its processors.

    Examples:

        tieline bench tcp://127.0.0.1:4000 add 1 2
        tieline bench tcp://127.0.0.1:4000 add 1 2 --concurrency 1 --count 10000
        tieline bench tls://host:4000 --connections 10 --duration 30 --json
    """
    load = _Load(
        method=method or "rpc.discover",
        args=arguments(args or ()),
        deadline=0.0,
        left=count,
        timeout=peer.timeout,
    )
    seconds = run(_bench(peer, load, min(connections, concurrency), concurrency, duration, quiet=json), loop)
    if json:
        out(as_json(_figures(load, seconds)))
    else:
        for text in _report(load, seconds):
            out(text)
    if load.errors:
        kinds = ", ".join(f"{number} times {line(text)}" for text, number in load.errors.most_common(3))
        raise Failure(Exit.ANSWERED_ERROR, f"{sum(load.errors.values())} replies were errors: {kinds}")


async def _bench(peer: Peer, load: _Load, connections: int, concurrency: int, duration: float, *, quiet: bool) -> float:
    """Do it, and return the seconds that it took."""
    async with AsyncExitStack() as stack:
        # So many callers are what is asked for; a server says itself how many it bears.
        limits = tieline.Limits(max_calls=max(concurrency, tieline.Limits().max_calls))
        factory = partial(tieline.ClientSession, limits=limits)
        sessions = [await stack.enter_async_context(connected(peer, factory)) for _ in range(connections)]
        await _try(sessions[0], load, peer)
        start = time.perf_counter()
        load.deadline = start + duration if load.left is None else float("inf")
        async with _progress(load, start, duration, quiet=quiet):
            await _all(_caller(sessions[number % connections], load, peer) for number in range(concurrency))
        return time.perf_counter() - start


async def _try(session: tieline.ClientSession, load: _Load, peer: Peer) -> None:
    """Call once, so that what cannot work is told before anything is measured."""
    try:
        await called(session, load.method, load.args, load.timeout)
    except tieline.RPCError as exc:
        if exc.code == NO_SUCH_METHOD and load.method == "rpc.discover":
            raise Failure(Exit.USAGE, f"{peer.where()} has no rpc.discover: say which METHOD is to be called") from exc
        raise


async def _all(callers: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all callers; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(caller)
    except* Failure as failures:
        raise failures.exceptions[0] from None  # each of them has met the same


async def _caller(session: tieline.ClientSession, load: _Load, peer: Peer) -> None:
    clock, latencies = time.perf_counter, load.latencies
    timeout = tieline.DEFAULT if load.timeout is None else load.timeout
    while not load.is_over():
        if load.left is not None:
            load.left -= 1
        start = clock()
        try:
            await session.send_request(load.method, load.args, timeout=timeout)
        except tieline.RPCError as exc:
            load.errors[str(exc)] += 1
        except (OSError, tieline.TielineError) as exc:
            raise talk_failed(exc, peer.where()) from exc
        latencies.add(clock() - start)


@asynccontextmanager
async def _progress(load: _Load, start: float, duration: float, *, quiet: bool) -> AsyncGenerator[None]:
    """Draw a bar on standard error while the body runs, ten times a second, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    total = load.left
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # Drawn by the loop itself: a thread that draws would be measured too.
    with (
        Progress(*columns, console=console, auto_refresh=False, transient=True) as progress,
        restored(progress.stop),
    ):
        bar = progress.add_task("", total=duration if total is None else total)

        async def draw() -> None:
            while True:
                await asyncio.sleep(0.1)
                passed, done = time.perf_counter() - start, load.latencies.count
                speed = f"{done / passed:,.0f} calls/s"
                progress.update(bar, completed=passed if total is None else done, description=speed, refresh=True)

        drawing = asyncio.ensure_future(draw())
        try:
            yield
        finally:
            drawing.cancel()


# --- what came of it -------------------------------------------------------------------------------------------------


def _figures(load: _Load, seconds: float) -> dict[str, Any]:
    found = load.latencies
    return {
        "method": load.method,
        "calls": found.count,
        "errors": sum(load.errors.values()),
        "seconds": round(seconds, 6),
        "calls_per_second": round(found.count / seconds, 1),
        "latency_seconds": {
            "min": round(found.shortest, 9),
            "mean": round(found.mean(), 9),
            **{f"p{percent:g}": round(found.percentile(percent), 9) for percent in _PERCENTILES},
            "max": round(found.longest, 9),
        },
    }


def _report(load: _Load, seconds: float) -> Iterator[str]:
    found = load.latencies
    yield f"{found.count:,} calls of {line(load.method)} in {seconds:.2f} s: {found.count / seconds:,.0f} calls/s"
    yield ""
    named = [*((f"p{percent:g}", found.percentile(percent)) for percent in _PERCENTILES), ("max", found.longest)]
    yield "  ".join(f"{name} {shown(value)}" for name, value in named)
    yield ""
    rows = list(found.histogram(_ROWS))
    most = max(count for _, _, count in rows)
    for start, end, count in rows:
        bar = "█" * round(count / most * _BAR) or ("▏" if count else "")
        yield f"{shown(start):>8} - {shown(end):<8} {bar:<{_BAR}} {count / found.count:6.2%}"
