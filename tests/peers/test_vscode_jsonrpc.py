# SPDX-License-Identifier: MIT
"""vscode-jsonrpc (npm), what most language servers and editors are made of, as our server over TCP."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.language_client import LSP
from tests.peers.our_side import Notes, our_methods
from tests.peers.programs import Program, running
from tieline import (
    ConnectionLost,
    ContentLengthFramer,
    JSONRPCv2,
    Limits,
    LocalProtocolError,
    MessageTooLarge,
    RPCError,
)

pytestmark = pytest.mark.peers

BIG = "ü" * 400_000  # 800 000 bytes


@asynccontextmanager
async def served(
    vscode,
    methods: tieline.Methods | None = None,
    *,
    protocol: type[tieline.JSONRPC] = LSP,
    framer: Callable[[], ContentLengthFramer] = ContentLengthFramer,
    limits: Limits | None = None,
) -> AsyncIterator[tuple[tieline.ClientSession, Program]]:
    """Give a session of ours that is connected to a server of vscode-jsonrpc."""
    async with running(*vscode("vscode_server.cjs")) as program:
        url = f"tcp://127.0.0.1:{await program.line()}"
        async with tieline.connect(url, methods, rpc_protocol=protocol, framer=framer, limits=limits) as session:
            yield session, program


def waiting_methods() -> tuple[tieline.Methods, Notes]:
    """Return what hears which of its `wait` calls have begun."""
    begun = Notes()
    methods = tieline.Methods()
    methods.method(name="waiting")(begun.add)
    return methods, begun


@pytest.mark.row("F4", "J4", "J7", "S1", "S3")
@pytest.mark.parametrize("protocol", [LSP, JSONRPCv2, tieline.JSONRPCLoose, tieline.JSONRPCAutoDetect])
async def test_our_client_talks_with_a_server_of_theirs(vscode, protocol):
    async with served(vscode, protocol=protocol) as (session, program):
        assert await session.call("add", 1, 2) == 3
        assert await session.call("addNamed", a=3, b=4) == 7
        assert await session.call("echo", "Grüße \U0001f600\n") == "Grüße \U0001f600\n"
        assert await session.call("echo", None) is None
        with pytest.raises(RPCError) as caught:
            await session.call("fail", -5, "nö", {"more": ["ü", None]})
        assert (caught.value.code, caught.value.message, caught.value.data) == (-5, "nö", {"more": ["ü", None]})
        with pytest.raises(RPCError) as caught:
            await session.call("fail", 0, "a code that is falsy")
        assert (caught.value.code, caught.value.message, caught.value.data) == (0, "a code that is falsy", None)
        with pytest.raises(RPCError) as caught:
            await session.call("nothing_of_that_name")
        assert caught.value.code == -32601
        with pytest.raises(RPCError) as caught:
            await session.call("crash")
        assert caught.value.code == -32603

        await session.notify("note", "first")
        await session.notify("note", "ü \U0001f600")
        await session.notify("nothing_of_that_name")
        assert await session.call("notes") == ["first", "ü \U0001f600"]
        assert session.stats.pending == session.stats.errors == 0

        await session.aclose()
        assert await program.line() == "closed"  # and it had found no fault


@pytest.mark.row("F4", "S1", "S3")
async def test_their_server_calls_our_client_back(vscode):
    notes = Notes()
    async with served(vscode, our_methods(notes)) as (session, _program):
        assert await session.call("ask_back", 21) == 42  # by a call whose id is 0
        assert await session.call("fail_back") == "-7 from the caller"
        assert await notes.all(1) == ["asking about 21"]
        async with aio.TaskGroup() as group:
            calls = [group.create_task(session.call("ask_back", n)) for n in range(30)]
        assert [call.result() for call in calls] == [2 * n for n in range(30)]


@pytest.mark.row("F4")
@pytest.mark.parametrize("content_type", [None, "application/vscode-jsonrpc; charset=utf-8"])
async def test_big_messages_go_to_their_server_and_back(vscode, content_type):
    framer = partial(ContentLengthFramer, content_type=content_type)
    async with served(vscode, our_methods(), framer=framer) as (session, _program):
        assert await session.call("echo", BIG) == BIG
        assert [await call for call in [session.send_request("size", [BIG]) for _ in range(4)]] == [len(BIG)] * 4


@pytest.mark.row("F4", "S7")
async def test_a_message_of_theirs_over_our_limit_ends_the_session(vscode):
    async with served(vscode, limits=Limits(max_message=100_000)) as (session, program):
        assert await session.call("text", 99_000) == "x" * 99_000
        calls = [session.send_request("text", [200_000]), session.send_request("echo", ["behind it"])]
        for call in calls:
            with pytest.raises(ConnectionLost):
                await call
        assert isinstance(session.close_reason, MessageTooLarge)
        assert session.close_reason.limit == 100_000
        assert await program.line() == "closed"


# --- calls that are taken back ---------------------------------------------------------------------------------------


async def test_a_call_is_taken_back_by_a_notification_and_answered(vscode):
    methods, begun = waiting_methods()
    async with served(vscode, methods, protocol=JSONRPCv2) as (session, _program):
        call = session.send_request("wait", ["one"])  # the first call of a session: 0
        await begun.all(1)
        await session.notify("$/cancelRequest", id=0)
        with pytest.raises(RPCError) as caught:
            await call
        assert caught.value.code == -32800
        assert await session.call("cancelled") == ["one"]


async def _by_cancelling(session: tieline.ClientSession, begun: Notes) -> None:
    task = aio.create_task(session.call("wait", "one"))
    await begun.all(1)
    task.cancel()
    with pytest.raises(aio.CancelledError):
        await task


async def _by_its_timeout(session: tieline.ClientSession, begun: Notes) -> None:
    with pytest.raises(TimeoutError):
        await session.call("wait", "one", timeout=0.5)
    await begun.all(1)


@pytest.mark.row("S7")
@pytest.mark.parametrize("taken_back", [_by_cancelling, _by_its_timeout])
async def test_a_session_of_that_dialect_takes_calls_back_itself(vscode, taken_back):
    methods, begun = waiting_methods()
    async with served(vscode, methods) as (session, _program):
        await taken_back(session, begun)
        # They answer that call before this one; nobody waits for it any more.
        assert await session.call("cancelled") == ["one"]
        assert session.stats.pending == session.stats.errors == 0
        assert session.stats.messages_in == 3


# --- what they do not do ---------------------------------------------------------------------------------------------


@pytest.mark.row("J10")
async def test_batches_are_nothing_for_them(vscode):
    async with served(vscode, protocol=JSONRPCv2) as (session, _program):
        batch = session.new_batch()
        members: list[Any] = [batch.add_request("add", [1, 2]), batch.add_request("add", [3, 4])]
        session.send_batch(batch, timeout=0.2)
        await batch
        assert all(isinstance(member.exception(), TimeoutError) for member in members)
        assert await session.call("add", 1, 2) == 3
    async with served(vscode) as (session, _program):
        batch = session.new_batch()
        batch.add_request("add", [1, 2])
        with pytest.raises(LocalProtocolError):
            session.send_batch(batch)
        assert await session.call("add", 1, 2) == 3


@pytest.mark.row("F4", "S7")
async def test_callers_hear_that_their_server_was_killed(vscode):
    methods, begun = waiting_methods()
    async with served(vscode, methods) as (session, program):
        calls = [session.send_request("wait", [n]) for n in range(20)]
        assert await begun.all(20) == list(range(20))
        program.kill()
        for call in calls:
            with pytest.raises(ConnectionLost) as caught:
                await call
            assert caught.value.__cause__ is session.close_reason
        await session.wait_closed()
        assert session.stats.pending == 0
