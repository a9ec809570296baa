# SPDX-License-Identifier: MIT
"""Results of every kind, in reads of one request and of many: each is answered with what it was at its return."""

from __future__ import annotations

from typing import Any, cast

import pytest
from msgspec import UNSET, Raw

from tests.rpc.sessions import TCP_URL, raw_client
from tieline import (
    Codec,
    DecimalCodec,
    JSONRPCv2,
    Methods,
    RPCResponse,
    ServerSession,
    StdlibCodec,
    StrictCodec,
    serve,
)

INTERNAL = -32603
_circle: list[object] = []
_circle.append(_circle)
ODD: dict[str, object] = {"object": object(), "circle": _circle, "unset": UNSET, "lines": Raw(b"[\n]")}


def growing() -> Methods:
    """Return handlers that return the same list, which grows with every call, and things of other kinds."""
    methods = Methods()
    calls: list[int] = []

    @methods.method
    def grow() -> list[int]:
        calls.append(len(calls))
        return calls

    @methods.method
    async def grow_async() -> list[int]:
        return grow()

    @methods.method
    def text() -> str:
        return "é\n"

    @methods.method
    def long() -> str:
        return "x" * 5000

    @methods.method
    def odd(name: str) -> object:
        return ODD[name]

    @methods.method
    def raw() -> Raw:
        return Raw(b'{ "a" : 1 }')

    return methods


def asks(*methods: Any) -> list[dict[str, Any]]:
    messages = [method if isinstance(method, tuple) else (method,) for method in methods]
    return [
        {"jsonrpc": "2.0", "id": number, "method": name, "params": params}
        for number, (name, *params) in enumerate(messages)
    ]


class Reusing(StdlibCodec):
    """Encodes into the same memory each time."""

    def __init__(self) -> None:
        super().__init__()
        self._memory = bytearray()

    def encode(self, obj: object) -> bytes:
        self._memory[:] = super().encode(obj)
        return cast("bytes", self._memory)  # users do so


@pytest.mark.parametrize("codec", [None, StdlibCodec(), DecimalCodec(), StrictCodec(), Reusing()])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("batch", [True, False])
async def test_a_result_is_what_it_was_when_it_was_returned(at_once: bool, batch: bool, codec: Codec | None) -> None:
    kinds = ["grow", "text", "grow", "grow_async", "long", "text", "grow_async", "grow"]
    async with serve(growing(), TCP_URL, codec=codec) as server, raw_client(server) as peer:
        messages = asks(*kinds)
        replies: list[Any] = []
        if at_once:
            peer.send(*([messages] if batch else messages))
            replies = [await peer.line() for _ in range(1 if batch else len(messages))]
            replies = replies[0] if batch else replies
        else:
            for message in messages:
                peer.send([message] if batch else message)
                reply = await peer.line()
                replies.append(reply[0] if batch else reply)
        found = {reply["id"]: reply["result"] for reply in replies}
        grown = [value for number, value in sorted(found.items()) if kinds[number].startswith("grow")]
        assert sorted(map(len, grown)) == [1, 2, 3, 4, 5], "each has its own"
        assert [found[number] for number, kind in enumerate(kinds) if kind == "text"] == ["é\n"] * 2
        assert found[kinds.index("long")] == "x" * 5000


class Shouting(JSONRPCv2):
    """Reads as all do, and writes otherwise."""

    @classmethod
    def response_message(cls, item: RPCResponse) -> bytes:
        return super().response_message(item).replace(b'"hello"', b'"HELLO"')


@pytest.mark.parametrize("name", ["plain", "later"])
async def test_a_class_of_a_users_writes_all_answers(name: str) -> None:
    methods = Methods()

    @methods.method
    def plain() -> str:
        return "hello"

    @methods.method
    async def later() -> str:
        return "hello"

    def session() -> ServerSession:
        return ServerSession(methods=methods, rpc_protocol=Shouting)

    async with serve(session, TCP_URL) as server, raw_client(server) as peer:
        for count in (1, 1, 3, 1):
            peer.send(*asks(*[name] * count))
            assert [(await peer.line())["result"] for _ in range(count)] == ["HELLO"] * count


@pytest.mark.parametrize("name", sorted(ODD))
@pytest.mark.parametrize("beside", [True, False])
async def test_what_is_no_result_is_an_internal_error_of_its_call_alone(name: str, beside: bool) -> None:
    messages = asks("text", ("odd", name), "grow") if beside else asks(("odd", name))
    async with serve(growing(), TCP_URL) as server, raw_client(server) as peer:
        peer.send(*messages)
        replies = [await peer.line() for _ in messages]
        codes = {reply["id"]: reply.get("error", {}).get("code") for reply in replies}
        assert codes == ({0: None, 1: INTERNAL, 2: None} if beside else {0: INTERNAL})
        peer.send(*asks("text"))
        assert (await peer.line())["result"] == "é\n"


async def test_ready_made_json_goes_through_as_it_is() -> None:
    async with serve(growing(), TCP_URL) as server, raw_client(server) as peer:
        for count in (1, 3):
            peer.send(*asks(*["raw"] * count))
            assert [(await peer.line())["result"] for _ in range(count)] == [{"a": 1}] * count
