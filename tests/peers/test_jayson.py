# SPDX-License-Identifier: MIT
"""jayson 5 (npm) as our server and as our client over TCP, in versions 1.0 and 2.0."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.our_side import Notes, our_methods
from tests.peers.programs import HERE, Program, running
from tieline import (
    ConnectionLost,
    EndOfStream,
    JSONRPCAutoDetect,
    JSONRPCLoose,
    JSONRPCv1,
    JSONRPCv2,
    LocalProtocolError,
    RPCError,
)

pytestmark = pytest.mark.peers

BIG = "x" * 800_000
PAIRS = [
    (1, JSONRPCv1),
    (1, JSONRPCLoose),
    (1, JSONRPCAutoDetect),
    (2, JSONRPCv2),
    (2, JSONRPCLoose),
    (2, JSONRPCAutoDetect),
]


@pytest.fixture
def jayson(need):
    """Give the command that runs a script of ours with jayson."""
    node = need("node", "install Node.js")
    package = need("jayson", "make test-peers installs it into .peers/")
    return lambda script, *args: (node, HERE / script, package, *args)


# --- our client ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(jayson, version: int, protocol) -> AsyncIterator[tuple[tieline.ClientSession, Program]]:
    """Give a session of ours that is connected to a server of jayson."""
    async with running(*jayson("jayson_server.cjs", str(version))) as program:
        port = int(await program.line())
        async with tieline.connect(f"tcp://127.0.0.1:{port}", rpc_protocol=protocol) as session:
            yield session, program


@pytest.mark.row("J4", "J5", "J6", "J7", "S3")
@pytest.mark.parametrize(("version", "protocol"), PAIRS)
async def test_our_client_talks_with_a_server_of_jayson(jayson, version, protocol):
    async with served(jayson, version, protocol) as (session, _program):
        assert await session.call("add", 1, 2) == 3
        assert await session.call("echo", "Grüße \U0001f600\n") == "Grüße \U0001f600\n"
        assert await session.call("echo", None) is None
        with pytest.raises(RPCError) as caught:
            await session.call("fail", -5, "no", {"more": [1]})
        assert (caught.value.code, caught.value.message, caught.value.data) == (-5, "no", {"more": [1]})
        with pytest.raises(RPCError) as caught:
            await session.call("fail", 0, "a code that is falsy")
        assert (caught.value.code, caught.value.message, caught.value.data) == (0, "a code that is falsy", None)
        with pytest.raises(RPCError) as caught:
            await session.call("nothing_of_that_name")
        assert caught.value.code == -32601
        assert await session.call("add", 5, 6) == 11
        assert session.stats.pending == 0


@pytest.mark.row("J4", "J5")
@pytest.mark.parametrize("version", [1, 2])
async def test_errors_of_jayson_that_are_strings(jayson, version):
    async with served(jayson, version, JSONRPCv1 if version == 1 else JSONRPCv2) as (session, _program):
        with pytest.raises(RPCError) as caught:
            await session.call("badError")
        # In 1.0 anything is an error and goes out as it is; 2.0 makes an internal error of it.
        seen = (caught.value.code, caught.value.message)
        assert seen == ((-100, "a bare string") if version == 1 else (-32603, "Internal error"))


@pytest.mark.row("J4", "J6", "J7")
@pytest.mark.parametrize("protocol", [JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect])
async def test_our_named_arguments_reach_jayson(jayson, protocol):
    async with served(jayson, 2, protocol) as (session, _program):
        assert await session.call("add", a=1, b=2) == 3
        assert await session.send_request("add", {"a": 3, "b": 4}) == 7


@pytest.mark.row("J4", "J5", "S3")
@pytest.mark.parametrize(("version", "protocol"), [(1, JSONRPCv1), (2, JSONRPCv2), (2, JSONRPCLoose)])
async def test_our_notifications_reach_jayson_unanswered(jayson, version, protocol):
    async with served(jayson, version, protocol) as (session, _program):
        await session.notify("note", "first")
        session.send_notification("note", ["second"])
        session.send_notification("nothing_of_that_name", [])
        assert await session.call("notes") == ["first", "second"]
        assert session.stats.messages_in == 1


@pytest.mark.row("J5", "J7")
async def test_auto_detection_learns_1_0_from_an_answer_of_jayson(jayson):
    async with served(jayson, 1, JSONRPCAutoDetect) as (session, _program):
        assert await session.call("add", 1, 2) == 3
        assert session.protocol is JSONRPCv1
        await session.notify("note", "with a null id")
        assert await session.call("notes") == ["with a null id"]
        with pytest.raises(LocalProtocolError):
            await session.call("add", a=1, b=2)


@pytest.mark.row("J7")
async def test_auto_detection_takes_an_error_without_result_for_loose(jayson):
    async with served(jayson, 1, JSONRPCAutoDetect) as (session, _program):
        with pytest.raises(RPCError):
            await session.call("nothing_of_that_name")
        assert session.protocol is JSONRPCLoose
        assert await session.call("add", 1, 2) == 3
        assert session.protocol is JSONRPCLoose


@pytest.mark.row("J10")
@pytest.mark.parametrize("protocol", [JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect])
async def test_our_batches_are_answered_by_jayson(jayson, protocol):
    async with served(jayson, 2, protocol) as (session, _program):
        async with session.batch() as batch:
            batch.add_notification("note", ["in the batch"])
            batch.add_request("add", [1, 2])
            batch.add_request("fail", {"code": -5, "message": "no"})
            batch.add_request("add", {"a": 3, "b": 4})
            batch.add_notification("nothing_of_that_name")
            batch.add_request("nothing_of_that_name")
        first, error, second, unknown = batch.results
        assert (first, second) == (3, 7)
        assert (getattr(error, "code", None), getattr(error, "message", None)) == (-5, "no")
        assert getattr(unknown, "code", None) == -32601
        async with session.batch() as silent:
            silent.add_notification("note", ["alone"])
        assert silent.results == ()
        assert await session.call("notes") == ["in the batch", "alone"]


@pytest.mark.row("J10")
async def test_jayson_1_0_refuses_a_batch_as_a_whole(jayson):
    async with served(jayson, 1, JSONRPCLoose) as (session, _program):
        async with session.batch() as batch:
            batch.add_request("add", [1, 2])
            batch.add_request("add", [3, 4])
        assert [getattr(result, "code", None) for result in batch.results] == [-32600, -32600]
        assert await session.call("add", 1, 2) == 3


async def test_replies_of_jayson_come_out_of_order(jayson):
    async with served(jayson, 2, JSONRPCv2) as (session, _program):
        calls = [session.send_request("wait", [n]) for n in range(5)]
        batch = session.new_batch()
        members = [batch.add_request("wait", [n]) for n in (10, 11)]
        session.send_batch(batch)
        assert await session.call("release") == 7
        assert [await call for call in calls] == [0, 1, 2, 3, 4]
        assert (await batch).results == (10, 11)
        assert [member.result() for member in members] == [10, 11]


@pytest.mark.parametrize(("version", "protocol"), [(1, JSONRPCv1), (2, JSONRPCv2)])
async def test_big_messages_go_to_jayson_and_back(jayson, version, protocol):
    async with served(jayson, version, protocol) as (session, _program):
        assert await session.call("echo", BIG) == BIG


@pytest.mark.row("J5")
async def test_jayson_2_0_refuses_our_1_0_requests_by_an_error_that_names_none(jayson):
    async with served(jayson, 2, JSONRPCv1) as (session, _program):
        with pytest.raises(TimeoutError):
            await session.call("add", 1, 2, timeout=0.2)
        assert session.stats.messages_in == 1
        assert not session.is_closing()


class Broken(JSONRPCv2):
    """Writes what is no JSON, on demand."""

    @classmethod
    def request_message(cls, item):
        return b"{]" if item.method == "broken" else super().request_message(item)


@pytest.mark.row("S7")
async def test_jayson_closes_after_a_parse_error_and_our_callers_hear_why(jayson):
    async with served(jayson, 2, Broken) as (session, _program):
        calls = [session.send_request("wait", [n]) for n in range(5)]
        calls.append(session.send_request("broken"))
        for call in calls:
            with pytest.raises(ConnectionLost) as caught:
                await call
            end = caught.value.__cause__
            assert isinstance(end, EndOfStream)
            assert isinstance(end.__cause__, RPCError)
            assert end.__cause__.code == -32700
        await session.wait_closed()


@pytest.mark.row("S7")
async def test_callers_hear_that_jayson_was_killed(jayson):
    async with served(jayson, 2, JSONRPCv2) as (session, program):
        calls = [session.send_request("wait", [n]) for n in range(5)]
        assert await session.call("add", 1, 2) == 3
        program.kill()
        for call in calls:
            with pytest.raises(ConnectionLost):
                await call


# --- our server ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def called(jayson, version: int, protocol, notes: Notes) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """Give what the calls of jayson's client came to, by name."""
    async with (
        tieline.serve(our_methods(notes), "tcp://127.0.0.1:0", rpc_protocol=protocol) as server,
        running(*jayson("jayson_client.cjs", str(version), server.url.rpartition(":")[2])) as program,
    ):
        seen: dict[str, dict[str, Any]] = {}
        while "end" not in seen:
            line = json.loads(await program.line())
            seen[line.pop("name")] = line
        yield seen


def _error(line: dict[str, Any]) -> tuple[int, str]:
    assert line["failure"] is None
    assert line.get("result") is None
    return line["error"]["code"], line["error"]["message"]


@pytest.mark.row("J4", "J5", "J6", "J7", "F3", "S3")
@pytest.mark.parametrize(("version", "protocol"), PAIRS)
async def test_a_client_of_jayson_talks_with_our_server(jayson, version, protocol):
    notes = Notes()
    async with called(jayson, version, protocol, notes) as seen:
        assert seen["position"]["result"] == 3
        assert seen["text"]["result"] == "Grüße \U0001f600\n"
        assert seen["nothing"] == {"failure": None, "result": None} | ({"error": None} if protocol is JSONRPCv1 else {})
        assert _error(seen["error"]) == (-5, "no")
        assert _error(seen["unknown"])[0] == -32601
        assert _error(seen["too few"])[0] == -32602
        assert _error(seen["crash"]) == (-32603, "internal error processing request")
        if protocol is JSONRPCv1:
            assert _error(seen["name"]) == (-32602, "params must be an array, not an object")
        else:
            assert seen["name"]["result"] == 3
        assert seen["own id"]["result"] == 7
        if protocol is JSONRPCv2:
            assert _error(seen["no version"]) == (-32600, '"jsonrpc" is not "2.0"')
        else:
            assert seen["no version"]["result"] == 11
        assert seen["big"]["result"] == 800_000
        assert seen["big back"]["result"] is True
        assert seen["many"]["result"] is True
        expected = ["alone", "in the batch", "first", "second"][: 4 if version == 2 else 1]
        async with aio.timeout(10):
            assert await notes.all(len(expected)) == expected


@pytest.mark.row("J10")
@pytest.mark.parametrize("protocol", [JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect])
async def test_batches_of_jayson_are_answered_by_our_server(jayson, protocol):
    async with called(jayson, 2, protocol, Notes()) as seen:
        version = {"jsonrpc": "2.0"}
        errors, results = seen["batch"]["error"], seen["batch"]["result"]
        assert errors == [version | {"error": {"code": -5, "message": "no"}, "id": "f"}]
        assert sorted(results, key=lambda result: str(result["id"])) == [
            version | {"result": 7, "id": 7},
            version | {"result": 3, "id": "a"},
        ]
        assert _error(seen["empty batch"])[0] == -32600
