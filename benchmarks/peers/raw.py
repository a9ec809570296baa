# SPDX-License-Identifier: MIT
"""Lines echoed by bare asyncio protocols, one write a call: what a loop can do at most.

Nothing is parsed but newlines. Variant "buffered": a `BufferedProtocol` with one buffer for all connections, as
tieline reads on stock asyncio.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.workloads import BULK, Job, Jobs

SMALL = b'{"jsonrpc":"2.0","id":123456,"method":"add","params":[1,2]}\n'
LARGE = b"x" * BULK + b"\n"

_buffer = memoryview(bytearray(256 * 1024))


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # that of uvloop is none by its bases

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Caller(asyncio.Protocol):
    """Sends lines, and completes a future for each line that comes back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # that of uvloop is none by its bases
        self.new_future = asyncio.get_running_loop().create_future
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.closed = self.new_future()

    def call(self, line: bytes) -> asyncio.Future[None]:
        future = self.new_future()
        self.waiting.append(future)
        self.transport.write(line)
        return future

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\n")):
            self.waiting.popleft().set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


class BufferedEcho(asyncio.BufferedProtocol, Echo):
    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(_buffer[:nbytes].tobytes())


class BufferedCaller(asyncio.BufferedProtocol, Caller):
    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(_buffer[:nbytes].tobytes())


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    echo = BufferedEcho if options.variant == "buffered" else Echo
    server = await asyncio.get_running_loop().create_server(echo, "127.0.0.1", 0, backlog=1000)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def connect(address: str, options: Options) -> AsyncIterator[Jobs]:
    host, port = address.split(":")
    factory = BufferedCaller if options.variant == "buffered" else Caller
    transport, caller = await asyncio.get_running_loop().create_connection(factory, host, int(port))
    yield {"small": Job(partial(caller.call, SMALL), None), "bulk": Job(partial(caller.call, LARGE), None)}
    transport.close()
    await caller.closed


if __name__ == "__main__":
    main(serve, lambda options: AsyncClient(partial(connect, options=options), options))
