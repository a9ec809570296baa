# SPDX-License-Identifier: MIT
"""Tables of bytes and what they must cause: JSON-RPC 1.0, the loose dialect, and detection (J5-J7, H39)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.wire.jsonrpc.tables import ARGS, BAD, INVALID, LOST, PARSE, UNKNOWN, Row, batch, call, line, note, ok
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCAutoDetect, JSONRPCLoose, JSONRPCv1


def of(protocol: type[JSONRPC], *rows: Row) -> list[Row]:
    """Return *rows* as rows of *protocol*, whose name is put before theirs."""
    return [replace(row, name=f"{protocol.__name__}: {row.name}", protocol=protocol) for row in rows]


def ends(name: str, wire: bytes, *replies: Any, **more: Any) -> Row:
    """Return the row of one message that ends the connection behind its error."""
    return Row(name, wire, list(replies), faults=1, end=True, **more)


def answers(name: str, wire: bytes, *ended: Any, **more: Any) -> Row:
    """Return the row of responses to the open calls 0 and 1."""
    return Row(name, wire, ended=list(ended), calls=2, **more)


def call1(request_id: str, method: str = "echo", params: str = "[1]") -> bytes:
    return f'{{"method":"{method}","params":{params},"id":{request_id}}}'.encode()


NOTE1 = call1("null", "update")
RESULT = ["=", 5]

# Examples of section 3 of the specification of JSON-RPC 1.0.
SPECIFICATION_1 = [
    Row(
        "1.0, echo",
        b'{ "method": "echo", "params": ["Hello JSON-RPC"], "id": 1}\n',
        [ok("Hello JSON-RPC", 1)],
        ["echo"],
    ),
    Row(
        "1.0, a chat",
        b'{ "method": "postMessage", "params": ["Hello all!"], "id": 99}\n'
        b'{ "method": "handleMessage", "params": ["user1", "we were just talking"], "id": null}\n'
        b'{ "method": "handleMessage", "params": ["user3", "sorry, gotta go now, ttyl"], "id": null}\n'
        b'{ "method": "postMessage", "params": ["I have a question:"], "id": 101}\n'
        b'{ "method": "userLeft", "params": ["user3"], "id": null}\n',
        [ok(1, 99), ok(1, 101)],
        ["postMessage", "handleMessage", "handleMessage", "postMessage", "userLeft"],
    ),
]

V1_ROWS = of(
    JSONRPCv1,
    *SPECIFICATION_1,
    *(
        Row(f"id {text}", line(call1(text)), [ok(1, value)], ["echo"])
        for text, value in [
            ("0", 0),
            ("0.0", 0.0),
            ("false", False),
            ("true", True),
            ('""', ""),
            ("[1]", [1]),
            ("{}", {}),
            ('{"a":[1.5,null]}', {"a": [1.5, None]}),
            ("18446744073709551616", 2**64),
        ]
    ),
    Row(
        "ids in flight, each of a type of its own",
        line(*(call1(text, "hold") for text in ("1", "1.0", '"1"', "true", "[1]", "[1.0]", "[true]", "{}"))),
    ),
    ends("an id in flight", line(call1("[1,{}]", "hold"), call1("[1, {} ]")), [INVALID, None]),
    Row("a notification", line(NOTE1), ran=["update"]),
    Row("a member too many", line(call("1")), [ok(1, 1)], ["echo"]),
    Row("an unknown method", line(call1("1", "x")), [[UNKNOWN, 1]]),
    Row("no params", b'{"method":"args","id":1}\n', [ok([], 1)], ["args"]),
    Row("an error of the handler", line(call1("[1]", "fails")), [[7, [1]]], ["fails"]),
    Row("params an object", line(call1("1", params='{"a":1}')), [[ARGS, 1]]),
    Row("params null", line(call1("1", params="null")), [[ARGS, 1]]),
    Row("params a string, of a notification", line(call1("null", params='"x"'))),
    ends("invalid JSON", b"{\n", [PARSE, None]),
    ends("no id", line(note()), [INVALID, None]),
    ends("no method", b'{"params":[],"id":[7]}\n', [INVALID, [7]]),
    ends("method a number", line(call1("7").replace(b'"echo"', b"1")), [INVALID, 7]),
    ends("method null, of a notification", line(call1("null").replace(b'"echo"', b"null")), [INVALID, None]),
    ends("nothing in it", b"{}\n", [INVALID, None]),
    ends("a string", b'"echo"\n', [INVALID, None]),
    ends("an array", batch(call1("1")), [INVALID, None]),
    ends("an empty array", b"[]\n", [INVALID, None]),
    ends("an id of 100 kB", line(call1('"' + "x" * 100_000 + '"')), [INVALID, None]),
    ends("nesting: 129", line(call1("1", params="[" * 128 + "]" * 128)), [INVALID, None]),
    ends("calls at the end", b"{\n", [PARSE, None], ended=[[0, LOST], [1, LOST]], calls=2),
    Row(
        "calls before the end",
        line(call1("1"), call1("2"), NOTE1, b"{", call1("3")),
        [[PARSE, None], ok(1, 1), ok(1, 2)],
        ["echo", "echo", "update"],
        faults=1,
        end=True,
    ),
    answers("a result", b'{"result":5,"error":null,"id":0}\n', [0, RESULT]),
    answers("a result without error", b'{"result":5,"id":0}\n', [0, RESULT]),
    answers("a result of null", b'{"result":null,"error":null,"id":0}\n', [0, ["=", None]]),
    answers("an error of text", b'{"result":null,"error":"no","id":0}\n', [0, -100]),
    answers("an error of text without result", b'{"error":"no","id":0}\n', [0, -100]),
    answers("an error of a number", b'{"result":null,"error":12,"id":0}\n', [0, 12]),
    answers("an error of an object", b'{"result":null,"error":{"code":5,"message":"m"},"id":0}\n', [0, 5]),
    answers("an error of an object with a code of text", b'{"result":null,"error":{"code":"5"},"id":0}\n', [0, -100]),
    answers("an error of a list", b'{"result":null,"error":[1],"id":0}\n', [0, -100]),
    answers("an error of false", b'{"result":null,"error":false,"id":0}\n', [0, -100]),
    answers("all three members", b'{"jsonrpc":"2.0","result":5,"error":null,"id":0}\n', [0, RESULT]),
    answers("both members", b'{"result":5,"error":"x","id":0}\n', [0, BAD]),
    answers("neither member", b'{"id":0}\n', [0, BAD]),
    answers("id [1]", b'{"result":5,"error":null,"id":[1]}\n', faults=1),
    answers("id false", b'{"result":5,"error":null,"id":false}\n', faults=1),
    answers("id null", b'{"result":5,"error":null,"id":null}\n', faults=1),
    answers("an error with id null", b'{"result":null,"error":"x","id":null}\n', faults=1),
    answers("no id", b'{"result":5,"error":null}\n', faults=1),
    Row(
        "an array of responses",
        b'[{"result":5,"error":null,"id":0}]\n',
        [[INVALID, None]],
        ended=[[0, LOST], [1, LOST]],
        faults=1,
        end=True,
        calls=2,
    ),
)

LOOSE_ROWS = of(
    JSONRPCLoose,
    *SPECIFICATION_1,
    Row("a call of 1.0", line(call1("1")), [ok(1, 1)], ["echo"]),
    Row("a call of 2.0", line(call("1")), [ok(1, 1)], ["echo"]),
    Row("a version of its own", b'{"jsonrpc":"3","method":"echo","params":[1],"id":1}\n', [ok(1, 1)], ["echo"]),
    Row("named arguments", line(call1("1", "subtract", '{"minuend":2,"subtrahend":1}')), [ok(1, 1)], ["subtract"]),
    Row("a notification of 1.0", line(NOTE1), ran=["update"]),
    Row("a notification of 2.0", line(note()), ran=["update"]),
    Row("no id and no version", b'{"method":"update"}\n', ran=["update"]),
    Row("id null in 2.0 is answered", line(call("null")), [ok(1, None)], ["echo"]),
    Row("params null", line(call("1", "args", "null")), [ok([], 1)], ["args"]),
    Row("params a number", line(call("1", params="7")), [[ARGS, 1]]),
    Row("id a list", line(call1("[1]")), [[INVALID, None]], faults=1),
    Row("no method", b'{"id":1}\n', [[INVALID, 1]], faults=1),
    Row(
        "a batch of both",
        batch(call("1"), call1("2"), NOTE1, note()),
        [[ok(1, 1), ok(1, 2)]],
        ["echo"] * 2 + ["update"] * 2,
    ),
    answers("a result of 1.0", b'{"result":5,"error":null,"id":0}\n', [0, RESULT]),
    answers("a result of 2.0", b'{"jsonrpc":"2.0","result":5,"id":0}\n', [0, RESULT]),
    answers("neither version", b'{"result":5,"id":0}\n', [0, RESULT]),
    answers("an error of text", b'{"error":"no","id":0}\n', [0, -100]),
    answers("both members", b'{"result":5,"error":"no","id":0}\n', [0, BAD]),
    answers("neither member", b'{"id":0}\n', [0, BAD]),
    answers("an error of null alone", b'{"error":null,"id":0}\n', [0, ["=", None]]),
    answers("a batch", b'[{"result":5,"id":1},{"result":5,"error":null,"id":0}]\n', [1, RESULT], [0, RESULT]),
)

# The first message decides; the second shows what was decided: in 1.0 it ends the connection, in strict 2.0 a message
# without a version is refused.
BARE = line(call1('"bare"', "nothing"))
IS_V2: Any = (BARE, [[INVALID, "bare"]], 1, [])
IS_LOOSE: Any = (BARE, [ok(None, "bare")], 0, ["nothing"])


def detects(
    name: str, first: bytes, replies: list[Any], ran: list[str], then: Any, faults: int = 0, **more: Any
) -> Row:
    """Return the row of a first message and what follows."""
    wire, later_replies, later_faults, later_ran = then
    return Row(name, first + wire, replies + later_replies, ran + later_ran, faults=faults + later_faults, **more)


def detects_v1(name: str, first: bytes, replies: list[Any], ran: list[str], **more: Any) -> Row:
    """Return the row of a first message of 1.0, and one without an id behind it."""
    return Row(name, first + b'{"method":"echo"}\n', [*replies, [INVALID, None]], ran, faults=1, end=True, **more)


V1_MARKED = b'{"jsonrpc":"1.0","method":"echo","params":[1],"id":1}'
V1_RESULT = b'{"result":5,"error":null,"id":0}'
V2_RESULT = b'{"jsonrpc":"2.0","result":5,"id":0}'

AUTO_ROWS = of(
    JSONRPCAutoDetect,
    detects("a call of 2.0", line(call("1")), [ok(1, 1)], ["echo"], IS_V2),
    detects("a notification of 2.0", line(note()), [], ["update"], IS_V2),
    detects("a result of 2.0", line(V2_RESULT), [], [], IS_V2, ended=[[0, RESULT]], calls=1),
    detects("a bad call of 2.0", b'{"jsonrpc":"2.0","id":1}\n', [[INVALID, 1]], [], IS_V2, 1),
    detects("a call without a version", line(call1("1")), [ok(1, 1)], ["echo"], IS_LOOSE),
    detects("version 3", b'{"jsonrpc":3}\n', [[INVALID, None]], [], IS_LOOSE, 1),
    detects("version a list", b'{"jsonrpc":[]}\n', [[INVALID, None]], [], IS_LOOSE, 1),
    detects("a number", b"7\n", [[INVALID, None]], [], IS_LOOSE, 1),
    detects("an empty array", b"[]\n", [[INVALID, None]], [], IS_LOOSE, 1),
    detects("an array of a number", b"[7]\n", [[[INVALID, None]]], [], IS_LOOSE, 1),
    detects("a result without error", b'{"result":5,"id":0}\n', [], [], IS_LOOSE, ended=[[0, RESULT]], calls=1),
    detects("an array without versions", batch(call1("1")), [[ok(1, 1)]], ["echo"], IS_LOOSE),
    detects("an array of 2.0", batch(call("1")), [[ok(1, 1)]], ["echo"], IS_V2),
    detects(
        "an array of 2.0 and others",
        batch(call1("1"), call("2"), V1_MARKED, b"7"),
        [[[INVALID, 1], [INVALID, 1], [INVALID, None], ok(1, 2)]],
        ["echo"],
        IS_V2,
        3,
    ),
    detects_v1("version 1.0", line(V1_MARKED), [ok(1, 1)], ["echo"]),
    detects_v1("a result of 1.0", line(V1_RESULT), [], [], ended=[[0, RESULT]], calls=1),
    detects_v1("an error of 1.0", b'{"result":null,"error":"x","id":0}\n', [], [], ended=[[0, -100]], calls=1),
    Row("an array of 1.0", batch(V1_MARKED, V1_MARKED), [[INVALID, None]], faults=1, end=True),
    Row("an array of 1.0 and others", batch(call1("1"), V1_MARKED), [[INVALID, None]], faults=1, end=True),
    detects("first invalid JSON", b"{\n" + line(call("1")), [[PARSE, None], ok(1, 1)], ["echo"], IS_V2, 1),
    detects("first a bomb", line(b"[" * 300_000, call1("1")), [[INVALID, None], ok(1, 1)], ["echo"], IS_LOOSE, 1),
    Row(
        "2.0 stays 2.0",
        line(call("1"), V1_MARKED, call1("2"), call("3")),
        [ok(1, 1), [INVALID, 1], [INVALID, 2], ok(1, 3)],
        ["echo"] * 2,
        faults=2,
    ),
    Row(
        "loose stays loose",
        line(call1("1"), call("2"), call1("3"), NOTE1),
        [ok(1, 1), ok(1, 2), ok(1, 3)],
        ["echo"] * 3 + ["update"],
    ),
    Row(
        "1.0 stays 1.0",
        line(V1_MARKED, call("2"), call("[3]"), NOTE1),
        [ok(1, 1), ok(1, 2), ok(1, [3])],
        ["echo"] * 3 + ["update"],
    ),
)
