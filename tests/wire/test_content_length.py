# SPDX-License-Identifier: MIT
"""Framing by Content-Length headers: the grammar, its limits, and what is written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.framed import Row, check_row
from tieline.errors import MessageTooLarge, RemoteProtocolError
from tieline.wire.framing.content_length import ContentLengthFramer

if TYPE_CHECKING:
    from collections.abc import Iterable

make = ContentLengthFramer
small = partial(ContentLengthFramer, max_size=10)
narrow = partial(ContentLengthFramer, max_header=40, max_headers=3)
GOOD = b"Content-Length: 2\r\n\r\n{}"
PYLSP = b"Content-Type: application/vscode-jsonrpc; charset=utf8\r\n"

MISSING = "the header block has no Content-Length"
DIGITS = "Content-Length must be 1 to 10 digits; a value that is not came"
EMPTY = "Content-Length must be 1 to 10 digits; nothing came"
TWICE = "Content-Length came twice in one block"
BARE = "a header line ends with a bare LF, not with CRLF"
SHAPE = "a header line is not 'Name: value' in visible ASCII"
CONTINUED = "a header line is continued, or begins with a blank"
CHARSET = "Content-Type must have the charset utf-8, not "
KIND = "Content-Type must be one of JSON, not "


def length_of(value: str) -> bytes:
    return b"Content-Length: " + value.encode() + b"\r\n\r\n{}"


def type_of(value: str) -> bytes:
    return b"Content-Type: " + value.encode() + b"\r\nContent-Length: 2\r\n\r\n{}"


# What peers send that is right.
RIGHT: list[Row] = [
    (make, b"", [], 0),
    (make, GOOD, [b"{}"], 0),
    (make, GOOD + GOOD[:-1], [b"{}"], len(GOOD) - 1),
    (make, GOOD[:-2], [], len(GOOD) - 2),
    (make, b"C", [], 1),
    (make, b"Content-Length: 0\r\n\r\n" + GOOD, [b"", b"{}"], 0),
    (make, b"Content-Length: 4\r\n\r\n\r\n\r\n", [b"\r\n\r\n"], 0),
    (make, GOOD[:-4] + PYLSP + b"\r\n{}" + GOOD, [b"{}", b"{}"], 0),
    (make, PYLSP + GOOD, [b"{}"], 0),
    (make, PYLSP + GOOD + PYLSP + GOOD + PYLSP, [b"{}", b"{}"], len(PYLSP)),
    (make, b"content-length:2\r\nCONTENT-TYPE:application/json\r\n\r\n{}", [b"{}"], 0),
    (make, b"cOnTeNt-LeNgTh: \t 2\t \r\n\r\n{}", [b"{}"], 0),
    (make, b"X-Trace: a:b, c \r\nx-trace: \r\n" + GOOD, [b"{}"], 0),
    (make, length_of("0000000002"), [b"{}"], 0),
    (make, type_of("application/vscode-jsonrpc; charset=utf-8"), [b"{}"], 0),
    (make, type_of('Application/JSON ;\tCharset = "UTF-8"; q=1'), [b"{}"], 0),
    (make, type_of("application/json-rpc;"), [b"{}"], 0),
    (small, b"Content-Length: 10\r\n\r\n0123456789", [b"0123456789"], 0),
    (partial(make, 0), b"Content-Length: 9999999999\r\n\r\n12", [], 32),
    # 40 bytes of headers in all, and three of them: as much as is taken.
    (narrow, b"a: 1\r\nbb: 2345678\r\n" + GOOD, [b"{}"], 0),
    (partial(narrow, max_header=20), b"Content-Length:2\r\n\r\n{}" + b"Content-Length:2\r\n\r\n", [b"{}"], 20),
]


@pytest.mark.row("F4", "H1")
@pytest.mark.parametrize("row", RIGHT)
def test_what_is_right_comes_through_however_it_is_cut(row: Row) -> None:
    check_row(row, behind=GOOD)


# What is wrong with lengths, with the size of blocks, with their grammar, with types.
LENGTHS: list[Row] = [
    (make, length_of("-5"), [], DIGITS),
    (make, length_of("abc"), [], DIGITS),
    (make, length_of("+17"), [], DIGITS),
    (make, length_of("1_7"), [], DIGITS),
    (make, length_of("0x11"), [], DIGITS),
    (make, length_of("1 7"), [], DIGITS),
    (make, length_of("2.0"), [], DIGITS),
    (make, length_of("2, 2"), [], DIGITS),
    (make, length_of(""), [], EMPTY),
    (make, length_of(" \t "), [], EMPTY),
    (make, length_of("0" * 5000 + "17"), [], "Content-Length must be 1 to 10 digits; 5002 came"),
    (make, length_of("00000000002"), [], "Content-Length must be 1 to 10 digits; 11 came"),
    (make, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", [], TWICE),
    (make, b"Content-Length: 2\r\ncontent-length: 2\r\n\r\n{}", [], TWICE),
    (make, b"\r\n" + GOOD, [], MISSING),
    (make, PYLSP + b"\r\n{}", [], MISSING),
    (make, b"Content-Lenght: 2\r\n\r\n{}", [], MISSING),
    (make, GOOD + b"\r\n" + GOOD, [b"{}"], MISSING),
]
TOO_LARGE: list[Row] = [
    (make, length_of("99999999999"), [], "Content-Length must be 1 to 10 digits; 11 came"),
    (make, length_of("9999999999"), [], "message too large (limit 1000000): 9999999999 bytes announced"),
    (make, length_of("1000001"), [], "message too large (limit 1000000): 1000001 bytes announced"),
    (small, GOOD + length_of("11"), [b"{}"], "message too large (limit 10): 11 bytes announced"),
    (small, b"a: b\r\n" + length_of("11"), [], "message too large (limit 10): 11 bytes announced"),
]
GRAMMAR: list[Row] = [
    (make, b"X" * 8193, [], "header block over 8192 bytes"),
    (make, b"X: " + b"y" * 100_000 + b"\r\n" + GOOD, [], "header block over 8192 bytes"),
    (make, (b"X: " + b"y" * 995 + b"\r\n") * 9 + GOOD, [], "header block over 8192 bytes"),
    (make, b"X: y\r\n" * 10_000 + GOOD, [], "over 32 headers in one block"),
    (narrow, b"a: 1\r\nb: 2\r\nc: 3\r\nContent-Length: 2\r\n\r\n", [], "over 3 headers in one block"),
    (narrow, b"a: 1\r\nbb: 23456789\r\n" + GOOD, [], "header block over 40 bytes"),
    (partial(narrow, max_header=20), b"Content-Length: 2\r\n\r\n{}", [], "header block over 20 bytes"),
    (make, b"Content-Length: 2\n\n{}", [], BARE),
    (make, b"Content-Length: 2\r\n\n{}", [], BARE),
    (make, b"Content-Length: 2\n\r\n{}", [], BARE),
    (make, b"Content-Length : 2\r\n\r\n{}", [], "a blank stands before the colon of 'content-length'"),
    (make, b"X\t: 2\r\n" + GOOD, [], "a blank stands before the colon of 'x'"),
    (make, b"X: 1\r\n 2\r\n" + GOOD, [], CONTINUED),
    (make, b"Content-Length: 1\r\n\t2\r\n\r\n{}", [], CONTINUED),
    (make, b" " + GOOD, [], CONTINUED),
    (make, b"Content-Length 2\r\n\r\n{}", [], SHAPE),
    (make, b"X: \x00\r\n" + GOOD, [], SHAPE),
    (make, b"X: \xc3\xa9\r\n" + GOOD, [], SHAPE),
    (make, b"X: a\rContent-Length: 2\r\n\r\n{}", [], SHAPE),
    (make, b"\rX: a\r\n" + GOOD, [], SHAPE),
    (make, b"X(: 1\r\n" + GOOD, [], SHAPE),
    (make, b": 1\r\n" + GOOD, [], "a header line must begin with a name, not with 0x3a"),
    (make, b'{"jsonrpc":"2.0","method":"m"}\n', [], "a header line must begin with a name, not with 0x7b"),
    (make, b"\xef\xbb\xbf" + GOOD, [], "a header line must begin with a name, not with 0xef"),
    # A length that is too small: what follows is not guessed at.
    (make, b'Content-Length: 2\r\n\r\n{"a":1}' + GOOD, [b'{"'], SHAPE),
    (make, b"Content-Length: 1\r\n\r\n{}", [b"{"], "a header line must begin with a name, not with 0x7d"),
    (make, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", [], SHAPE),
]
TYPES: list[Row] = [
    (make, type_of("application/json; charset=utf-7"), [], CHARSET + "'utf-7'"),
    (make, type_of("application/vscode-jsonrpc; charset=utf-16"), [], CHARSET + "'utf-16'"),
    (make, type_of("application/json; charset = utf-7"), [], CHARSET + "' utf-7'"),
    (make, type_of("application/json; charset=utf8; charset=latin1"), [], CHARSET + "'latin1'"),
    (make, type_of("application/json; charset="), [], CHARSET + "''"),
    (make, type_of("application/json; charset"), [], CHARSET + "''"),
    (make, type_of("application/json; charset=" + "x" * 60), [], CHARSET + repr("x" * 40)),
    (make, type_of("text/html"), [], KIND + "'text/html'"),
    (make, type_of("text/json"), [], KIND + "'text/json'"),
    (make, type_of("application/xml; charset=utf-8"), [], KIND + "'application/xml'"),
    (make, type_of("json"), [], "Content-Type is not a media type"),
    (make, type_of(""), [], "Content-Type is not a media type"),
    (make, PYLSP + PYLSP + GOOD, [], "Content-Type came twice in one block"),
]
# A mark for each table, as tests/rows.py reads them.
TABLES = [
    (LENGTHS, pytest.mark.row("F4", "H11")),
    (TOO_LARGE, pytest.mark.row("F4", "H12")),
    (GRAMMAR, pytest.mark.row("F4", "H13")),
    (TYPES, pytest.mark.row("F4", "H15")),
]
WRONG = [pytest.param(row, marks=mark) for rows, mark in TABLES for row in rows]


@pytest.mark.parametrize("row", WRONG)
def test_what_is_wrong_ends_the_stream_with_one_text_however_it_is_cut(row: Row) -> None:
    check_row(row)


@pytest.mark.row("F4", "H11", "H13")
@pytest.mark.parametrize("row", WRONG[:1] + WRONG[-1:])
def test_behind_a_fault_nothing_is_read_any_more(row: Row) -> None:
    framer = row[0]()
    fault = framer.take(row[1])[1]
    assert framer.take(GOOD) == ([], fault)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            next(framer.messages(GOOD))
        assert caught.value is fault


@pytest.mark.row("F4", "H13")
@pytest.mark.parametrize("line", [b"A:" + b" " * 8180, b"A" * 8180, b"A:" + b" \t" * 4000 + b"x" * 100])
def test_a_hostile_line_is_matched_in_linear_time(line: bytes) -> None:
    # A pattern that goes back and forth over the blanks would take minutes, and the test with it.
    assert played_text(line + b"\x00\r\n") == SHAPE


def played_text(data: bytes) -> str:
    return str(ContentLengthFramer().take(data)[1])


@pytest.mark.row("F4", "H12")
def test_a_length_over_the_limit_tells_the_limit_and_what_was_announced() -> None:
    fault = ContentLengthFramer(10).take(b"Content-Length: 11\r\n\r\n")[1]
    assert isinstance(fault, MessageTooLarge)
    assert (fault.limit, fault.seen, fault.announced) == (10, 0, 11)


# --- frame -------------------------------------------------------------------------------------------------------

LSP = "application/vscode-jsonrpc; charset=utf-8"


@pytest.mark.row("F1", "F4")
@pytest.mark.parametrize(
    ("content_type", "messages", "framed"),
    [
        (None, [], b""),
        (None, [b"{}"], GOOD),
        (None, [b"", bytearray(b"{}"), memoryview(b"[]")], b"Content-Length: 0\r\n\r\n" + GOOD + GOOD[:-2] + b"[]"),
        (LSP, (b"{}",), b"Content-Length: 2\r\nContent-Type: " + LSP.encode() + b"\r\n\r\n{}"),
        (" Text/Plain ", [b"{}"], b"Content-Length: 2\r\nContent-Type: Text/Plain\r\n\r\n{}"),
    ],
)
def test_the_length_is_written_first(content_type: str | None, messages: Iterable[bytes], framed: bytes) -> None:
    framer = ContentLengthFramer(content_type=content_type)
    assert framer.frame(messages) == framed
    assert framer.take(framed) == ([*map(bytes, messages)], None)


@pytest.mark.row("F4")
def test_a_type_that_is_written_is_read_as_well_and_no_other_beside_json() -> None:
    framer = ContentLengthFramer(content_type="Text/X; charset=utf-8")
    assert framer.take(type_of("text/x") + type_of("application/json")) == ([b"{}", b"{}"], None)
    assert str(framer.take(type_of("text/y"))[1]) == KIND + "'text/y'"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"max_size": -1}, "max_size must be 0"),
        ({"max_header": 0}, "must be 1 or more"),
        ({"max_headers": 0}, "must be 1 or more"),
        ({"content_type": "text/pläin"}, "visible ASCII"),
        ({"content_type": "text/plain\r\nX: y"}, "visible ASCII"),
        ({"content_type": "plain"}, "not a media type"),
        ({"content_type": "application/json; charset=latin1"}, "charset utf-8, not 'latin1'"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ContentLengthFramer(**arguments)
