# SPDX-License-Identifier: MIT
"""Who handles a request: `handle_request`, then handlers by name, then registered methods; and by which codec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests import aio
from tests.rpc.sessions import pair, until
from tieline import (
    ClientSession,
    Codec,
    DecimalCodec,
    Method,
    Methods,
    MsgspecCodec,
    RPCError,
    RPCRequest,
    ServerSession,
    SessionBase,
    StdlibCodec,
    StrictCodec,
)


class Point(msgspec.Struct):
    x: int
    y: int


def registered() -> Methods:
    methods = Methods()

    @methods.method
    def who() -> str:
        return "methods"

    @methods.method
    async def norm(p: Point, *, scale: int = 1) -> int:
        return (p.x + p.y) * scale

    @methods.method(name="odd name/1")
    def named() -> str:
        return "named"

    class Service:
        def ping(self) -> str:
            return "pong"

        async def slow_ping(self) -> str:
            await aio.sleep(0)
            return "slow pong"

        def _hidden(self) -> str:
            return "secret"

    methods.add(Service(), prefix="service.")
    return methods


class ByName(ServerSession):
    """Decides by name; one name it leaves to nobody, one to the registered methods."""

    def request_handler(self, name: str) -> Method | Callable[..., object] | None:
        if name == "nobody":
            return None
        if name == "inherited":
            return super().request_handler("who")
        if name == "async":
            return self.answer
        return lambda *args: ["request_handler", name, *args]

    async def answer(self, n: int) -> list[object]:
        await aio.sleep(0)
        return ["async", n]


class SeesAll(ByName):
    """Sees everything first."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.seen: list[RPCRequest] = []

    async def handle_request(self, request: RPCRequest) -> object:
        self.seen.append(request)
        if request.method == "mine":
            return ["handle_request", request.args, request.request_id, request.is_notification()]
        if request.method == "error":
            raise RPCError(7, "from handle_request")
        return await super().handle_request(request)


class PlainSeesAll(ServerSession):
    """The same by a plain function, which may return an awaitable or not."""

    def handle_request(self, request: RPCRequest) -> object:
        return super().handle_request(request) if request.method == "who" else "plain"


@pytest.mark.row("S4")
async def test_methods_are_found_by_their_registered_names():
    async with pair(registered()) as both:
        call = both.client.call
        assert await call("who") == "methods"
        assert await call("odd name/1") == "named"
        assert await call("service.ping") == "pong"
        assert await call("service.slow_ping") == "slow pong"
        assert await call("norm", {"x": 1, "y": 2}) == 3
        assert await call("norm", p={"x": 1, "y": 2}, scale=10) == 30
        for unknown in ("named", "ping", "service._hidden", "Who", "__init__", "norm.__globals__", "rpc.x", ""):
            with pytest.raises(RPCError) as caught:
                await call(unknown)
            assert caught.value.code == -32601
            assert f'unknown method "{unknown}"' in caught.value.message
        assert both.peer.stats.errors == 0


@pytest.mark.row("S4")
async def test_a_long_unknown_name_comes_back_cut():
    async with pair(registered()) as both:
        for length in (64, 65, 256, 257, 100_000):
            with pytest.raises(RPCError, match="unknown method") as caught:
                await both.client.call("n" * length)
            assert caught.value.code == -32601
            shown = caught.value.message.count("n" * 64)
            assert shown == (length <= 256)
            assert len(caught.value.message) < 90


@pytest.mark.row("S4")
async def test_arguments_that_do_not_fit_are_told_by_name():
    async with pair(registered()) as both:
        for args, expected in (
            ([], "p"),
            ([{"x": 1, "y": 2}, 3], "argument"),
            ({"p": {"x": 1, "y": 2}, "z": 1}, "z"),
            ([{"x": "1", "y": 2}], "p"),
            ({"p": {"x": 1}}, "p"),
        ):
            with pytest.raises(RPCError, match=expected) as caught:
                await both.client.send_request("norm", args)
            assert caught.value.code == -32602
        assert both.peer.stats.errors == 0


@pytest.mark.row("S4")
async def test_handlers_by_name_win_over_registered_methods():
    async with pair(registered(), session_class=ByName) as both:
        assert await both.client.call("who", 1) == ["request_handler", "who", 1]
        assert await both.client.call("anything") == ["request_handler", "anything"]
        assert await both.client.call("inherited") == "methods"
        assert await both.client.call("async", 5) == ["async", 5]
        with pytest.raises(RPCError) as caught:
            await both.client.call("async", "5")  # its hints hold as those of registered methods do
        assert caught.value.code == -32602
        with pytest.raises(RPCError) as caught:
            await both.client.call("nobody")
        assert caught.value.code == -32601


@pytest.mark.row("S4")
async def test_requests_and_notifications_have_handlers_of_their_own():
    told: list[str] = []

    class Own(ServerSession):
        def notification_handler(self, name: str) -> Method | Callable[..., object] | None:
            if name == "who":
                return lambda: told.append("notification_handler")
            return None

    async with pair(registered(), session_class=Own) as both:
        await both.client.notify("who")
        await both.client.notify("nobody hears this")
        assert await both.client.call("who") == "methods"
        await until(lambda: told == ["notification_handler"])
        assert both.peer.stats.errors == 0


@pytest.mark.row("S4")
async def test_handle_request_sees_all_and_may_leave_the_rest_to_the_others():
    async with pair(registered(), session_class=SeesAll) as both:
        assert isinstance(both.peer, SeesAll)
        assert await both.client.call("mine", 1, 2) == ["handle_request", [1, 2], 0, False]
        assert await both.client.call("mine", a=1) == ["handle_request", {"a": 1}, 1, False]
        assert await both.client.call("who") == ["request_handler", "who"]
        assert await both.client.call("async", 5) == ["async", 5]
        for name, code in (("error", 7), ("nobody", -32601)):
            with pytest.raises(RPCError) as caught:
                await both.client.call(name)
            assert caught.value.code == code
        with pytest.raises(RPCError) as caught:
            await both.client.call("async", 5, 6)
        assert caught.value.code == -32602
        await both.client.notify("mine")
        await until(lambda: len(both.peer.seen) == 8)  # type: ignore[attr-defined]  # its own class has it
        assert both.peer.seen[-1].is_notification()
        assert both.peer.seen[-1].request_id is None


@pytest.mark.row("S4")
async def test_handle_request_may_be_a_plain_function():
    async with pair(registered(), session_class=PlainSeesAll) as both:
        assert await both.client.call("who") == "methods"
        assert await both.client.call("other") == "plain"


@pytest.mark.row("S4")
async def test_a_session_parameter_is_filled_and_hidden_so_that_handlers_can_call_back():
    methods, client_methods = Methods(), Methods()
    told: list[object] = []

    @methods.method
    async def ask(question: str, session: ServerSession) -> Any:
        await session.notify("asked", question)
        return [await session.call("answer", question), session.remote_address() == told[0]]

    @methods.method
    def plain(session: SessionBase, n: int = 3) -> list[object]:
        return [isinstance(session, ServerSession), n]

    @client_methods.method
    def answer(question: str) -> str:
        return question.upper()

    @client_methods.method
    def asked(session: ClientSession, question: str) -> None:
        told.append((session.stats.pending, question))

    async with pair(methods, client_methods=client_methods) as both:
        told.append(both.peer.remote_address() and tuple(both.peer.remote_address()))  # type: ignore[arg-type]  # wrong on purpose
        assert await both.client.call("ask", "why") == ["WHY", True]
        assert told[1] == (1, "why")
        assert await both.client.call("plain") == [True, 3]
        assert await both.client.call("plain", 4) == [True, 4]
        with pytest.raises(RPCError, match="session"):
            await both.client.call("plain", session=1)


# --- codecs ----------------------------------------------------------------------------------------------------------


class Tagging(StdlibCodec):
    """Converts in a way of its own, so that one sees by whom it was asked."""

    asked: list[object]

    def convert(self, obj: object, type: Any) -> Any:
        self.asked.append(type)
        return super().convert(obj, type)


@pytest.mark.row("J9", "S4")
@pytest.mark.parametrize(
    "codec", [MsgspecCodec(), StdlibCodec(), DecimalCodec(), StrictCodec()], ids=lambda c: type(c).__name__
)
async def test_every_codec_carries_calls_both_ways(codec: Codec):
    methods = registered()

    @methods.method
    def echo(value: Any) -> Any:
        return value

    values: list[Any] = [None, True, 0, -1, 10**30, "é\u2028\U0001f600", [], {}, [1, [2, {"a": None}]], {"k": [1]}]
    async with pair(methods, codec=codec) as both:
        for value in values:
            assert await both.client.call("echo", value) == value
        assert await both.client.call("norm", {"x": 1, "y": 2}) == 3
        with pytest.raises(RPCError) as caught:
            await both.client.call("norm", {"x": "1", "y": 2})
        assert caught.value.code == -32602
        with pytest.raises(RPCError) as caught:
            await both.client.call("no such")
        assert caught.value.code == -32601
        batch = both.client.new_batch()
        batch.add_request("echo", [1])
        batch.add_request("no such")
        both.client.send_batch(batch)
        await batch
        assert batch.results[0] == 1
        assert isinstance(batch.results[1], RPCError)


@pytest.mark.row("J9")
async def test_decimals_stay_exact_with_the_codec_that_keeps_them():
    methods = Methods()
    seen: list[object] = []

    @methods.method
    def echo(value: Any) -> Any:
        seen.append(value)
        return value

    async with pair(methods, codec=DecimalCodec()) as both:
        price = Decimal("0.10000000000000000000000000001")
        answer = await both.client.call("echo", price)
        assert answer == seen[0] == price
        assert type(answer) is Decimal


@pytest.mark.row("J9", "S4")
@pytest.mark.parametrize("session_class", [ServerSession, SeesAll], ids=["registered", "through handle_request"])
async def test_a_codec_s_own_conversion_is_the_one_that_is_asked(session_class: type[ServerSession]):
    codec = Tagging()
    codec.asked = []
    methods = registered()

    class Through(ServerSession):
        async def handle_request(self, request: RPCRequest) -> object:
            return await super().handle_request(request)

    session_class = Through if session_class is SeesAll else ServerSession
    async with pair(methods, codec=codec, session_class=session_class) as both:
        assert await both.client.call("norm", {"x": 1, "y": 2}) == 3
        assert Point in codec.asked


@pytest.mark.row("J9", "S5", "S6")
async def test_a_codec_that_fails_in_ways_of_its_own_ends_nothing():
    class Broken(StdlibCodec):
        def encode(self, obj: object) -> bytes:
            if obj == "unwritable":
                raise LookupError
            return super().encode(obj)

        def decode(self, data: bytes) -> object:
            if b"unreadable" in data:
                raise LookupError
            return super().decode(data)

    methods = registered()

    @methods.method
    def bad() -> str:
        return "unwritable"

    async with pair(methods, codec=Broken()) as both:
        with pytest.raises(RPCError, match="internal error"):
            await both.client.call("bad")
        both.client.send_notification("unreadable")
        assert await both.client.call("who") == "methods"


@pytest.mark.row("S4")
async def test_handlers_that_have_no_hash_are_called_as_others_are():
    @dataclass
    class Adder:
        offset: int

        def __call__(self, n: int) -> int:
            return self.offset + n

    class Finds(ServerSession):
        def request_handler(self, name: str) -> Callable[..., object]:
            return Adder(int(name))

    async with pair(session_class=Finds) as both:
        assert await aio.gather(*(both.client.call(name, 1) for name in ("1", "2", "1"))) == [2, 3, 2]
        with pytest.raises(RPCError, match="'n'"):
            await both.client.call("3", "x")


@pytest.mark.row("S4")
async def test_only_handlers_that_are_called_again_are_compiled():
    def stays(n: int) -> int:
        return n + 1

    class Finds(ServerSession):
        def request_handler(self, name: str) -> Callable[..., object]:
            return stays if name == "stays" else lambda n: n - 1

    async with pair(session_class=Finds) as both:
        for wanted in (False, True, True):
            assert await both.client.call("stays", 1) == 2
            assert await both.client.call("comes and goes", 1) == 0
            assert both.peer._engine is not None
            kept = both.peer._engine.handling._bound or {}
            assert kept[stays].is_compiled is wanted
            assert {method.is_compiled for function, method in kept.items() if function is not stays} == {False}
            with pytest.raises(RPCError, match="parameter 'n'"):
                await both.client.call("stays", "x")
