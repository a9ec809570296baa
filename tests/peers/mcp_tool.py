# SPDX-License-Identifier: MIT
"""An MCP server of ours on standard input and output, on the runtime that the first argument names."""

import sys
from typing import Any

import tieline

methods = tieline.Methods()
tools: dict[str, Any] = {}
NAMES = ("add", "echo", "where", "steps", "wait")


@methods.method
def initialize(protocolVersion: str, **_: object) -> dict[str, Any]:  # noqa: N803  # the protocol's name
    return {
        "protocolVersion": protocolVersion,
        "capabilities": {"tools": {}, "logging": {}},
        "serverInfo": {"name": "ours", "version": "1"},
    }


@methods.method(name="notifications/initialized")
def initialized(**_: object) -> None: ...


@methods.method
def ping(**_: object) -> dict[str, Any]:
    return {}


@methods.method(name="tools/list")
def list_tools(**_: object) -> dict[str, Any]:
    return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]}


@methods.method(name="tools/call")
async def call_tool(
    session: tieline.SessionBase,
    name: str,
    arguments: dict[str, Any],
    _meta: dict[str, Any] | None = None,
    **_: object,
) -> dict[str, Any]:
    print("somebody calls", name)  # a stray print
    value: Any
    match name:
        case "add":
            value = arguments["a"] + arguments["b"]
        case "echo":
            value = arguments["text"]
        case "where":
            value = (await session.call("roots/list"))["roots"][0]["uri"]
        case "steps":
            value = arguments["count"]
            for step in range(value):
                progress = {"progressToken": (_meta or {})["progressToken"], "progress": step + 1, "total": value}
                await session.notify("notifications/progress", **progress)
        case "wait":
            await wait(session, arguments["name"])
            value = None
        case _:
            raise tieline.RPCError(-32602, f"unknown tool {name}")
    return {"content": [{"type": "text", "text": str(value)}]}


async def wait(session: tieline.SessionBase, name: str) -> None:
    """Wait until the call is taken back; tell of both."""
    await session.notify("notifications/message", level="info", data=f"{name} begun")
    try:
        await sleep(3600)
    finally:
        print(f"{name} taken back", file=sys.stderr, flush=True)


runtime = sys.argv[1]
if runtime == "trio":
    import trio

    sleep: Any = trio.sleep
    trio.run(tieline.serve(methods, "stdio:", dialect="mcp").serve_forever)
else:
    import asyncio

    sleep = asyncio.sleep
    if runtime == "blocking":
        from tieline import blocking

        with blocking.serve(methods, "stdio:", dialect="mcp") as server:
            server.serve_forever()
    elif runtime == "uvloop":
        import uvloop

        uvloop.run(tieline.serve(methods, "stdio:", dialect="mcp").serve_forever())
    else:
        asyncio.run(tieline.serve(methods, "stdio:", dialect="mcp").serve_forever())
