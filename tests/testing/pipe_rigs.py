# SPDX-License-Identifier: MIT
"""The transport of pipes on the two asynchronous runtimes, as the stream kit wants it: a pipe for each direction."""

from __future__ import annotations

import os
from typing import Any

from tests import aio
from tests.testing.rigs import LoopRig
from tieline.testing.peers import READ_SIZE, Peer


class PipePeer:
    """The other ends of two pipes. Both are its own from then on."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

    def send(self, data: bytes, /) -> int:
        try:
            return os.write(self._writer, data)
        except (BlockingIOError, InterruptedError):
            return 0

    def receive(self, size: int = READ_SIZE, /) -> bytes | None:
        try:
            return os.read(self._reader, size)
        except (BlockingIOError, InterruptedError):
            return None

    def end(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
        self._writer = -1

    def close(self) -> None:
        self.end()
        if self._reader >= 0:
            os.close(self._reader)
        self._reader = -1

    def reset(self) -> None:
        """Close: pipes have no resets."""
        self.close()


class PipeRig(LoopRig):
    """`PipeTransport` over bare pipes, as a server on standard input and output has it."""

    resets = False

    def __init__(self) -> None:
        super().__init__()
        self.implementation = ""  # it is ours, on every loop: all of the contract is expected

    def __repr__(self) -> str:
        return "two pipes"

    async def connect(self, protocol: Any) -> Peer:
        self._reports = self._stack.enter_context(aio.reported())
        reader, their_writer = os.pipe()
        their_reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        transport: Any
        if aio.on_trio():
            from tieline.runtimes.trio.host import host_of
            from tieline.runtimes.trio.pipes import TrioPipes

            nursery: Any = aio.nursery()
            transport = TrioPipes(host_of(nursery), reader, writer, protocol)
        else:
            from tieline.runtimes.asyncio.pipes import AsyncioPipes

            transport = AsyncioPipes(reader, writer, protocol)
        transport.start()
        return PipePeer(their_reader, their_writer)
