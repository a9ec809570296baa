# SPDX-License-Identifier: MIT
"""JSON-RPC over asyncio streams as people write it by hand: readline, decode, answer, encode, write, drain.

It has no limits, no deadlines and hardly a check. Variant "msgspec": its JSON instead of the standard library's.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec

from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.workloads import BULK, TEXT, Job, Jobs

LIMIT = 2 * BULK


def codec(options: Options) -> tuple[Callable[[bytes], Any], Callable[[object], bytes]]:
    """Return what decodes and encodes."""
    if options.variant == "msgspec":
        return msgspec.json.decode, msgspec.json.encode
    return json.loads, lambda value: json.dumps(value).encode()


async def add(a: int, b: int) -> int:
    return a + b


async def echo(text: str) -> str:
    return text


HANDLERS: dict[str, Callable[..., Any]] = {"add": add, "echo": echo}


async def answer(options: Options, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    decode, encode = codec(options)
    while line := await reader.readline():
        request = decode(line)
        result = await HANDLERS[request["method"]](*request["params"])
        writer.write(encode({"jsonrpc": "2.0", "id": request["id"], "result": result}) + b"\n")
        await writer.drain()
    writer.close()


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    server = await asyncio.start_server(partial(answer, options), "127.0.0.1", 0, limit=LIMIT)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def connect(address: str, options: Options) -> AsyncIterator[Jobs]:
    decode, encode = codec(options)
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=LIMIT)
    pending: dict[int, asyncio.Future[Any]] = {}
    ids = itertools.count()
    loop = asyncio.get_running_loop()

    async def call(method: str, *params: object) -> Any:
        call_id = next(ids)
        future = pending[call_id] = loop.create_future()
        message = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}
        writer.write(encode(message) + b"\n")
        await writer.drain()
        return await future

    async def read() -> None:
        while line := await reader.readline():
            reply = decode(line)
            pending.pop(reply["id"]).set_result(reply["result"])

    reading = asyncio.create_task(read())
    text = TEXT
    yield {"small": Job(partial(call, "add", 1, 2), 3), "bulk": Job(partial(call, "echo", text), text)}
    writer.close()
    await reading
    await writer.wait_closed()


if __name__ == "__main__":
    main(serve, lambda options: AsyncClient(partial(connect, options=options), options))
