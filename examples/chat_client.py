# SPDX-License-Identifier: MIT
"""Chat: `python chat_client.py NAME [URL]`, while chat_server.py runs there. Each line you type is said.

Shows: notifications from the server. Lines may also come from a pipe: `printf 'hello\n' | python chat_client.py robot`.
"""

import asyncio
import sys

import tieline

methods = tieline.Methods()


@methods.method
def joined(name: str) -> None:
    print(f"* {name} came in", flush=True)


@methods.method
def left(name: str) -> None:
    print(f"* {name} left", flush=True)


@methods.method
def said(name: str, text: str) -> None:
    print(f"{name}: {text}", flush=True)


async def main(name: str, url: str) -> None:
    async with tieline.connect(url, methods) as session:
        others = await session.call("join", name)
        print("here:", ", ".join(others) or "nobody yet", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            # A call and no notification: whoever leaves behind it knows that everybody has been told.
            await session.call("say", line.rstrip("\n"))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "tcp://127.0.0.1:4001"))
    except tieline.ConnectionLost as exc:
        raise SystemExit(f"the server is gone: {exc}") from None
