# SPDX-License-Identifier: MIT
"""The transports of all runtimes, as the stream kit wants them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from typing import Any

import trio

from tests import aio
from tieline.runtimes.blocking.host import BlockingHost
from tieline.runtimes.blocking.transport import SocketTransport
from tieline.testing.clock import VirtualClock
from tieline.testing.faults import Faults
from tieline.testing.memory import MemoryPeer, MemoryTransport, memory_peer
from tieline.testing.network import MemoryNetwork
from tieline.testing.peers import Peer, SocketPeer
from tieline.testing.stream_rigs import StreamRig


class LoopRig(StreamRig):
    """TCP on whatever runs: the loop's own transports on asyncio, ours on trio."""

    reports_failures = True

    def __init__(self) -> None:
        self._reports: list[BaseException | None] = []
        self._stack = contextlib.ExitStack()
        if aio.on_trio():
            self.implementation = "trio"
        else:
            module = type(asyncio.get_running_loop()).__module__
            self.implementation = "uvloop" if module.startswith("uvloop") else "asyncio"

    def __repr__(self) -> str:
        return f"TCP on {self.implementation}"

    async def connect(self, protocol: Any) -> Peer:
        self._reports = self._stack.enter_context(aio.reported())
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await aio.create_connection(lambda: protocol, *listener.getsockname())
            return SocketPeer(listener.accept()[0])

    async def turn(self) -> None:
        await aio.sleep(0)

    def reports(self) -> list[BaseException | None]:
        taken = self._reports[:]
        self._reports.clear()
        return taken

    async def end(self) -> None:
        self._stack.close()


class MemoryRig(StreamRig):
    """Transports in memory, on a clock that is moved by hand."""

    big = 1 << 20
    reports_failures = True

    def __init__(self, faults: Faults | None = None) -> None:
        self.clock = VirtualClock()
        self.faults = faults
        self._reports: list[BaseException | None] = []
        if faults is not None:
            self.big = 1 << 18

    def __repr__(self) -> str:
        return f"memory with {self.faults!r}"

    async def connect(self, protocol: Any) -> MemoryPeer:
        return memory_peer(protocol, self.clock, faults=self.faults)[1]

    async def turn(self) -> None:
        try:
            self.clock.step()
        except Exception as exc:
            self._reports.append(exc)

    def reports(self) -> list[BaseException | None]:
        taken, self._reports = self._reports, []
        return taken
