# SPDX-License-Identifier: MIT
"""vscode-jsonrpc (npm) as our client over TCP: what its calls come to, and ours to it."""

import json
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.language_client import LSP
from tests.peers.our_side import Notes, our_methods
from tests.peers.programs import running
from tieline import (
    ConnectionLost,
    ContentLengthFramer,
    EndOfStream,
    JSONRPCAutoDetect,
    JSONRPCLoose,
    JSONRPCv2,
    RPCError,
)

pytestmark = pytest.mark.peers

BIG = "ü" * 400_000  # 800 000 bytes


class Cancellable:
    """Calls that wait until the peer takes them back, as LSP has it: they are answered all the same."""

    def __init__(self, methods: tieline.Methods) -> None:
        self.taken_back: list[Any] = []
        self._release = aio.Event()
        methods.method(self.wait)
        methods.method(name="$/cancelRequest")(self.take_back)

    async def wait(self, name: str, session: tieline.SessionBase) -> None:
        await session.notify("waiting", name)
        await self._release.wait()
        raise RPCError(-32800, f"{name}, as you wanted")

    def take_back(self, id: int) -> None:  # so it is named on the wire
        self.taken_back.append(id)
        self._release.set()


def methods_for_them(notes: Notes) -> tuple[tieline.Methods, Cancellable]:
    methods = our_methods(notes)

    @methods.method
    def fail_with_data(code: int, message: str) -> None:
        raise RPCError(code, message, data={"more": ["ü", None]})

    return methods, Cancellable(methods)


def error(code: int, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


EXPECTED = {
    "position": {"result": 3},
    "name": {"result": 7},
    "text": {"result": "Grüße \U0001f600\n"},
    "nothing": {"result": None},
    "error": error(-5, "nö", data={"more": ["ü", None]}),
    "unknown": error(-32601, 'unknown method "nothing_of_that_name"'),
    "too few": error(-32602, "missing argument 'b'"),
    "crash": error(-32603, "internal error processing request"),
    "notes": {"result": ["alone", "ü \U0001f600"]},
    "asked back": {"result": 42},
    "failed back": {"result": "-7 from the caller"},
    "big": {"result": 400_000},
    "big back": {"result": True},
    "many": {"result": True},
    "cancelled": error(-32800, "taken back, as you wanted"),
}


@pytest.mark.row("F4", "J4", "J7", "S1", "S3")
@pytest.mark.parametrize("protocol", [LSP, JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect])
async def test_a_client_of_theirs_talks_with_our_server(vscode, protocol):
    notes = Notes()
    methods, cancellable = methods_for_them(notes)
    async with (
        tieline.serve(methods, "tcp://127.0.0.1:0", rpc_protocol=protocol, framer=ContentLengthFramer) as server,
        running(*vscode("vscode_client.cjs"), server.url.rpartition(":")[2]) as program,
    ):
        seen: dict[str, dict[str, Any]] = {}
        while len(seen) < len(EXPECTED):
            line = json.loads(await program.line())
            seen[line.pop("name")] = line
        assert seen == EXPECTED
        assert len(cancellable.taken_back) == 1

        (session,) = server.sessions
        assert await session.call("add", 1, 2) == 3
        assert await session.call("echo", BIG) == BIG
        with pytest.raises(RPCError) as caught:
            await session.call("fail", -5, "nö", [1])
        assert (caught.value.code, caught.value.message, caught.value.data) == (-5, "nö", [1])
        assert session.stats.errors == 1  # our handler that crashed

        await session.notify("end")
        assert json.loads(await program.line()) == {"name": "closed"}
        assert await program.ended() == 0
        await session.wait_closed()
        assert isinstance(session.close_reason, EndOfStream)


@pytest.mark.row("F4", "S7")
async def test_our_server_hears_that_their_client_was_killed(vscode):
    methods, _cancellable = methods_for_them(Notes())
    begun = Notes()
    methods.method(name="waiting")(begun.add)
    async with (
        tieline.serve(methods, "tcp://127.0.0.1:0", framer=ContentLengthFramer) as server,
        running(*vscode("vscode_client.cjs"), server.url.rpartition(":")[2]) as program,
    ):
        await program.line()
        (session,) = server.sessions
        calls = [session.send_request("wait", [n]) for n in range(10)]
        await begun.all(10)
        program.kill()
        for call in calls:
            with pytest.raises(ConnectionLost):
                await call
        await session.wait_closed()
        assert not server.sessions
