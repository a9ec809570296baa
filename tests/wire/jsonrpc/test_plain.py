# SPDX-License-Identifier: MIT
"""Plain messages are read in one go, and their answers encoded together: the careful way must come to the same."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.jsonrpc.driving import Driver, connection, exactly, pieces
from tests.wire.jsonrpc.messages import chunks_of
from tests.wire.jsonrpc.tables import batch, call, line, note
from tieline.wire.jsonrpc.other_codecs import StdlibCodec
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCv2
from tieline.wire.jsonrpc.receiving import MESSAGES_PER_TURN
from tieline.wire.states import State

CALLS = 6
DEEP, INTERNAL = "[" * 120 + "]" * 120, -32603


def result(request_id: object, value: str = "1") -> bytes:
    return f'{{"jsonrpc":"2.0","id":{request_id},"result":{value}}}'.encode()


def error(request_id: object) -> bytes:
    return f'{{"jsonrpc":"2.0","id":{request_id},"error":{{"code":1,"message":"m"}}}}'.encode()


def played(chunks: list[bytes], *, is_plain: bool, calls: int = 0, **more: Any) -> dict[str, Any]:
    """Return all that *chunks* cause on a new machine that reads plainly or carefully, and answers likewise."""
    machine = connection(**more)
    machine._is_plain = is_plain
    driver = Driver(machine, calls=calls, is_careful=not is_plain)
    for chunk in chunks:
        driver.feed(chunk)
        assert not machine.replies
        if machine.is_smooth:
            assert machine.wants_data
            assert not machine.has_more
            assert machine.state is State.OPEN
            assert machine.requests.count < machine.flow.parks_at
    return {
        "replies": sorted(map(exactly, driver.seen.replies)),
        "ran": driver.seen.ran,
        "ended": driver.seen.ended,
        "violations": driver.seen.violations,
        "held": [exactly(_shown(request.id)) for request in driver.held],
        "state": machine.state,
        "unanswered": machine.unanswered,
        "owed": machine.requests.calls,
        "faults": machine.faults,
        "wants data": machine.wants_data,
        "unread": machine.has_unread,
        "read": (machine.messages_read, machine.messages_received, machine.requests.in_batches),
        "behind event": machine.has_read_behind_event,
        "behind answer": machine.has_read_behind_answer,
        "sent": machine.messages_sent,
        "bound": (machine.flow.bound, machine.flow.parks_at),
        "simple": machine.requests.is_simple,
    }


def _shown(request_id: Any) -> object:
    return request_id if isinstance(request_id, int | str | float | None) else "none"


MANY = [call(str(number)) for number in range(MESSAGES_PER_TURN + 6)]

READS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "requests": (line(*MANY[:5]), {}),
    "more than a turn of requests": (line(*MANY), {}),
    "results": (line(*map(result, range(CALLS))), {}),
    "results that nobody waits for": (line(result(0), result(0), result(99), result(-1), result(1)), {}),
    "results and errors": (line(result(0), error(1), result(2), error("null"), result(3)), {}),
    "requests and results by turns": (line(call("1"), result(0), call("2"), note(), result(1), call("3")), {}),
    "notifications among requests": (line(note(), call("1"), note(), note("hold"), call("2", "hold")), {}),
    "an id twice in one read": (line(call("1"), call("2"), call("1")), {}),
    "an id twice, the first in flight": (line(call("1", "hold"), call("2"), call("1")), {}),
    "the same id in two types": (line(call("1"), call('"1"'), call("1.0"), call("1.5"), call('"1.0"')), {}),
    "odd versions": (
        line(*(call("1").replace(b'"2.0"', version) for version in [b'"1.0"', b"2.0", b"null", b'"2.0 "'])),
        {},
    ),
    "no version": (line(b'{"method":"echo","params":[1],"id":1}', b'{"id":0,"result":1}', call("2")), {}),
    "results of odd versions": (line(result(0).replace(b'"2.0"', b'"1.0"'), result(1)), {}),
    "results with errors": (
        line(
            result(0).replace(b'"result"', b'"error":null,"result"'),
            result(1).replace(b'"result"', b'"error":{"code":1,"message":"m"},"result"'),
            result(2),
        ),
        {},
    ),
    "results with methods": (line(result(0).replace(b'"result"', b'"method":"echo","result"'), result(1)), {}),
    "what is no object": (line(b"[]", b"7", b'"text"', b"null", call("1")), {}),
    "no method": (line(b'{"jsonrpc":"2.0","id":1}', b'{"jsonrpc":"2.0","method":null,"id":1}'), {}),
    "odd params": (line(*(call("1", params=params) for params in ["null", "1", '"text"', "{}"])), {}),
    "null ids": (line(call("null"), call("null"), call("1", "hold"), call("null", "hold")), {}),
    "huge ids": (line(call(str(2**64)), call(str(-(2**63))), call(str(10**300)), call(str(2**64))), {}),
    "ids over the limit": (
        line(call("1" * 1023), call("2" * 1024), call("3" * 1025), call('"' + "x" * 1023 + '"')),
        {},
    ),
    "an id over the limit behind a short line": (line(call("1"), call("2" * 1025), call("3")), {}),
    "a method over the limit behind a short line": (line(call("1"), call("2", "m" * 257), call("3")), {}),
    "nesting over the limit behind a short line": (
        line(call("1"), call("2", params=f"[{DEEP}]"), call("3")),
        {"max_nesting": 100},
    ),
    "an id at a small limit": (line(call("12"), call("123"), call('"1"'), call('"é"')), {"max_id": 3}),
    "odd ids": (line(call("true"), call("[]"), call("{}"), call("-0"), call("0"), call("1e2"), call('"\\ud800"')), {}),
    "methods at the limit": (line(call("1", "m" * 256), call("2", "m" * 257), call("3", "é" * 200)), {}),
    "a small limit on methods": (line(call("1", "echo"), call("2", "absent"), note("absent")), {"max_method": 4}),
    "nesting": (line(call("1", params="[[]]"), call("2", params=f"[{DEEP}]"), call("3", params="[{}]")), {}),
    "a small limit on nesting": (line(call("1"), call("2", params="[[]]"), call("3", params="[]")), {"max_nesting": 2}),
    "odd numbers": (line(*(call("1", params=f"[{n}]") for n in ["1.0", "-0", "1e400", "1" * 30, "0.1", "-0.0"])), {}),
    "what is wrong": (line(call("1"), b"{", call("2"), b"7", b"{}", call("3")), {"max_errors": 2}),
    "a violation behind requests": (line(call("1"), call("2"), b"{", call("3")), {"max_errors": 0}),
    "blank lines": (b"\n\r\n" + line(call("1")) + b"\n" + line(call("2"), note()) + b"\r\n\n", {}),
    "spaces around": (b" " + line(call("1")) + line(call("2") + b" \r") + b" " + batch(call("3")), {}),
    "over the bound": (line(*(call(str(n), "hold") for n in range(5)), note("hold"), call("9")), {"max_pending": 3}),
    "at the bound and answered": (line(*MANY[:9]), {"max_pending": 3}),
    "large ones": (line(call("1", "args", "[" + "0," * 9000 + "0]"), call("2", "hold", f'["{"x" * 9000}"]')), {}),
    "too large a message": (line(call("1"), call("2", params=f'["{"x" * 300}"]'), call("3")), {"max_message": 200}),
    "results over the limit": (line(call("1"), call("2", "args", f'["{"x" * 90}"]'), call("3")), {"max_response": 60}),
    "all over the limit": (line(*MANY[:3]), {"max_response": 5}),
    "what cannot be encoded": (line(call("1"), call("2", "gives_digits"), call("3"), note("gives_digits")), {}),
    "nothing but what cannot be encoded": (line(call("1", "gives_digits")), {}),
    "values": (line(*(call(f'"{n}"', params=f"[{n}]") for n in ["true", "null", "1.5", "-7", "1e300", "1e999"])), {}),
}

BATCHES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a batch": (batch(*MANY[:5]), {}),
    "a batch of one": (batch(call("1")), {}),
    "batches and others": (batch(*MANY[:3]) + line(call("3")) + batch(call("4"), note()) + line(note(), call("5")), {}),
    "a batch of notifications": (batch(note(), note("hold")) + line(call("1")), {}),
    "notifications among members": (batch(note(), call("1"), note(), call('"1"'), call("2", "hold")), {}),
    "an id twice in a batch": (batch(call("1"), call("2"), call("1")), {}),
    "an id twice, once in flight": (line(call("1", "hold")) + batch(call("1"), call("2")), {}),
    "an id in two batches": (batch(call("1", "hold")) + batch(call("2"), call("1")), {}),
    "an empty batch": (b"[]\n" + batch(call("1")), {}),
    "what is wrong in a batch": (batch(call("1"), b"7", call("2"), b"{}", call("3", params="7")), {}),
    "a batch at the limit": (batch(*MANY[:3]) + batch(*MANY[:4]), {"max_batch": 3}),
    "a batch that is not flat": (batch(call("1", params="[[1]]"), call("2", params='{"a":{}}')), {}),
    "long ids and methods": (batch(call(f'"{"é" * 65}"'), call("1", "m" * 65), call(str(2**63))), {}),
    "small limits": (batch(call("123"), call("1", "absent")), {"max_id": 2, "max_method": 3, "max_nesting": 3}),
    "too little nesting for a batch": (batch(call("1")), {"max_nesting": 2}),
    "a batch over the bound": (
        batch(*(call(str(n), "hold") for n in range(5))) + batch(*MANY[5:8]),
        {"max_pending": 3},
    ),
    "a batch with an answer over the limit": (batch(*MANY[:4]), {"max_response": 100}),
    "members that cannot be encoded": (batch(call("1"), call("2", "gives_digits"), call("3")) + line(call("4")), {}),
    "a large batch": (batch(*(call(str(n)) for n in range(200))), {}),
    "a batch of results": (batch(*map(result, range(CALLS))), {}),
    "a long batch of results": (batch(*(result(n, f'"{"x" * 90}"') for n in range(CALLS))), {}),
    "a long batch of more results than are awaited": (batch(*map(result, range(4 * CALLS))), {"max_batch": 2}),
    "results of batches that nobody waits for": (
        batch(result(0), result(0), result(9)) + batch(result(1), result(2)),
        {},
    ),
    "more results than a batch may have": (batch(*map(result, range(CALLS))), {"max_batch": 2}),
    "results that are not flat": (batch(result(0, "[1]"), result(1, "{}"), result(2)), {}),
    "a batch of results and errors": (batch(result(0), error(1), result(2)) + line(call("1")), {}),
    "a batch of results and requests": (batch(result(0), call("1")), {}),
    "large and in a batch": (line(call("1", "hold", f'["{"x" * 9000}"]'), call("2")) + batch(call("3"), call("4")), {}),
    "a large batch of large ones": (batch(*(call(str(n), params=f'["{"x" * 3000}"]') for n in range(9))), {}),
}

ALL = {**READS, **BATCHES}


class Lenient(StdlibCodec):
    """A codec of a user's that reads more than it can write."""

    def decode(self, data: bytes) -> object:
        return json.loads(data)


class ByJson(JSONRPCv2):
    codec = StdlibCodec()


class Leniently(JSONRPCv2):
    codec = Lenient()


PROTOCOLS = [JSONRPCv2, ByJson, Leniently]


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("calls", [0, CALLS])
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_plain_way_and_the_careful_way_come_to_the_same(
    name: str, calls: int, accepted: bool, protocol: type[JSONRPC]
) -> None:
    wire, limits = ALL[name]
    before = line(call('"first"'))  # from here on nothing is new about the connection
    for chunks in ([wire], [before, wire], [before, wire, wire], [before, *wire.splitlines(keepends=True)]):
        more: dict[str, Any] = {"calls": calls, "accepted": accepted, "protocol": protocol, **limits}
        assert played(chunks, is_plain=True, **more) == played(chunks, is_plain=False, **more)


class Counting(StdlibCodec):
    """Notes what it decodes."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[bytes] = []

    def decode(self, data: bytes) -> object:
        self.decoded.append(data)
        return super().decode(data)


@pytest.mark.parametrize(
    "lines",
    [
        [call("1"), call("2"), note()],
        [call("1"), call("2.5"), call('"é"'), call("4")],
        [call("1"), result(0), error(1), call("2")],
        [batch(call("1"), call("2")).strip()],
        [call("1"), b"7", call("2")],
        [result(0), result(7), call("1")],
    ],
)
def test_another_codec_decodes_each_line_once(lines: list[bytes]) -> None:
    counting = Counting()

    class Counted(JSONRPCv2):
        codec = counting

    played([line(call('"first"')), line(*lines)], is_plain=True, protocol=Counted, calls=CALLS)
    assert counting.decoded == [call('"first"'), *lines]


def test_what_another_codec_cannot_decode_is_all_that_it_tries_again() -> None:
    counting = Counting()

    class Counted(JSONRPCv2):
        codec = counting

    played([line(call("1"), call("2"), b"{", call("3"))], is_plain=True, protocol=Counted)
    assert counting.decoded == [call("1"), call("2"), b"{", b"{", call("3")]


def test_a_class_that_decodes_in_a_way_of_its_own_is_asked_for_each_message() -> None:
    class Swapping(ByJson):
        @classmethod
        def decode_payload(cls, message: bytes, max_nesting: int | None, largest: float = inf) -> object:
            return super().decode_payload(message.replace(b"ohce", b"echo"), max_nesting, largest)

    driver = Driver(connection(Swapping))
    driver.feed(line(call("1", "ohce"), call("2", "ohce")))
    assert driver.seen.ran == ["echo", "echo"]


def test_another_codec_writes_ids_that_are_texts_itself() -> None:
    machine = connection(ByJson)
    assert machine.settled(["é"], 1) == '["é"]'.encode()
    assert machine.settled(["é"], "1") is None
    assert connection().settled(["é"], "1") == '["é"]'.encode()


@pytest.mark.parametrize("name", [name for name, (wire, _) in ALL.items() if len(wire) < 1000])
def test_a_cut_at_any_place_changes_nothing(name: str) -> None:
    wire, limits = ALL[name]
    before = line(call('"first"'))
    for cut in range(1, len(wire)):
        chunks = [before, *pieces(wire, [cut])]
        seen = played(chunks, is_plain=True, calls=CALLS, **limits)
        assert seen == played(chunks, is_plain=False, calls=CALLS, **limits)


_parts = st.sampled_from(
    [
        *(
            call(request_id, method)
            for request_id in ["0", "1", "2", '"1"', "1.0", "null"]
            for method in ["echo", "hold"]
        ),
        *(call("3", method) for method in ["gives_digits", "fails", "absent", "nothing", "gives_object"]),
        *map(result, range(4)),
        call("4", params="[[1]]"),
        error(1),
        note(),
        note("hold"),
        b"{}",
    ]
)
_lines = _parts | st.lists(_parts, min_size=1, max_size=5).map(lambda members: batch(*members)[:-1])


@settings(max_examples=300)
@given(
    st.lists(_lines, max_size=12),
    st.lists(st.floats(0, 1), max_size=4),
    st.sampled_from([{}, {"max_pending": 2}, {"max_errors": 2}, {"max_response": 90}, {"max_batch": 3}]),
    st.sampled_from([0, 3]),
    st.booleans(),
    st.sampled_from(PROTOCOLS),
)
def test_both_ways_agree_on_made_up_reads(
    lines: list[bytes],
    cuts: list[float],
    limits: dict[str, Any],
    calls: int,
    accepted: bool,
    protocol: type[JSONRPC],
) -> None:
    chunks = chunks_of(line(*lines), cuts)
    more: dict[str, Any] = {"calls": calls, "accepted": accepted, "protocol": protocol, **limits}
    assert played(chunks, is_plain=True, **more) == played(chunks, is_plain=False, **more)
