# SPDX-License-Identifier: MIT
"""Ask any suitable server for the outline of a text: `python outline.py LOOP URL DIALECT [PROXY]`; LOOP: asyncio, trio.

It is the same for `cmd:clangd lsp` and `tcp://host:4000 strict_v2`; outline_blocking.py is its twin without a loop.
"""

import asyncio
import sys
from functools import partial

import trio

import tieline

DOCUMENT = {"uri": "file:///answer.c", "languageId": "c", "version": 1, "text": "answer = 42;\n"}


async def main(url: str, dialect: str, proxy: str | None = None) -> None:
    async with tieline.connect(url, dialect=dialect, proxy=proxy) as session:
        told = await session.call("initialize", processId=None, rootUri=None, capabilities={})
        await session.notify("initialized")
        await session.notify("textDocument/didOpen", textDocument=DOCUMENT)
        symbols = await session.call("textDocument/documentSymbol", textDocument={"uri": DOCUMENT["uri"]})
        print(told["serverInfo"]["name"], "finds", ", ".join(symbol["name"] for symbol in symbols))
        await session.call("shutdown")


if __name__ == "__main__":
    loop, *args = sys.argv[1:]
    trio.run(partial(main, *args)) if loop == "trio" else asyncio.run(main(*args))
