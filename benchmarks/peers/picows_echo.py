# SPDX-License-Identifier: MIT
"""Messages echoed by picows, a WebSocket engine in Cython: what a WebSocket can do at most. Nothing reads the JSON."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_connect, ws_create_server

from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.workloads import Job, Jobs

SMALL = b'{"jsonrpc":"2.0","id":123456,"method":"add","params":[1,2]}'


class Echo(WSListener):  # type: ignore[misc]  # not type-checked here, so a class of type Any
    """Sends back what comes."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_bytes())


class Caller(WSListener):  # type: ignore[misc]  # as above
    """Sends messages, and completes a future for each that comes back."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.new_future = asyncio.get_running_loop().create_future
        self.waiting: deque[asyncio.Future[None]] = deque()

    def call(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self.new_future()
        self.waiting.append(future)
        self.transport.send(WSMsgType.TEXT, SMALL)
        return future

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            frame.get_payload_as_bytes()
            self.waiting.popleft().set_result(None)


def new_echo(_: WSUpgradeRequest) -> Echo:
    return Echo()


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    server: Any = await ws_create_server(new_echo, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Jobs]:
    transport, caller = await ws_connect(Caller, f"ws://{address}/")
    yield {"small": Job(caller.call, None)}
    transport.disconnect()
    await transport.wait_disconnected()


if __name__ == "__main__":
    main(serve, partial(AsyncClient, connect))
