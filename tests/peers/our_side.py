# SPDX-License-Identifier: MIT
"""What our side offers to real peers: the methods that `ancestor.py` and the scripts of jayson have too."""

from typing import Any

import tieline
from tests import aio


class Notes:
    """What peers noted, and a way to wait for it."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._changed = aio.Condition()

    async def add(self, value: Any) -> None:
        async with self._changed:
            self.values.append(value)
            self._changed.notify_all()

    async def all(self, count: int) -> list[Any]:
        """Wait until there are so many, and return them."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.values) >= count)
        return self.values


def our_methods(notes: Notes | None = None) -> tieline.Methods:
    """Return a registry of its own for one test; notifications go into *notes*."""
    noted = notes or Notes()
    methods = tieline.Methods()

    @methods.method
    def add(a: int, b: int) -> int:
        return a + b

    @methods.method
    async def echo(value: Any) -> Any:
        return value

    @methods.method
    def size(text: str) -> int:
        return len(text)

    @methods.method
    def fail(code: int, message: str) -> None:
        raise tieline.RPCError(code, message)

    @methods.method
    def crash() -> None:
        raise ValueError("not for the peer")

    @methods.method
    async def note(value: Any) -> None:
        await noted.add(value)

    @methods.method(name="notes")
    def all_notes() -> list[Any]:
        return noted.values

    @methods.method
    async def ask_back(number: int, session: tieline.SessionBase) -> Any:
        await session.notify("note", f"asking about {number}")
        return await session.call("double", number)

    @methods.method
    def double(number: int) -> int:
        return 2 * number

    @methods.method
    async def fail_back(session: tieline.SessionBase) -> str:
        try:
            await session.call("fail", -7, "from the caller")
        except tieline.RPCError as exc:
            return f"{exc.code} {exc.message}"
        return "no error"

    @methods.method
    async def hang() -> None:
        await aio.Event().wait()

    return methods
