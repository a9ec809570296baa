# SPDX-License-Identifier: MIT
"""Messages as bytes: by the templates of the dialects, and by users' own protocol classes."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tieline.errors import LocalProtocolError, RPCError
from tieline.wire.jsonrpc.dialects import V2
from tieline.wire.jsonrpc.items import RPCRequest, RPCResponse
from tieline.wire.jsonrpc.other_codecs import StdlibCodec, StrictCodec
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCAutoDetect, JSONRPCLoose, JSONRPCv1, JSONRPCv2
from tieline.wire.jsonrpc.writing import MAX_PREFIXES, ProtocolWriter, TemplateWriter, Writer, writer_for

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnV2(JSONRPCv2):
    @classmethod
    def response_message(cls, item: RPCResponse) -> bytes:
        return super().response_message(item)


class OwnV1(JSONRPCv1):
    @classmethod
    def request_payload(cls, item: RPCRequest) -> dict[str, object]:
        return super().request_payload(item)


STOCK = [JSONRPCv1, JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect]
OWN = {JSONRPCv1: OwnV1, JSONRPCv2: OwnV2}


@dataclass
class Point:
    x: int


class Pair(msgspec.Struct):
    a: int


def test_stock_classes_write_by_templates_and_others_by_their_methods() -> None:
    for protocol in STOCK:
        assert type(writer_for(protocol)) is TemplateWriter
    for protocol in OWN.values():
        assert type(writer_for(protocol)) is ProtocolWriter


def test_constants_and_codecs_of_users_keep_the_templates() -> None:
    class Codes(JSONRPCv2):
        PARSE_ERROR = -1
        codec = StdlibCodec()

    assert type(writer_for(Codes)) is TemplateWriter


def test_a_method_that_is_no_class_method_is_a_users_own() -> None:
    class Static(JSONRPCv2):
        @staticmethod
        def error_message(item: RPCError) -> bytes:
            return b'{"error":%d}' % item.code

    writer = writer_for(Static)
    assert type(writer) is ProtocolWriter
    assert writer.error(RPCError(7, "x"), 1) == b'{"error":7}'


V1_TEXTS: list[tuple[Any, bytes]] = [
    (lambda writer: writer.request("m", [1, "a"], 7), b'{"method":"m","params":[1,"a"],"id":7}'),
    (lambda writer: writer.request("m", None, 0), b'{"method":"m","params":[],"id":0}'),
    (lambda writer: writer.notification("m", (1,)), b'{"method":"m","params":[1],"id":null}'),
    (lambda writer: writer.result({"a": 1}, 7), b'{"result":{"a":1},"error":null,"id":7}'),
    (lambda writer: writer.result(None, [1, {}]), b'{"result":null,"error":null,"id":[1,{}]}'),
    (
        lambda writer: writer.error(RPCError(5, "no"), "x"),
        b'{"result":null,"error":{"code":5,"message":"no"},"id":"x"}',
    ),
]
V2_TEXTS: list[tuple[Any, bytes]] = [
    (lambda writer: writer.request("m", [1, "a"], 7), b'{"jsonrpc":"2.0","method":"m","params":[1,"a"],"id":7}'),
    (lambda writer: writer.request("m", {"a": None}, 0), b'{"jsonrpc":"2.0","method":"m","params":{"a":null},"id":0}'),
    (
        lambda writer: writer.request("m", Point(1), 1),
        b'{"jsonrpc":"2.0","method":"m","params":{"x":1},"id":1}',
    ),
    (
        lambda writer: writer.request("m", Pair(1), 1),
        b'{"jsonrpc":"2.0","method":"m","params":{"a":1},"id":1}',
    ),
    (lambda writer: writer.notification("é\n%d", (1,)), '{"jsonrpc":"2.0","method":"é\\n%d","params":[1]}'.encode()),
    (lambda writer: writer.result([], 7), b'{"jsonrpc":"2.0","result":[],"id":7}'),
    (lambda writer: writer.result("%b%d", "%d"), b'{"jsonrpc":"2.0","result":"%b%d","id":"%d"}'),
    (lambda writer: writer.result(float("nan"), 1.5), b'{"jsonrpc":"2.0","result":null,"id":1.5}'),
    (lambda writer: writer.result(1, None), b'{"jsonrpc":"2.0","result":1,"id":null}'),
    (lambda writer: writer.result(1, 10**40), b'{"jsonrpc":"2.0","result":1,"id":1%b}' % (b"0" * 40)),
    (lambda writer: writer.error(RPCError(5, "no"), 1), b'{"jsonrpc":"2.0","error":{"code":5,"message":"no"},"id":1}'),
    (
        lambda writer: writer.error(RPCError(5, "no", data=[1]), None),
        b'{"jsonrpc":"2.0","error":{"code":5,"message":"no","data":[1]},"id":null}',
    ),
    (
        # A module's constant that has answered another request before.
        lambda writer: writer.error(RPCError(5, "no", request_id=3), 4),
        b'{"jsonrpc":"2.0","error":{"code":5,"message":"no"},"id":4}',
    ),
]
# A batch: (method, params, token), a token of None makes a notification; None = it is to be written member by member.
PLAIN_BATCHES: list[tuple[list[tuple[Any, Any, Any]], bytes | None]] = [
    ([("a", None, 1), ("b", [1], 1)], b'[{%b"method":"a","params":[],"id":7},{%b"method":"b","params":[1],"id":8}]'),
    ([("a", (), None), ("b", {"x": 1}, 1)], b'[{%b"method":"a","params":[]},{%b"method":"b","params":{"x":1},"id":7}]'),
    ([("é\n", (float("nan"),), 1)], '[{%b"method":"é\\n","params":[null],"id":7}]'.encode()),
    ([("a", None, 1), ("b", Point(1), 1)], None),
    ([("a", {1, 2}, 1)], None),
    ([("a", 5, 1)], None),
    ([(5, None, 1)], None),
    ([("a", [object()], 1)], None),
    ([("a", [10**5000], 1)], None),
    ([("\ud800", None, 1)], None),
    ([("a", [msgspec.Raw(b"[1,\n2]")], 1)], None),
]


@pytest.mark.row("J10")
@pytest.mark.parametrize(("members", "text"), PLAIN_BATCHES)
def test_a_plain_batch_is_written_as_its_members_would_be(
    members: list[tuple[Any, Any, Any]], text: bytes | None
) -> None:
    writer = writer_for(JSONRPCv2)
    if text is not None:
        text = text.replace(b"%b", b'"jsonrpc":"2.0",')
        ids = itertools.count(7)
        parts = [
            writer.notification(method, params) if token is None else writer.request(method, params, next(ids))
            for method, params, token in members
        ]
        assert JSONRPCv2.join_batch(parts) == text
    methods, params, tokens = zip(*members, strict=True)
    assert writer.plain_batch(methods, params, tokens, 7) == text
    if None not in tokens:
        assert writer.plain_batch(methods, params, None, 7) == text


TEXTS: list[tuple[type[JSONRPC], Any, bytes]] = [(JSONRPCv1, write, text) for write, text in V1_TEXTS]
TEXTS += [(protocol, write, text) for protocol in STOCK[1:] for write, text in V2_TEXTS]


@pytest.mark.row("J4", "J5", "J6", "J9")
@pytest.mark.parametrize(("protocol", "write", "text"), TEXTS)
def test_templates_write_what_the_dialect_says(protocol: type[JSONRPC], write: Any, text: bytes) -> None:
    assert write(writer_for(protocol)) == text


@pytest.mark.parametrize(
    ("protocol", "write", "text"), [(OWN[protocol], write, text) for protocol, write, text in TEXTS if protocol in OWN]
)
def test_users_classes_write_the_same_members(protocol: type[JSONRPC], write: Any, text: bytes) -> None:
    # 2.0 lets a request leave out parameters that are empty.
    assert json.loads(write(writer_for(protocol))) == json.loads(text)


WRITERS = [*map(writer_for, STOCK), *map(writer_for, OWN.values())]


def test_what_holds_a_newline_waits_nowhere_to_be_sent_as_a_line() -> None:
    writer = writer_for(JSONRPCv2)
    assert writer.settled(msgspec.Raw(b"[1]")) == b"[1]"
    assert writer.settled(msgspec.Raw(b"[\n1]")) is None


circle: list[Any] = []
circle.append(circle)


@pytest.mark.row("J9", "H59")
@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer._protocol.__name__)
@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda writer: writer.result(object(), 1), TypeError),
        (lambda writer: writer.result(circle, 1), ValueError),
        (lambda writer: writer.result(10**5000, 1), ValueError),
        (lambda writer: writer.result("\ud800", 1), ValueError),
        (lambda writer: writer.result(msgspec.UNSET, 1), TypeError),
        (lambda writer: writer.result(1, object()), TypeError),
        (lambda writer: writer.result(msgspec.Raw(b"[\n]"), 1), ValueError),
        (lambda writer: writer.error(RPCError(1, "\ud800"), 1), ValueError),
        (lambda writer: writer.error(RPCError(1, "no", data=object()), 1), TypeError),
        (lambda writer: writer.error(RPCError(1, "no"), object()), TypeError),
        (lambda writer: writer.request("\ud800", [], 1), ValueError),
        (lambda writer: writer.request(7, [], 1), TypeError),
        (lambda writer: writer.request([], [], 1), TypeError),
        (lambda writer: writer.request("m", [object()], 1), TypeError),
        (lambda writer: writer.request("m", [msgspec.Raw(b"\n1")], 1), ValueError),
        (lambda writer: writer.request("m", (object(),), 1), TypeError),
        (lambda writer: writer.request("m", (msgspec.Raw(b"\n1"),), 1), ValueError),
        (lambda writer: writer.request("m", "text", 1), TypeError),
        (lambda writer: writer.request("m", b"bytes", 1), TypeError),
        (lambda writer: writer.request("m", 5, 1), TypeError),
        (lambda writer: writer.notification("m", 5), TypeError),
        (lambda writer: writer.notification("m", [object()]), TypeError),
        (lambda writer: writer.notification("m", {"a": msgspec.Raw(b"\n1")}), ValueError),
        (lambda writer: writer.notification(7, []), TypeError),
    ],
)
def test_what_cannot_be_sent_raises_and_is_replaced_by_nothing(
    writer: Writer, write: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        write(writer)


@pytest.mark.row("J5")
@pytest.mark.parametrize("params", [{"a": 1}, {}, Point(1)], ids=repr)
@pytest.mark.parametrize("protocol", [JSONRPCv1, OwnV1])
def test_named_arguments_are_refused_in_1_0(protocol: type[JSONRPC], params: object) -> None:
    writer = writer_for(protocol)
    with pytest.raises(LocalProtocolError, match="no named arguments"):
        writer.request("m", params, 1)
    with pytest.raises(LocalProtocolError, match="no named arguments"):
        writer.notification("m", params)


def test_a_message_of_a_users_class_on_two_lines_is_refused() -> None:
    class Pretty(JSONRPCv2):
        @classmethod
        def encode_payload(cls, payload: object) -> bytes:
            return json.dumps(payload, indent=1).encode()

    writer = writer_for(Pretty)
    writes: list[Callable[[], bytes]] = [
        lambda: writer.request("m", [1], 1),
        lambda: writer.notification("m", [1]),
        lambda: writer.result(1, 1),
        lambda: writer.error(RPCError(1, "x"), 1),
    ]
    for write in writes:
        with pytest.raises(ValueError, match="line breaks"):
            write()


def test_a_version_with_a_percent_sign_goes_out_as_it_is() -> None:
    class Odd(JSONRPCv2):
        dialect = replace(V2, version="%d%b%")

    writer = writer_for(Odd)
    for text in (writer.request("m", [], 1), writer.notification("m", []), writer.result(1, 1)):
        assert json.loads(text)["jsonrpc"] == "%d%b%"
    assert json.loads(writer.error(RPCError(1, "x"), 1))["jsonrpc"] == "%d%b%"


def test_made_up_method_names_do_not_fill_the_memory() -> None:
    for writer in (writer_for(JSONRPCv1), writer_for(OwnV2)):
        for number in range(MAX_PREFIXES + 10):
            assert b'"m%d"' % number in writer.request(f"m{number}", [], number)
        assert len(writer._prefixes) == MAX_PREFIXES


def test_the_codec_of_the_class_is_used() -> None:
    class Strict(JSONRPCv2):
        codec = StrictCodec()

    with pytest.raises(ValueError, match="NaN"):
        writer_for(Strict).result(float("nan"), 1)
