# SPDX-License-Identifier: MIT
"""pjrpc carried by websockets, one message each way a call. pjrpc brings no such transport, so a few lines make one.

The server answers in order, so the client needs no ids to find who waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pjrpc.client
import pjrpc.server
import websockets.asyncio.client
import websockets.asyncio.server

from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.workloads import BATCH, BULK, TEXT, Job, Jobs

# Compression would be on; on loopback it only costs.
PLAIN: dict[str, Any] = {"compression": None, "max_size": 2 * BULK}


async def add(a: int, b: int) -> int:
    return a + b


async def echo(text: str) -> str:
    return text


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    registry = pjrpc.server.MethodRegistry()
    registry.add_method(add)
    registry.add_method(echo)
    dispatcher = pjrpc.server.AsyncDispatcher()
    dispatcher.add_methods(registry)

    async def answer(connection: Any) -> None:
        async for message in connection:
            answered = await dispatcher.dispatch(message, context=None)
            if answered is not None:
                await connection.send(answered[0])

    async with websockets.asyncio.server.serve(answer, "127.0.0.1", 0, **PLAIN) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Client(pjrpc.client.AbstractAsyncClient):  # type: ignore[misc]  # not type-checked here, so a class of type Any
    """A client on one WebSocket connection."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self._connection = connection
        self._waiting: deque[asyncio.Future[str]] = deque()

    async def read(self) -> None:
        async for message in self._connection:
            self._waiting.popleft().set_result(message)

    async def _request(self, request_text: str, is_notification: bool, request_kwargs: Mapping[str, Any]) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await self._connection.send(request_text)
        return await future


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Jobs]:
    async with websockets.asyncio.client.connect(f"ws://{address}", **PLAIN) as connection:
        client = Client(connection)
        reading = asyncio.create_task(client.read())

        async def batch_of_calls() -> object:
            async with client.batch() as batch:
                for _ in range(BATCH):
                    batch("add", 1, 2)
            return list(batch.get_results())

        text = TEXT
        yield {
            "small": Job(partial(client.call, "add", 1, 2), 3),
            "batch": Job(batch_of_calls, [3] * BATCH),
            "bulk": Job(partial(client.call, "echo", text), text),
        }
        await connection.close()
        await reading


if __name__ == "__main__":
    main(serve, partial(AsyncClient, connect))
