# SPDX-License-Identifier: MIT
"""A chat room: `python chat_server.py [URL]`; Ctrl+C or SIGTERM stops it.

Shows: a session class with its own state, type hints that limit what a peer may send, broadcast to all sessions, and
what to do when a session ends.
"""

import asyncio
import sys
from typing import Annotated, Any

import msgspec

import tieline

NAME_TAKEN = 1
NOT_IN = 2

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
Text = Annotated[str, msgspec.Meta(max_length=1000)]

# Who takes nothing for three seconds is cut: `broadcast` waits for slow guests, and all others wait with it.
LIMITS = tieline.Limits.public(max_message=10_000, write_timeout=3)

methods = tieline.Methods()


class Guest(tieline.ServerSession):
    """One connection. `serve` makes one for each client that comes."""

    name: str | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(methods=methods, **kwargs)

    async def connection_lost(self) -> None:
        if self.name is not None:
            await self.tell_all("left", self.name)

    async def tell_all(self, method: str, *args: str) -> None:
        assert self.server is not None  # it is a server that made this session
        await self.server.broadcast(method, *args)

    def others(self) -> list[str]:
        """Return the names of the other guests."""
        assert self.server is not None
        guests = [guest for guest in self.server.sessions if isinstance(guest, Guest) and guest is not self]
        return sorted(guest.name for guest in guests if guest.name is not None)


@methods.method
async def join(guest: Guest, name: Name) -> list[str]:
    """Enter the room and return who is there."""
    others = guest.others()
    if name in others or guest.name is not None:
        raise tieline.RPCError(NAME_TAKEN, f"there is a {name!r} already, or you have come in before")
    guest.name = name  # before anything is waited for: nobody else can take it meanwhile
    await guest.tell_all("joined", name)
    return others


@methods.method
async def say(guest: Guest, text: Text) -> None:
    """Tell everybody; the answer means that it is on its way to them."""
    if guest.name is None:
        raise tieline.RPCError(NOT_IN, "join first")
    await guest.tell_all("said", guest.name, text)


async def main(url: str) -> None:
    async with tieline.serve(Guest, url, limits=LIMITS) as server:
        print(server.url, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:4001"))
    except KeyboardInterrupt:
        print("closed")
