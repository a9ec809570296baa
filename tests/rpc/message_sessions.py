# SPDX-License-Identifier: MIT
"""Sessions of messages that tests serve and dial."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests import aio
from tests.rpc.sessions import until
from tieline import FramerBase, MessageSession, NewlineFramer, Server, serve

URL = "tcp://127.0.0.1:0"
PING = (b"ping", b"12345678")
PONG = (b"pong", b"12345678")


class Node(MessageSession):
    """Answers a ping, and keeps what comes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[Any] = []
        self.losses = 0

    async def handle_message(self, message: Any) -> None:
        self.seen.append(message)
        if message[0] == b"ping":
            await self.send_message((b"pong", message[1]))

    async def connection_lost(self) -> None:
        self.losses += 1


class Lines(MessageSession):
    """Keeps lines, by a plain handler."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[bytes] = []

    def default_framer(self) -> FramerBase[Any]:
        return NewlineFramer.with_limit(self._max_message())

    def handle_message(self, message: bytes) -> Any:
        self.seen.append(message)


async def the_peer(server: Server) -> Any:
    """Return the one session of a server, once it is there."""
    await until(lambda: server.sessions)
    (session,) = server.sessions
    return session


@asynccontextmanager
async def served(cls: type[MessageSession], url: str = URL, **settings: Any) -> AsyncIterator[Server]:
    async with serve(cls, url, **settings) as server:
        yield server
        for session in list(server.sessions):
            session.abort()


class Waiting(Lines):
    """Handles each line when its own gate is open."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begun: list[bytes] = []
        self.cancelled: list[bytes] = []
        self.gates: dict[bytes, aio.Event] = {}

    async def handle_message(self, message: bytes) -> None:
        self.begun.append(message)
        try:
            await self.gates.setdefault(message, aio.Event()).wait()
        except aio.Cancelled:
            self.cancelled.append(message)
            raise
        self.seen.append(message)

    def open(self, *messages: bytes) -> None:
        for message in messages:
            self.gates.setdefault(message, aio.Event()).set()


class Ordered(Waiting):
    ordered = True


class Echoing(Lines):
    """Sends back what comes, as long as it is told to."""

    async def handle_message(self, message: bytes) -> None:
        self.seen.append(message)
        if message.startswith(b"echo"):
            await self.send_message(b"back" + message)
