# SPDX-License-Identifier: MIT
"""aiorpcX under load and at the end: big messages, timeouts of either side, and peers that are killed."""

import asyncio
import time
from typing import Any

import aiorpcx
import pytest

import tieline
from tests.peers.ancestor import PROTOCOLS, their_client, their_server
from tests.peers.our_side import our_methods
from tests.peers.programs import Program, python, running
from tieline import ConnectionLost, RPCError

V2 = PROTOCOLS["JSONRPCv2"]
BIG = "x" * 800_000  # under their limit, 1 000 000 bytes a line, and ours
TOO_BIG = "x" * 3_000_000  # over both; they notice only at a chunk that does not end the line


# --- sizes -----------------------------------------------------------------------------------------------------------


async def test_big_messages_go_to_their_server_and_back():
    async with (
        their_server(V2) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}", our_methods()) as session,
    ):
        assert await session.call("echo", BIG) == BIG
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(session.call("size", BIG)) for _ in range(4)]
        assert [call.result() for call in calls] == [len(BIG)] * 4
        (their_session,) = server.sessions
        assert await their_session.send_request("echo", [BIG]) == BIG


async def test_big_messages_come_from_their_client_and_go_back():
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0") as server,
        their_client(server.url, V2) as session,
    ):
        assert await session.send_request("echo", [BIG]) == BIG
        assert await session.send_request("size", [BIG]) == len(BIG)
        (our_session,) = server.sessions
        assert await our_session.call("echo", BIG) == BIG


@pytest.mark.row("S7")
async def test_a_message_that_they_drop_in_silence_costs_that_call_alone():
    async with (
        their_server(V2) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}") as session,
    ):
        dropped = session.send_request("size", [TOO_BIG])
        assert await session.call("size", BIG) == len(BIG)
        assert not dropped.done()
        dropped.cancel()


@pytest.mark.row("F3")
async def test_a_message_of_theirs_over_our_limit_is_answered_before_the_end():
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0") as server,
        their_client(server.url, V2) as session,
    ):
        heard: list[bytes] = []
        receive = session.connection.receive_message

        def hear(message: bytes) -> Any:
            heard.append(message)
            return receive(message)

        session.connection.receive_message = hear
        (our_session,) = server.sessions
        with pytest.raises(asyncio.CancelledError):  # so aiorpcX tells its callers of a lost connection
            await session.send_request("size", [TOO_BIG])
        assert heard == [
            b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"message too large (limit 1048576)"},"id":null}'
        ]
        await our_session.wait_closed()
        assert isinstance(our_session.close_reason, tieline.MessageTooLarge)


async def test_two_hundred_calls_at_once_in_both_directions():
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0") as server,
        their_client(server.url, V2) as session,
    ):
        assert await session.send_request("add", [0, 0]) == 0
        (our_session,) = server.sessions
        async with asyncio.TaskGroup() as group:
            theirs = [group.create_task(session.send_request("add", [n, 1])) for n in range(200)]
            ours = [group.create_task(our_session.call("add", n, 2)) for n in range(200)]
        assert [call.result() for call in theirs] == [n + 1 for n in range(200)]
        assert [call.result() for call in ours] == [n + 2 for n in range(200)]


# --- timeouts --------------------------------------------------------------------------------------------------------


async def test_their_server_gives_up_on_a_handler_and_says_so():
    async with (
        their_server(V2, processing_timeout=0.05) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}") as session,
    ):
        with pytest.raises(RPCError) as caught:
            await session.call("hang")
        assert caught.value.code == tieline.JSONRPCv2.SERVER_BUSY
        assert await session.call("add", 1, 2) == 3


@pytest.mark.row("S7")
async def test_their_client_gives_up_waiting_and_the_late_answer_harms_nobody():
    release = asyncio.Event()
    methods = our_methods()

    @methods.method
    async def wait() -> str:
        await release.wait()
        return "late"

    async with (
        tieline.serve(methods, "tcp://127.0.0.1:0") as server,
        their_client(server.url, V2, sent_request_timeout=0.05) as session,
    ):
        with pytest.raises(aiorpcx.TaskTimeout):
            await session.send_request("wait")
        release.set()
        assert await session.send_request("add", [1, 2]) == 3


@pytest.mark.row("S7")
async def test_our_client_gives_up_waiting_and_their_late_answer_is_dropped():
    async with (
        their_server(V2) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}") as session,
    ):
        await session.call("add", 0, 0)
        (their_session,) = server.sessions
        release = asyncio.Event()

        async def do_wait() -> str:
            await release.wait()
            return "late"

        their_session.do_wait = do_wait
        with pytest.raises(TimeoutError):
            await session.call("wait", timeout=0.05)
        assert session.stats.pending == 0
        errors = session.stats.errors
        release.set()
        assert await session.call("add", 1, 2) == 3
        assert session.stats.errors == errors


# --- the end ---------------------------------------------------------------------------------------------------------


async def _all_lost(calls) -> list[ConnectionLost]:
    """Return what ended the calls: each must have been lost."""
    lost = []
    for call in calls:
        with pytest.raises(ConnectionLost) as caught:
            await call
        lost.append(caught.value)
    return lost


async def _lost_in_a_crowd(session: tieline.ClientSession, server: Program) -> float:
    """Kill the server while calls and a batch wait; return how long it took until all were told."""
    calls: list[Any] = [session.send_request("hang") for _ in range(100)]
    batch = session.new_batch()
    batch.add_request("hang")
    session.send_batch(batch)
    assert await session.call("add", 1, 2) == 3
    server.kill()
    killed = time.monotonic()
    lost = await _all_lost([*calls, batch])
    took = time.monotonic() - killed
    assert isinstance(session.close_reason, ConnectionLost)
    assert all(error.__cause__ is session.close_reason for error in lost)
    return took


async def _lost_in_a_task_group(session: tieline.ClientSession, server: Program) -> float:
    """Kill the server while the tasks of a group wait; return how long it took until the group had ended."""
    killed = 0.0

    async def calls_and_kill() -> None:
        nonlocal killed
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(session.call("hang"))
            assert await session.call("add", 1, 2) == 3
            server.kill()
            killed = time.monotonic()

    with pytest.raises(ExceptionGroup) as caught:
        await calls_and_kill()
    took = time.monotonic() - killed
    assert all(isinstance(error, ConnectionLost) for error in caught.value.exceptions)
    return took


@pytest.mark.row("S7")
@pytest.mark.parametrize("lost", [_lost_in_a_crowd, _lost_in_a_task_group])
async def test_callers_are_told_within_50_ms_that_their_server_was_killed(lost):
    took = []
    for _ in range(3):  # the machine may be busy with others for so long once, but not each time
        async with running(*python("ancestor.py"), "JSONRPCv2") as server:
            port = int(await server.line())
            async with tieline.connect(f"tcp://127.0.0.1:{port}") as session:
                took.append(await lost(session, server))
                with pytest.raises(ConnectionLost):
                    session.send_request("add", [1, 2])
                assert session.stats.pending == 0
        if took[-1] <= 0.05:
            return
    pytest.fail(f"callers were told after {took} s")


@pytest.mark.row("S7")
@pytest.mark.parametrize("way", ["close", "abort"])
async def test_callers_are_told_that_their_server_closed(way):
    async with (
        their_server(V2) as server,
        tieline.connect(f"tcp://127.0.0.1:{server.port}") as session,
    ):
        calls = [session.send_request("hang") for _ in range(10)]
        assert await session.call("add", 1, 2) == 3
        (their_session,) = server.sessions
        await getattr(their_session, way)()
        await _all_lost(calls)


@pytest.mark.row("S7")
@pytest.mark.parametrize("way", ["close", "abort"])
async def test_our_server_is_told_that_their_client_left(way):
    release = asyncio.Event()
    methods = our_methods()

    @methods.method
    async def wait() -> None:
        await release.wait()

    async with tieline.serve(methods, "tcp://127.0.0.1:0") as server, their_client(server.url, V2) as session:
        waiting = asyncio.create_task(session.send_request("wait"))
        assert await session.send_request("add", [1, 2]) == 3
        (our_session,) = server.sessions
        calls = [our_session.send_request("hang") for _ in range(10)]
        await session.requested.wait()
        await getattr(session, way)()
        await _all_lost(calls)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # All that TCP says is that nothing more will come: what was asked is still answered, then all is over.
        release.set()
        await our_session.wait_closed()
        assert our_session.stats.running == 0
        assert not server.sessions


async def test_their_client_is_told_that_our_server_shut_down():
    async with tieline.serve(our_methods(), "tcp://127.0.0.1:0") as server:
        async with their_client(server.url, V2) as session:
            hanging = asyncio.create_task(session.send_request("hang"))
            assert await session.send_request("add", [1, 2]) == 3
            await server.shutdown(deadline=0.05)
            with pytest.raises(asyncio.CancelledError):
                await hanging
            assert session.is_closing()
        assert not server.sessions
