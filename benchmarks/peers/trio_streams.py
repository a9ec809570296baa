# SPDX-License-Identifier: MIT
"""Lines echoed by trio's own streams, one write a call: what trio can do at most, by its ordinary means.

Nothing is parsed but newlines. One call at a time is sent and awaited by its caller itself; for several at once a task
reads, and completes an event for each line that comes back. Variant "anyio": the same by anyio's streams, on trio.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import trio
from anyio.abc import SocketAttribute, SocketStream

from benchmarks.peers.program import Options, async_client, main
from benchmarks.workloads import Job, Jobs

LINE = b'{"jsonrpc":"2.0","id":123456,"method":"add","params":[1,2]}\n'
MOST = 64 * 1024  # bytes a read

Send = Callable[[bytes], Awaitable[object]]
Receive = Callable[[], Awaitable[bytes]]


class Caller:
    """Sends lines and waits for them to come back."""

    def __init__(self, nursery: trio.Nursery, send: Send, receive: Receive) -> None:
        self._nursery = nursery
        self._send = send
        self._receive = receive
        self._waiting: deque[trio.Event] = deque()
        self._one_at_a_time = trio.Lock()  # the streams take one sender at a time
        self._is_reading = False

    async def call(self) -> None:
        """Send a line and read until it is back; nobody else may be calling."""
        await self._send(LINE)
        seen = 0
        while seen < len(LINE):
            seen += len(await self._receive())

    async def shared_call(self) -> None:
        """Send a line, and wait until a task of its own has read it."""
        if not self._is_reading:
            self._is_reading = True
            self._nursery.start_soon(self._read)
        is_back = trio.Event()
        async with self._one_at_a_time:
            self._waiting.append(is_back)
            await self._send(LINE)
        await is_back.wait()

    async def _read(self) -> None:
        while data := await self._receive():
            for _ in range(data.count(b"\n")):
                self._waiting.popleft().set()


# --- trio ------------------------------------------------------------------------------------------------------------


async def echo(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some(MOST):
        await stream.send_all(data)
    await stream.aclose()


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    if options.variant == "anyio":
        async with serve_by_anyio() as address:
            yield address
        return
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1", backlog=1000))
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connect(address: str, options: Options) -> AsyncIterator[Jobs]:
    host, port = address.split(":")
    send: Send
    receive: Receive
    if options.variant == "anyio":
        plain = await anyio.connect_tcp(host, int(port))
        send, receive, close = plain.send, partial(plain.receive, MOST), plain.aclose
    else:
        stream = await trio.open_tcp_stream(host, int(port))
        send, receive, close = stream.send_all, partial(stream.receive_some, MOST), stream.aclose
    async with trio.open_nursery() as nursery:
        caller = Caller(nursery, send, receive)
        yield {"small": Job(caller.call, None), "many": Job(caller.shared_call, None)}
        nursery.cancel_scope.cancel()
    await close()


# --- anyio -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serve_by_anyio() -> AsyncIterator[str]:
    async def echo_by_anyio(stream: SocketStream) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=1000)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, echo_by_anyio)
        yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        group.cancel_scope.cancel()


if __name__ == "__main__":
    main(serve, lambda options: async_client(partial(connect, options=options), options))
