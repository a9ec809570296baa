# SPDX-License-Identifier: MIT
"""`tieline call`: call a method, and print what it returns."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

import tieline
from tieline.cli.discovered import advice
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import NO_SUCH_METHOD
from tieline.cli.peer import Peer, connected, with_peer
from tieline.cli.sending import called, error_object
from tieline.cli.showing import as_json, out, show
from tieline.cli.words import arguments

__all__ = ["call"]


@with_peer
def call(
    peer: Peer,
    method: Annotated[
        str | None, typer.Argument(metavar="METHOD", help="The method's name.", show_default=False)
    ] = None,
    args: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGS]...", help="JSON, plain words, or NAME=VALUE.", show_default=False),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="FILE", help="Send the requests in FILE at once; - is standard input.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON, for programs.")] = False,
) -> None:
    """Call a method, and print its result.

    An argument that is JSON is sent as such (1, true, null, '[1, 2]', '{"a": 1}'), anything else as a text; NAME=VALUE
    goes by name. So 12 is a number and '"12"' a text.

    """
    if (method is None) == (batch is None):
        raise Failure(Exit.USAGE, "say which METHOD is to be called, or --batch FILE, and not both")
    assert method is not None
    asyncio.run(_call(peer, method, arguments(args or []), json=json))


async def _call(peer: Peer, method: str, args: Any, *, json: bool) -> None:
    async with connected(peer) as session:
        try:
            result = await called(session, method, args, peer.timeout)
        except tieline.RPCError as exc:
            if json:
                out(as_json({"error": error_object(exc)}))
            if exc.code == NO_SUCH_METHOD:
                raise Failure(Exit.NO_METHOD, await advice(session, method, peer)) from exc
            raise
    if json:
        out(as_json({"result": result}))
    else:
        show(result)
