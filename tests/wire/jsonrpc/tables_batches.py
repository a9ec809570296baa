# SPDX-License-Identifier: MIT
"""Tables of bytes and what they must cause: batches, responses, and how connections end; JSON-RPC 2.0."""

from __future__ import annotations

from typing import Any

from tests.wire.jsonrpc.tables import (
    ARGS,
    BAD,
    INVALID,
    LOST,
    PARSE,
    UNKNOWN,
    Row,
    batch,
    call,
    line,
    nested,
    note,
    ok,
    refused,
)

CALLS_15K = batch(*(call(str(number)) for number in range(15_000)))
CALLS_100K = batch(*(call(str(number)) for number in range(100_000)))
NOTES_1000 = batch(*[note()] * 1000)

# H40-H43, J10.
BATCHES = [
    Row("batch of one", batch(call("1")), [[ok(1, 1)]], ["echo"]),
    Row("batch of 1000", NOTES_1000, ran=["update"] * 1000),
    refused("batch of 1001", batch(*[note()] * 1001)[:-1], INVALID),
    refused("batch of 15 000 calls", CALLS_15K[:-1], INVALID),
    refused("batch of 15 000 notifications", batch(*[note()] * 15_000)[:-1], INVALID),
    Row("batch of 100 000 calls", CALLS_100K, [[INVALID, None]], faults=1, limits={"max_message": 8_000_000}),
    Row("16 bad members", batch(*[b"1"] * 16), [[[INVALID, None]] * 16], faults=16),
    refused("17 bad members", batch(*[b"1"] * 17)[:-1], INVALID),
    refused("17 bad members beside good ones", batch(call("1"), note(), *[b"1"] * 17)[:-1], INVALID),
    refused("300 000 bad members", batch(*[b"1"] * 300_000)[:-1], INVALID),
    Row("a batch in a batch", b"[[]]\n", [[[INVALID, None]]], faults=1),
    Row("a call two batches deep", b"[[[" + call("1") + b"]]]\n", [[[INVALID, None]]], faults=1),
    Row(
        "bad members beside notifications",
        batch(note(), b"1", b'{"jsonrpc":"2.0","method":1,"id":"x"}', note()),
        [[[INVALID, None], [INVALID, "x"]]],
        ["update"] * 2,
        faults=2,
    ),
    Row(
        "bad params in a batch",
        batch(call("1", params="7"), note(params="7"), call("2")),
        [[[ARGS, 1], ok(1, 2)]],
        ["echo"],
    ),
]
_response = b'{"jsonrpc":"2.0","result":5,"id":%b}'
_error = b'{"jsonrpc":"2.0","error":{"code":%b,"message":"m"},"id":%b}'
_neither = b'{"jsonrpc":"2.0","id":%b}'

# H35, H36, J10: an array of both; what names a call of ours is its answer, wherever it stands.
MIXED = [
    Row(
        "an answer among requests", batch(call("1"), _response % b"0"), [[ok(1, 1)]], ["echo"], [[0, ["=", 5]]], calls=1
    ),
    Row(
        "an answer before requests",
        batch(_response % b"0", call("1")),
        [[ok(1, 1)]],
        ["echo"],
        [[0, ["=", 5]]],
        calls=1,
    ),
    Row("an answer and a notification", batch(_response % b"0", note()), [], ["update"], [[0, ["=", 5]]], calls=1),
    Row("a notification and an answer", batch(note(), _response % b"0"), [], ["update"], [[0, ["=", 5]]], calls=1),
    Row(
        "answers on both sides of a request that nobody handles",
        batch(_response % b"0", call("7", "nope"), _error % (b"3", b"1"), _response % b"1"),
        [[[UNKNOWN, 7]]],
        ended=[[0, ["=", 5]], [1, 3]],
        calls=2,
    ),
    Row(
        "answers of the wrong shape among requests",
        batch(_error % (b'"x"', b"0"), call("1"), b'{"result":5,"id":1}'),
        [[ok(1, 1)]],
        ["echo"],
        [[0, BAD], [1, BAD]],
        calls=2,
    ),
    Row(
        "a late answer among requests",
        batch(call("1"), _response % b"0", _response % b"0"),
        [[ok(1, 1)]],
        ["echo"],
        [[0, ["=", 5]]],
        calls=1,
    ),
    Row(
        "a response to nothing among requests",
        batch(call("1"), _response % b"1", _response % b"0.0", _response % b"null", _response % b"[]"),
        [[[INVALID, None], [INVALID, None], [INVALID, None], [INVALID, None], ok(1, 1)]],
        ["echo"],
        faults=4,
        calls=1,
    ),
    Row(
        "an error without an id among requests",
        batch(call("1"), _error % (b"1", b"null")),
        [[ok(1, 1)]],
        ["echo"],
        faults=1,
        calls=1,
    ),
    Row(
        "an error without an id among requests, and nobody waits",
        batch(call("1"), _error % (b"1", b"null")),
        [[[INVALID, None], ok(1, 1)]],
        ["echo"],
        faults=1,
    ),
    Row(
        "answers among too many bad members",
        batch(_response % b"0", call("1"), *[b"5"] * 17, _response % b"1"),
        [[INVALID, None]],
        ended=[[0, ["=", 5]], [1, ["=", 5]]],
        faults=1,
        calls=2,
    ),
    Row(
        "more answers of nothing than bad members are borne",
        batch(note(), *[_neither % str(number).encode() for number in range(20)]),
        ran=["update"],
        ended=[[number, BAD] for number in range(20)],
        calls=20,
    ),
]


def response(name: str, wire: bytes, *ended: Any, **more: Any) -> Row:
    """Return the row of responses to the open calls 0 and 1."""
    return Row(name, wire, ended=list(ended), calls=2, **more)


# J8, H32-H36.
RESPONSES = [
    response("a result", line(_response % b"0"), [0, ["=", 5]]),
    response("results out of order", line(_response % b"1", _response % b"0"), [1, ["=", 5]], [0, ["=", 5]]),
    response("an error", line(_error % (b"-5", b"1")), [1, -5]),
    response("a result of null", b'{"jsonrpc":"2.0","result":null,"id":1}\n', [1, ["=", None]]),
    response("an error with data", b'{"jsonrpc":"2.0","error":{"code":1,"message":"","data":[]},"id":1}\n', [1, 1]),
    response("an unknown member", b'{"jsonrpc":"2.0","result":5,"id":1,"x":1}\n', [1, ["=", 5]]),
    response("an unknown member of an error", line(_error % (b'7,"stack":""', b"1")), [1, 7]),
    response("a result twice", line(_response % b"0", _response % b"0"), [0, ["=", 5]]),
    response("a result, then an error", line(_response % b"0", _error % (b"1", b"0")), [0, ["=", 5]]),
    response("id false", line(_response % b"false"), faults=1),
    response("id 0.0", line(_response % b"0.0"), faults=1),
    response("id -0 is 0", line(_response % b"-0"), [0, ["=", 5]]),
    response('id "0"', line(_response % b'"0"'), faults=1),
    response("id null", line(_response % b"null"), faults=1),
    response("id []", line(_response % b"[]"), faults=1),
    response("id {}", line(_response % b"{}"), faults=1),
    response("id [[]]", line(_response % b"[[]]"), faults=1),
    response("id never issued", line(_response % b"2"), faults=1),
    response("id negative", line(_response % b"-1"), faults=1),
    response("id of 65 bits", line(_response % b"18446744073709551616"), faults=1),
    response("no id", b'{"jsonrpc":"2.0","result":5}\n', faults=1),
    response("an error without an id", b'{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}\n', faults=1),
    response("an error with id null", line(_error % (b"1", b"null")), faults=1),
    response("id never issued, where this side dialled", line(_response % b"2"), accepted=False),
    response("no id, where this side dialled", b'{"jsonrpc":"2.0","result":5}\n', accepted=False),
    response("both members", b'{"jsonrpc":"2.0","result":5,"error":{"code":1,"message":"m"},"id":1}\n', [1, BAD]),
    response("both members, the error null", b'{"jsonrpc":"2.0","result":5,"error":null,"id":1}\n', [1, BAD]),
    response("a code of text", line(_error % (b'"x"', b"1")), [1, BAD]),
    response("a code of true", line(_error % (b"true", b"1")), [1, BAD]),
    response("a code of 1.0", line(_error % (b"1.0", b"1")), [1, BAD]),
    response("no message", b'{"jsonrpc":"2.0","error":{"code":1},"id":1}\n', [1, BAD]),
    response("an error of text", b'{"jsonrpc":"2.0","error":"x","id":1}\n', [1, BAD]),
    response("an error of null", b'{"jsonrpc":"2.0","error":null,"id":1}\n', [1, BAD]),
    response("neither member", line(_neither % b"1"), [1, BAD]),
    response("neither member, where this side dialled", line(_neither % b"1"), [1, BAD], accepted=False),
    response("neither member nor version", b'{"id":1}\n', [1, BAD]),
    response(
        "neither member, twice", line(_neither % b"1", _neither % b"1"), [1, BAD], replies=[[INVALID, 1]], faults=1
    ),
    response("neither member, and nobody waits", line(_neither % b"2"), replies=[[INVALID, 2]], faults=1),
    response("neither member, id 0.0", line(_neither % b"0.0"), replies=[[INVALID, 0.0]], faults=1),
    response(
        "neither member, twice, where this side dialled",
        line(_neither % b"1", _neither % b"1"),
        [1, BAD],
        accepted=False,
    ),
    response(
        "neither member, and nobody waits, where this side dialled", line(_neither % b"2"), accepted=False, faults=1
    ),
    response("a batch with neither member", batch(_neither % b"1", _neither % b"0"), [1, BAD], [0, BAD]),
    response("a batch with neither member in one", batch(_neither % b"1", _response % b"0"), [1, BAD], [0, ["=", 5]]),
    response("no version", b'{"result":5,"id":1}\n', [1, BAD]),
    response("version 1.0", b'{"jsonrpc":"1.0","result":5,"id":1}\n', [1, BAD]),
    response(
        "a deep result",
        line(_response.replace(b"5", b"[" * 127 + b"]" * 127) % b"1"),
        [1, ["=", nested(127)]],
    ),
    response("a result too deep", line(_response.replace(b"5", b"[" * 128 + b"]" * 128) % b"1"), [1, BAD]),
    response(
        "a result too deep and an id too", line(_response.replace(b"5", b"[" * 128 + b"]" * 128) % b"[]"), faults=1
    ),
    response("a batch", batch(_response % b"1", _response % b"0"), [1, ["=", 5]], [0, ["=", 5]]),
    response("a batch of some", batch(_response % b"1"), [1, ["=", 5]]),
    response(
        "a batch of more",
        batch(_response % b"1", _response % b"9", _response % b"0"),
        [1, ["=", 5]],
        [0, ["=", 5]],
        faults=1,
    ),
    response(
        "a batch with ids of all types",
        batch(*(_response % item for item in (b'"a"', b"null", b"[1]", b"{}", b"1", b"1.0", b"true"))),
        [1, ["=", 5]],
        faults=6,
    ),
    response("a batch with junk beside", batch(_response % b"1", b"7", b"null", b"[]", b"{}"), [1, ["=", 5]], faults=4),
]

BROKEN_LINES = line(*[b"{broken"] * 1000)

# H10, H37: what is borne before the connection ends.
ENDS = [
    Row("1000 broken lines", BROKEN_LINES, [[PARSE, None]] * 51, faults=51, end=True),
    Row("50 broken lines", line(*[b"{broken"] * 50), [[PARSE, None]] * 50, faults=50),
    Row(
        "the calls that are open at the end",
        line(b"{broken"),
        [[PARSE, None]],
        ended=[[0, LOST], [1, LOST]],
        faults=1,
        end=True,
        calls=2,
        limits={"max_errors": 0},
    ),
    Row(
        "good messages before the end",
        line(call("1"), b"{broken", call("2")),
        [[PARSE, None], ok(1, 1)],
        ["echo"],
        faults=1,
        end=True,
        limits={"max_errors": 0},
    ),
    Row(
        "a batch that ends it",
        batch(note(), b"1", b"2", b"3", note()),
        [[[INVALID, None]] * 2],
        ["update"],
        faults=2,
        end=True,
        limits={"max_errors": 1},
    ),
    Row("no limit of faults", line(*[b"1"] * 200), [[INVALID, None]] * 200, faults=200, limits={"max_errors": None}),
    Row("responses without end", line(*[_response % b"9"] * 60), [[INVALID, None]], faults=51, end=True),
    Row("an array of responses without end", batch(*[_response % b"9"] * 60), [[INVALID, None]], faults=51, end=True),
    Row("responses of no shape without end", line(*[b'{"result":[]}'] * 60), [[INVALID, None]], faults=51, end=True),
    Row(
        "a call before responses without end",
        line(call("1"), *[_response % b"9"] * 60),
        [[INVALID, None], ok(1, 1)],
        ["echo"],
        faults=51,
        end=True,
    ),
]
