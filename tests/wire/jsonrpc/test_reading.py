# SPDX-License-Identifier: MIT
"""From JSON values to messages; most of it is shown by the tables, the rest here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from msgspec import UNSET

from tests.wire.jsonrpc.messages import values
from tests.wire.jsonrpc.tables import nested
from tieline.errors import RPCError
from tieline.wire.jsonrpc.dialects import AUTODETECT, LOOSE, V1, V2, Dialect
from tieline.wire.jsonrpc.reading import (
    REQUEST_DECODER,
    RESULT_DECODER,
    BadResponse,
    Fault,
    PlainRequest,
    PlainResult,
    Refusal,
    Request,
    Response,
    is_flat,
    is_nested_deeper,
    read_batch,
    read_message,
)


def _deep(kind: str, depth: int) -> Any:
    value: Any = 1 if kind == "object" else []
    for _ in range(depth - (kind == "list")):
        value = {"a": value} if kind == "object" else [value]
    return value


@pytest.mark.row("H19")
@pytest.mark.parametrize("kind", ["list", "object"])
@pytest.mark.parametrize("depth", [1, 2, 3, 128, 5000])
def test_nesting_is_brackets_that_are_open_at_once(kind: str, depth: int) -> None:
    value = _deep(kind, depth)
    assert not is_nested_deeper(value, depth)
    assert is_nested_deeper(value, depth - 1)
    while value and value != 1:  # taken apart by hand: a deep value is freed recursively
        (value,) = value.values() if isinstance(value, dict) else value


@pytest.mark.parametrize("value", [1, "[[[", None, 1.5, True])
def test_a_scalar_is_not_nested(value: object) -> None:
    assert not is_nested_deeper(value, 0)


def test_width_is_no_depth() -> None:
    assert not is_nested_deeper([[], {}, [{}] * 100], 3)
    assert is_nested_deeper([[], {}, [{}] * 100], 2)
    assert is_nested_deeper({"a": 1, "b": {"c": [1]}}, 2)


@pytest.mark.parametrize("value", [None, 5, "a long text", [], {}, ["a", 1, None] * 21, {"a": "b"}])
def test_a_value_or_a_few_are_flat(value: Any) -> None:
    assert is_flat(value)


@pytest.mark.parametrize("value", [[[]], [{}], {"a": []}, {"a": {}}, [1] * 65, dict.fromkeys(map(str, range(65)))])
def test_containers_in_containers_and_many_values_are_not(value: Any) -> None:
    assert not is_flat(value)


@pytest.mark.parametrize(
    ("wire", "decoder"),
    [
        (b'{"jsonrpc":"2.0","method":"m","params":[1],"id":1}', REQUEST_DECODER),
        (b'{"jsonrpc":"2.0","method":"m","params":{"a":1},"id":"1"}', REQUEST_DECODER),
        (b'{"jsonrpc":"2.0","method":"m"}', REQUEST_DECODER),
        (b'{"jsonrpc":"2.0","result":null,"id":1}', RESULT_DECODER),
        (b'{"jsonrpc":"2.0","method":"m","id":null}', None),
        (b'{"jsonrpc":"2.0","method":"m","id":true}', None),
        (b'{"jsonrpc":"2.0","method":"m","id":1.0}', None),
        (b'{"jsonrpc":"2.0","method":"m","params":null}', None),
        (b'{"jsonrpc":"2.0","result":1,"id":"1"}', None),
        (b'{"jsonrpc":"2.0","result":1,"id":1.0}', None),
        (b'{"jsonrpc":"2.0","result":1,"id":false}', None),
        (b'{"jsonrpc":"2.0","result":1}', None),
        (b'{"jsonrpc":"2.0","id":1}', None),
        (b'{"jsonrpc":"2.0","error":{},"id":1}', None),
        (b'{"jsonrpc":"2.0","result":1,"error":null,"id":1}', None),
        (b'{"jsonrpc":"2.0","method":"m","result":1}', None),
        (b'{"jsonrpc":"2.0","method":"m","x":1}', None),
        (b'{"jsonrpc":"1.0","method":"m"}', None),
        (b'{"method":"m"}', None),
    ],
)
def test_which_messages_are_plain(wire: bytes, decoder: msgspec.json.Decoder[Any] | None) -> None:
    for each in (REQUEST_DECODER, RESULT_DECODER):
        if each is decoder:
            assert isinstance(each.decode(wire), PlainRequest | PlainResult)
        else:
            with pytest.raises(msgspec.ValidationError):
                each.decode(wire)


def told(read: Request | Response | Refusal | BadResponse) -> object:
    if isinstance(read, Refusal):
        return [read.fault, read.id, read.answered]
    if isinstance(read, BadResponse):
        return ["bad", read.id]
    if isinstance(read, Response):
        return [read.id, read.result, "error" if isinstance(read.error, RPCError) else read.error]
    return [read.method, read.params, read.id]


@pytest.mark.parametrize("dialect", [V2, LOOSE, AUTODETECT], ids=lambda dialect: dialect.name)
def test_a_decimal_is_an_id(dialect: Dialect) -> None:
    message = {"jsonrpc": "2.0", "method": "m", "id": Decimal("1.50")}
    assert told(read_message(message, dialect)) == ["m", UNSET, Decimal("1.50")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "the method must be a string, it is absent"),
        ({"method": {}}, "the method must be a string, it is an object"),
        ({"method": []}, "the method must be a string, it is an array"),
        ({"method": True}, "the method must be a string, it is a boolean"),
        ({"method": None}, "the method must be a string, it is null"),
        ({"method": 1.5}, "the method must be a string, it is a number"),
        ([], "a message must be an object, not an array"),
        ("secret", "a message must be an object, not a string"),
        ({"id": {}, "method": "m"}, "an id must be a string, a number or null, not an object"),
        ({"method": "m", "params": "secret"}, "params must be an array or an object, not a string"),
    ],
    ids=repr,
)
def test_a_refusal_says_what_was_seen_and_holds_no_payload(value: object, text: str) -> None:
    refusal = read_message(value, LOOSE)
    assert isinstance(refusal, Refusal)
    assert refusal.text == text


def test_what_only_1_0_asks_for() -> None:
    assert told(read_message({"method": "m"}, V1)) == ["INVALID_REQUEST", None, True]
    refusal = read_message({"method": "m", "params": {}, "id": 1}, V1)
    assert isinstance(refusal, Refusal)
    assert refusal.text == "params must be an array, not an object"
    refusal = read_message({"method": "m", "id": 1}, V2)
    assert isinstance(refusal, Refusal)
    assert refusal.text == '"jsonrpc" is not "2.0"'


REQUEST = {"jsonrpc": "2.0", "method": "m"}
RESPONSE = {"jsonrpc": "2.0", "result": 1, "id": 1}


@pytest.mark.row("J10")
@pytest.mark.parametrize(
    ("payload", "kinds"),
    [
        ([REQUEST, REQUEST], [Request, Request]),
        ([REQUEST, RESPONSE], [Request, Refusal]),
        ([RESPONSE, RESPONSE], [Response, Response]),
        ([RESPONSE, 7, {}, []], [Response, BadResponse, BadResponse, BadResponse]),
        ([{"error": 1}, 7], [BadResponse, BadResponse]),
        ([{"method": 7}, RESPONSE], [Refusal, Refusal]),
        ([7, {}], [Refusal, Refusal]),
    ],
    ids=repr,
)
def test_an_array_is_of_requests_or_of_responses(payload: list[object], kinds: list[type]) -> None:
    assert [type(member) for member in read_batch(payload, V2)] == kinds


@pytest.mark.row("J2")
@given(values)
def test_any_value_is_read_in_any_dialect(value: object) -> None:
    for dialect in (V1, V2, LOOSE, AUTODETECT):
        assert isinstance(read_message(value, dialect), Request | Response | Refusal | BadResponse)
        if isinstance(value, list) and value:
            assert len(read_batch(value, dialect)) == len(value)


def test_a_nested_value_of_the_tables_is_as_deep_as_it_says() -> None:
    assert is_nested_deeper(nested(5), 4)
    assert not is_nested_deeper(nested(5), 5)


def test_faults_are_named_as_the_codes_of_the_protocols_are() -> None:
    assert {getattr(Fault, name) for name in vars(Fault) if name.isupper()} == {
        "PARSE_ERROR",
        "INVALID_REQUEST",
        "INVALID_ARGS",
    }
