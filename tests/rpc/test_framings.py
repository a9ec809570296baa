# SPDX-License-Identifier: MIT
"""Sessions over each framing, on real sockets: calls both ways, large messages, and what a framing cannot carry."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest

from tests.rpc.sessions import no_entries, pair, raw_client, until
from tieline import (
    ConnectionLost,
    ContentLengthFramer,
    FramerBase,
    JSONStreamFramer,
    LengthPrefixedFramer,
    Limits,
    LocalProtocolError,
    Methods,
    NetstringFramer,
    NewlineFramer,
    OutgoingMessageTooLarge,
    RecordSeparatorFramer,
    RPCError,
    ServerSession,
    VarintFramer,
    serve,
)

FRAMERS: list[type[FramerBase]] = [
    *(ContentLengthFramer, LengthPrefixedFramer, VarintFramer),
    *(NetstringFramer, RecordSeparatorFramer, JSONStreamFramer, NewlineFramer),
]
LSP = partial(ContentLengthFramer, content_type="application/vscode-jsonrpc; charset=utf-8")
FACTORIES: list[Any] = [
    LSP,
    partial(LengthPrefixedFramer, 8, "little", includes_header=True),
    partial(LengthPrefixedFramer, 2),
]


def methods_with_log() -> tuple[Methods, list[object]]:
    methods = Methods()
    seen: list[object] = []

    @methods.method
    def echo(value: object) -> object:
        return value

    @methods.method
    async def later(value: object) -> object:
        await asyncio.sleep(0)
        return value

    @methods.method
    def note(value: object) -> None:
        seen.append(value)

    @methods.method
    def letters(count: int) -> str:
        return "x" * count

    @methods.method
    def fail() -> None:
        raise RPCError(5, "as asked", data=["\n", "\x1e", '"}{'])

    return methods, seen


# What a framing that looks for something could trip over.
VALUES: list[object] = [
    None,
    0,
    "",
    '\n\x1e\r\n\r\n,}{]["\\',
    {"a": [{"b": [[[[]]]]}]},
    "\U0001f600\u00e9",
    [1.5, True],
]


@pytest.mark.row("F4", "F5", "F6", "S1", "S2")
@pytest.mark.parametrize("framer", [*FRAMERS, *FACTORIES], ids=str)
async def test_calls_notifications_and_batches_go_both_ways(framer: Any) -> None:
    methods, heard = methods_with_log()
    own_methods, own_heard = methods_with_log()
    async with pair(methods, client_methods=own_methods, framer=framer) as both:
        for session, seen in ((both.client, heard), (both.peer, own_heard)):
            for value in VALUES:
                assert await session.call("echo", value) == value
                assert await session.call("later", value) == value
            answers = await asyncio.gather(*(session.call(name, n) for n in range(100) for name in ("echo", "later")))
            assert answers == [n for n in range(100) for _ in range(2)]
            with pytest.raises(RPCError, match="as asked") as caught:
                await session.call("fail")
            assert caught.value.data == ["\n", "\x1e", '"}{']
            for value in VALUES:
                await session.notify("note", value)
            batch = session.new_batch()
            for value in VALUES:
                batch.add_request("echo", [value])
                batch.add_notification("note", [value])
            batch.add_request("unknown")
            session.send_batch(batch)
            await batch
            assert [*batch.results[:-1]] == VALUES
            assert isinstance(batch.results[-1], RPCError)
            await until(lambda seen=seen: len(seen) == 2 * len(VALUES))  # type: ignore[misc]  # a default binds it now
            assert seen == VALUES * 2
        assert no_entries(both.client)
        assert no_entries(both.peer)


@pytest.mark.row("F4", "F5", "F6", "H5")
@pytest.mark.parametrize("framer", FRAMERS)
async def test_large_messages_go_both_ways(framer: Any) -> None:
    methods, _ = methods_with_log()
    plain = "x" * 1_000_000
    dense = [{"name": f"item {n}", "values": [n, {"odd": n % 2}]} for n in range(20_000)]
    async with pair(methods, client_methods=methods, framer=framer) as both:
        for value in (plain, dense):
            assert await both.client.call("echo", value) == value
            assert await both.peer.call("echo", value) == value
        # Many at once: they come in pieces, several to a read.
        values = [plain[: n * 50_000] for n in range(20)]
        assert await asyncio.gather(*(both.client.call("later", value) for value in values)) == values


@pytest.mark.row("F4", "F5", "F6", "H4", "H5", "H12")
@pytest.mark.parametrize("framer", FRAMERS)
async def test_a_message_over_the_peers_limit_is_answered_and_ends_the_connection(framer: Any) -> None:
    methods, _ = methods_with_log()
    async with pair(methods, framer=framer, limits=Limits(max_message=1000)) as both:
        assert await both.client.call("echo", "x" * 900) == "x" * 900
        with pytest.raises(ConnectionLost) as caught:
            await both.client.call("echo", "x" * 1001)
        assert isinstance(caught.value.__cause__, ConnectionLost)
        told = caught.value.__cause__.__cause__
        assert isinstance(told, RPCError)
        assert (told.code, told.message) == (-32600, "message too large (limit 1000)")


@pytest.mark.row("F1", "F8")
async def test_a_framer_class_takes_the_limit_of_its_session() -> None:
    made: list[ContentLengthFramer] = []

    class Noted(ContentLengthFramer):
        @classmethod
        def with_limit(cls, max_size: int) -> Noted:
            made.append(cls(max_size))
            return made[-1]  # type: ignore[return-value]  # it is one

    methods, _ = methods_with_log()
    async with pair(methods, framer=Noted, limits=Limits(max_message=None)) as both:
        assert await both.client.call("echo", 1) == 1
    assert sorted(framer.max_size for framer in made) == [0, 64 << 20]


# --- what a framing cannot carry ---------------------------------------------------------------------------------


@pytest.mark.row("F5", "H6")
async def test_what_does_not_fit_the_framing_fails_alone() -> None:
    methods, heard = methods_with_log()
    async with pair(methods, client_methods=methods, framer=partial(LengthPrefixedFramer, 1)) as both:
        for session in (both.client, both.peer):
            with pytest.raises(OutgoingMessageTooLarge, match="over the limit of 255 bytes"):
                await session.call("echo", "x" * 255)
            with pytest.raises(OutgoingMessageTooLarge):
                session.send_request("echo", ["x" * 255])
            with pytest.raises(OutgoingMessageTooLarge):
                await session.notify("note", "x" * 255)
            with pytest.raises(RPCError) as caught:
                await session.call("letters", 255)
            assert (caught.value.code, caught.value.message) == (-32600, "response too large (limit 255)")
            batch = session.new_batch()
            for _ in range(5):
                batch.add_request("letters", [100])
            with pytest.raises(OutgoingMessageTooLarge):
                session.send_batch(batch)
            batch = session.new_batch()
            for _ in range(3):  # that fits, and what it asks for does not
                batch.add_request("letters", [100])
            session.send_batch(batch)
            await batch
            assert [error.code for error in batch.results if isinstance(error, RPCError)] == [-32600] * 3
            assert await session.call("letters", 200) == "x" * 200
            assert await session.call("echo", [1]) == [1]
        assert heard == []
        assert no_entries(both.client)
        assert no_entries(both.peer)


class Refusing(ContentLengthFramer):
    """Frames no answer, as a user's framer with a fault might."""

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        kept = [bytes(message) for message in messages]
        if any(b'"method"' not in message for message in kept):
            raise KeyError("a fault of the user's own")
        return super().frame(kept)


@pytest.mark.row("F1", "S5")
@pytest.mark.parametrize("method", ["echo", "later", "unknown"])
async def test_a_framer_that_frames_no_answer_ends_the_connection_so_that_nobody_waits_for_ever(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    methods, _ = methods_with_log()
    caplog.set_level(logging.CRITICAL)  # the failures of the handlers are told there
    async with serve(partial(ServerSession, methods=methods, framer=Refusing), "tcp://127.0.0.1:0") as server:
        async with raw_client(server) as peer:
            body = json.dumps({"jsonrpc": "2.0", "method": method, "params": [1], "id": 1}).encode()
            peer.writer.write(ContentLengthFramer().frame([body]))
            await until(lambda: server.sessions)
            (session,) = server.sessions
            assert await peer.ended()
        await until(lambda: not server.sessions)
        assert isinstance(session.close_reason, LocalProtocolError)
        assert str(session.close_reason) == "the framer frames no reply: KeyError"


# --- strangers on sockets ------------------------------------------------------------------------------------------

CALL = b'{"jsonrpc":"2.0","method":"note","params":[1],"id":1}'


@pytest.mark.parametrize(
    ("framer", "wire", "text"),
    [
        pytest.param(
            *(ContentLengthFramer, b"Content-Length: +53\r\n\r\n" + CALL, "Content-Length must be 1 to 10 digits"),
            marks=pytest.mark.row("F4", "H11"),
        ),
        pytest.param(
            *(ContentLengthFramer, b"Content-Length: 9999999999\r\n\r\n" + CALL, "message too large"),
            marks=pytest.mark.row("F4", "H12"),
        ),
        pytest.param(
            *(ContentLengthFramer, b"Content-Length: 53\n\n" + CALL, "bare LF"), marks=pytest.mark.row("F4", "H13")
        ),
        pytest.param(
            *(ContentLengthFramer, b"Content-Length: 9\r\n\r\n" + CALL + b"\r\n\r\n", "header line"),
            marks=pytest.mark.row("F4", "H14"),
        ),
        pytest.param(
            *(ContentLengthFramer, b"Content-Type: a/b\r\nContent-Length: 53\r\n\r\n" + CALL, "Content-Type must"),
            marks=pytest.mark.row("F4", "H15"),
        ),
        pytest.param(
            *(LengthPrefixedFramer, b"\xff\xff\xff\xff" + CALL, "message too large"), marks=pytest.mark.row("F5", "H16")
        ),
    ],
)  # fmt: skip
async def test_a_peer_that_breaks_the_framing_is_told_and_cut_off(framer: Any, wire: bytes, text: str) -> None:
    methods, heard = methods_with_log()
    async with serve(methods, "tcp://127.0.0.1:0", framer=framer) as server:
        async with raw_client(server) as peer:
            peer.writer.write(wire + framer().frame([CALL]))
            got = await asyncio.wait_for(peer.reader.read(), 10)
        answers, fault = framer().take(got)
        assert fault is None
        # What a length that is too small cuts off of a message is no JSON, and answered too.
        assert {json.loads(answer)["id"] for answer in answers} == {None}
        assert text in json.loads(answers[-1])["error"]["message"]
        assert heard == []
        await until(lambda: not server.sessions)
