# SPDX-License-Identifier: MIT
"""Calls over standard streams: the client starts the server as its child, as editors and agents do.

Variants: "tieline" and "pygls" speak as language servers do; "tieline-mcp" and "mcp", the official SDK, call a tool as
agents do. Both of a pair say the same on the wire. What the harness takes for the server tells how to start the real
one, and how much processor time that has used.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.program import AsyncClient, Options, answer_cpu_of, main
from benchmarks.workloads import Job, Jobs

ROOT = Path(__file__).resolve().parents[2]
THREE = {"content": [{"type": "text", "text": "3"}]}
ARGUMENTS = {"a": 1, "b": 2}


# --- servers ---------------------------------------------------------------------------------------------------------


def serve_tieline(dialect: str) -> None:
    import tieline

    methods = tieline.Methods()

    @methods.method
    def add(a: int, b: int) -> int:
        return a + b

    @methods.method(name="tools/call")
    def call_tool(name: str, arguments: dict[str, int], **_: object) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": str(arguments["a"] + arguments["b"])}]}

    asyncio.run(tieline.serve(methods, "stdio:", dialect=dialect).serve_forever())


def serve_pygls() -> None:
    from pygls.protocol import JsonRPCProtocol, default_converter
    from pygls.server import JsonRPCServer

    server = JsonRPCServer(JsonRPCProtocol, default_converter)

    @server.feature("add")  # type: ignore[untyped-decorator]  # not type-checked here
    async def add(params: list[int]) -> int:
        return params[0] + params[1]

    server.start_io()


def serve_mcp() -> None:
    from mcp.server import MCPServer

    server = MCPServer("add")

    @server.tool()  # type: ignore[untyped-decorator]  # not type-checked here
    def add(a: int, b: int) -> int:
        return a + b

    server.run(transport="stdio")


SERVERS: dict[str, Callable[[], None]] = {
    "tieline": partial(serve_tieline, "lsp"),
    "tieline-mcp": partial(serve_tieline, "mcp"),
    "pygls": serve_pygls,
    "mcp": serve_mcp,
}


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[str]:
    told = Path(options.folder or ".", f"pid-{os.getpid()}")
    answer_cpu_of(told)
    yield shlex.join([sys.executable, "-m", "benchmarks.peers.stdio_rpc", "child", options.variant, str(told)])


# --- clients ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def connect_tieline(argv: list[str], dialect: str) -> AsyncIterator[Jobs]:
    import tieline

    async with tieline.connect(tieline.Command(argv, cwd=ROOT, stderr="inherit"), dialect=dialect) as session:
        if dialect == "lsp":
            yield {"small": Job(partial(session.call, "add", 1, 2), 3)}
        else:
            yield {"small": Job(partial(session.call, "tools/call", name="add", arguments=ARGUMENTS), THREE)}


@asynccontextmanager
async def connect_pygls(argv: list[str]) -> AsyncIterator[Jobs]:
    from pygls.client import JsonRPCClient

    client = JsonRPCClient()
    await client.start_io(*argv)
    protocol: Any = client.protocol
    yield {"small": Job(partial(protocol.send_request_async, "add", [1, 2]), 3)}
    protocol.writer.close()
    await client.stop()


@asynccontextmanager
async def connect_mcp(argv: list[str]) -> AsyncIterator[Jobs]:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    parameters = StdioServerParameters(command=argv[0], args=argv[1:], cwd=ROOT, env=dict(os.environ))
    connected: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold() -> None:
        """Have the connection: the SDK wants it to be ended by the task that made it."""
        async with stdio_client(parameters) as (reader, writer), ClientSession(reader, writer) as session:
            await session.initialize()
            connected.set_result(session)
            await over.wait()

    holder = asyncio.create_task(hold())
    session = await connected

    async def call() -> str:
        answer: Any = await session.call_tool("add", ARGUMENTS)
        return str(answer.content[0].text)

    yield {"small": Job(call, "3")}
    over.set()
    await holder


def connect(address: str, variant: str) -> Any:
    argv = shlex.split(address)
    match variant:
        case "pygls":
            return connect_pygls(argv)
        case "mcp":
            return connect_mcp(argv)
        case _:
            return connect_tieline(argv, "mcp" if variant == "tieline-mcp" else "lsp")


if __name__ == "__main__":
    if sys.argv[1] == "child":
        Path(sys.argv[3]).write_text(str(os.getpid()))
        SERVERS[sys.argv[2]]()
    else:
        main(serve, lambda options: AsyncClient(partial(connect, variant=options.variant), options))
