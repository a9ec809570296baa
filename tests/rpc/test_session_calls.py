# SPDX-License-Identifier: MIT
"""Calls and notifications: their arguments, their timeouts, their answers, in every way they can be made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests import aio
from tests.ids import plain_repr
from tests.rpc.sessions import TCP_URL, no_entries, pair, raw_client, raw_server, turns, until
from tieline import (
    Codec,
    ConnectionLost,
    JSONRPCv1,
    Limits,
    LocalProtocolError,
    Methods,
    OutgoingMessageTooLarge,
    RemoteProtocolError,
    RPCError,
    RPCRequestOut,
    StdlibCodec,
    serve,
)
from tieline.wire.limits import DEFAULT


@dataclass
class Point:
    x: int
    y: int


class Shape(msgspec.Struct):
    x: int
    y: int = 5


def echoing() -> tuple[Methods, list[Any]]:
    methods = Methods()
    seen: list[Any] = []

    @methods.method
    def echo(x: Any = "none", y: Any = "none") -> list[Any]:
        seen.append((x, y))
        return [x, y]

    @methods.method
    async def hang() -> None:
        await aio.Event().wait()

    return methods, seen


@pytest.mark.row("S3", "S8")
async def test_the_default_timeout_is_that_of_the_limits():
    assert Limits().call_timeout == 30.0
    assert repr(DEFAULT) == "DEFAULT"
    async with raw_server(limits=Limits(call_timeout=0.02)) as (client, peer):
        with pytest.raises(TimeoutError):
            await client.call("silence")
        with pytest.raises(TimeoutError):
            await client.call("silence", timeout=DEFAULT)
        with pytest.raises(TimeoutError):
            await client.send_request("silence")
        with pytest.raises(TimeoutError):
            await client.call("silence", timeout=0)
        for_ever = client.send_request("silence", timeout=None)
        with pytest.raises(TimeoutError):
            await client.call("silence", timeout=0.05)
        assert not for_ever.done()
        peer.send({"jsonrpc": "2.0", "id": for_ever.request_id, "result": "at last"})
        assert await for_ever == "at last"


@pytest.mark.row("S3")
@pytest.mark.parametrize("codec", [None, StdlibCodec()])
async def test_a_call_beside_an_open_one_leaves_at_once_or_with_others_and_times_out(codec: Codec | None):
    async with raw_server(codec=codec, limits=Limits(call_timeout=0.05)) as (client, peer):
        for_ever = client.send_request("silence", timeout=None)
        assert (await peer.line())["id"] == for_ever.request_id
        for count in (1, 3):
            calls = [aio.create_task(client.call("silence", number)) for number in range(count)]
            assert [(await peer.line())["params"] for _ in calls] == [[number] for number in range(count)]
            for call in calls:
                with pytest.raises(TimeoutError):
                    await call
        assert for_ever.cancel()


@pytest.mark.row("S3", "J4")
async def test_errors_of_the_peer_arrive_with_code_text_data_and_id():
    async with raw_server() as (client, peer):
        call = client.send_request("x")
        peer.send({"jsonrpc": "2.0", "id": 0, "error": {"code": -5, "message": "no", "data": [1]}})
        with pytest.raises(RPCError) as caught:
            await call
        error = caught.value
        assert (error.code, error.message, error.data, error.request_id) == (-5, "no", [1], 0)
        call = client.send_request("x")
        peer.writer.close()
        with pytest.raises(ConnectionLost):
            await call


@pytest.mark.row("S3")
async def test_what_the_wire_shows_of_every_way_to_call():
    async with raw_server() as (client, peer):
        calls = [aio.create_task(client.call("a", 1, "b")), aio.create_task(client.call("a", x=1))]
        calls.append(aio.create_task(client.call("a")))
        await turns()
        await client.notify("n", 1)
        await client.notify("n", x=1)
        await client.notify("n")
        client.send_notification("n", (1, 2))
        client.send_notification("n")
        shown = [await peer.line() for _ in range(8)]
        v2 = {"jsonrpc": "2.0"}
        assert [message.pop("id", None) for message in shown] == [0, 1, 2, *[None] * 5]
        assert shown == [
            {**v2, "method": "a", "params": [1, "b"]},
            {**v2, "method": "a", "params": {"x": 1}},
            {**v2, "method": "a", "params": []},
            {**v2, "method": "n", "params": [1]},
            {**v2, "method": "n", "params": {"x": 1}},
            {**v2, "method": "n", "params": []},
            {**v2, "method": "n", "params": [1, 2]},
            {**v2, "method": "n", "params": []},
        ]
        for call in calls:
            call.cancel()
        await aio.gather(*calls, return_exceptions=True)


@pytest.mark.row("S3")
async def test_a_broadcast_is_a_notification_without_id():
    async with serve(Methods(), TCP_URL) as server, raw_client(server) as peer:
        await until(lambda: server.sessions)
        await server.broadcast("tick", 1)
        assert await peer.line() == {"jsonrpc": "2.0", "method": "tick", "params": [1]}


@pytest.mark.row("S3")
@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (None, ["none", "none"]),
        ([1], [1, "none"]),
        ((1, 2), [1, 2]),
        ({"y": 2}, ["none", 2]),
        (Point(3, 4), [3, 4]),
        (Shape(3), [3, 5]),
        ([], ["none", "none"]),
        ({}, ["none", "none"]),
    ],
    ids=repr,
)
async def test_send_request_takes_arguments_in_every_shape(args: object, expected: list[object]):
    methods, seen = echoing()
    async with pair(methods) as both:
        request = both.client.send_request("echo", args)
        assert isinstance(request, RPCRequestOut)
        assert inspect.isawaitable(request)
        assert not request.done()
        assert await request == expected
        assert request.result() == expected
        both.client.send_notification("echo", args)
        batch = both.client.new_batch()
        batch.add_request("echo", args)
        both.client.send_batch(batch)
        assert (await batch).results == (expected,)
        assert seen == [tuple(expected)] * 3


@pytest.mark.row("S3")
@pytest.mark.parametrize("args", [5, "text", object(), 1.5, True, b"x"], ids=plain_repr)
async def test_arguments_of_another_shape_are_refused_at_once(args: object):
    methods, seen = echoing()
    async with pair(methods) as both:
        with pytest.raises(TypeError):
            both.client.send_request("echo", args)
        with pytest.raises(TypeError):
            both.client.send_notification("echo", args)
        assert both.client.stats.messages_out == 0
        assert no_entries(both.client)
        assert not seen


@pytest.mark.row("S3")
async def test_arguments_by_position_and_by_name_at_once_are_a_type_error():
    methods, seen = echoing()
    async with pair(methods) as both:
        with pytest.raises(TypeError, match="by position or by name"):
            await both.client.call("echo", 1, y=2)
        with pytest.raises(TypeError, match="by position or by name"):
            await both.client.notify("echo", 1, y=2)
        with pytest.raises(TypeError, match="by position or by name"):
            await both.server.broadcast("echo", 1, y=2)
        assert both.client.stats.messages_out == 0
        assert not seen


@pytest.mark.row("S3")
async def test_a_method_may_have_parameters_with_the_names_of_ours():
    methods = Methods()

    @methods.method
    def take(method: int, self: int) -> list[int]:
        return [method, self]

    async with pair(methods) as both:
        assert await both.client.call("take", method=1, self=2) == [1, 2]


@pytest.mark.row("S3", "J9")
@pytest.mark.parametrize("bad", [object(), "\ud800", 10**5000], ids=["object", "surrogate", "huge"])
async def test_values_that_json_cannot_carry_are_refused_before_anything_is_sent(bad: object):
    methods, seen = echoing()
    async with pair(methods) as both:
        for attempt in (
            lambda: both.client.call("echo", bad),
            lambda: both.client.call("echo", x=bad),
            lambda: both.client.notify("echo", bad),
        ):
            with pytest.raises((TypeError, ValueError)):
                await attempt()
        with pytest.raises((TypeError, ValueError)):
            both.client.send_request("echo", [bad])
        assert both.client.stats.messages_out == 0
        assert no_entries(both.client)
        assert await both.client.call("echo", 1) == [1, "none"]
        assert seen == [(1, "none")]


@pytest.mark.row("S3", "J11")
async def test_a_message_over_our_own_limit_is_refused_and_the_connection_goes_on():
    methods, seen = echoing()
    async with pair(methods, client_limits=Limits(max_message=1000)) as both:
        for attempt in (lambda: both.client.call("echo", "x" * 1000), lambda: both.client.notify("echo", "x" * 1000)):
            with pytest.raises(OutgoingMessageTooLarge) as caught:
                await attempt()
            assert caught.value.limit == 1000
            assert caught.value.size > 1000
        assert no_entries(both.client)
        assert await both.client.call("echo", 1) == [1, "none"]
        assert len(seen) == 1


@pytest.mark.row("S3", "J5")
async def test_a_dialect_without_named_arguments_and_batches_refuses_them_before_sending():
    methods, seen = echoing()
    async with pair(methods, rpc_protocol=JSONRPCv1) as both:
        with pytest.raises(LocalProtocolError):
            await both.client.call("echo", x=1)
        with pytest.raises(LocalProtocolError):
            both.client.send_request("echo", Point(1, 2))
        batch = both.client.new_batch()
        batch.add_request("echo")
        with pytest.raises(LocalProtocolError):
            both.client.send_batch(batch)
        assert both.client.stats.messages_out == 0
        assert await both.client.call("echo", 1) == [1, "none"]
        assert seen == [(1, "none")]


@pytest.mark.row("S3", "J3")
async def test_callbacks_get_the_request_when_it_is_done_however_it_ended():
    methods, _seen = echoing()
    async with pair(methods) as both:
        done: list[RPCRequestOut] = []
        good = both.client.send_request("echo", [1], done.append)
        unknown = both.client.send_request("no such", None, done.append)
        late = both.client.send_request("hang", on_done=done.append, timeout=0.01)
        cancelled = both.client.send_request("hang", on_done=done.append)
        cancelled.cancel()
        await until(lambda: len(done) == 4)
        assert set(done) == {good, unknown, late, cancelled}
        assert good.result() == [1, "none"]
        assert isinstance(unknown.exception(), RPCError)
        assert isinstance(late.exception(), TimeoutError)
        assert cancelled.cancelled()
        assert not good.cancel()
        assert no_entries(both.client)


@pytest.mark.row("S3")
async def test_what_is_a_coroutine_and_what_is_plain():
    methods, _seen = echoing()
    async with pair(methods) as both:
        coroutine_functions: list[Callable[..., Any]] = [
            both.client.call, both.client.notify, both.client.aclose, both.client.wait_closed,
            both.server.shutdown, both.server.wait_closed, both.server.broadcast, both.server.serve_forever,
        ]  # fmt: skip
        plain: list[Callable[..., Any]] = [
            both.client.send_request, both.client.send_notification, both.client.new_batch, both.client.send_batch,
            both.client.abort, both.client.close, both.server.close,
        ]  # fmt: skip
        assert all(inspect.iscoroutinefunction(function) for function in coroutine_functions)
        assert not any(inspect.iscoroutinefunction(function) for function in plain)


@pytest.mark.row("S3", "J8")
async def test_ids_count_from_zero_in_each_session_and_calls_of_many_tasks_keep_apart():
    methods, _seen = echoing()
    for _ in range(2):
        async with pair(methods) as both:
            first = both.client.send_request("echo")
            assert first.request_id == 0
            answers = await aio.gather(*(both.client.call("echo", n) for n in range(500)))
            assert [answer[0] for answer in answers] == list(range(500))
            assert both.client.send_request("echo").request_id == 501
            await both.client.call("echo")


@pytest.mark.row("J4", "S7")
@pytest.mark.parametrize(
    "answer",
    [{"error": {"code": "x", "message": "m"}}, {"error": 5}, {"result": 1, "error": {"code": 1, "message": ""}}],
)
async def test_an_answer_that_is_none_fails_the_call_and_nothing_else(answer: dict[str, object]):
    async with raw_server() as (client, peer):
        bad, good = client.send_request("x"), client.send_request("x")
        peer.send({"jsonrpc": "2.0", "id": 0, **answer}, {"jsonrpc": "2.0", "id": 1, "result": 5})
        with pytest.raises(RemoteProtocolError):
            await bad
        assert await good == 5
