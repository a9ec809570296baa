# SPDX-License-Identifier: MIT
"""tieline itself, with all limits and deadlines at their defaults.

The handlers are plain functions, as users write what need not wait. Variants: "async" has async ones, which return
without waiting (as those of all other peers here must be); "stdlib" reads and writes JSON by the standard library.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import tieline
from benchmarks.peers.program import Options, async_client, main
from benchmarks.workloads import BATCH, TEXT, Job, Jobs

methods = tieline.Methods()
async_methods = tieline.Methods()


@methods.method
def add(a: int, b: int) -> int:
    return a + b


@methods.method
def echo(text: str) -> str:
    return text


@async_methods.method(name="add")
async def add_async(a: int, b: int) -> int:
    return a + b


@async_methods.method(name="echo")
async def echo_async(text: str) -> str:
    return text


def codec(options: Options) -> tieline.Codec | None:
    return tieline.StdlibCodec() if options.variant == "stdlib" else None


def endpoint(options: Options) -> str | tieline.Endpoint:
    if options.shared_port:
        return tieline.TCP("127.0.0.1", options.shared_port, reuse_port=True)
    return options.url


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    served = async_methods if options.variant == "async" else methods
    async with tieline.serve(served, endpoint(options), codec=codec(options)) as server:
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
    main(serve, lambda options: async_client(partial(connect, options=options), options))
