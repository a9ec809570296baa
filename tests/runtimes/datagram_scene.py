# SPDX-License-Identifier: MIT
"""Sockets of datagrams on every runtime, blocking code too: there, whoever waits for something polls."""

from __future__ import annotations

import asyncio as theirs
import socket
from collections.abc import Callable
from typing import Any

import tieline
import tieline.blocking
from tests import aio
from tests.loops import Runtime, TrioRuntime, runtimes
from tieline.transports import DatagramCallbacks

LOCAL = ("127.0.0.1", 0)

# Blocking code runs within a test of asyncio, whose loop it does not touch.
RUNTIMES: list[Any] = [*runtimes(), TrioRuntime(), Runtime("blocking", theirs.new_event_loop)]


class Story(DatagramCallbacks):
    """A protocol that writes down what it hears, and does what it is told to do at each of these moments."""

    def __init__(self, **orders: Any) -> None:
        self.told: list[str] = []
        self.got: list[bytes] = []
        self.senders: list[Any] = []
        self.errors: list[OSError] = []
        self.ancillary: list[Any] = []
        self.lost_with: list[BaseException | None] = []
        self.orders = orders
        self.transport: Any = None
        self.depth = 0

    def _hear(self, name: str) -> None:
        assert not self.lost_with, f"{name} behind connection_lost"
        self.told.append(name)
        self.depth += 1
        try:
            order = self.orders.get(name)
            if order is not None:
                order(self.transport)
        finally:
            self.depth -= 1

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._hear("made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert self.depth == 0
        assert type(data) is bytes
        self.got.append(data)
        self.senders.append(addr)
        self._hear("datagram")

    def ancillary_received(self, ancillary: Any) -> None:
        self.ancillary.append(ancillary)
        self._hear("ancillary")

    def error_received(self, exc: OSError) -> None:
        assert self.depth == 0, "error_received within another callback"
        self.errors.append(exc)
        self._hear("error")

    def pause_writing(self) -> None:
        self._hear("pause")

    def resume_writing(self) -> None:
        self._hear("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        assert self.depth == 0, "connection_lost within another callback"
        self._hear("lost")
        self.lost_with.append(exc)


class Scene:
    """Opens transports on one runtime, and closes all of them at the end."""

    def __init__(self, runtime: Any) -> None:
        self.is_blocking = runtime.name == "blocking"
        self.stories: list[Story] = []

    async def __aenter__(self) -> Scene:
        return self

    async def __aexit__(self, *_: object) -> None:
        for story in self.stories:
            story.transport.abort()
        await self.until(lambda: all(story.lost_with for story in self.stories))
        assert all(story.told.count("lost") == 1 for story in self.stories)

    async def opened(self, local_addr: Any = None, remote_addr: Any = None, **settings: Any) -> Story:
        """Return a protocol on a socket of its own; what is no argument of the function is an order for the story."""
        moments = ("made", "datagram", "error", "pause", "resume", "ancillary")
        orders = {moment: settings.pop(moment) for moment in moments if moment in settings}
        if self.is_blocking:
            transport, story = tieline.blocking.create_datagram_endpoint(
                lambda: Story(**orders), local_addr, remote_addr, **settings
            )
        else:
            transport, story = await tieline.create_datagram_endpoint(
                lambda: Story(**orders), local_addr, remote_addr, nursery=aio.nursery(), **settings
            )
        assert story.transport is transport
        assert story.told[0] == "made"
        self.stories.append(story)
        return story  # type: ignore[no-any-return]  # a factory's protocol is of any type

    async def until(self, condition: Callable[[], object]) -> None:
        async with aio.timeout(10):
            while not condition():
                await self.turn()

    async def turn(self) -> None:
        """Let everything go on for a moment."""
        if self.is_blocking:
            for story in self.stories:
                if not story.lost_with:
                    story.transport.poll(0.001)
        await aio.sleep(0 if self.is_blocking else 0.0005)

    async def turns(self) -> None:
        for _ in range(5):
            await self.turn()


def udp(family: int = socket.AF_INET) -> socket.socket:
    """Return a bare socket on loopback."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(LOCAL if family == socket.AF_INET else ("::1", 0))
    sock.settimeout(10)
    return sock


def unix(path: object) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    sock.settimeout(10)
    return sock
