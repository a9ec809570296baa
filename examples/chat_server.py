# SPDX-License-Identifier: MIT
"""A chat room: `python chat_server.py [URL]`; Ctrl+C or SIGTERM ends it.

Shows: a session class with state of its own, broadcast to all sessions, and what to do when one goes away.
"""

import asyncio
import sys
from typing import Any

import tieline

NAME_TAKEN = 1

methods = tieline.Methods()


class Guest(tieline.ServerSession):
    """One connection. `serve` makes one for each client that comes."""

    name: str | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(methods=methods, **kwargs)

    async def connection_lost(self) -> None:
        if self.name is not None and self.server is not None:
            await self.server.broadcast("left", self.name)


@methods.method
async def join(guest: Guest, name: str) -> list[str]:
    """Enter the room and return who is there."""
    assert guest.server is not None
    others = sorted(other.name for other in guest.server.sessions if isinstance(other, Guest) and other.name)
    if name in others:
        raise tieline.RPCError(NAME_TAKEN, f"there is a {name!r} already")
    guest.name = name
    await guest.server.broadcast("joined", name)
    return others


@methods.method
async def say(guest: Guest, text: str) -> None:
    """Tell everybody; the answer means that it is on its way to them."""
    if guest.name is not None and guest.server is not None:
        await guest.server.broadcast("said", guest.name, text)


async def main(url: str) -> None:
    async with tieline.serve(Guest, url) as server:
        print(server.url, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:4001"))
    except KeyboardInterrupt:
        print("closed")
