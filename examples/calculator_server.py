# SPDX-License-Identifier: MIT
"""A calculator for other programs: `python calculator_server.py [URL]`; Ctrl+C or SIGTERM stops it.

Shows: an object's methods as a service, arguments checked by their type hints, errors that say what was wrong.
"""

import asyncio
import sys

import tieline

DIVISION_BY_ZERO = 1  # codes of your own: anything outside of -32768 to -32000 (JSON-RPC 2.0, section 5.1)


class Calculator:
    """Every public method is callable; the hints are the contract."""

    def add(self, a: float, b: float) -> float:
        return a + b

    def divide(self, a: float, b: float) -> float:
        if b == 0:
            raise tieline.RPCError(DIVISION_BY_ZERO, "division by zero", data={"a": a})
        return a / b

    async def mean(self, *values: float) -> float:
        await asyncio.sleep(0)  # async handlers may wait, for a database or for other services
        return sum(values) / len(values)


async def main(url: str) -> None:
    methods = tieline.Methods()
    methods.add(Calculator(), prefix="calc.")
    async with tieline.serve(methods, url) as server:
        print(server.url, flush=True)  # the real one: with port 0 the system has chosen
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:4000"))
    except KeyboardInterrupt:
        print("stopped")
