# SPDX-License-Identifier: MIT
"""The service of `tieline demo`. Serve it yourself: `tieline serve tieline.cli.demo_service`, and copy from it."""

from __future__ import annotations

import asyncio

import tieline

__all__ = ["Stock", "methods"]

methods = tieline.Methods()


@methods.method
def add(a: int, b: int = 1) -> int:
    """Add two numbers. The type hints are checked before this runs."""
    return a + b


@methods.method
async def greet(session: tieline.ServerSession) -> str:
    """Ask the caller for its name, and greet it: a server may call its clients."""
    return f"hello {await session.call('your_name')}"


@methods.method
async def count_down(session: tieline.ServerSession, start: int) -> str:
    """Notify the caller of each step, then reply."""
    for number in range(start, 0, -1):
        await session.notify("step", number)
    return "lift off"


@methods.method
async def wait(seconds: float) -> str:
    """Reply after some time, to try deadlines."""
    await asyncio.sleep(seconds)
    return f"waited {seconds:g} s"


class Stock:
    """A stock of items. All public methods of an object can be served."""

    def __init__(self) -> None:
        self._pieces = {"table": 3, "chair": 12}

    def count(self, item: str) -> int:
        """Return how many pieces there are."""
        return self._pieces.get(item, 0)

    def take(self, item: str, pieces: int = 1) -> int:
        """Take pieces out, and return how many are left."""
        left = self.count(item) - pieces
        if left < 0:
            # Errors of your own: a code, a text, and whatever data the caller can use.
            raise tieline.RPCError(1, f"not enough of {item}", data={"missing": -left})
        self._pieces[item] = left
        return left


methods.add(Stock(), prefix="stock.")
