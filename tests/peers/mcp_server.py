# SPDX-License-Identifier: MIT
"""An MCP server of the official SDK on standard input and output: `python mcp_server.py`."""

import sys
import warnings

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

# Roots and logging are things of the older revisions, and those are spoken here.
warnings.simplefilter("ignore")

server = MCPServer("theirs")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


@server.tool()
def echo(text: str) -> str:
    print("echoing")  # their transport keeps it from the protocol, as ours does
    return text


@server.tool()
async def where(ctx: Context) -> str:
    """Ask the client for its roots."""
    roots = await ctx.session.list_roots()
    return str(roots.roots[0].uri)


@server.tool()
async def steps(count: int, ctx: Context) -> int:
    for step in range(count):
        await ctx.report_progress(step + 1, count)
    return count


@server.tool()
async def wait(name: str, ctx: Context) -> None:
    """Wait until the call is taken back; tell of both."""
    await ctx.info(f"{name} begun")
    try:
        await anyio.sleep_forever()
    finally:
        print(f"{name} taken back", file=sys.stderr, flush=True)


server.run(transport="stdio")
