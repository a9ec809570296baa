# SPDX-License-Identifier: MIT
"""A client of the official MCP SDK: `python mcp_client.py MODE COMMAND ...` starts a server and prints what it says.

MODE is how it begins: `legacy` by `initialize`, `auto` by asking first what the server knows.
"""

import json
import sys
import warnings
from functools import partial
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, StdioServerParameters

warnings.simplefilter("ignore")  # roots and logging are things of the older revisions, and those are spoken here


def show(name: str, value: Any) -> None:
    print(json.dumps([name, value]), flush=True)


async def main(mode: str, command: str, *args: str) -> None:
    begun = anyio.Event()

    async def roots(_context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///of/theirs")])

    async def heard(params: types.LoggingMessageNotificationParams) -> None:
        show("heard", params.data)
        begun.set()

    async def progress(done: float, total: float | None, _message: str | None) -> None:
        show("progress", [done, total])

    server = StdioServerParameters(command=command, args=list(args))
    async with Client(server, mode=mode, list_roots_callback=roots, logging_callback=heard) as client:
        show("server", client.server_info.name if client.server_info else None)
        show("tools", [tool.name for tool in (await client.list_tools()).tools])

        async def call(tool: str, /, **arguments: Any) -> str:
            result = await client.call_tool(tool, arguments, progress_callback=progress if tool == "steps" else None)
            content: Any = result.content[0]
            return str(content.text)

        show("add", await call("add", a=1, b=2))
        show("echo", await call("echo", text="Grüße \U0001f600"))
        show("big", len(await call("echo", text="ü" * 400_000)))
        show("where", await call("where"))
        show("steps", await call("steps", count=3))
        try:
            await call("unknown")
        except Exception as exc:
            show("unknown", str(exc))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(call, "wait", name="one"))
            await begun.wait()
            tasks.cancel_scope.cancel()
        show("add", await call("add", a=3, b=4))


anyio.run(partial(main, *sys.argv[1:]))
