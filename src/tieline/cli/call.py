# SPDX-License-Identifier: MIT
"""`tieline call`: call a method, or a batch of them, and print what is answered."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

import tieline
from tieline.cli import batches
from tieline.cli.discovered import advice
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import INVALID_ARGUMENTS, NO_SUCH_METHOD, talk_failed
from tieline.cli.options import ArgsArgument, JSONOption
from tieline.cli.peer import Peer, connected, with_peer
from tieline.cli.sending import called, error_object
from tieline.cli.showing import as_json, out, show
from tieline.cli.words import arguments

__all__ = ["call"]


@with_peer
def call(
    peer: Peer,
    method: Annotated[
        str | None, typer.Argument(metavar="METHOD", help="The name of the method.", show_default=False)
    ] = None,
    args: ArgsArgument = None,
    batch: Annotated[
        str | None, typer.Option(metavar="FILE", help="Send the requests in FILE as one batch (- is standard input).")
    ] = None,
    json: JSONOption = False,
) -> None:
    """Call a method, and print its result.

    An argument that is valid JSON is sent as JSON (1, true, null, '[1, 2]', '{"a": 1}'), any other as a string. So 12
    is a number and '"12"' a string. NAME=VALUE is passed by name; names and positions do not mix.

    A batch is a JSON array of requests, or one request per line: {"method": "add", "params": [1, 2], "id": 1}. Without
    an id it is a notification; ["add", 1, 2] is short for a call.

    Examples:

        tieline call tcp://127.0.0.1:4000 add 1 2
        tieline call unix:stock.sock find name="oak table" limit=5 --json
        tieline call tls://host:4000 greet Ann --tls-ca ca.pem --timeout 5
        echo '["add", 1, 2]' | tieline call tcp://127.0.0.1:4000 --batch -

    Exit codes:

    {exit codes}
    """
    if (method is None) == (batch is None):
        raise Failure(Exit.USAGE, "say which METHOD is to be called, or --batch FILE, and not both")
    if method is not None:
        asyncio.run(_call(peer, method, arguments(args or ()), json=json))
    elif batch is not None:
        asyncio.run(_call_batch(peer, batches.read(batch), json=json))


async def _call(peer: Peer, method: str, args: Any, *, json: bool) -> None:
    async with connected(peer) as session:
        try:
            result = await called(session, method, args, peer.timeout)
        except tieline.RPCError as exc:
            if json:
                out(as_json({"error": error_object(exc)}))
            failure = talk_failed(exc, peer.where())
            if exc.code in {NO_SUCH_METHOD, INVALID_ARGUMENTS}:
                failure = Failure(failure.code, await advice(session, method, failure, peer))
            raise failure from exc
    if json:
        out(as_json({"result": result}))
    else:
        show(result)


async def _call_batch(peer: Peer, members: list[batches.Member], *, json: bool) -> None:
    async with connected(peer) as session:
        results = await batches.send(session, members, peer.timeout)
    calls = [member for member in members if member.is_call]
    out(as_json(batches.as_objects(calls, results)) if json else _summary(members, calls, results))
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        code = Exit.TIMEOUT if all(isinstance(error, TimeoutError) for error in errors) else Exit.ANSWERED_ERROR
        raise Failure(code, f"{len(errors)} of {len(calls)} calls failed")


def _summary(members: list[batches.Member], calls: list[batches.Member], results: list[object]) -> str:
    sent = len(members) - len(calls)
    told = f"{sent} notification{'' if sent == 1 else 's'} sent (requests without an id are not answered)"
    return "\n".join([*([batches.as_text(calls, results)] if calls else []), *([told] if sent else [])])
