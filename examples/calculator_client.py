# SPDX-License-Identifier: MIT
"""Call the calculator: `python calculator_client.py [URL]`, while calculator_server.py runs there.

Shows: arguments by position and by name, several calls at once, a batch, and the errors of calls.
"""

import asyncio
import sys

import tieline


async def main(url: str) -> None:
    async with tieline.connect(url) as session:
        print("1 + 2 =", await session.call("calc.add", 1, 2))
        print("7 / 2 =", await session.call("calc.divide", a=7, b=2))

        # Calls do not wait for each other: all three are on their way at once.
        sums = await asyncio.gather(*(session.call("calc.add", n, n) for n in (1, 2, 3)))
        print("doubled:", sums)

        async with session.batch() as batch:  # one message there, one message back
            batch.add_request("calc.mean", [1, 2, 3, 4])
            batch.add_request("calc.divide", [1, 0])
        print("batch:", batch.results)

        try:
            await session.call("calc.add", 1, "two", timeout=5)
        except tieline.RPCError as exc:
            print("refused:", exc)
        except TimeoutError:
            print("no reply within 5 seconds")
        # tieline.ConnectionLost would say that the server went away: here it ends the program.


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:4000"))
