# SPDX-License-Identifier: MIT
"""`tieline methods`: list what a server offers."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

import tieline
from tieline.cli.discovered import Offered, offered
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import NO_SUCH_METHOD
from tieline.cli.peer import Peer, connected, with_peer
from tieline.cli.sending import called
from tieline.cli.showing import as_json, line, out

__all__ = ["methods"]


@with_peer
def methods(
    peer: Peer,
    json: Annotated[bool, typer.Option("--json", help="Print the whole OpenRPC document, for programs.")] = False,
) -> None:
    """List the methods that a server offers, with their parameters.

    The server must offer them as rpc.discover: `tieline serve` does; in your own program, call
    methods.offer_discovery().

    Examples:

        tieline methods tcp://127.0.0.1:4000
        tieline methods tcp://127.0.0.1:4000 --json | jq '.methods[].name'
    """
    document = asyncio.run(_ask(peer))
    if json:
        out(as_json(document))
        return
    found = offered(document)
    if found:
        _show(found)
    else:
        out("no methods")


async def _ask(peer: Peer) -> Any:
    async with connected(peer) as session:
        try:
            return await called(session, "rpc.discover", None, peer.timeout)
        except tieline.RPCError as exc:
            if exc.code != NO_SUCH_METHOD:
                raise
            hint = "in its program, methods.offer_discovery() lets it"
            raise Failure(
                Exit.NO_METHOD, f"{peer.where()} does not list its methods (no rpc.discover); {hint}"
            ) from exc


def _show(found: list[Offered]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("method", "parameters", "result", ""):
        table.add_column(title, overflow="fold")
    for each in found:
        cells = (each.name, each.arguments(), each.result, each.summary)
        table.add_row(*(Text(line(cell)) for cell in cells))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # nothing is folded for a program
    with console.capture() as printed:
        console.print(table)
    for row in printed.get().splitlines():
        out(row.rstrip())  # which rich fills with blanks
