# SPDX-License-Identifier: MIT
"""grpc.aio with bytes as messages: no Protocol Buffers are parsed, which spares it work that it usually has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc

from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.peers.raw import SMALL
from benchmarks.workloads import BULK, Job, Jobs

# Without it the connections of one process share one TCP connection.
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


async def echo(request: bytes, context: Any) -> bytes:
    return request


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    server = grpc.aio.server()
    handlers = {"echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Jobs]:
    async with grpc.aio.insecure_channel(address, options=OWN_CONNECTION) as channel:
        call = channel.unary_unary("/bench/echo")
        large = b"x" * BULK
        yield {"small": Job(partial(call, SMALL), SMALL), "bulk": Job(partial(call, large), large)}


if __name__ == "__main__":
    main(serve, partial(AsyncClient, connect))
