# SPDX-License-Identifier: MIT
"""pygls, the language server framework, over TCP: JSON-RPC framed by Content-Length. It serves one connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from pygls.client import JsonRPCClient
from pygls.io_ import run_async
from pygls.protocol import JsonRPCProtocol, default_converter
from pygls.server import JsonRPCServer

from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.workloads import BULK, TEXT, Job, Jobs


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    server = JsonRPCServer(JsonRPCProtocol, default_converter)

    @server.feature("add")  # type: ignore[untyped-decorator]  # not type-checked here
    async def add(params: list[int]) -> int:
        return params[0] + params[1]

    @server.feature("echo")  # type: ignore[untyped-decorator]  # not type-checked here
    async def echo(params: list[str]) -> str:
        return params[0]

    # What its `start_tcp` does, which does not tell the port.
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.protocol.set_writer(writer)
        await run_async(threading.Event(), reader, server.protocol)

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2 * BULK)
    yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Jobs]:
    host, port = address.split(":")
    client = JsonRPCClient()
    await client.start_tcp(host, int(port))
    protocol: Any = client.protocol
    text = TEXT
    yield {
        "small": Job(partial(protocol.send_request_async, "add", [1, 2]), 3),
        "bulk": Job(partial(protocol.send_request_async, "echo", [text]), text),
    }
    protocol.writer.close()
    await client.stop()


if __name__ == "__main__":
    main(serve, partial(AsyncClient, connect))
