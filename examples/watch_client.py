# SPDX-License-Identifier: MIT
"""Print what changes in a folder: `python watch_client.py [URL [PATTERN ...]]`, while watch_server.py runs there.

Shows: a client that subscribes with a call, then only listens, and notices the end of the connection.
"""

import asyncio
import sys

import tieline

methods = tieline.Methods()


@methods.method
def changed(changes: dict[str, str]) -> None:
    for path, what in sorted(changes.items()):
        print(what, repr(path), flush=True)  # the repr, since names of files may hold anything


async def main(url: str, patterns: list[str]) -> None:
    async with tieline.connect(url, methods) as session:
        number = await session.call("watch", *patterns)
        print(f"watching {number} files at {url}", flush=True)
        await session.wait_closed()
        raise tieline.ConnectionLost(str(session.close_reason))


if __name__ == "__main__":
    url, *patterns = sys.argv[1:] or ["tcp://127.0.0.1:4004"]
    try:
        asyncio.run(main(url, patterns))
    except (OSError, tieline.RPCError) as exc:  # of which ConnectionLost is one
        sys.exit(f"nothing to watch: {exc}")
    except KeyboardInterrupt:
        print("stopped")
