# SPDX-License-Identifier: MIT
"""Calls that are illegal in their state, or come at an odd moment, are told so and harm nothing."""

import socket
from contextlib import suppress
from typing import Any

import pytest

import tieline
from tests import aio
from tests.rpc.sessions import raw_server, turns, until

METHODS = tieline.Methods()


@METHODS.method
def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@METHODS.method
def add(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize("end", ["abort", "close", "aclose"])
async def test_a_session_that_is_closed_while_it_connects_does_not_come_up(end):
    async with tieline.serve(METHODS, "tcp://127.0.0.1:0") as server:
        # By a name, which is looked up in a thread: by its number a peer on this machine is there in the first turn.
        session = tieline.connect(server.url.replace("127.0.0.1", "localhost"))
        connecting = aio.create_task(session.create_connection(nursery=aio.nursery()))
        await aio.sleep(0)
        ended = getattr(session, end)()
        if ended is not None:
            await ended
        with pytest.raises(tieline.ClosedError):
            await connecting
        await session.wait_closed()
        with pytest.raises((tieline.ClosedError, tieline.LocalProtocolError)):
            await session.call("add", 1, 2)


async def test_a_second_connect_is_refused_and_does_not_harm_the_first():
    async with tieline.serve(METHODS, "tcp://127.0.0.1:0") as server:
        session = tieline.connect(server.url)
        first = aio.create_task(session.create_connection(nursery=aio.nursery()))
        await until(lambda: session._is_dialling or session._engine)
        with pytest.raises(tieline.LocalProtocolError, match="one connection"):
            await session.create_connection(nursery=aio.nursery())
        await first
        assert await session.call("add", 1, 2) == 3
        await session.aclose()


async def test_a_socket_that_was_given_is_used_once():
    here, there = socket.socketpair()
    there.close()
    session = tieline.ClientSession(sock=here)
    async with session:
        await session.wait_closed()
    here, there = socket.socketpair()
    there.close()
    again = tieline.ClientSession(sock=here, loop=object())
    with pytest.raises(ValueError, match="loop must be None"):
        await again.create_connection(nursery=aio.nursery())
    with pytest.raises(tieline.LocalProtocolError, match="has been used"):
        await again.create_connection(nursery=aio.nursery())
    listening = socket.create_server(("127.0.0.1", 0))
    server = tieline.Server(tieline.ServerSession, sock=listening)
    async with server:
        pass
    with pytest.raises(tieline.LocalProtocolError, match="has been used"):
        await server.listen(nursery=aio.nursery())


async def test_a_server_that_is_closed_while_it_begins_to_listen_does_not_listen():
    server = tieline.serve(METHODS, "tcp://127.0.0.1:0")
    starting = aio.create_task(server.listen(nursery=aio.nursery()))
    await turns(2)
    with pytest.raises(tieline.LocalProtocolError, match="listening already"):
        await server.listen(nursery=aio.nursery())
    server.close()
    try:
        listener = await starting
    except tieline.ClosedError:
        pass
    else:
        assert not listener.is_serving(), "it had begun already, and has stopped"
    assert server.server is None
    async with server, tieline.connect(server.url) as session:
        assert await session.call("add", 1, 2) == 3
        await server.shutdown(deadline=None)


async def test_a_batch_that_cannot_complete_is_refused_instead_of_waited_for():
    async with tieline.serve(METHODS, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as session:
        batch = session.new_batch()
        request = batch.add_request("add", [1, 2])
        with pytest.raises(tieline.LocalProtocolError, match="has not been sent"):
            await batch
        request.cancel()
        with pytest.raises(tieline.LocalProtocolError, match="complete or cancelled"):
            session.send_batch(batch)
        with pytest.raises(TypeError, match="new_batch"):
            session.send_batch(tieline.RPCBatch([tieline.RPCRequest("add", [1, 2], 1)]))  # type: ignore[arg-type]  # wrong on purpose
        assert session.stats.pending == 0


async def test_a_batch_goes_out_although_its_on_done_fails():
    told = aio.Event()
    methods = tieline.Methods()
    methods.method(name="tell")(told.set)
    async with tieline.serve(methods, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as session:
        with aio.reported() as failures:
            batch = session.new_batch()
            batch.add_notification("tell")
            session.send_batch(batch, on_done=lambda _batch: 1 / 0)
            await told.wait()
    assert [type(failure) for failure in failures] == [ZeroDivisionError]


async def test_what_is_no_on_done_is_refused_before_anything_is_sent():
    """On trio the connection would break when the answer comes."""
    wrong: Any = 5
    async with tieline.serve(METHODS, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as session:
        with pytest.raises(TypeError, match=r"^on_done must be callable, not int: all arguments of a call are one"):
            session.send_request("add", [1], wrong)
        with pytest.raises(TypeError, match=r"^on_done must be callable, not int$"):
            session.new_batch(wrong)
        batch = session.new_batch()
        request = batch.add_request("add", [1, 2])
        with pytest.raises(TypeError, match=r"^on_done must be callable, not int$"):
            session.send_batch(batch, wrong)
        assert session.stats.messages_out == 0
        session.send_batch(batch)
        assert await request == 3


async def test_a_callback_that_cannot_be_called_breaks_no_connection():
    wrong: Any = 5
    async with tieline.serve(METHODS, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as session:
        with aio.reported():
            request = session.send_request("add", [1, 2])
            with suppress(TypeError):
                request.add_done_callback(wrong)
            assert await request == 3
            assert await session.call("add", 3, 4) == 7


async def test_a_request_that_is_completed_by_hand_is_not_open_any_more():
    async with tieline.serve(METHODS, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as session:
        request = session.send_request("add", [1, 2])
        request.set_result(4)
        assert session.stats.pending == 0
        assert await request == 4
        assert await session.call("add", 1, 2) == 3


@pytest.mark.row("J11")
async def test_an_answer_that_is_nested_too_deep_ends_its_call_and_no_other():
    async with tieline.serve(METHODS, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as session:
        assert await session.call("nested", 127) is not None
        with pytest.raises(tieline.RemoteProtocolError, match="nested too deep"):
            await session.call("nested", 128, timeout=None)
        assert await session.call("add", 1, 2) == 3


async def test_the_limits_say_how_long_connecting_may_take():
    assert tieline.connect("tcp://h:1", limits=tieline.Limits(connect_timeout=3)).connect_timeout == 3
    assert tieline.connect("tcp://h:1", connect_timeout=4).connect_timeout == 4
    assert tieline.connect("tcp://h:1").connect_timeout == 10


async def test_connection_lost_may_be_a_plain_function():
    lost: list[str] = []

    class Session(tieline.ClientSession):
        def connection_lost(self) -> None:  # type: ignore[override]  # the point of it
            lost.append("lost")

    serving = tieline.serve(METHODS, "tcp://127.0.0.1:0")
    async with serving as server, tieline.connect(server.url, session_factory=Session):
        pass
    assert lost == ["lost"]


def test_a_name_in_place_of_a_function_is_explained():
    with pytest.raises(TypeError, match=r"did you mean @methods.method\(name='add'\)"):
        tieline.Methods().method("add")  # type: ignore[call-overload]  # wrong on purpose


@pytest.mark.row("S7")
async def test_open_calls_end_at_once_when_a_session_closes_behind_a_full_transport():
    limits = tieline.Limits(write_high_water=1000, write_low_water=100, write_timeout=2)
    async with raw_server(limits=limits) as (client, peer):
        peer.writer.transport.pause_reading()
        call = client.send_request("x", timeout=None)
        while client.has_room():
            client.send_notification("fill", ["x" * 100_000])
            await aio.sleep(0)
        client.close()
        assert call.done()
        assert isinstance(call.exception(), tieline.ClosedError)


async def test_a_set_is_no_list_of_arguments():
    async with tieline.serve(METHODS, "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as session:
        with pytest.raises(TypeError, match="not set"):
            session.send_request("add", {1, 2})
        assert session.stats.pending == 0


@pytest.mark.row("S9")
async def test_ordered_notifications_stay_in_order_for_a_session_that_sees_all():
    seen: list[int] = []
    done = aio.Event()
    methods = tieline.Methods()

    @methods.method(ordered=True)
    async def step(number: int) -> None:
        for _ in range(10 - number):
            await aio.sleep(0)
        seen.append(number)
        if len(seen) == 5:
            done.set()

    class SeesAll(tieline.ServerSession):
        async def handle_request(self, request: tieline.RPCRequest) -> object:
            return await super().handle_request(request)

    serving = tieline.serve(lambda: SeesAll(methods=methods), "tcp://127.0.0.1:0")
    async with serving as server, tieline.connect(server.url) as session:
        for number in range(5):
            session.send_notification("step", [number])
        await done.wait()
    assert seen == [0, 1, 2, 3, 4]
