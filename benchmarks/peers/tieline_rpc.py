# SPDX-License-Identifier: MIT
"""tieline itself, with all limits and deadlines at their defaults. Variant "stdlib": JSON by the standard library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import tieline
from benchmarks.peers.program import AsyncClient, Options, main
from benchmarks.workloads import BATCH, TEXT, Job, Jobs

methods = tieline.Methods()


@methods.method
async def add(a: int, b: int) -> int:
    return a + b


@methods.method
async def echo(text: str) -> str:
    return text


def codec(options: Options) -> tieline.Codec | None:
    return tieline.StdlibCodec() if options.variant == "stdlib" else None


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    async with tieline.serve(methods, options.url, codec=codec(options)) as server:
        yield server.url


@asynccontextmanager
async def connect(address: str, options: Options) -> AsyncIterator[Jobs]:
    text = TEXT
    async with tieline.connect(address, codec=codec(options)) as session:

        async def batch_of_calls() -> object:
            async with session.batch() as batch:
                for _ in range(BATCH):
                    batch.add_request("add", [1, 2])
            return list(batch.results)

        yield {
            "small": Job(partial(session.call, "add", 1, 2), 3),
            "batch": Job(batch_of_calls, [3] * BATCH),
            "bulk": Job(partial(session.call, "echo", text), text),
        }


if __name__ == "__main__":
    main(serve, lambda options: AsyncClient(partial(connect, options=options), options))
