# SPDX-License-Identifier: MIT
"""A minimal server: `python echo_server.py [URL]` returns what it receives; Ctrl+C or SIGTERM stops it."""

import asyncio
import sys

import tieline

methods = tieline.Methods()


@methods.method
def echo(value: object) -> object:
    return value


async def main(url: str) -> None:
    async with tieline.serve(methods, url) as server:
        print(server.url, flush=True)  # the real one: with port 0 the system has chosen
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:4003"))
    except KeyboardInterrupt:
        print("stopped")
