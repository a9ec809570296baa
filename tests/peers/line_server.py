# SPDX-License-Identifier: MIT
"""A server of ours in a process of its own, for typists: python line_server.py LOOP URL PROTOCOL. Prints its URL.

It has the methods that the examples of JSON-RPC 2.0, section 7, call.
"""

import sys
from typing import Any

import tieline
from tests import aio

methods = tieline.Methods()


@methods.method
def subtract(minuend: int, subtrahend: int) -> int:
    return minuend - subtrahend


@methods.method(name="sum")
async def total(*numbers: int) -> int:
    return sum(numbers)


@methods.method
def get_data() -> list[Any]:
    return ["hello", 5]


@methods.method
async def slow(value: Any) -> Any:
    """Answer some turns of the loop later."""
    for _ in range(10):
        await aio.sleep(0)
    return value


@methods.method
def echo(value: Any) -> Any:
    return value


@methods.method
def update(*numbers: int) -> None:
    print("update", *numbers)


@methods.method
def notify_hello(number: int) -> None:
    print("notify_hello", number)


async def main(url: str, protocol: str) -> None:
    async with tieline.serve(methods, url, rpc_protocol=getattr(tieline, protocol)) as server:
        print(server.url)
        await server.serve_forever()


if __name__ == "__main__":
    loop, *arguments = sys.argv[1:]
    aio.run(main, *arguments, loop=loop)
