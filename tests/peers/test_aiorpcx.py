# SPDX-License-Identifier: MIT
"""aiorpcX 0.25 as our client and as our server, in every pairing of protocols: what works, and how the rest fails."""

import itertools

import aiorpcx
import pytest

import tieline
from tests import aio
from tests.peers.ancestor import PROTOCOLS, their_client, their_server
from tests.peers.our_side import Notes, our_methods
from tieline import RemoteProtocolError, RPCError

pytestmark = pytest.mark.asyncio_only("aiorpcX runs in the loop of the test, and knows asyncio alone")

OURS = {name: getattr(tieline, name) for name in PROTOCOLS}
V1, V2, LOOSE, AUTO = PROTOCOLS

# Where the client calls in a dialect that the server refuses, or the server answers in one that the client refuses.
OUR_CLIENT_FAILS = {(V1, V2): RPCError, (V2, V1): RemoteProtocolError}
# They want both members in a 1.0 response; 2.0, which our Loose and AutoDetect answer to a bare request, has one.
THEIR_CLIENT_FAILS = {(V1, V2), (V1, LOOSE), (V1, AUTO), (V2, V1)}

# Bare calls and their answers pass, but what the server sends unasked is 2.0; and strict 1.0 will have none of it, nor
# will theirs have our 2.0 answers.
ONE_WAY = {(V1, LOOSE), (V1, AUTO), (LOOSE, V1)}

PAIRS = list(itertools.product(PROTOCOLS, PROTOCOLS))


def _named(*pair: str) -> bool:
    return V1 not in pair


# --- our client, their server ----------------------------------------------------------------------------------------


@pytest.mark.row("J4", "J5", "J6", "J7", "J8", "S1", "S3")
@pytest.mark.parametrize(("ours", "theirs"), [pair for pair in PAIRS if pair not in OUR_CLIENT_FAILS])
async def test_our_client_talks_with_their_server(ours, theirs):
    async with (
        their_server(PROTOCOLS[theirs]) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}", rpc_protocol=OURS[ours]) as session,
    ):
        assert await session.call("add", 1, 2) == 3
        assert await session.call("echo", {"deep": [None, 1.5, "Grüße \U0001f600"]}) == {
            "deep": [None, 1.5, "Grüße \U0001f600"]
        }
        assert await session.call("echo", None) is None
        if _named(ours, theirs):
            assert await session.call("add", a=1, b=2) == 3
        with pytest.raises(RPCError) as caught:
            await session.call("fail", -5, "no")
        assert (caught.value.code, caught.value.message) == (-5, "no")
        with pytest.raises(RPCError) as caught:
            await session.call("nothing_of_that_name", 1)
        assert caught.value.code == -32601
        with pytest.raises(RPCError) as caught:
            await session.call("add", 1)
        assert caught.value.code == -32602

        await session.notify("note", "first")
        session.send_notification("note", ["second"])
        # What 2.0 calls a notification is an invalid request in 1.0; their errors for these answer nothing of ours.
        assert await session.call("notes") == ([] if (ours, theirs) == (LOOSE, V1) else ["first", "second"])
        assert session.stats.pending == 0


@pytest.mark.row("J8", "S1")
@pytest.mark.parametrize(("ours", "theirs"), [pair for pair in PAIRS if pair not in {*OUR_CLIENT_FAILS, *ONE_WAY}])
async def test_their_server_calls_our_client_back(ours, theirs):
    notes = Notes()
    async with (
        their_server(PROTOCOLS[theirs]) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}", our_methods(notes), rpc_protocol=OURS[ours]) as session,
    ):
        assert await session.call("add", 1, 2) == 3  # AutoDetect learns 1.0 from answers only
        # Over the same connection, with ids of their own, which count from 0 as ours.
        assert await session.call("ask_back", 21) == 42
        assert await notes.all(1) == ["asking about 21"]
        assert await session.call("fail_back") == "-7 from the caller"
        async with aio.TaskGroup() as group:
            calls = [group.create_task(session.call("ask_back", number)) for number in range(30)]
        assert [call.result() for call in calls] == [2 * number for number in range(30)]
        (their_session,) = server.sessions
        assert await their_session.send_request("add", [5, 6]) == 11
        assert session.stats.pending == 0


@pytest.mark.row("J5", "S7")
@pytest.mark.parametrize("theirs", [LOOSE, AUTO])
async def test_a_2_0_notification_ends_a_strict_1_0_session_with_its_calls(theirs):
    async with (
        their_server(PROTOCOLS[theirs]) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}", our_methods(), rpc_protocol=tieline.JSONRPCv1) as session,
    ):
        with pytest.raises(tieline.ConnectionLost) as caught:
            await session.call("ask_back", 21)
        assert isinstance(caught.value.__cause__, RemoteProtocolError)
        await session.wait_closed()


@pytest.mark.row("J4", "J5")
@pytest.mark.parametrize(("pair", "error"), OUR_CLIENT_FAILS.items())
async def test_a_server_of_theirs_in_the_wrong_dialect_is_a_clear_error(pair, error):
    ours, theirs = pair
    async with (
        their_server(PROTOCOLS[theirs]) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}", rpc_protocol=OURS[ours]) as session,
    ):
        with pytest.raises(error, match=r'"jsonrpc".* is not "2\.0"'):
            await session.call("add", 1, 2)


@pytest.mark.row("J10")
@pytest.mark.parametrize(("ours", "theirs"), [pair for pair in PAIRS if V1 not in pair])
async def test_our_batches_are_answered_by_their_server(ours, theirs):
    async with (
        their_server(PROTOCOLS[theirs]) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}", our_methods(), rpc_protocol=OURS[ours]) as session,
    ):
        async with session.batch() as batch:
            batch.add_notification("note", ["in the batch"])
            # Its answer comes last, since they call us back first: the array is not in the order of ours.
            late = batch.add_request("ask_back", [4])
            batch.add_request("add", [1, 2])
            batch.add_request("fail", {"code": -5, "message": "no"})
            batch.add_notification("nothing_of_that_name")
            batch.add_request("nothing_of_that_name")
        value, total, error, unknown = batch.results
        assert (value, total) == (8, 3)
        assert late.result() == 8
        assert isinstance(error, RPCError)
        assert (error.code, error.message) == (-5, "no")
        assert isinstance(unknown, RPCError)
        assert unknown.code == -32601

        async with session.batch() as silent:
            silent.add_notification("note", ["alone"])
        assert silent.results == ()
        assert await session.call("notes") == ["in the batch", "alone"]


class Misfit(tieline.JSONRPCv2):
    """Writes parameters of the wrong type, so that one member of a batch is invalid."""

    @classmethod
    def request_payload(cls, item):
        payload = super().request_payload(item)
        if payload["method"] == "misfit":
            payload["params"] = 7
        return payload


@pytest.mark.row("J10")
async def test_members_of_a_batch_that_they_refuse_come_first_and_are_matched_by_id():
    async with (
        their_server(PROTOCOLS[V2]) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}", rpc_protocol=Misfit) as session,
    ):
        async with session.batch() as batch:
            batch.add_request("add", [1, 2])
            batch.add_request("misfit")
            batch.add_request("add", [3, 4])
        first, refused, last = batch.results
        assert (first, last) == (3, 7)
        assert isinstance(refused, RPCError)
        assert refused.code == -32602


@pytest.mark.row("J10")
@pytest.mark.parametrize("ours", [LOOSE, V2, AUTO])
async def test_their_1_0_server_refuses_a_batch_as_a_whole(ours):
    async with (
        their_server(PROTOCOLS[V1]) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}", rpc_protocol=OURS[ours]) as session,
    ):
        batch = session.new_batch()
        batch.add_request("add", [1, 2])
        batch.add_request("add", [3, 4])
        session.send_batch(batch, timeout=None)
        await batch
        assert [getattr(result, "code", None) for result in batch.results] == [-32600, -32600]
        if ours == V2:  # it takes their refusal for what it is, but not a result in the shape of 1.0
            with pytest.raises(RemoteProtocolError):
                await session.call("add", 1, 2)
        else:
            assert await session.call("add", 1, 2) == 3


@pytest.mark.row("J5", "J7")
async def test_our_client_refuses_batches_once_it_knows_that_they_speak_1_0():
    async with (
        their_server(PROTOCOLS[V1]) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}", rpc_protocol=tieline.JSONRPCAutoDetect) as session,
    ):
        assert await session.call("add", 1, 2) == 3
        assert session.protocol is tieline.JSONRPCv1
        batch = session.new_batch()
        batch.add_request("add", [1, 2])
        with pytest.raises(tieline.LocalProtocolError):
            session.send_batch(batch)
        with pytest.raises(tieline.LocalProtocolError):
            await session.call("add", a=1, b=2)
        assert await session.call("add", 3, 4) == 7


# --- their client, our server ----------------------------------------------------------------------------------------


@pytest.mark.row("J4", "J5", "J6", "J7", "J8", "S1", "S3")
@pytest.mark.parametrize(("theirs", "ours"), [pair for pair in PAIRS if pair not in THEIR_CLIENT_FAILS])
async def test_their_client_talks_with_our_server(theirs, ours):
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0", rpc_protocol=OURS[ours]) as server,
        their_client(server.url, PROTOCOLS[theirs]) as session,
    ):
        assert await session.send_request("add", [1, 2]) == 3
        assert await session.send_request("echo", ["Grüße \U0001f600"]) == "Grüße \U0001f600"
        assert await session.send_request("echo", [None]) is None
        if _named(ours, theirs):
            assert await session.send_request("add", {"a": 1, "b": 2}) == 3
        with pytest.raises(aiorpcx.RPCError) as caught:
            await session.send_request("fail", [-5, "no"])
        assert (caught.value.code, caught.value.message) == (-5, "no")
        with pytest.raises(aiorpcx.RPCError) as caught:
            await session.send_request("nothing_of_that_name")
        assert caught.value.code == -32601
        with pytest.raises(aiorpcx.RPCError) as caught:
            await session.send_request("add", [1])
        assert caught.value.code == -32602
        with pytest.raises(aiorpcx.RPCError) as caught:
            await session.send_request("crash")
        assert (caught.value.code, caught.value.message) == (-32603, "internal error processing request")

        if (theirs, ours) != (LOOSE, V1):
            await session.send_notification("note", ["first"])
            await session.send_notification("note", ["second"])
            assert await session.send_request("notes") == ["first", "second"]

        # We call them back, with ids of our own from 0.
        assert await session.send_request("ask_back", [21]) == 42
        assert session.noted == ["asking about 21"]
        assert await session.send_request("fail_back") == "-7 from the caller"

        (our_session,) = server.sessions
        assert await our_session.call("add", 5, 6) == 11


@pytest.mark.row("J4", "J5", "J7")
@pytest.mark.parametrize(("theirs", "ours"), sorted(THEIR_CLIENT_FAILS))
async def test_a_client_of_theirs_in_the_wrong_dialect_gets_an_answer(theirs, ours):
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0", rpc_protocol=OURS[ours]) as server,
        their_client(server.url, PROTOCOLS[theirs]) as session,
    ):
        with pytest.raises(aiorpcx.ProtocolError):
            await session.send_request("add", [1, 2])


@pytest.mark.row("J10")
@pytest.mark.parametrize(("theirs", "ours"), [pair for pair in PAIRS if V1 not in pair])
async def test_their_batches_are_answered_by_our_server(theirs, ours):
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0", rpc_protocol=OURS[ours]) as server,
        their_client(server.url, PROTOCOLS[theirs]) as session,
    ):
        async with session.send_batch() as batch:
            batch.add_notification("note", ["in the batch"])
            batch.add_request("ask_back", [4])
            batch.add_request("add", {"a": 1, "b": 2})
            batch.add_request("fail", [-5, "no"])
            batch.add_notification("nothing_of_that_name")
            batch.add_request("nothing_of_that_name")
        value, total, error, unknown = batch.results
        assert (value, total) == (8, 3)
        assert error == aiorpcx.RPCError(-5, "no")
        assert unknown.code == -32601
        assert await session.send_request("notes") == ["in the batch"]


@pytest.mark.row("J5", "S7")
async def test_a_2_0_notification_of_theirs_ends_a_strict_1_0_session_of_ours():
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0", rpc_protocol=tieline.JSONRPCv1) as server,
        their_client(server.url, PROTOCOLS[LOOSE]) as session,
    ):
        assert await session.send_request("add", [1, 2]) == 3
        (our_session,) = server.sessions
        call = our_session.send_request("hang")
        await session.requested.wait()
        await session.send_notification("note", ["first"])
        with pytest.raises(tieline.ConnectionLost):
            await call
        await our_session.wait_closed()
        assert isinstance(our_session.close_reason, RemoteProtocolError)
