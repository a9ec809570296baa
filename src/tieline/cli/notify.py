# SPDX-License-Identifier: MIT
"""`tieline notify`: send a notification."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from tieline.cli.options import ArgsArgument
from tieline.cli.peer import Peer, connected, with_peer
from tieline.cli.sending import notified
from tieline.cli.words import arguments

__all__ = ["notify"]


@with_peer
def notify(
    peer: Peer,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="The name of the method.", show_default=False)],
    args: ArgsArgument = None,
) -> None:
    """Send a notification: a call without a reply.

    It prints nothing: servers do not report whether the method exists, or whether it failed. Arguments are as for call.

    Examples:

        tieline notify tcp://127.0.0.1:4000 log "it works"
        tieline notify unix:stock.sock moved item=7 to=shelf
    """
    asyncio.run(_notify(peer, method, arguments(args or ())))


async def _notify(peer: Peer, method: str, args: Any) -> None:
    async with connected(peer) as session:
        await notified(session, method, args)
