# SPDX-License-Identifier: MIT
"""Programs over WebSocket that npm and pip give: jayson, rpc-websockets, a development Ethereum node, and pygls."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.our_side import Notes, our_methods
from tests.peers.programs import HERE, python, running
from tieline import JSONRPCLoose, JSONRPCv1, JSONRPCv2, RPCError, dialects

pytestmark = pytest.mark.peers

Command = Callable[..., tuple[Path | str, ...]]
BIG = "x" * 800_000


def script_of(package: str) -> Any:
    """Return a fixture that gives the command which runs a script of ours with a package of npm."""

    @pytest.fixture
    def command(need) -> Command:
        node = need("node", "install Node.js")
        folder = need(package, "make test-peers installs it into .peers/")
        return lambda script, *args: (node, HERE / script, folder, *args)

    return command


jayson = script_of("jayson")
rpc_websockets = script_of("rpc-websockets")
ganache = script_of("ganache")


@asynccontextmanager
async def served(command: tuple[Path | str, ...], methods: Any = None, **settings: Any) -> AsyncIterator[Any]:
    """Start a server that prints its port, and give a session of ours with it."""
    async with running(*command) as program:
        port = int(await program.line())
        async with tieline.connect(f"ws://127.0.0.1:{port}/", methods, **settings) as session:
            yield session


async def lines_of(command: tuple[Path | str, ...], last: str) -> dict[str, dict[str, Any]]:
    """Run a client, and return what its calls came to, by name, up to the one that is called *last*."""
    seen: dict[str, dict[str, Any]] = {}
    async with running(*command) as program:
        while last not in seen:
            line = json.loads(await program.line())
            seen[line.pop("name")] = line
    return seen


# --- jayson ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "protocol"), [(1, JSONRPCv1), (2, JSONRPCv2), (2, JSONRPCLoose)])
async def test_our_client_talks_with_a_websocket_server_of_jayson(jayson, version, protocol):
    async with served(jayson("jayson_server.cjs", str(version), "ws"), rpc_protocol=protocol) as session:
        assert await session.call("add", 1, 2) == 3
        assert await session.call("echo", "Grüße \U0001f600\n") == "Grüße \U0001f600\n"
        assert await session.call("echo", BIG) == BIG
        with pytest.raises(RPCError) as caught:
            await session.call("fail", -5, "no")
        assert caught.value.code == -5
        await session.notify("note", "first")
        assert await session.call("notes") == ["first"]
        calls = [session.send_request("wait", [number]) for number in range(5)]
        assert await session.call("release") == 5
        assert [await call for call in calls] == [0, 1, 2, 3, 4]


async def test_our_batches_are_answered_by_a_websocket_server_of_jayson(jayson):
    async with served(jayson("jayson_server.cjs", "2", "ws")) as session, session.batch() as batch:
        batch.add_request("add", [1, 2])
        batch.add_notification("note", ["in the batch"])
        batch.add_request("add", {"a": 3, "b": 4})
    assert batch.results == (3, 7)


@pytest.mark.parametrize("protocol", [JSONRPCv2, JSONRPCLoose])
async def test_a_websocket_client_of_jayson_talks_with_our_server(jayson, protocol):
    # In version 2.0 alone: over WebSocket jayson takes no answer of 1.0.
    notes = Notes()
    async with tieline.serve(our_methods(notes), "ws://127.0.0.1:0/", rpc_protocol=protocol) as server:
        seen = await lines_of(jayson("jayson_client.cjs", "2", server.url), "end")
        assert seen["position"]["result"] == 3
        assert seen["text"]["result"] == "Grüße \U0001f600\n"
        assert seen["unknown"]["error"]["code"] == -32601
        assert seen["big"]["result"] == 800_000
        assert seen["big back"]["result"] is True
        assert seen["many"]["result"] is True
        assert sorted(str(one["id"]) for one in seen["batch"]["result"]) == ["7", "a"]
        async with aio.timeout(20):
            assert (await notes.all(1))[0] == "alone"


# --- rpc-websockets --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served_by_rpc_websockets(command: Command) -> AsyncIterator[Any]:
    from_one = replace(tieline.dialects.strict_v2, first_id=1)  # it takes an id of 0 for none, and answers nothing
    async with served(command("rpc_websockets_server.cjs"), dialect=from_one) as session:
        yield session


async def test_our_client_talks_with_a_server_of_rpc_websockets(rpc_websockets):
    async with served_by_rpc_websockets(rpc_websockets) as session:
        assert await session.call("add", 1, 2) == 3
        assert await session.call("named", a=5, b=3) == 2
        assert await session.call("echo", BIG) == BIG
        await session.notify("note", "first")
        assert await session.call("notes") == ["first"]
        with pytest.raises(RPCError) as caught:
            await session.call("nothing_of_that_name")
        assert caught.value.code == -32601
        with pytest.raises(RPCError):
            await session.call("fail")
        async with session.batch() as batch:
            batch.add_request("add", [1, 2])
            batch.add_request("add", [3, 4])
        assert batch.results == (3, 7)


async def test_an_event_of_rpc_websockets_is_no_json_rpc_and_ends_no_session(rpc_websockets):
    async with served_by_rpc_websockets(rpc_websockets) as session:
        await session.call("rpc.on", "tick")
        before = session.stats.messages_in
        for number in range(5):
            assert await session.call("tick", number) is True
        assert session.stats.messages_in == before + 10  # five answers, and five events
        assert await session.call("add", 1, 2) == 3


async def test_a_client_of_rpc_websockets_talks_with_our_server(rpc_websockets):
    notes = Notes()
    async with tieline.serve(our_methods(notes), "ws://127.0.0.1:0/") as server:
        seen = await lines_of(rpc_websockets("rpc_websockets_client.cjs", server.url), "end")
        assert seen["position"]["result"] == 3
        assert seen["name"]["result"] == 7
        assert seen["text"]["result"] == "Grüße \U0001f600\n"
        assert seen["unknown"]["error"]["code"] == -32601
        assert seen["error"]["error"] == {"code": -5, "message": "no"}
        assert seen["big"]["result"] == 800_000
        assert seen["many"]["result"] is True
        async with aio.timeout(20):
            assert await notes.all(1) == ["from rpc-websockets"]


async def test_a_client_of_rpc_websockets_is_told_that_our_server_goes_down(rpc_websockets):
    server = tieline.serve(our_methods(), "ws://127.0.0.1:0/")
    async with server, running(*rpc_websockets("rpc_websockets_client.cjs", server.url)) as program:
        while '"end"' not in (line := await program.line()):
            assert "closed" not in line
        await server.shutdown()
        assert json.loads(await program.line()) == {"name": "closed", "result": [1001, ""]}


# --- an Ethereum node ------------------------------------------------------------------------------------------------


async def test_a_node_of_ethereum_answers_and_tells_of_new_blocks(ganache):
    heads = Notes()
    methods = tieline.Methods()

    @methods.method
    async def eth_subscription(subscription: str, result: dict[str, Any], **_: Any) -> None:
        await heads.add((subscription, int(result["number"], 16)))

    async with served(ganache("ganache_node.cjs"), methods, dialect=dialects.ethereum) as session:
        assert await session.call("eth_chainId") == "0x539"
        first, second = await session.call("eth_accounts")
        subscription = await session.call("eth_subscribe", "newHeads")
        payment = {"from": first, "to": second, "value": hex(10**18)}
        mined = await session.call("eth_sendTransaction", payment)
        receipt = await session.call("eth_getTransactionReceipt", mined)
        assert receipt["status"] == "0x1"
        await session.call("evm_mine")
        async with aio.timeout(20):
            assert await heads.all(2) == [(subscription, 1), (subscription, 2)]
        async with session.batch() as batch:
            batch.add_request("eth_blockNumber", [])
            batch.add_request("eth_getBalance", [second, "latest"])
        assert batch.results == ("0x2", hex(1001 * 10**18))
        with pytest.raises(RPCError) as caught:
            await session.call("nothing_of_that_name")
        assert caught.value.code in (-32601, -32700)  # ganache calls it a fault of the text
        assert await session.call("eth_unsubscribe", subscription) is True


# --- pygls -----------------------------------------------------------------------------------------------------------


async def test_a_language_server_of_pygls_and_our_client_call_each_other(need):
    need("pygls", "make test-peers installs it")
    told = Notes()
    methods = tieline.Methods()

    @methods.method(name="textDocument/publishDiagnostics")
    async def published(diagnostics: list[dict[str, Any]], **_: Any) -> None:
        await told.add(diagnostics[0]["message"])

    @methods.method(name="tieline/double")
    def double(number: int) -> int:
        return 2 * number

    async with running(*python("pygls_server.py"), errors_too=True) as program:
        while (place := re.search(r"Serving on \('127.0.0.1', (\d+)\)", await program.line())) is None:
            pass
        async with tieline.connect(f"ws://127.0.0.1:{place[1]}/", methods) as session:
            found = await session.call("initialize", processId=None, rootUri=None, capabilities={})
            assert found["serverInfo"] == {"name": "tieline-peer", "version": "1"}
            await session.notify("initialized")
            document = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "grüße\nzwei"}
            await session.notify("textDocument/didOpen", textDocument=document)
            async with aio.timeout(20):
                assert await told.all(1) == ["10 characters"]
            hover = await session.call(
                "textDocument/hover", textDocument={"uri": "file:///a.py"}, position={"line": 1, "character": 0}
            )
            assert hover["contents"]["value"] == "zwei"
            assert await session.call("tieline/askBack", what="now") == 42
            with pytest.raises(RPCError) as caught:
                await session.call("nothing/ofThatName")
            assert caught.value.code == -32601
            assert await session.call("shutdown") is None
