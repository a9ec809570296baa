# SPDX-License-Identifier: MIT
"""Serve a method and call it, in one process."""

import asyncio

import tieline

methods = tieline.Methods()


@methods.method
async def add(a: int, b: int) -> int:
    return a + b


async def main() -> None:
    async with tieline.serve(methods, "tcp://127.0.0.1:0") as server:  # noqa: SIM117  # two lines read easier
        async with tieline.connect(server.url) as session:
            assert await session.call("add", 1, 2) == 3


asyncio.run(main())
