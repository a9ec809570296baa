# SPDX-License-Identifier: MIT
"""`tieline demo`: all that a connection can do, in a minute, with the code beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import typer

import tieline
from tieline.cli.demo_service import methods
from tieline.cli.exits import Exit
from tieline.cli.showing import out, readable

__all__ = ["demo"]


def demo() -> None:
    """Show a server and a client in this process that call each other, with the code of each step.

    It needs no network, ends by itself, and exits with 0 if every step had the expected result.
    """
    if asyncio.run(_Demo().run()):
        raise typer.Exit(Exit.ANSWERED_ERROR)


class _Demo:
    def __init__(self) -> None:
        self._failures = 0
        self._heard: list[int] = []

    async def run(self) -> int:
        """Run all steps, and return how many went wrong."""
        ours = tieline.Methods()
        ours.method(name="your_name")(lambda: "Ann")
        ours.method(name="step")(self._heard.append)
        out("A server and a client, connected over TCP:\n")
        out('  server = tieline.serve(methods, "tcp://127.0.0.1:0")')
        out("  session = tieline.connect(server.url, our_methods)")
        async with tieline.serve(methods, "tcp://127.0.0.1:0") as server, tieline.connect(server.url, ours) as session:
            await self._calls(session)
            await self._both_ways(session)
            await self._errors(session)
        if self._failures:
            out(f"\n{self._failures} steps went wrong")
            return self._failures
        out("\nEverything worked. Now try it yourself:\n")
        out("  tieline serve tieline.cli.demo_service              # the same service, in a second terminal")
        out("  tieline methods tcp://127.0.0.1:4000                # list its methods")
        out("  tieline call tcp://127.0.0.1:4000 stock.take chair 2")
        return 0

    async def _calls(self, session: tieline.ClientSession) -> None:
        out("\nCalls: arguments by position and by name, and a method of an object")
        await self._show('await session.call("add", 1, 2)', lambda: session.call("add", 1, 2), 3)
        await self._show('await session.call("add", a=41)', lambda: session.call("add", a=41), 42)
        await self._show('await session.call("stock.count", "table")', lambda: session.call("stock.count", "table"), 3)

    async def _both_ways(self, session: tieline.ClientSession) -> None:
        out("\nBoth ways: the server calls us while we wait, and notifies us")
        await self._show('await session.call("greet")', lambda: session.call("greet"), "hello Ann")
        await self._show('await session.call("count_down", 3)', lambda: session.call("count_down", 3), "lift off")
        await self._show("heard  # by notifications", self._what_was_heard, [3, 2, 1])
        out("\nA batch: several requests in one message")
        await self._show(
            'batch.add_request("add", [1, 2]); batch.add_request("stock.take", ["chair", 2]); await batch',
            lambda: self._batch(session),
            [3, 10],
        )

    async def _errors(self, session: tieline.ClientSession) -> None:
        out("\nErrors: one of the service's own, an argument of the wrong type, a deadline")
        await self._show(
            'await session.call("stock.take", "table", 5)',
            lambda: session.call("stock.take", "table", 5),
            "RPCError: not enough of table (code 1)",
        )
        await self._show(
            'await session.call("add", "one")',
            lambda: session.call("add", "one"),
            "RPCError: parameter 'a': expected `int`, got `str` (code -32602)",
        )
        await self._show(
            'await session.call("wait", 0.5, timeout=0.1)',
            lambda: session.call("wait", 0.5, timeout=0.1),
            "TimeoutError: no reply in time",
        )

    async def _what_was_heard(self) -> list[int]:
        return self._heard

    async def _batch(self, session: tieline.ClientSession) -> list[object]:
        async with session.batch(raise_errors=True) as batch:
            batch.add_request("add", [1, 2])
            batch.add_request("stock.take", ["chair", 2])
        return list(batch.results)

    async def _show(self, code: str, do: Callable[[], Awaitable[Any]], expected: object) -> None:
        """Show a step: its code, and what comes of it."""
        try:
            seen: object = await do()
        except (tieline.TielineError, OSError) as exc:
            seen = f"{type(exc).__name__}: {exc}"
        is_right = seen == expected
        self._failures += not is_right
        out(f"  {code}\n    {'->' if is_right else 'WRONG:'} {readable(seen)}")
