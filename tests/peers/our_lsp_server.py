# SPDX-License-Identifier: MIT
"""A server of ours on standard input and output, framed as LSP is, on the runtime that the first argument names."""

import sys
from typing import Any

import tieline

methods = tieline.Methods()
noted: list[Any] = []


@methods.method
def add(a: int, b: int) -> int:
    print("adding", a, "and", b)  # a stray print
    return a + b


@methods.method
async def echo(value: Any) -> Any:
    return value


@methods.method
def size(text: str) -> int:
    return len(text)


@methods.method
def fail_with_data(code: int, message: str) -> None:
    raise tieline.RPCError(code, message, data={"more": ["ü", None]})


@methods.method
def crash() -> None:
    raise ValueError("not for the peer")


methods.method(name="note")(noted.append)
methods.method(name="notes")(lambda: noted)


@methods.method
async def ask_back(number: int, session: tieline.SessionBase) -> Any:
    await session.notify("note", f"asking about {number}")
    return await session.call("double", number)


@methods.method
async def fail_back(session: tieline.SessionBase) -> str:
    try:
        await session.call("fail", -7, "from the caller")
    except tieline.RPCError as exc:
        return f"{exc.code} {exc.message}"
    return "no error"


@methods.method
async def wait(name: str, session: tieline.SessionBase) -> None:
    await session.notify("waiting", name)
    await sleep(3600)


runtime = sys.argv[1]
if runtime == "trio":
    import trio

    sleep: Any = trio.sleep
    trio.run(tieline.serve(methods, "stdio:", dialect="lsp").serve_forever)
else:
    import asyncio

    sleep = asyncio.sleep
    if runtime == "blocking":
        from tieline import blocking

        with blocking.serve(methods, "stdio:", dialect="lsp") as server:
            server.serve_forever()
    elif runtime == "uvloop":
        import uvloop

        uvloop.run(tieline.serve(methods, "stdio:", dialect="lsp").serve_forever())
    else:
        asyncio.run(tieline.serve(methods, "stdio:", dialect="lsp").serve_forever())
