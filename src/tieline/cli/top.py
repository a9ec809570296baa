# SPDX-License-Identifier: MIT
"""`tieline top`: show what a server does, as it does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Final

import typer

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import NO_SUCH_METHOD
from tieline.cli.figures import Document, Figures, Order, document_of, figures
from tieline.cli.peer import Peer, connected, with_peer
from tieline.cli.sending import called
from tieline.cli.showing import as_json, is_terminal, out
from tieline.cli.table import lines_of, screen_of
from tieline.cli.terminal import restored

__all__ = ["top"]

METHOD: Final = "rpc.statistics"


@with_peer
def top(
    peer: Peer,
    interval: Annotated[
        float, typer.Option("--interval", "-i", min=0.1, metavar="SECONDS", help="The time between updates.")
    ] = 1.0,
    sort: Annotated[
        Order, typer.Option(help="How to sort the methods: by name, or the highest first.", metavar="NAME")
    ] = Order.METHOD,
    once: Annotated[
        bool, typer.Option("--once", help="Print the statistics once; the default if the output is not a terminal.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON per update, for use by programs.")] = False,
) -> None:
    """Show the live statistics of a server: calls, errors and durations by method, connections, traffic, costs.

    The server must offer them as rpc.statistics: `tieline serve --stats` does; in your own program, call
    methods.offer_statistics(). Calls per second and durations cover the time since the last update; with --once, since
    the start of the server. Ctrl+C ends it.

    Examples:

        tieline top tcp://127.0.0.1:4000
        tieline top unix:stock.sock --sort calls --interval 5
        tieline top tls://shop.example:4000 --proxy env --once
        tieline top tcp://127.0.0.1:4000 --once --json | jq .connections.open
    """
    asyncio.run(_top(peer, interval, sort, once=once or not (json or is_terminal()), json=json))


async def _top(peer: Peer, interval: float, order: Order, *, once: bool, json: bool) -> None:
    async with connected(peer) as session:
        document = await _ask(session, peer)  # what cannot work is told before anything is drawn
        found = figures(None, document, order)
        if once:
            if json:
                out(as_json(found.as_json()))
            else:
                for line in lines_of(found, peer.where()):
                    out(line)
            return
        with ExitStack() as stack:
            show = _printing if json else _drawing(stack, peer.where())
            try:
                await _go_on(session, peer, interval, order, (document, found), show)
            except asyncio.CancelledError:  # by Ctrl+C, whatever was awaited: so it ends, and all was well
                task = asyncio.current_task()
                assert task is not None
                task.uncancel()


async def _go_on(
    session: tieline.ClientSession,
    peer: Peer,
    interval: float,
    order: Order,
    first: tuple[Document, Figures],
    show: Callable[[Figures], None],
) -> None:
    """Look again and again, until it is cancelled."""
    before, found = first
    while True:
        show(found)
        await asyncio.sleep(interval)
        document = await _ask(session, peer)
        found = figures(before, document, order)
        before = document


async def _ask(session: tieline.ClientSession, peer: Peer) -> Document:
    try:
        return document_of(await called(session, METHOD, None, peer.timeout))
    except tieline.RPCError as exc:
        if exc.code != NO_SUCH_METHOD:
            raise
        hint = "tieline serve --stats does, and in a program methods.offer_statistics()"
        raise Failure(Exit.NO_METHOD, f"{peer.where()} offers no statistics (no {METHOD}); {hint}") from exc


def _printing(found: Figures) -> None:
    out(as_json(found.as_json()))


def _drawing(stack: ExitStack, where: str) -> Callable[[Figures], None]:
    """Return what draws on the whole terminal, until *stack* ends."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    # Drawn when there is something new: no thread of its own.
    live = stack.enter_context(Live(console=console, screen=True, auto_refresh=False))
    stack.enter_context(restored(live.stop))

    def draw(found: Figures) -> None:
        live.update(screen_of(found, where, console.size.height), refresh=True)

    return draw
