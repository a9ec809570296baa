# SPDX-License-Identifier: MIT
"""JSON in and out, by each codec: the rules that all keep, and what each does otherwise."""

from __future__ import annotations

import decimal
import json
import math
import re
import sys
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from time import process_time
from types import CoroutineType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ids import plain_repr
from tests.versions import is_before
from tieline.wire.jsonrpc.batch_members import Outcomes
from tieline.wire.jsonrpc.codecs import Codec, MsgspecCodec
from tieline.wire.jsonrpc.other_codecs import DecimalCodec, StdlibCodec, StrictCodec
from tieline.wire.jsonrpc.outgoing import RPCRequestOut
from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut

CODECS: list[Codec] = [MsgspecCodec(), StdlibCodec(), DecimalCodec(), StrictCodec()]
MSGSPEC, STDLIB, DECIMAL, STRICT = CODECS

each = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: type(codec).__name__)

NAN, INF = float("nan"), float("inf")


def same(left: object, right: object) -> bool:
    """Equal in value and type, at every depth."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(map(same, left.values(), right.values()))
    return left == right


# --- input -------------------------------------------------------------------------------------------------------


@each
@pytest.mark.row("J9", "H21", "H24", "H26")
@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"null", None),
        (b" [1, true ,false]\r", [1, True, False]),
        (b"\t\n0\n", 0),
        (b"-0", 0),
        (b"18446744073709551616", 2**64),
        (b"9" * 4300, 10**4300 - 1),
        (b"-" + b"9" * 4299, -(10**4299 - 1)),
        (b'"\\ud83d\\ude00 \\u00e9 \xc3\xa9 \\u0000 \x7f"', "\U0001f600 \u00e9 \u00e9 \0 \x7f"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\\\\\\uD83D\\uDE00"', "\\\U0001f600"),
        (b'{"":{"a":[]}}', {"": {"a": []}}),
    ],
    ids=lambda value: ascii(value)[:30] if isinstance(value, bytes) else "",
)
def test_json_is_read_exactly(codec: Codec, data: bytes, value: object) -> None:
    assert same(codec.decode(data), value)


@each
@pytest.mark.row("J2", "J9", "H10", "H21", "H23", "H25", "H26")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r",
        b"[1]x",
        b"[1] [2]",
        b"[1",
        b"[1,]",
        b"{1:2}",
        b"{'a':1}",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"1e",
        b"-",
        b"0x10",
        b"tru",
        b"NaN",
        b"[NaN]",
        b"Infinity",
        b"[-Infinity]",
        b"1e999",
        b"[-1e999]",
        b"1E+400",
        b"1" * 400 + b".0",
        b"1e99999999999999999999",
        b"1" * 4301,
        b"-" + b"1" * 5000,
        b"1" * 900_000,
        b'[{"id":' + b"1" * 900_000 + b"}]",
        b"1" * 900_000 + b".5",
        b"1" * 900_000 + b"e5",
        b'"\x00"',
        b'"\n"',
        b"\x00" * 500,
        b'"\xff"',
        b"\xff",
        b'{"\xff":1}',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\uD800abc"',
        b'"\\udc00"',
        b'{"\\udfff":1}',
        b'"\\ud83d\\ud83d\\ude00"',
        b'"\\\\\\ud800"',
        b"\xef\xbb\xbf1",
        "[1]".encode("utf-16"),
        "[1]".encode("utf-16-le"),
        "[1]".encode("utf-32-be"),
        b"\xc2\xa01",
        b"\x0c1",
        "\u0661".encode(),
    ],
    ids=lambda data: ascii(data[:20]),
)
def test_what_is_not_accepted_is_a_value_error_at_once(codec: Codec, data: bytes) -> None:
    # CPU time of this process: the bound is the specification's, and what takes a tenth of it does not flicker.
    before = process_time()
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the texts are those of three libraries
        codec.decode(data)
    assert process_time() - before < 0.05
    assert len(str(caught.value)) < 200


@each
@pytest.mark.row("J9", "H21")
def test_the_limit_on_digits_holds_where_the_interpreter_has_none(codec: Codec) -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert codec.decode(b"1" * 4300) == int("1" * 4300)
        with pytest.raises(ValueError, match="out of range"):
            codec.decode(b"1" * 4301)
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.row("J9", "H24")
@pytest.mark.parametrize("codec", [MSGSPEC, STDLIB, DECIMAL])
def test_of_duplicate_keys_the_last_one_wins(codec: Codec) -> None:
    assert codec.decode(b'{"a":1,"b":2,"a":3}') == {"a": 3, "b": 2}


@pytest.mark.row("J9", "H24")
@pytest.mark.parametrize("data", [b'{"a":1,"a":1}', b'[[{"x":{"a":1,"b":2,"\\u0061":3}}]]'])
def test_the_strict_codec_refuses_duplicate_keys_at_any_depth(data: bytes) -> None:
    with pytest.raises(ValueError, match="duplicate key"):
        STRICT.decode(data)


@pytest.mark.row("J9", "H23")
@pytest.mark.parametrize("codec", [MSGSPEC, STDLIB, STRICT])
@pytest.mark.parametrize(("data", "value"), [(b"1.10", 1.1), (b"1e5", 1e5), (b"1e-999", 0.0), (b"1E+2", 100.0)])
def test_numbers_with_a_fraction_or_exponent_become_floats(codec: Codec, data: bytes, value: float) -> None:
    assert same(codec.decode(data), value)


@each
@pytest.mark.row("J2", "J9", "H19")
@pytest.mark.parametrize("unit", [b"[", b'{"a":', b'[{"a":', b"[[1],"])
@pytest.mark.parametrize("tail", [b"", b"1", b"]}" * 5])
def test_a_nesting_bomb_raises_value_error_or_recursion_error(codec: Codec, unit: bytes, tail: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        codec.decode(unit * 100_000 + tail)


@each
@pytest.mark.row("J9")
def test_what_is_nested_too_deep_to_be_read_is_told_from_bad_json(codec: Codec) -> None:
    with pytest.raises(RecursionError):
        codec.decode(b"[" * 100_000 + b"]" * 100_000)


# --- output ------------------------------------------------------------------------------------------------------


@each
@pytest.mark.row("J9")
@pytest.mark.parametrize(
    ("obj", "data"),
    [
        ({"a": [1, 2.5, None, True, "x"], "b": {}}, b'{"a":[1,2.5,null,true,"x"],"b":{}}'),
        ((1, (2,)), b"[1,[2]]"),
        ("\u00e9\U0001f600\n\x7f", b'"\xc3\xa9\xf0\x9f\x98\x80\\n\x7f"'),
        (2**64, b"18446744073709551616"),
        (10**4299, b"1" + b"0" * 4299),
        (-(10**4299), b"-1" + b"0" * 4299),
        (-0.0, b"-0.0"),
        (OrderedDict(a=1), b'{"a":1}'),
    ],
    ids=lambda value: ascii(value)[:30] if isinstance(value, bytes) else "",
)
def test_output_is_compact_utf8(codec: Codec, obj: object, data: bytes) -> None:
    assert codec.encode(obj) == data


@dataclass
class Point:
    x: object
    y: object = 2


class Struct(msgspec.Struct, rename="camel"):
    first_name: object


class Colour(Enum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    ONE = "one"


RICH: list[tuple[object, bytes]] = [
    (Point(1), b'{"x":1,"y":2}'),
    ([Struct(Point(None))], b'[{"firstName":{"x":null,"y":2}}]'),
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), b'"2026-01-02T03:04:05Z"'),
    (date(2026, 1, 2), b'"2026-01-02"'),
    (time(3, 4), b'"03:04:00"'),
    (timedelta(seconds=5), b'"PT5S"'),
    (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
    ([Colour.RED, Number.ONE, Word.ONE], b'["red",1,"one"]'),
]


@each
@pytest.mark.row("J9")
@pytest.mark.parametrize(("obj", "data"), RICH)
def test_rich_objects_go_out_as_msgspec_encodes_them(codec: Codec, obj: object, data: bytes) -> None:
    assert codec.encode(obj) == data


LOOSE: list[tuple[object, bytes]] = [
    (NAN, b"null"),
    ([INF, (-INF, {"a": NAN})], b'[null,[null,{"a":null}]]'),
    (Point(NAN), b'{"x":null,"y":2}'),
    (b"ab", b'"YWI="'),
    ([bytearray(b"ab")], b'["YWI="]'),
    ({"a": memoryview(b"ab")}, b'{"a":"YWI="}'),
    ({1}, b"[1]"),
    (Point(frozenset([1])), b'{"x":[1],"y":2}'),
    (Struct(b"ab"), b'{"firstName":"YWI="}'),
    ([{1: 2, 1.5: 3}], b'[{"1":2,"1.5":3}]'),
    ({1: 1, "1": 2}, b'{"1":1,"1":2}'),
]


@pytest.mark.row("J9", "H23", "H59")
@pytest.mark.parametrize("codec", [MSGSPEC, STDLIB, DECIMAL])
@pytest.mark.parametrize(("obj", "data"), LOOSE)
def test_what_json_cannot_carry_goes_out_as_something_near_it(codec: Codec, obj: object, data: bytes) -> None:
    assert codec.encode(obj) == data


class Secret(Enum):
    KEY = b"key"


@pytest.mark.row("J9", "H23", "H59")
@pytest.mark.parametrize(
    "obj",
    [
        *[obj for obj, _ in LOOSE],
        Secret.KEY,
        Decimal("NaN"),
        [Decimal("-Infinity")],
        Decimal("sNaN"),
        msgspec.Raw(b"[1]"),
        {None: 1},
        {True: 1},
        {"a": ({"b": [{2: 1}]},)},
    ],
    ids=plain_repr,
)
def test_the_strict_codec_refuses_what_json_cannot_carry(obj: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        STRICT.encode(obj)


@pytest.mark.row("J9")
def test_the_strict_codec_sends_finite_decimals_as_strings() -> None:
    assert STRICT.encode([Decimal("1.10"), Decimal("1e999")]) == b'["1.10","1E+999"]'


def nested(make: Any, depth: int = 100_000) -> object:
    obj: object = 1
    for _ in range(depth):
        obj = make(obj)
    return obj


def circular_list() -> object:
    ring: list[object] = []
    ring += [1, ring, ring]
    return ring


def circular_point() -> object:
    point = Point(1)
    point.y = {"point": point}
    return point


@each
@pytest.mark.row("J9", "H20", "H22", "H26", "H59")
@pytest.mark.parametrize(
    "make",
    [
        circular_list,
        circular_point,
        lambda: nested(lambda obj: [obj]),
        lambda: nested(lambda obj: {"a": obj}),
        lambda: nested(lambda obj: (obj, NAN)),
        lambda: nested(Point),
        lambda: nested(Struct),
        lambda: [NAN, circular_list()],
        lambda: [NAN, nested(lambda obj: [obj])],
        lambda: 10**4300,
        lambda: [-(10**5000), NAN],
        lambda: 10**900_000,
        lambda: "\ud800",
        lambda: [{"\udfff": 1}],
        object,
        lambda: {"a": object()},
        lambda: {(1, 2): 3},
        lambda: {b"a": object()},
        lambda: range(3),
        lambda: iter([1]),
        lambda: ValueError("no"),
        lambda: Point,
        lambda: 1j,
    ],
)
def test_what_cannot_be_sent_is_a_value_error_or_type_error(codec: Codec, make: Any) -> None:
    obj = make()
    before = process_time()
    with pytest.raises((ValueError, TypeError)):
        codec.encode(obj)
    assert process_time() - before < 1


def request_of_a_batch() -> object:
    batch = RPCBatchOut(Outcomes(RPCRequestOut, lambda outcomes: None))
    return batch.add_request("echo", [1])


async def coroutine() -> None: ...


@each
@pytest.mark.row("J9")
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (request_of_a_batch, "a request cannot be sent: await it, or in blocking code take its result()"),
        (lambda: RPCRequestOut("echo", [1]), "a request cannot be sent: await it"),
        (coroutine, "a value of type coroutine cannot be sent: await it, and send what that returns"),
        (object, "a value of type object cannot be sent as JSON: send a dict, list, str, number, dataclass or Struct"),
    ],
)
def test_what_is_no_value_is_refused_with_what_to_send_instead(codec: Codec, make: Any, told: str) -> None:
    value = make()
    try:
        with pytest.raises(TypeError, match=f"^{re.escape(told)}"):
            codec.encode({"args": [value]})
    finally:
        if value.__class__ is CoroutineType:
            value.close()


@pytest.mark.row("J9")
@pytest.mark.parametrize("key", [None, (1, 2)])
def test_what_is_no_key_is_refused_as_one(key: Any) -> None:
    told = f"a value of type {type(key).__name__} cannot be the key of a JSON object: keys are of type str or number"
    for codec in (MsgspecCodec(), DecimalCodec(), StrictCodec()):
        with pytest.raises(TypeError, match=f"^{re.escape(told)}"):
            codec.encode({"args": [{key: 1}]})


@pytest.mark.row("J9")
def test_the_cause_of_a_refusal_is_kept() -> None:
    with pytest.raises(ValueError, match=r"cannot be encoded \(RecursionError\)") as caught:
        MSGSPEC.encode(circular_list())
    assert isinstance(caught.value.__cause__, RecursionError)


@pytest.mark.row("J9")
def test_the_stdlib_codec_sends_what_json_sends() -> None:
    class Metres(float):
        pass

    class Count(int):
        pass

    class Text(str):
        __slots__ = ()

    assert STDLIB.encode([Metres(1.5), Count(2), Text("a"), Metres(NAN)]) == b'[1.5,2,"a",null]'
    assert STDLIB.encode({None: 1, True: 2, 3: 4}) == b'{"null":1,"true":2,"3":4}'
    assert STDLIB.encode([Decimal("1.10"), {Point(1).y}]) == b'["1.10",[2]]'
    with pytest.raises(ValueError, match="not JSON compliant"):
        STDLIB.encode({NAN: 1})


@pytest.mark.row("J9")
def test_ready_made_json_is_passed_through() -> None:
    assert MSGSPEC.encode([msgspec.Raw(b'{"a": 1}')]) == b'[{"a": 1}]'
    assert DECIMAL.encode([msgspec.Raw(b'{"a": 1}')]) == b'[{"a": 1}]'


# --- Decimals ----------------------------------------------------------------------------------------------------


@pytest.mark.row("J9")
@pytest.mark.parametrize(
    "text",
    ["1.10", "-0.0", "0.1", "0E-10", "1e5", "1E+5", "1e308", "1.7976931348623157e308", "1e-4300", "0." + "1" * 4298],
)
def test_the_decimal_codec_keeps_numbers_to_the_last_digit(text: str) -> None:
    value = DECIMAL.decode(f"[{text}]".encode())
    assert value == [Decimal(text)]
    assert isinstance(value, list)
    assert value[0].as_tuple() == Decimal(text).as_tuple()
    assert same(DECIMAL.decode(DECIMAL.encode(value)), value)


@pytest.mark.row("J9")
def test_the_decimal_codec_reads_integers_as_integers() -> None:
    assert same(DECIMAL.decode(b"[1,18446744073709551616,-0]"), [1, 2**64, 0])


@pytest.mark.row("J9")
@pytest.mark.parametrize(
    ("obj", "data"),
    [
        (Decimal("1.10"), b"1.10"),
        ([Point(Decimal("-0"))], b'[{"x":-0,"y":2}]'),
        (Decimal("1E+999999999"), b"1E+999999999"),
        (1.5, b"1.5"),
    ],
)
def test_decimals_are_sent_as_numbers(obj: object, data: bytes) -> None:
    assert DECIMAL.encode(obj) == data


@pytest.mark.row("J9", "H23")
@pytest.mark.parametrize(
    "obj",
    [
        Decimal("NaN"),
        Decimal("sNaN"),
        [Point(Decimal("Infinity"))],
        {"a": Decimal("-Infinity")},
        msgspec.Raw(b"[1"),
        msgspec.Raw(b"1\n2"),
    ],
)
def test_the_decimal_codec_never_writes_invalid_json(obj: object) -> None:
    with pytest.raises(ValueError, match=r"malformed|truncated|non-finite"):
        DECIMAL.encode(obj)


@pytest.mark.row("J9", "H23")
@pytest.mark.parametrize("key", ["1.5", "NaN"])
def test_a_decimal_as_a_key_is_a_string_or_refused(key: str) -> None:
    obj = {Decimal(key): 1}
    if is_before("msgspec", 0, 23):
        with pytest.raises(ValueError, match="malformed"):
            DECIMAL.encode(obj)
    else:
        assert DECIMAL.encode(obj) == f'{{"{key}":1}}'.encode()


@pytest.mark.row("J9", "H21", "H23")
@pytest.mark.parametrize(
    "text",
    [
        "1e309",
        "1e999999999",
        "1e-4301",
        "1e-999999999",
        "0e999999999",
        "0e-999999999",
        "1e9999999999999999999999",
        "1e-9999999999999999999999",
        "0e9999999999999999999999",
        "0." + "1" * 4299,
        "0." + "1" * 900_000,
        "1." + "0" * 900_000,
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.parametrize("trapped", [True, False])
def test_a_number_that_would_be_a_bomb_is_refused(text: str, trapped: bool) -> None:
    with decimal.localcontext() as context:
        context.traps[decimal.InvalidOperation] = trapped
        before = process_time()
        with pytest.raises(ValueError, match=r"out of range|InvalidOperation"):
            DECIMAL.decode(f"[{text}]".encode())
        assert process_time() - before < 0.05


@pytest.mark.row("J9")
def test_what_the_decimal_codec_reads_is_safe_to_use() -> None:
    for text in (b"9.9e307", b"1e-4300", b"0." + b"1" * 4298):
        value = DECIMAL.decode(text)
        assert isinstance(value, Decimal)
        assert len(f"{value:f}") < 9000
        assert len(str(int(value))) < 310
        assert math.isfinite(float(value))


# --- convert -----------------------------------------------------------------------------------------------------


@each
@pytest.mark.row("J9")
@pytest.mark.parametrize(
    ("obj", "hint", "value"),
    [
        (1, int, 1),
        ("1", str, "1"),
        (1, float, 1.0),
        ([1, 2], tuple[int, int], (1, 2)),
        ({"x": 1}, Point, Point(1)),
        (None, int | None, None),
        ("red", Colour, Colour.RED),
        ("2026-01-02", date, date(2026, 1, 2)),
        (1.5, Decimal, Decimal("1.5")),
        ("1.10", Decimal, Decimal("1.10")),
        (2**64, Decimal, Decimal(2**64)),
        ([1, "a"], Any, [1, "a"]),
        (Decimal("1.5"), float, 1.5),
        ([Decimal("1.5")], list[float | None], [1.5]),
        (Decimal("1.10"), Decimal, Decimal("1.10")),
        (Decimal("1.10"), object, Decimal("1.10")),
        ({"1": 2}, dict[int, int], {1: 2}),  # all keys of JSON are strings
        ({"1": 2}, dict[str, int], {"1": 2}),
        ([{"1.5": [1]}], list[dict[float, Any]], [{1.5: [1]}]),
    ],
)
def test_convert_follows_the_hint(codec: Codec, obj: object, hint: object, value: object) -> None:
    assert same(codec.convert(obj, hint), value)


@dataclass
class Fussy:
    x: int

    def __post_init__(self) -> None:
        raise KeyError("an error of the user's")


@each
@pytest.mark.row("J9")
@pytest.mark.parametrize(
    ("obj", "hint"),
    [
        ("1", int),
        (True, int),
        (1, bool),
        (1.0, int),
        (1.5, int),
        (Decimal("1.0"), int),
        (Decimal("1.5"), str),
        (10**400, float),
        (None, int),
        ([1], tuple[int, int]),
        ({}, Point),
        ({"x": 1}, dict[int, int]),
        ({"1": "1"}, dict[int, int]),
        ("blue", Colour),
        ({"x": 1}, Fussy),
    ],
)
def test_what_does_not_fit_the_hint_is_a_value_error(codec: Codec, obj: object, hint: object) -> None:
    with pytest.raises(ValueError, match=r"Expected|Invalid|out of range|missing|KeyError"):
        codec.convert(obj, hint)


@each
@pytest.mark.row("J9")
@pytest.mark.parametrize("hint", [5, "text", set[int] | list[int]])
def test_a_hint_that_cannot_be_converted_to_is_a_type_error(codec: Codec, hint: object) -> None:
    with pytest.raises(TypeError):
        codec.convert([1], hint)


# --- properties --------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | TEXT | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)
EXACT = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**300), max_value=10**300)


@each
@pytest.mark.row("J9")
@given(value=VALUES)
def test_json_values_come_back_as_they_were(codec: Codec, value: object) -> None:
    data = codec.encode(value)
    assert b"\n" not in data
    assert same(json.loads(data), value)
    assert same(rounded(codec.decode(data)), value)


@pytest.mark.row("J9")
@given(value=st.recursive(st.integers() | TEXT | EXACT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))
def test_decimals_come_back_as_they_were(value: object) -> None:
    # A Decimal without fraction and exponent is written as an integer and comes back as one, equal in value.
    assert DECIMAL.decode(DECIMAL.encode(value)) == value


def outcome(codec: Codec, data: bytes) -> object:
    """Return the value, or ValueError, or RecursionError; any other exception is the test's failure."""
    try:
        return codec.decode(data)
    except (ValueError, RecursionError) as exc:
        return RecursionError if isinstance(exc, RecursionError) else ValueError


def rounded(value: object) -> object:
    """Return *value* with a float in place of every Decimal."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return float(value) if isinstance(value, Decimal) else value


PIECES = [b"[", b"]", b"{", b"}", b",", b":", b'"', b'"a"', b"1", b"-", b".5", b"e9", b"E-", b"0", b"true", b"null"]
PIECES += [b"\\u", b"d800", b"dc00", b"\\", b" ", b"\r", b"\xc3\xa9", b"\xff", b"NaN", b"Infinity", b"1e400"]


@pytest.mark.row("J2", "J9")
@given(data=st.binary() | st.lists(st.sampled_from(PIECES)).map(b"".join) | TEXT.map(str.encode))
def test_all_codecs_agree_on_any_bytes_and_raise_only_what_they_may(data: bytes) -> None:
    expected = outcome(MSGSPEC, data)
    assert same(outcome(STDLIB, data), expected)
    strict = outcome(STRICT, data)
    assert strict is ValueError or same(strict, expected)
    exact = outcome(DECIMAL, data)
    assert same(rounded(exact), expected) or (exact is ValueError and b"e" in data.lower())
