# SPDX-License-Identifier: MIT
"""aiorpcX, in lines over TCP or over WebSocket.

What would slow it down on purpose is off: it sheds load after some traffic, and sends 50 calls at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiorpcx

from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.workloads import BATCH, BULK, TEXT, Job, Jobs


class Session(aiorpcx.RPCSession):  # type: ignore[misc]  # aiorpcX has no types
    cost_hard_limit = 0
    initial_concurrent = 1000
    recalibrate_count = 1 << 60

    def __init__(self, transport: Any) -> None:
        super().__init__(transport)
        self._outgoing_concurrency.set_target(1000)

    def default_framer(self) -> Any:
        return aiorpcx.NewlineFramer(max_size=2 * BULK)

    async def handle_request(self, request: Any) -> Any:
        handler = {"add": self.add, "echo": self.echo}.get(request.method)
        return await aiorpcx.handler_invocation(handler, request)()

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def echo(self, text: str) -> str:
        return text


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    start = aiorpcx.serve_ws if options.transport == "ws" else aiorpcx.serve_rs
    server = await start(Session, "127.0.0.1", 0)
    yield f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@asynccontextmanager
async def connect(address: str, options: Options) -> AsyncIterator[Jobs]:
    host, port = address.split(":")
    if options.transport == "ws":
        connecting = aiorpcx.connect_ws(f"ws://{address}/", session_factory=Session)
    else:
        connecting = aiorpcx.connect_rs(host, int(port), session_factory=Session)
    text = TEXT
    async with connecting as session:

        async def batch_of_calls() -> object:
            async with session.send_batch() as batch:
                for _ in range(BATCH):
                    batch.add_request("add", [1, 2])
            return list(batch.results)

        yield {
            "small": Job(partial(session.send_request, "add", [1, 2]), 3),
            "batch": Job(batch_of_calls, [3] * BATCH),
            "bulk": Job(partial(session.send_request, "echo", [text]), text),
        }


if __name__ == "__main__":
    main(serve, lambda options: AsyncClient(partial(connect, options=options), options))
