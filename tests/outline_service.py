# SPDX-License-Identifier: MIT
"""What outline.py talks with: `outline_service.py URL DIALECT` prints its URL, and serves until it is killed."""

import asyncio
import sys

import tieline

methods = tieline.Methods()
texts: dict[str, str] = {}


@methods.method
def initialize(**_: object) -> dict[str, object]:
    return {"capabilities": {}, "serverInfo": {"name": "service"}}


@methods.method
def initialized(**_: object) -> None: ...


@methods.method(name="textDocument/didOpen")
def did_open(textDocument: dict[str, object]) -> None:  # noqa: N803  # the protocol's name
    texts[str(textDocument["uri"])] = str(textDocument["text"])


@methods.method(name="textDocument/documentSymbol")
def symbols(textDocument: dict[str, str]) -> list[dict[str, str]]:  # noqa: N803  # as above
    lines = texts[textDocument["uri"]].splitlines()
    return [{"name": line.partition(" = ")[0]} for line in lines if " = " in line]


@methods.method
async def hang() -> None:
    await asyncio.sleep(3600)


@methods.method
def shutdown(**_: object) -> None: ...


async def main(url: str, dialect: str) -> None:
    async with tieline.serve(methods, url, dialect=dialect) as server:
        print(server.url, flush=True)
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
