# SPDX-License-Identifier: MIT
"""Flow control: both ends may flood each other and neither stands still; what a peer can make us keep is bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests import aio
from tests.rpc.sessions import TCP_URL, no_entries, pair, raw_client, raw_server, transport_of, turns, until
from tieline import ClientSession, ConnectionLost, Limits, Methods, RPCError, ServerSession, SessionBase, serve


def echoing() -> Methods:
    methods = Methods()

    @methods.method
    def echo(value: Any) -> Any:
        return value

    @methods.method
    async def slow_echo(value: Any) -> Any:
        await aio.sleep(0)
        return value

    @methods.method
    async def back(session: SessionBase, depth: int, value: str) -> list[object]:
        if depth == 0:
            return [value]
        return [value, *await session.call("back", depth - 1, value)]

    return methods


@pytest.mark.row("S10", "R12")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_both_ends_call_each_other_flat_out_with_large_arguments(kind: str, tmp_path: Any):
    methods = echoing()
    url = TCP_URL if kind == "tcp" else f"unix://{tmp_path}/s"
    big = "x" * 100_000
    answered = {"client": 0, "peer": 0, "busy": 0}
    async with pair(methods, client_methods=methods, url=url) as both:
        ends = {"client": both.client, "peer": both.peer}
        until_then = time.monotonic() + 0.4

        async def flood(name: str, method: str) -> None:
            while time.monotonic() < until_then:
                try:
                    assert len(await ends[name].call(method, big, timeout=20)) == 100_000
                    answered[name] += 1
                except RPCError as exc:
                    if exc.code != -102:
                        raise
                    answered["busy"] += 1

        floods = [flood(name, method) for name in ends for method in ("echo", "slow_echo") for _ in range(40)]
        await aio.wait_for(aio.gather(*floods), 20)
        assert answered["client"] > 40
        assert answered["peer"] > 40
        assert no_entries(both.client)
        assert no_entries(both.peer)
        assert await both.client.call("echo", 1) == 1


@pytest.mark.row("S10")
@pytest.mark.parametrize("depth", [1, 5])
async def test_as_many_handlers_as_may_run_each_call_back_over_the_same_connection(depth: int):
    methods = echoing()
    big = "x" * 20_000
    limits = Limits(max_pending=64 * (depth + 1))
    async with pair(methods, client_methods=methods, limits=limits, client_limits=limits) as both:
        for _ in range(3):
            calls = [both.client.call("back", depth, big) for _ in range(64)]
            answers = await aio.wait_for(aio.gather(*calls), 20)
            assert {len(answer) for answer in answers} == {depth + 1}
        assert no_entries(both.client)
        assert no_entries(both.peer)


@pytest.mark.row("S10")
async def test_with_calls_of_our_own_open_the_excess_is_refused_and_the_reader_goes_on():
    methods = Methods()
    gate = aio.Event()

    @methods.method
    async def wait(n: int) -> int:
        await gate.wait()
        return n

    async with serve(methods, TCP_URL, limits=Limits(max_pending=3)) as server, raw_client(server) as peer:
        await until(lambda: server.sessions)
        (session,) = server.sessions
        own = session.send_request("question")
        question = await peer.line()
        peer.send(*({"jsonrpc": "2.0", "id": n, "method": "wait", "params": [n]} for n in range(10)))
        for n in range(3, 10):
            refusal = await peer.line()
            assert refusal["id"] == n
            assert refusal["error"]["code"] == -102
            assert "limit 3" in refusal["error"]["message"]
        assert session.stats.running == 3
        peer.send({"jsonrpc": "2.0", "id": question["id"], "result": "answer"})
        assert await own == "answer"  # which a parked reader would not have seen
        gate.set()
        assert sorted([(await peer.line())["id"] for _ in range(3)]) == [0, 1, 2]


@pytest.mark.row("S10")
async def test_without_calls_of_our_own_the_reader_parks_and_goes_on_when_there_is_room():
    methods = Methods()
    running: list[int] = []
    most = 0
    gates: dict[int, aio.Event] = {n: aio.Event() for n in range(200)}

    @methods.method
    async def wait(n: int) -> int:
        nonlocal most
        running.append(n)
        most = max(most, len(running))
        await gates[n].wait()
        running.remove(n)
        return n

    async with serve(methods, TCP_URL, limits=Limits(max_pending=5)) as server, raw_client(server) as peer:
        peer.send(*({"jsonrpc": "2.0", "id": n, "method": "wait", "params": [n]} for n in range(200)))
        await until(lambda: running == [0, 1, 2, 3, 4])
        (session,) = server.sessions
        transport = transport_of(session)
        await until(lambda: not transport.is_reading())
        await turns(20)
        assert running == [0, 1, 2, 3, 4]  # and no refusal
        for n in range(200):
            gates[n].set()
        answers = [await peer.line() for _ in range(200)]
        assert sorted(answer["result"] for answer in answers) == list(range(200))
        assert most == 5
        await until(transport.is_reading)


@pytest.mark.row("S10")
async def test_a_reader_that_is_parked_reads_on_when_this_side_calls():
    methods = Methods()
    gate = aio.Event()

    @methods.method
    async def wait() -> str:
        await gate.wait()
        return "done"

    async with serve(methods, TCP_URL, limits=Limits(max_pending=2)) as server, raw_client(server) as peer:
        peer.send(*({"jsonrpc": "2.0", "id": n, "method": "wait"} for n in range(3)))
        await until(lambda: server.sessions)
        (session,) = server.sessions
        transport = transport_of(session)
        await until(lambda: not transport.is_reading())
        own = session.send_request("question")
        answers = [await peer.line(), await peer.line()]
        question = next(message for message in answers if "method" in message)
        refusal = next(message for message in answers if "error" in message)
        assert (refusal["id"], refusal["error"]["code"]) == (2, -102)
        peer.send({"jsonrpc": "2.0", "id": question["id"], "result": 1})
        assert await own == 1
        gate.set()
        assert {(await peer.line())["result"] for _ in range(2)} == {"done"}


@pytest.mark.row("S10")
async def test_reading_stops_while_owed_replies_wait_and_goes_on_when_they_are_taken():
    limits = Limits(write_high_water=10_000, write_low_water=1000)
    async with serve(echoing(), TCP_URL, limits=limits) as server, raw_client(server) as peer:
        peer.writer.transport.pause_reading()
        call = {"jsonrpc": "2.0", "method": "echo", "params": ["x" * 50_000]}
        count = 400
        peer.send(*({**call, "id": n} for n in range(count)))
        await until(lambda: server.sessions)
        (session,) = server.sessions
        transport = transport_of(session)
        await until(lambda: not transport.is_reading())
        await turns(50)
        assert transport.get_write_buffer_size() < 30 * 50_000
        assert session.stats.messages_in < count
        peer.writer.transport.resume_reading()
        answers = [(await peer.line())["id"] for _ in range(count)]
        assert answers == list(range(count))


@pytest.mark.row("S10")
@pytest.mark.parametrize("side", ["replies", "calls"])
async def test_writing_without_progress_aborts_and_tells_why(side: str):
    limits = Limits(write_high_water=1000, write_low_water=100, write_timeout=0.05)
    big = "x" * 100_000
    if side == "replies":
        async with serve(echoing(), TCP_URL, limits=limits) as server, raw_client(server) as peer:
            peer.writer.transport.pause_reading()
            peer.send(*({"jsonrpc": "2.0", "id": n, "method": "echo", "params": [big]} for n in range(100)))
            await until(lambda: server.sessions)
            (session,) = server.sessions
            await aio.wait_for(session.wait_closed(), 5)
            assert isinstance(session.close_reason, TimeoutError)
        return
    async with raw_server(limits=limits) as (client, peer):
        peer.writer.transport.pause_reading()
        calls = [aio.create_task(client.call("x", big, timeout=None)) for _ in range(100)]
        outcomes = await aio.wait_for(aio.gather(*calls, return_exceptions=True), 5)
        assert all(isinstance(error, ConnectionLost) for error in outcomes)
        assert any(
            "took no byte for 0.05 s" in str(error.__cause__) for error in outcomes if isinstance(error, Exception)
        )
        assert no_entries(client)


@pytest.mark.row("S10")
async def test_memory_for_what_a_peer_asks_is_bounded():
    class Own(ServerSession):
        async def handle_request(self, request: Any) -> object:
            await gate.wait()
            return None

    gate = aio.Event()
    async with serve(Own, TCP_URL) as server, raw_client(server) as peer:
        line = b'{"jsonrpc":"2.0","id":%d,"method":"sleep"}\n'
        writing = aio.create_task(flood(peer.writer, line))
        await until(lambda: server.sessions)
        (session,) = server.sessions
        await until(lambda: session.stats.running == 64)
        await turns(100)
        assert session.stats.running == 64
        assert session.stats.bytes_in < 1_000_000  # of the 9 MB that the peer wants to send
        writing.cancel()
        gate.set()


async def flood(writer: aio.StreamWriter, line: bytes) -> None:
    for start in range(0, 200_000, 1000):
        writer.write(b"".join(line % n for n in range(start, start + 1000)))
        await writer.drain()


@pytest.mark.row("S10")
async def test_a_client_is_protected_from_its_server_as_well():
    methods = Methods()
    gate = aio.Event()

    @methods.method
    async def wait() -> None:
        await gate.wait()

    async with raw_server(methods=methods, limits=Limits(max_pending=4)) as (client, peer):
        assert isinstance(client, ClientSession)
        peer.send(*({"jsonrpc": "2.0", "id": n, "method": "wait"} for n in range(50)))
        await until(lambda: client.stats.running == 4)
        await turns(20)
        assert client.stats.running == 4
        gate.set()
        assert sorted([(await peer.line())["id"] for _ in range(50)]) == list(range(50))
