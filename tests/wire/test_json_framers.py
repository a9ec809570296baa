# SPDX-License-Identifier: MIT
"""Framing that looks at JSON: texts with nothing between them, and JSON text sequences."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.framed import Row, check_row, in_pieces, played
from tieline.wire.framing.json_stream import JSONStreamFramer
from tieline.wire.framing.json_texts import WINDOW
from tieline.wire.framing.record_separator import RecordSeparatorFramer

stream, sequence = JSONStreamFramer, RecordSeparatorFramer


def no_start(byte: int) -> str:
    return f"a JSON text cannot begin with 0x{byte:02x}"


def no_record(byte: int) -> str:
    return f"a JSON text must come behind RS (0x1e), not behind 0x{byte:02x}"


DEEP = b"[" * 1000 + b"]" * 1000
# What a pattern may look at once: strings, brackets and plain parts that are longer, and that end at its edge.
EDGES = [
    b'["' + b"x" * (WINDOW - 2 + more) + tail
    for more in (-3, -2, -1, 0, 1, 2)
    for tail in (b'"]', b'\\"]"]', b'\\\\"]', b'","]"]', b'",[]]')
]

STREAMS: list[Row] = [
    (stream, b"", [], 0),
    (stream, b" \t\r\n", [], 0),
    (stream, b"{}[]{}", [b"{}", b"[]", b"{}"], 0),
    (stream, b' {} \r\n\t[ ]\n""', [b"{}", b"[ ]", b'""'], 0),
    (stream, b'{"id":1}{"id"', [b'{"id":1}'], 5),
    (
        stream,
        b'{"a":{"b":{"c":{"d":{"e":[]}}}}}[[[[[[1]]]]]]',
        [b'{"a":{"b":{"c":{"d":{"e":[]}}}}}', b"[[[[[[1]]]]]]"],
        0,
    ),
    (stream, DEEP + DEEP, [DEEP, DEEP], 0),
    # Brackets and quotes within strings are text.
    (stream, b'["]"]["\\"]"]["\\\\"]', [b'["]"]', b'["\\"]"]', b'["\\\\"]'], 0),
    (stream, b'{"}{":"\\u007d\\\\\\"}"}', [b'{"}{":"\\u007d\\\\\\"}"}'], 0),
    (stream, b'"a""[\\"""\\\\"', [b'"a"', b'"[\\""', b'"\\\\"'], 0),
    (stream, b'"' + b"\\\\" * 40 + b'"{}', [b'"' + b"\\\\" * 40 + b'"', b"{}"], 0),
    (stream, b'"' + b'\\"' * 40 + b'"{}', [b'"' + b'\\"' * 40 + b'"', b"{}"], 0),
    (stream, '["\u00e9\U0001f600"]'.encode(), ['["\u00e9\U0001f600"]'.encode()], 0),
    # Scalars end at a blank, or where another text begins.
    (stream, b"1 -2.5e3\ntrue\tfalse\rnull ", [b"1", b"-2.5e3", b"true", b"false", b"null"], 0),
    (stream, b'1{"a":2}3[4]"5"6"7" ', [b"1", b'{"a":2}', b"3", b"[4]", b'"5"', b"6", b'"7"'], 0),
    (stream, b"12", [], 2),
    (stream, b"nullnull 1,2 3]: ", [b"nullnull", b"1,2", b"3]:"], 0),
    # What is no JSON and has an end all the same is handed on: the JSON layer answers.
    (stream, b"[}{]{1}[nul]{,}", [b"[}", b"{]", b"{1}", b"[nul]", b"{,}"], 0),
    (stream, b'["\n\x00"]', [b'["\n\x00"]'], 0),
    (stream, b"{bad\n{}", [], 7),
    (stream, b'{"never closed', [], 14),
    (stream, b'{"a":"\\', [], 7),
    # What no text can begin with.
    (stream, b"{}}", [b"{}"], no_start(0x7D)),
    (stream, b"]", [], no_start(0x5D)),
    (stream, b"[],[]", [b"[]"], no_start(0x2C)),
    (stream, b"POST / HTTP/1.1\r\n\r\n{}", [], no_start(0x50)),
    (stream, b"\xef\xbb\xbf{}", [], no_start(0xEF)),
    (stream, b"\x1e{}\n", [], no_start(0x1E)),
    (stream, b"[]\x00", [b"[]"], no_start(0x00)),
    (stream, b"'a'", [], no_start(0x27)),
    (partial(stream, 4), b'[12][1] 1234 "12"', [b"[12]", b"[1]", b"1234", b'"12"'], 0),
    (partial(stream, 4), b"[12][123]", [b"[12]"], "message too large (limit 4)"),
    (partial(stream, 4), b'""[[[[[', [b'""'], "message too large (limit 4)"),
    (partial(stream, 4), b"12345", [], "message too large (limit 4)"),
    (partial(stream, 4), b'1 "123"', [b"1"], "message too large (limit 4)"),
]

CUT_OFF = "a number or literal has no blank behind it: it may have been cut off"

SEQUENCES: list[Row] = [
    (sequence, b"", [], 0),
    (sequence, b"\n \t", [], 0),
    (sequence, b"\x1e", [], 1),
    (sequence, b'\x1e{}\n\x1e[]\n\x1e"a"\n\x1e1\n\x1enull\n', [b"{}", b"[]", b'"a"', b"1", b"null"], 0),
    (sequence, b"\x1e\x1e\n\x1e \x1e{}\n\r\n", [b"{}"], 0),
    (sequence, b'\x1e{\n  "a": [\n    1\n  ]\n}\n\x1e[\n]\n', [b'{\n  "a": [\n    1\n  ]\n}', b"[\n]"], 0),
    (sequence, b'\x1e \n{"a":"\\"}\\n"} \r\n', [b'{"a":"\\"}\\n"} \r'], 0),
    (sequence, b"\x1e" + DEEP + b"\n\x1e{}\n", [DEEP, b"{}"], 0),
    # A record is whole at a newline behind its text, not before, and not without an end.
    (sequence, b"\x1e{}", [], 3),
    (sequence, b"\x1e{} ", [], 4),
    (sequence, b"\x1e12", [], 3),
    (sequence, b"\x1e{\n\n", [], 4),
    (sequence, b'\x1e"a\n', [], 4),
    # Two texts in one record, or junk: one message, which no parser takes.
    (sequence, b"\x1e{}{}\n\x1e{} junk\n\x1e1 2\n\x1e}\n", [b"{}{}", b"{} junk", b"1 2", b"}"], 0),
    # At the next RS an unfinished text is handed on as it is: no parser takes it for a whole one.
    (sequence, b'\x1e{"a":\x1e["b\x1e{}\x1e{}\n', [b'{"a":', b'["b', b"{}", b"{}"], 0),
    (sequence, b"\x1e12 \x1etrue\n", [b"12 ", b"true"], 0),
    # Of these nobody could tell (RFC 7464, section 2.4).
    (sequence, b"\x1e12\x1e3\n", [], CUT_OFF),
    (sequence, b"\x1e{}\n\x1etrue\x1e", [b"{}"], CUT_OFF),
    (sequence, b"\x1e\x1e1\x1e\x1e", [], CUT_OFF),
    (sequence, b"{}\n", [], no_record(0x7B)),
    (sequence, b"\x1e{}\n{}\n", [b"{}"], no_record(0x7B)),
    (sequence, b"\x1e1\n2\n", [b"1"], no_record(0x32)),
    (sequence, b"POST / HTTP/1.1\r\n\r\n\x1e{}\n", [], no_record(0x50)),
    (partial(sequence, 4), b"\x1e[12]\n\x1e  {} \n\x1e1234\n", [b"[12]", b"{} ", b"1234"], 0),
    (partial(sequence, 4), b"\x1e{}\n\x1e[123]\n", [b"{}"], "message too large (limit 4)"),
    (partial(sequence, 4), b"\x1e12345\x1e", [], "message too large (limit 4)"),
    (partial(sequence, 4), b"\x1e{}   \n", [], "message too large (limit 4)"),
    (partial(sequence, 4), b"\x1e" + b"\x1e \n" * 50 + b"{}\n", [b"{}"], 0),
]

# A mark for each table, as tests/rows.py reads them.
TABLES = [(STREAMS, pytest.mark.row("F6", "H1")), (SEQUENCES, pytest.mark.row("F5", "H1"))]
ROWS = [pytest.param(row, marks=mark) for rows, mark in TABLES for row in rows]


@pytest.mark.parametrize("row", ROWS)
def test_a_cut_at_any_place_changes_nothing(row: Row) -> None:
    check_row(row, behind=row[0]().frame([b"[2]", b"{}"]))


@pytest.mark.row("F5", "F6")
@pytest.mark.parametrize("text", EDGES)
@pytest.mark.parametrize("make", [stream, sequence])
def test_the_edge_of_what_is_looked_at_once_changes_nothing(make: Any, text: bytes) -> None:
    json.loads(text)
    data = make().frame([text, b"{}"])
    for pieces in ([data], in_pieces(data, 60_000), [data[: WINDOW - 1], data[WINDOW - 1 :]]):
        assert played(make(), pieces) == ([text, b"{}"], 0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.row("F5", "F6")
@given(
    texts=st.lists(st.tuples(VALUES, st.sampled_from([None, 1])), max_size=6),
    size=st.integers(1, 40),
    ascii_only=st.booleans(),
)
@pytest.mark.parametrize("make", [stream, sequence])
def test_any_values_come_out_as_they_went_in(make: Any, texts: Any, size: int, ascii_only: bool) -> None:
    sent = [json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode() for value, indent in texts]
    assert played(make(), in_pieces(make().frame(sent), size)) == (sent, 0)


PARTS = [b"[", b"]", b"{", b"}", b'"', b"\\", b"a", b"1", b" ", b"\n", b"\x1e", b",", b'{"a":1}', b'["\\""]']


@pytest.mark.row("F5", "F6", "H1")
@given(data=st.lists(st.sampled_from(PARTS), max_size=40).map(b"".join), size=st.integers(1, 20))
@pytest.mark.parametrize("make", [stream, sequence])
def test_any_bytes_in_any_pieces_give_the_same(make: Any, data: bytes, size: int) -> None:
    assert played(make(), in_pieces(data, size)) == played(make(), [data])


def end_by_hand(data: bytes) -> list[bytes]:
    """Return the texts of a stream of objects, arrays and strings, found one byte at a time."""
    texts = []
    depth = start = 0
    in_string = escaped = False
    for at, byte in enumerate(data):
        if escaped:
            escaped = False
        elif in_string:
            escaped = byte == ord("\\")
            in_string = byte != ord('"')
        else:
            in_string = byte == ord('"')
            depth += (byte in b"[{") - (byte in b"]}")
        if not depth and not in_string:
            texts.append(data[start : at + 1])
            start = at + 1
    return texts


@pytest.mark.row("F6")
@given(
    inner=st.lists(st.sampled_from([*PARTS[:7], b'""', b"[]", b"{}", b'"a"']), max_size=60).map(b"".join),
    size=st.integers(1, 30),
)
def test_texts_end_where_a_reader_of_single_bytes_finds_their_end(inner: bytes, size: int) -> None:
    data = b"[" + inner
    first = (end_by_hand(data) or [b""])[0]
    seen = played(JSONStreamFramer(), in_pieces(data, size))[0]
    assert (seen or [b""])[0] == first


# --- frame -------------------------------------------------------------------------------------------------------


@pytest.mark.row("F1", "F6")
def test_nothing_stands_between_texts_that_end_by_themselves() -> None:
    assert stream().frame([]) == b""
    messages: list[Any] = [b"{}", bytearray(b"[]"), memoryview(b'""')]
    assert stream().frame(iter(messages)) == b'{}[]""'
    assert stream().frame([b"1", b"{}", b"null", b"-2", b" {} "]) == b"1\n{}null\n-2\n {} \n"


@pytest.mark.row("F1", "F5")
def test_each_text_of_a_sequence_has_its_separator_and_its_newline() -> None:
    assert sequence().frame([]) == b""
    messages: list[Any] = [b"{}", bytearray(b"1"), memoryview(b"[]")]
    assert sequence().frame(iter(messages)) == b"\x1e{}\n\x1e1\n\x1e[]\n"


@pytest.mark.row("F1", "F5", "F6")
@pytest.mark.parametrize(
    ("make", "message", "why"),
    [
        (stream, b"", "must be a JSON text"),
        (stream, b" \n", "must be a JSON text"),
        (stream, b" }{", "must be a JSON text"),
        (stream, b"}", "must be a JSON text"),
        (stream, b"POST", "must be a JSON text"),
        (sequence, b"", "no RS"),
        (sequence, b" \n", "no RS"),
        (sequence, b'"\x1e"', "no RS"),
    ],
)
def test_what_would_not_come_as_one_message_is_refused(make: Any, message: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make().frame([b"{}", message])


@pytest.mark.parametrize("make", [stream, sequence])
def test_a_negative_limit_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="max_size must be 0"):
        make(-1)
