# SPDX-License-Identifier: MIT
"""A minimal client: `python echo_client.py [URL [WORD ...]]`, while echo_server.py runs there.

Shows: the ways in which a call can fail, and what to catch for each.
"""

import asyncio
import sys
import time

import tieline


async def main(url: str, words: list[str]) -> None:
    async with tieline.connect(url) as session:
        for word in words:
            start = time.perf_counter()
            answer = await session.call("echo", word, timeout=5)
            print(f"{answer} ({1000 * (time.perf_counter() - start):.1f} ms)")


if __name__ == "__main__":
    url, *words = sys.argv[1:] or ["tcp://127.0.0.1:4003"]
    try:
        asyncio.run(main(url, words or ["hello", "world"]))
    except tieline.RPCError as exc:
        sys.exit(f"the server replied with an error: {exc}")
    except TimeoutError as exc:
        sys.exit(f"the server takes too long: {exc}")
    except OSError as exc:  # nobody listens, or the connection was lost: ConnectionLost is an OSError
        sys.exit(f"no connection to {url}: {exc}")
