# SPDX-License-Identifier: MIT
"""Tables of bytes and what they must cause: single messages of JSON-RPC 2.0.

Batches and responses are in `tables_batches.py`, the other dialects in `tables_dialects.py`.

A row starts on a new machine and holds whole lines. Everything that a row does not name must not happen: no other
reply, no other method run, no other call ended, no fault counted, and the connection stays open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCv2

# What replies and ended calls come to, in the short form of `driving.py`.
PARSE, INVALID, UNKNOWN, ARGS, INTERNAL = -32700, -32600, -32601, -32602, -32603
LOST, BAD = "ConnectionLost", "RemoteProtocolError"
BOMB = 100_000
# Of the form i * (2**61 - 1): their hashes are all 0.
COLLIDING = [number * (2**61 - 1) for number in range(20_000)]


def nested(depth: int) -> list[Any]:
    """Return so many lists, each in the other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def ok(result: object, request_id: object) -> list[object]:
    return ["=", result, request_id]


@dataclass(frozen=True)
class Row:
    """Some lines, and all that they cause."""

    name: str
    wire: bytes
    replies: list[Any] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)  # [number of the call, outcome]
    faults: int = 0
    end: bool = False  # the connection ends behind the last reply
    calls: int = 0  # how many calls of this side are open at the start: 0, 1, ...
    accepted: bool = True
    limits: dict[str, Any] = field(default_factory=dict)
    protocol: type[JSONRPC] = JSONRPCv2

    def __str__(self) -> str:
        return self.name


def call(request_id: str, method: str = "echo", params: str = "[1]") -> bytes:
    return f'{{"jsonrpc":"2.0","method":"{method}","params":{params},"id":{request_id}}}'.encode()


def note(method: str = "update", params: str = "[1]") -> bytes:
    return f'{{"jsonrpc":"2.0","method":"{method}","params":{params}}}'.encode()


def line(*messages: bytes) -> bytes:
    return b"".join(message + b"\n" for message in messages)


def batch(*members: bytes) -> bytes:
    return b"[" + b",".join(members) + b"]\n"


def refused(name: str, message: bytes, code: int, request_id: object = None) -> Row:
    """Return the row of one line that gets one error and is no request; -32602 and -32601 are no faults."""
    faults = int(code in (PARSE, INVALID))
    return Row(name, message + b"\n", [[code, request_id]], faults=faults)


def answered(name: str, message: bytes, result: object, request_id: object, method: str = "echo") -> Row:
    """Return the row of one line that is a call and is answered."""
    return Row(name, message + b"\n", [ok(result, request_id)], [method])


# The examples of section 7 of the specification of JSON-RPC 2.0, each on one line.
SPECIFICATION = [
    Row(
        "positional parameters",
        b'{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}\n',
        [ok(19, 1)],
        ["subtract"],
    ),
    Row(
        "positional parameters swapped",
        b'{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}\n',
        [ok(-19, 2)],
        ["subtract"],
    ),
    Row(
        "named parameters",
        b'{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}\n',
        [ok(19, 3)],
        ["subtract"],
    ),
    Row(
        "named parameters swapped",
        b'{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}\n',
        [ok(19, 4)],
        ["subtract"],
    ),
    Row("a notification", b'{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}\n', ran=["update"]),
    Row("an unknown notification", b'{"jsonrpc": "2.0", "method": "foobar"}\n'),
    Row("an unknown method", b'{"jsonrpc": "2.0", "method": "foobar", "id": "1"}\n', [[UNKNOWN, "1"]]),
    refused("invalid JSON", b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', PARSE),
    refused("an invalid request", b'{"jsonrpc": "2.0", "method": 1, "params": "bar"}', INVALID),
    refused(
        "a batch of invalid JSON",
        b'[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method" ]',
        PARSE,
    ),
    refused("an empty array", b"[]", INVALID),
    Row("a batch of one that is invalid", b"[1]\n", [[[INVALID, None]]], faults=1),
    Row("a batch of three that are invalid", b"[1,2,3]\n", [[[INVALID, None]] * 3], faults=3),
    Row(
        "a batch of all kinds",
        b'[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
        b' {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},'
        b' {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},'
        b' {"foo": "boo"},'
        b' {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},'
        b' {"jsonrpc": "2.0", "method": "get_data", "id": "9"} ]\n',
        [[[INVALID, None], [UNKNOWN, "5"], ok(7, "1"), ok(19, "2"), ok(["hello", 5], "9")]],
        ["sum", "notify_hello", "subtract", "get_data"],
        faults=1,
    ),
    Row(
        "a batch of notifications",
        b'[ {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
        b' {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]} ]\n',
        ran=["notify_sum", "notify_hello"],
    ),
]

# H29, and what else an envelope can be.
ENVELOPES = [
    refused("envelope: nothing in it", b"{}", INVALID),
    refused("envelope: a version only", b'{"jsonrpc":"2.0"}', INVALID),
    refused("envelope: an id only", b'{"jsonrpc":"2.0","id":1}', INVALID, 1),
    refused("envelope: method null", b'{"jsonrpc":"2.0","method":null,"id":1}', INVALID, 1),
    refused("envelope: method a list", b'{"jsonrpc":"2.0","method":["echo"],"id":"a"}', INVALID, "a"),
    refused("envelope: no version", b'{"method":"echo","params":[1],"id":1}', INVALID, 1),
    refused("envelope: no version and no id", b'{"method":"echo","params":[1]}', INVALID),
    refused("envelope: version 1.0", b'{"jsonrpc":"1.0","method":"echo","params":[1],"id":1}', INVALID, 1),
    refused("envelope: version a number", b'{"jsonrpc":2.0,"method":"echo","params":[1],"id":1}', INVALID, 1),
    refused("envelope: version a list", b'{"jsonrpc":["2.0"],"method":"echo","params":[1],"id":1}', INVALID, 1),
    refused("envelope: params a string", call("1", params='"x"'), ARGS, 1),
    refused("envelope: params a number", call("1", params="7"), ARGS, 1),
    refused("envelope: params false", call("1", params="false"), ARGS, 1),
    refused("envelope: params null", call("1", params="null"), ARGS, 1),
    Row("envelope: params a string, of a notification", line(note(params='"x"'))),
    refused("envelope: a string", b'"echo"', INVALID),
    refused("envelope: a number", b"7", INVALID),
    refused("envelope: null", b"null", INVALID),
    refused("envelope: true", b"true", INVALID),
    refused("envelope: two on a line", b"{}{}", PARSE),
    refused("envelope: a comma at the end", b'{"jsonrpc":"2.0",}', PARSE),
    refused("envelope: single quotes", b"{'jsonrpc':'2.0'}", PARSE),
    Row("envelope: no params", b'{"jsonrpc":"2.0","method":"nothing","id":1}\n', [ok(None, 1)], ["nothing"]),
    answered(
        "envelope: unknown members", b'{"jsonrpc":"2.0","method":"args","params":[],"id":1,"x":{}}', [], 1, "args"
    ),
    answered(
        "envelope: a result too", b'{"jsonrpc":"2.0","method":"args","params":[],"id":1,"result":2}', [], 1, "args"
    ),
    answered(
        "envelope: an error too", b'{"jsonrpc":"2.0","method":"args","params":[],"id":1,"error":2}', [], 1, "args"
    ),
    answered(
        "envelope: blank space all over", b' \t{ "jsonrpc"\t:"2.0" ,"id" : 1,"method":"echo","params":[ 1 ] } \r', 1, 1
    ),
    answered("envelope: escaped names", b'{"json\\u0072pc":"2.0","m\\u0065thod":"echo","params":[1],"id":1}', 1, 1),
    answered("two ids: the last counts", b'{"jsonrpc":"2.0","id":1,"method":"echo","params":[1],"id":2}', 1, 2),
    answered("two ids, the first bad", b'{"jsonrpc":"2.0","id":[],"method":"echo","params":[1],"id":2}', 1, 2),
    refused("two ids, the last bad", b'{"jsonrpc":"2.0","id":1,"method":"echo","params":[1],"id":{}}', INVALID),
    answered(
        "two methods: the last", b'{"jsonrpc":"2.0","method":7,"method":"args","params":[],"id":1}', [], 1, "args"
    ),
]

# H30, J4, J8.
IDS = [
    refused("id a list", call("[]"), INVALID),
    refused("id a list in a list", call("[[]]"), INVALID),
    refused("id an object", call("{}"), INVALID),
    refused("id true", call("true"), INVALID),
    refused("id false", call("false"), INVALID),
    answered("id null", call("null"), 1, None),
    answered("id zero", call("0"), 1, 0),
    answered("id minus zero", call("-0"), 1, 0),
    answered("id a float of zero", call("0.0"), 1, 0.0),
    answered("id a float", call("1.5"), 1, 1.5),
    answered("id with an exponent", call("1e2"), 1, 100.0),
    answered("id a huge float", call("1e300"), 1, 1e300),
    answered("id negative", call("-7"), 1, -7),
    answered("id of 64 bits", call("18446744073709551615"), 1, 2**64 - 1),
    answered("id of 65 bits", call("18446744073709551616"), 1, 2**64),
    answered("id of many digits", call("1" * 300), 1, int("1" * 300)),
    answered("id an empty string", call('""'), 1, ""),
    answered("id a digit as a string", call('"0"'), 1, "0"),
    answered("id beyond ASCII", call('"\u00e9\u4e2d\U0001f600"'), 1, "\u00e9\u4e2d\U0001f600"),
    answered("id an escaped pair", call('"\\ud83d\\ude00"'), 1, "\U0001f600"),
    answered("id with a newline", call('"a\\nb"'), 1, "a\nb"),
    answered("id of 1 KiB", call('"' + "x" * 1022 + '"'), 1, "x" * 1022),
    refused("id over 1 KiB", call('"' + "x" * 1023 + '"'), INVALID),
    refused("id of 100 kB", call('"' + "x" * 100_000 + '"'), INVALID),
    refused("id of 100 kB, params bad", call('"' + "x" * 100_000 + '"', params="7"), ARGS),
    refused("id of 100 kB, no method", b'{"jsonrpc":"2.0","id":"' + b"x" * 100_000 + b'"}', INVALID),
    refused("id of 5000 digits", call("1" * 5000), PARSE),
    refused("id of 900 000 digits", call("1" * 900_000), PARSE),
    Row(
        "ids alike but for their types",
        line(call("1"), call("1.0"), call('"1"')),
        [ok(1, 1), ok(1, 1.0), ok(1, "1")],
        ["echo"] * 3,
    ),
    Row("an id again, answered or not", line(call("1"), call("1")), [ok(1, 1)] * 2, ["echo"] * 2),
    Row(
        "ids again in batches, and beside them",
        batch(call("1"), call("2.5")) + line(call("1")) + batch(call("1")) + batch(call("2.5"), call("3")) * 2,
        [[ok(1, 1), ok(1, 2.5)], ok(1, 1), [ok(1, 1)], *[[ok(1, 2.5), ok(1, 3)]] * 2],
        ["echo"] * 8,
    ),
    Row(
        "an id in flight, again in a batch",
        line(call("1", "hold")) + batch(call("1"), call("2")),
        [[[INVALID, None], ok(1, 2)]],
        ["echo"],
        faults=1,
    ),
    Row(
        "an id in flight",
        line(call("1", "hold"), call("1"), call("1.0"), call('"1"')),
        [[INVALID, None], ok(1, 1.0), ok(1, "1")],
        ["echo"] * 2,
        faults=1,
    ),
    Row(
        "a float and a string in flight",
        line(call("2.50", "hold"), call("2.5"), call('"a"', "hold"), call('"\\u0061"')),
        [[INVALID, None], [INVALID, None]],
        faults=2,
    ),
    Row(
        "two nulls in flight",
        line(call("null", "hold"), call("null", "hold"), call("null")),
        [ok(1, None)],
        ["echo"],
    ),
    Row(
        "an id twice in a batch",
        batch(call("1"), call("1"), call("2")),
        [[[INVALID, None], ok(1, 1), ok(1, 2)]],
        ["echo"] * 2,
        faults=1,
    ),
    Row(
        "ids with equal hashes",
        batch(*(call(str(number)) for number in COLLIDING[:1000])),
        [sorted((ok(1, number) for number in COLLIDING[:1000]), key=str)],
        ["echo"] * 1000,
    ),
]

# H38: only registered names; a long one is no method and comes back cut short.
NAMES = [
    *(
        Row(f"method {name}", line(call("1", name)), [[UNKNOWN, 1]])
        for name in ("__init__", "echo.__globals__", "rpc.x", "", "ECHO", " echo", "echo\\u0000", "x" * 256)
    ),
    Row("method of 257 characters", line(call("1", "x" * 257)), [[UNKNOWN, 1]]),
    Row("method of 1 MB", line(call("1", "x" * 1_000_000)), [[UNKNOWN, 1]]),
    Row("notification of 257 characters", line(note("x" * 257))),
]

# H19-H28: nesting, numbers, text.
VALUES = [
    refused("nesting: a bomb of arrays", b"[" * BOMB, INVALID),
    refused("nesting: a bomb of objects", b'{"a":' * BOMB, INVALID),
    refused("nesting: a bomb in params", call("1", params="[" * BOMB + "]" * BOMB), INVALID),
    refused("nesting: objects in params", call("1", params='{"a":' * BOMB + "1" + "}" * BOMB), INVALID),
    answered("nesting: 128", call("1", "args", "[" * 127 + "]" * 127), nested(127), 1, "args"),
    refused("nesting: 129", call("1", params="[" * 128 + "]" * 128), INVALID),
    refused("nesting: 129, the inmost an object", call("1", params="[" * 127 + "{}" + "]" * 127), INVALID),
    refused("nesting: 129 in a notification", note(params="[" * 128 + "]" * 128), INVALID),
    refused("nesting: 900", call("1", params="[" * 900 + "]" * 900), INVALID),
    refused("nesting: 129 in a batch", b"[" + call("1", params="[" * 127 + "]" * 127) + b"]", INVALID),
    refused("nesting: 129 beside the message", b'{"jsonrpc":"2.0","x":' + b"[" * 128 + b"]" * 128 + b"}", INVALID),
    answered("brackets in a string", call("1", params='["' + "[" * 1000 + '"]'), "[" * 1000, 1),
    answered("many brackets side by side", call("1", "args", "[" + "[]," * 1000 + "[]]"), [[]] * 1001, 1, "args"),
    refused("integer of 5000 digits", call("1", params="[" + "7" * 5000 + "]"), PARSE),
    refused("integer of 900 000 digits", call("1", params="[" + "7" * 900_000 + "]"), PARSE),
    answered("integer of 4300 digits", call("1", params="[" + "7" * 4300 + "]"), int("7" * 4300), 1),
    Row(
        "a sum that cannot be printed",
        line(call("1", "sum", f"[{'9' * 4300},{'9' * 4300}]")),
        [[INTERNAL, 1]],
        ["sum"],
    ),
    answered("integer of 65 bits", call("1", params="[18446744073709551616]"), 2**64, 1),
    refused("NaN", call("1", params="[NaN]"), PARSE),
    refused("-Infinity", call("1", params="[-Infinity]"), PARSE),
    refused("1e999", call("1", params="[1e999]"), PARSE),
    refused("a leading zero", call("1", params="[01]"), PARSE),
    refused("byte 0xff", call("1").replace(b"[1]", b'["\xff"]'), PARSE),
    refused("an overlong form", call("1").replace(b"[1]", b'["\xc0\xaf"]'), PARSE),
    refused("an encoded surrogate", call("1").replace(b"[1]", b'["\xed\xa0\x80"]'), PARSE),
    refused("a lone surrogate in params", call("1", params='["\\ud800"]'), PARSE),
    refused("a lone surrogate as method", call("1", "\\ud800"), PARSE),
    refused("a lone surrogate as id", call('"\\ud800"'), PARSE),
    refused("a byte order mark", b"\xef\xbb\xbf" + call("1"), PARSE),
    refused("UTF-16", call("1").decode().encode("utf-16-le").replace(b"\n", b""), PARSE),
    refused("NUL x 500", b"\x00" * 500, PARSE),
    refused("a raw control character", call("1", params='["\x01"]'), PARSE),
    answered("text of all widths", call("1", params='["a\u00e9\u4e2d\U0001f600"]'), "a\u00e9\u4e2d\U0001f600", 1),
    answered("U+2028 and DEL", call("1", params='["\u2028\\u007f"]'), "\u2028\x7f", 1),
    Row("blank lines", b"\r\n" + b"\n" * 1000 + line(call("1")) + b"\n\r\n", [ok(1, 1)], ["echo"]),
    Row("carriage returns", line(call("1") + b"\r", call("2") + b"\r"), [ok(1, 1), ok(1, 2)], ["echo"] * 2),
    refused("spaces only", b"   ", PARSE),
]

# H20, H22, H23, H26, H57-59 as far as encoding goes.
RESULTS = [
    *(
        Row(f"method {name}", line(call("1", name)), [[INTERNAL, 1]], [name])
        for name in ("gives_object", "gives_circle", "gives_depths", "gives_digits", "gives_surrogate")
    ),
    Row("a result of NaN", line(call("1", "gives_nan")), [ok([None, None], 1)], ["gives_nan"]),
    Row("an error of the handler", line(call("1", "fails")), [[7, 1]], ["fails"]),
    Row("an error for a notification", line(note("fails")), ran=["fails"]),
    Row("no result for a notification", line(note("gives_object")), ran=["gives_object"]),
    Row(
        "one member that cannot be encoded",
        batch(call("1"), call("2", "gives_object"), note(), call("3")),
        [[[INTERNAL, 2], ok(1, 1), ok(1, 3)]],
        ["echo", "gives_object", "update", "echo"],
    ),
]
