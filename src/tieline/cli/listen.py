# SPDX-License-Identifier: MIT
"""`tieline listen`: print what a peer sends."""

from __future__ import annotations

import asyncio
import signal
from datetime import datetime
from typing import Annotated, Any

import typer

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import talk_failed
from tieline.cli.options import ArgsArgument
from tieline.cli.peer import Peer, connected, with_peer
from tieline.cli.sending import called
from tieline.cli.showing import as_json, line, out, readable, warn
from tieline.cli.words import arguments

__all__ = ["listen"]


@with_peer
def listen(
    peer: Peer,
    args: ArgsArgument = None,
    call: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Call METHOD with ARGS first, for example to subscribe.")
    ] = None,
    hello: Annotated[
        bool,
        typer.Option(
            help="Without --call: make a harmless call first. Servers may disconnect clients that send nothing."
        ),
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each, for use by programs.")] = False,
) -> None:
    """Print the notifications and requests that a server sends, until it disconnects, or Ctrl+C.

    Requests are printed, and answered with "no such method". The exit code is 0 when the server closes the connection
    cleanly, and after Ctrl+C.

    Examples:

        tieline listen tcp://127.0.0.1:4000
        tieline listen tcp://127.0.0.1:4000 --call subscribe news
        tieline listen unix:stock.sock --json | jq --unbuffered .params
    """
    if args and call is None:
        raise Failure(Exit.USAGE, "arguments need a method: --call METHOD ARGS")
    asyncio.run(_listen(peer, call, arguments(args or ()), hello=hello, json=json))


async def _listen(peer: Peer, method: str | None, args: Any, *, hello: bool, json: bool) -> None:
    class Listening(tieline.ClientSession):
        async def handle_request(self, request: tieline.RPCRequest) -> object:
            out(_as_json(request) if json else _as_text(request))
            if not request.is_notification():
                raise self.protocol.method_not_found("tieline listen answers no requests")
            return None

    async with connected(peer, Listening) as session:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, session.close)
        if method is not None:
            try:
                result = await called(session, method, args, peer.timeout)
            except tieline.ClosedError:  # Ctrl+C, before the answer came
                return
            if not json:
                out(f"{_now()}  {line(method)} returned {readable(result)}")
        elif hello:
            session.send_request("rpc.discover", on_done=_ignored)
        if not json:
            warn(f"listening to {peer.where()}; Ctrl+C stops")
        await session.wait_closed()
        reason = session.close_reason
        if reason is not None and not isinstance(reason, tieline.EndOfStream):
            raise talk_failed(reason, peer.where())


def _ignored(request: tieline.RPCRequestOut) -> None:
    if not request.cancelled():
        request.exception()


def _now() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")


def _as_text(request: tieline.RPCRequest) -> str:
    shown = "" if request.args is None else f" {readable(request.args)}"
    asked = "" if request.is_notification() else "  (a request: answered with an error)"
    return f"{_now()}  {line(str(request.method))}{shown}{asked}"


def _as_json(request: tieline.RPCRequest) -> str:
    told: dict[str, Any] = {"method": request.method, "params": request.args}
    return as_json(told if request.is_notification() else told | {"id": request.request_id})
