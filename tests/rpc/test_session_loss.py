# SPDX-License-Identifier: MIT
"""When the connection goes: everybody who waits is told at once, and why; afterwards nothing can be sent."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests import aio
from tests.promptness import prompt
from tests.rpc.sessions import TCP_URL, RawPeer, no_entries, pair, raw_client, raw_server, transport_of, turns, until
from tieline import (
    CancelRule,
    ClientSession,
    ClosedError,
    ConnectionLost,
    EndOfStream,
    JSONRPCv1,
    JSONRPCv2,
    Limits,
    MessageTooLarge,
    Methods,
    RemoteProtocolError,
    RPCBatchOut,
    RPCError,
    RPCRequestOut,
    StreamReset,
    StreamTruncated,
    connect,
    serve,
)


@dataclasses.dataclass
class Pending:
    """Something of every kind that waits for the peer."""

    calls: list[aio.Task[Any]]
    requests: list[RPCRequestOut]
    batch: RPCBatchOut
    waiting: list[aio.Task[Any]]

    async def errors(self) -> list[BaseException]:
        """Wait for all and return what became of each; fail unless all are told within a second."""
        members = self.batch.requests()

        async def whole() -> object:
            return await self.batch

        everything = [*self.calls, *self.requests, *members, *self.waiting, aio.ensure_future(whole())]
        done, late = await aio.wait(everything, timeout=1)
        assert not late
        assert len(done) == len(everything)
        return [error for one in everything if (error := one.exception()) is not None]


async def pending(client: ClientSession, peer: RawPeer) -> Pending:
    """Leave calls, requests, a batch and senders that wait for room open; the peer has read all of them."""
    calls = [aio.create_task(client.call("x", timeout=timeout)) for timeout in (None, 30, 5)]
    await turns()
    requests = [client.send_request("x", timeout=None) for _ in range(3)]
    batch = client.new_batch()
    for _ in range(3):
        batch.add_request("x")
    client.send_batch(batch)
    room = client.limits.max_calls - client.stats.pending
    requests += [client.send_request("fill") for _ in range(room)]
    waiting = [aio.create_task(client.call("y", timeout=timeout)) for timeout in (None, 30)]
    for _ in range(len(calls) + len(requests) + 1):  # the batch is one line
        await peer.line()
    return Pending(calls, requests, batch, waiting)


LIMITS = Limits(max_calls=12)


@pytest.mark.row("S7", "R13")
@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("fin", EndOfStream),
        ("truncated", StreamTruncated),
        ("reset", StreamReset),
        ("violation", MessageTooLarge),
        ("close", None),
        ("abort", None),
        ("aclose", None),
    ],
)
async def test_everybody_who_waits_is_told_at_once_and_why(how: str, cause: type[Exception] | None):
    framing = {"limits": dataclasses.replace(LIMITS, max_message=1000)} if how == "violation" else {"limits": LIMITS}
    async with raw_server(**framing) as (client, peer):
        open_things = await pending(client, peer)
        match how:
            case "fin":
                peer.writer.write_eof()
            case "truncated":
                peer.writer.write(b'{"jsonrpc":')
                peer.writer.write_eof()
            case "reset":
                peer.reset()
            case "violation":
                peer.send(b"x" * 2000)
            case "aclose":
                await client.aclose()
            case _:
                getattr(client, how)()
        errors = await open_things.errors()
        assert len(errors) == 3 + len(open_things.requests) + 3 + 2 + 1
        for error in errors:
            assert type(error) is (ClosedError if cause is None else ConnectionLost)
            assert isinstance(error, ConnectionError)
            if cause is None:
                assert error.__cause__ is None
            else:
                assert type(error.__cause__) is cause
        # Each has an error of its own: tracebacks of one must not grow on another.
        assert len({id(error) for error in errors[:-1]}) == len(errors) - 1
        assert client.is_closing()
        expected = ClosedError if cause is None else ConnectionLost
        for attempt in (client.call("x"), client.notify("x"), client.call("x", timeout=None)):
            with pytest.raises(expected) as caught:
                await attempt
            assert type(caught.value.__cause__) is (cause or type(None))
        for order in (client.send_request, client.send_notification):
            with pytest.raises(expected):
                order("x")
        batch = client.new_batch()
        batch.add_request("x")
        with pytest.raises(expected):
            client.send_batch(batch)
        assert no_entries(client)


@pytest.mark.row("S7")
async def test_a_loss_comes_out_of_a_task_group_as_what_it_is():
    async with raw_server() as (client, peer):

        async def five() -> None:
            async with aio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(client.call("x"))
                await peer.line()
                peer.reset()

        with pytest.raises(ExceptionGroup) as caught:
            await five()
        lost, rest = caught.value.split(ConnectionLost)
        assert lost is not None
        assert rest is None


@pytest.mark.row("S7")
async def test_late_and_doubled_replies_are_dropped_and_are_no_faults():
    methods = Methods()
    peers: list[RawPeer] = []
    async with serve(methods, TCP_URL, limits=Limits(max_errors=0)) as server, raw_client(server) as peer:
        peers.append(peer)
        await until(lambda: server.sessions)
        (session,) = server.sessions
        with pytest.raises(TimeoutError):
            await session.call("x", timeout=0)
        cancelled = session.send_request("x")
        cancelled.cancel()
        answered = session.send_request("x")
        for _ in range(3):
            await peer.line()
        for call_id in (0, 1, 2, 2, 1, 0):
            peer.send({"jsonrpc": "2.0", "id": call_id, "result": call_id})
        assert await answered == 2
        peer.send({"jsonrpc": "2.0", "id": 9, "method": "ping"})
        assert (await peer.line())["error"]["code"] == -32601  # all before it has been read
        assert session.stats.errors == 0
        assert not session.is_closing()


class Cancelling(JSONRPCv2):
    """A dialect with a message that takes a call back."""

    dialect = dataclasses.replace(JSONRPCv2.dialect, cancel=CancelRule(method="$/cancel", id_name="call"))


@pytest.mark.row("S7")
@pytest.mark.parametrize("how", ["timeout", "cancelled", "request", "batch"])
async def test_a_dialect_with_a_cancel_message_sends_it_for_what_is_taken_back(how: str):
    async with raw_server(rpc_protocol=Cancelling) as (client, peer):
        if how == "timeout":
            with pytest.raises(TimeoutError):
                async with aio.timeout(0.01):
                    await client.call("x")
        elif how == "cancelled":
            task = aio.create_task(client.call("x"))
            await turns()
            task.cancel()
            with pytest.raises(aio.Cancelled):
                await task
        elif how == "request":
            client.send_request("x").cancel()
        else:
            batch = client.new_batch()
            batch.add_request("x")
            client.send_batch(batch)
            batch.cancel()
        await peer.line()
        assert await peer.line() == {"jsonrpc": "2.0", "method": "$/cancel", "params": {"call": 0}}
        assert client.send_request("y").cancel()
        assert (await peer.line())["method"] == "y"
        assert (await peer.line())["params"] == {"call": 1}


@pytest.mark.row("S7", "S8")
async def test_a_call_that_times_out_by_itself_is_taken_back_as_well():
    async with raw_server(rpc_protocol=Cancelling) as (client, peer):
        with pytest.raises(TimeoutError):
            await client.call("x", timeout=0.01)
        await peer.line()
        assert await peer.line() == {"jsonrpc": "2.0", "method": "$/cancel", "params": {"call": 0}}


@pytest.mark.row("S7")
async def test_without_such_a_message_nothing_is_sent_and_nothing_after_a_loss():
    async with raw_server() as (client, peer):
        client.send_request("x").cancel()
        client.send_notification("after")
        assert (await peer.line())["method"] == "x"
        assert (await peer.line())["method"] == "after"
    async with raw_server(rpc_protocol=Cancelling) as (client, peer):
        task = aio.create_task(client.call("x"))
        await turns()
        client.close()
        task.cancel()
        with pytest.raises((aio.CancelledError, ClosedError)):
            await task
        assert (await peer.line())["method"] == "x"
        assert await peer.line() is None


@pytest.mark.row("S7", "J5")
async def test_an_invalid_message_on_a_strict_v1_stream_fails_all_calls():
    async with raw_server(rpc_protocol=JSONRPCv1) as (client, peer):
        calls = [client.send_request("x") for _ in range(3)]
        peer.send(b"garbage")
        for call in calls:
            with pytest.raises(ConnectionLost) as caught:
                await call
            assert isinstance(caught.value.__cause__, RemoteProtocolError)


@pytest.mark.row("S7")
async def test_the_last_error_without_an_id_is_told_as_the_cause_of_the_end():
    async with raw_server() as (client, peer):
        call = client.send_request("x")
        peer.send({"jsonrpc": "2.0", "id": None, "error": {"code": -102, "message": "you are not welcome"}})
        peer.writer.write_eof()
        with pytest.raises(ConnectionLost) as caught:
            await call
        assert isinstance(caught.value.__cause__, EndOfStream)
        told = caught.value.__cause__.__cause__
        assert isinstance(told, RPCError)
        assert told.message == "you are not welcome"


@pytest.mark.row("S7")
async def test_what_was_answered_before_the_end_is_answered_not_lost():
    async with raw_server() as (client, peer):
        good, bad = client.send_request("x"), client.send_request("x")
        peer.send({"jsonrpc": "2.0", "id": 0, "result": "in time"})
        peer.writer.write(b'{"jsonrpc":"2.0","id":1,"res')
        peer.writer.write_eof()
        assert await good == "in time"
        with pytest.raises(ConnectionLost):
            await bad


@pytest.mark.row("S7")
async def test_handlers_of_both_sides_are_cancelled_when_the_connection_is_cut():
    methods, client_methods = Methods(), Methods()
    told: list[str] = []

    @methods.method
    async def through() -> None:
        (session,) = both.server.sessions
        try:
            await session.call("hang")
        except ConnectionLost:
            told.append("lost")
            raise
        except aio.Cancelled:
            told.append("cancelled in a call")
            raise

    @client_methods.method
    async def hang() -> None:
        try:
            await aio.Event().wait()
        except aio.Cancelled:
            told.append("cancelled")
            raise

    async with pair(methods, client_methods=client_methods) as both:
        call = both.client.send_request("through")
        await until(lambda: both.client.stats.running)
        transport_of(both.client).abort()
        with pytest.raises(ConnectionLost if both.client.close_reason else ConnectionError):
            await call
        await until(lambda: len(told) == 2)
        assert "cancelled" in told
        await until(lambda: no_entries(both.client) and no_entries(both.peer))


KILLED = """
import asyncio, tieline
methods = tieline.Methods()
@methods.method
async def hang():
    await asyncio.Event().wait()
async def main():
    async with tieline.serve(methods, "{url}") as server:
        print(server.url, flush=True)
        await server.serve_forever()
asyncio.run(main())
"""


@pytest.mark.row("S7")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_server_that_is_killed_fails_a_hundred_calls_within_50_ms(kind: str, tmp_path: Any):
    url = TCP_URL if kind == "tcp" else f"unix://{tmp_path}/s"
    program = [sys.executable, "-c", KILLED.format(url=url)]
    process = await aio.to_thread(subprocess.Popen, program, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = (await aio.to_thread(process.stdout.readline)).strip()
        async with connect(url) as client:
            calls = [client.send_request("hang") for _ in range(64)]
            calls += [client.send_request("hang", timeout=None) for _ in range(36)]
            await turns(20)
            os.kill(process.pid, signal.SIGKILL)
            await aio.to_thread(process.wait)
            started = aio.now()
            await aio.wait_for(aio.gather(*calls, return_exceptions=True), 5)
            assert aio.now() - started < prompt(0.05)
            for call in calls:
                assert isinstance(call.exception(), ConnectionLost)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
