# SPDX-License-Identifier: MIT
"""jsonrpcserver carried by websockets. It has no client: requests are made by hand, with the standard library's JSON.

Its server answers in order, so the client needs no ids to find who waits.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import jsonrpcserver
import websockets.asyncio.client
import websockets.asyncio.server

from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.workloads import Job, Jobs

# Compression would be on; on loopback it only costs.
PLAIN: dict[str, Any] = {"compression": None}


async def add(a: int, b: int) -> Any:
    return jsonrpcserver.Success(a + b)


METHODS = {"add": add}


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    async def answer(connection: Any) -> None:
        async for message in connection:
            await connection.send(await jsonrpcserver.async_dispatch(message, METHODS))

    async with websockets.asyncio.server.serve(answer, "127.0.0.1", 0, **PLAIN) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Client:
    """A client on one WebSocket connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._waiting: deque[asyncio.Future[str]] = deque()
        self._ids = itertools.count()

    async def read(self) -> None:
        async for message in self._connection:
            self._waiting.popleft().set_result(message)

    async def call(self, method: str, *params: object) -> object:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        await self._connection.send(json.dumps(request))
        return json.loads(await future)["result"]


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Jobs]:
    async with websockets.asyncio.client.connect(f"ws://{address}", **PLAIN) as connection:
        client = Client(connection)
        reading = asyncio.create_task(client.read())
        yield {"small": Job(partial(client.call, "add", 1, 2), 3)}
        await connection.close()
        await reading


if __name__ == "__main__":
    main(serve, partial(AsyncClient, connect))
