# SPDX-License-Identifier: MIT
"""Framing by a length in front: whole numbers of fixed size, varints, netstrings."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest

from tests.wire.framed import Row, check_row
from tieline.errors import MessageTooLarge, OutgoingMessageTooLarge
from tieline.wire.framing.length_prefixed import LengthPrefixedFramer
from tieline.wire.framing.netstring import NetstringFramer
from tieline.wire.framing.varint import VarintFramer

prefixed = LengthPrefixedFramer
one = partial(LengthPrefixedFramer, 1)
two = partial(LengthPrefixedFramer, 2, "little")
whole = partial(LengthPrefixedFramer, 4, "big", includes_header=True)
eight = partial(LengthPrefixedFramer, 8, "little", max_size=0)


def too_large(limit: int, size: int) -> str:
    return f"message too large (limit {limit}): {size} bytes announced"


PREFIXED: list[Row] = [
    (prefixed, b"", [], 0),
    (prefixed, b"\0\0\0\2{}", [b"{}"], 0),
    (prefixed, b"\0\0\0\0\0\0\0\2{}\0\0\0\0", [b"", b"{}", b""], 0),
    (prefixed, b"\0\0\0\2{", [], 5),
    (prefixed, b"\0\0\0", [], 3),
    (prefixed, b"\0\0\0\2", [], 4),
    (one, b"\2{}\0\xff" + b"x" * 255, [b"{}", b"", b"x" * 255], 0),
    (two, b"\2\0{}\0\1" + b"x" * 256, [b"{}", b"x" * 256], 0),
    (eight, b"\2\0\0\0\0\0\0\0{}\xff\xff\xff\xff\xff\xff\xff\xff", [b"{}"], 8),
    (whole, b"\0\0\0\6{}\0\0\0\4\0\0\0\5x", [b"{}", b"", b"x"], 0),
    (whole, b"\0\0\0\0", [], "a length must count the 4 bytes of its prefix; it is 0"),
    (whole, b"\0\0\0\6{}\0\0\0\3x", [b"{}"], "a length must count the 4 bytes of its prefix; it is 3"),
    (partial(one, includes_header=True), b"\0", [], "a length must count the 1 bytes of its prefix; it is 0"),
    (partial(one, max_size=2), b"\2{}\3", [b"{}"], too_large(2, 3)),
    (partial(whole, max_size=2), b"\0\0\0\6{}\0\0\0\7", [b"{}"], too_large(2, 3)),
    (prefixed, b"\xff\xff\xff\xff", [], too_large(1_000_000, 2**32 - 1)),
    (prefixed, b"\x00\x0f\x42\x41", [], too_large(1_000_000, 1_000_001)),
    (partial(eight, max_size=10), b"\xff" * 8, [], too_large(10, 2**64 - 1)),
    # What strangers begin with is no length that anybody means.
    (prefixed, b"GET / HTTP/1.1\r\n\r\n", [], too_large(1_000_000, 0x47455420)),
    (prefixed, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", [], too_large(1_000_000, 0x16030102)),
]

OVERLONG = "a length takes more bytes than it needs"
OVER_64 = "a length is over 64 bits"

VARINTS: list[Row] = [
    (VarintFramer, b"", [], 0),
    (VarintFramer, b"\2{}\0\1x", [b"{}", b"", b"x"], 0),
    (VarintFramer, b"\x80", [], 1),
    (VarintFramer, b"\x7f" + b"x" * 127 + b"\x80\x01" + b"x" * 128, [b"x" * 127, b"x" * 128], 0),
    # From the documentation of Protocol Buffers: 96 01 is 150.
    (VarintFramer, b"\x96\x01" + b"x" * 150, [b"x" * 150], 0),
    (VarintFramer, b"\x96\x01" + b"x" * 149, [], 151),
    (partial(VarintFramer, 0), b"\xff" * 9 + b"\x01", [], 10),
    (VarintFramer, b"\x80\x00", [], OVERLONG),
    (VarintFramer, b"\2{}\x82\x00{}", [b"{}"], OVERLONG),
    (VarintFramer, b"\x80" * 9 + b"\x00", [], OVERLONG),
    (VarintFramer, b"\x80" * 10, [], OVER_64),
    (VarintFramer, b"\xff" * 11 + b"\1", [], OVER_64),
    (VarintFramer, b"\x80" * 9 + b"\x02", [], OVER_64),
    (VarintFramer, b"\xff" * 9 + b"\x01", [], too_large(1_000_000, 2**64 - 1)),
    (partial(VarintFramer, 2), b"\2{}\3", [b"{}"], too_large(2, 3)),
    (partial(VarintFramer, 200), b"\xc9\x01", [], too_large(200, 201)),
]

ZEROS = "the length of a netstring must have no zeros in front"
DIGITS = "the length of a netstring must be 1 to 10 digits"


def start(byte: int) -> str:
    return f"a netstring must begin with digits and a colon, not with 0x{byte:02x}"


NETSTRINGS: list[Row] = [
    (NetstringFramer, b"", [], 0),
    # From the proposal itself.
    (NetstringFramer, b"12:hello world!,0:,", [b"hello world!", b""], 0),
    (NetstringFramer, b"0:,2:{},1:,,", [b"", b"{}", b","], 0),
    (NetstringFramer, b"12", [], 2),
    (NetstringFramer, b"0", [], 1),
    (NetstringFramer, b"2:{}", [], 4),
    (NetstringFramer, b"0:", [], 2),
    (partial(NetstringFramer, 0), b"9999999999:x", [], 12),
    (NetstringFramer, b"1:a1:b,", [], "a netstring must end with a comma, not with 0x31"),
    (NetstringFramer, b"0:,0:0:,", [b""], "a netstring must end with a comma, not with 0x30"),
    (NetstringFramer, b"00:,", [], ZEROS),
    (NetstringFramer, b"02:{},", [], ZEROS),
    (NetstringFramer, b"0" * 20, [], ZEROS),
    (NetstringFramer, b"12345678901:", [], DIGITS),
    (NetstringFramer, b"1" * 5000, [], DIGITS),
    (NetstringFramer, b":,", [], start(0x3A)),
    (NetstringFramer, b"-1:,", [], start(0x2D)),
    (NetstringFramer, b"+1:a,", [], start(0x2B)),
    (NetstringFramer, b"1 :a,", [], start(0x20)),
    (NetstringFramer, b"1_0:a,", [], start(0x5F)),
    (NetstringFramer, b"2:{},\n2:{},", [b"{}"], start(0x0A)),
    (NetstringFramer, b"POST / HTTP/1.1\r\n", [], start(0x50)),
    (NetstringFramer, b"9999999999:", [], too_large(1_000_000, 9_999_999_999)),
    (partial(NetstringFramer, 2), b"2:{},3:", [b"{}"], too_large(2, 3)),
]

# A mark for each table, as tests/rows.py reads them.
TABLES = [
    (PREFIXED, pytest.mark.row("F5", "H1", "H12", "H16")),
    (VARINTS, pytest.mark.row("F5", "H1", "H12", "H16")),
    (NETSTRINGS, pytest.mark.row("F5", "H1", "H12")),
]
ROWS = [pytest.param(row, marks=mark) for rows, mark in TABLES for row in rows]


@pytest.mark.parametrize("row", ROWS)
def test_a_cut_at_any_place_changes_nothing(row: Row) -> None:
    check_row(row, behind=row[0]().frame([b"good", b"", b"again"]))


@pytest.mark.row("F5", "H12", "H16")
@pytest.mark.parametrize(
    ("make", "data"), [(prefixed, b"\xff" * 4), (VarintFramer, b"\xff" * 9 + b"\1"), (NetstringFramer, b"9999999999:")]
)
def test_a_length_over_the_limit_is_refused_at_the_head(make: Any, data: bytes) -> None:
    framer = make.with_limit(10)
    fault = framer.take(data)[1]
    assert isinstance(fault, MessageTooLarge)
    assert fault.limit == 10
    assert fault.seen == 0
    assert fault.announced is not None
    assert fault.announced > 2**32 - 2
    assert framer.pending == 0
    assert not framer._held


# --- frame -------------------------------------------------------------------------------------------------------


@pytest.mark.row("F1", "F5")
@pytest.mark.parametrize(
    ("framer", "framed"),
    [
        (prefixed(), b"\0\0\0\2{}\0\0\0\0\0\0\0\2ac"),
        (prefixed(4, "little"), b"\2\0\0\0{}\0\0\0\0\2\0\0\0ac"),
        (one(), b"\2{}\0\2ac"),
        (prefixed(2, includes_header=True), b"\0\4{}\0\2\0\4ac"),
        (prefixed(8), b"\0\0\0\0\0\0\0\2{}" + bytes(8) + b"\0\0\0\0\0\0\0\2ac"),
        (VarintFramer(), b"\2{}\0\2ac"),
        (NetstringFramer(), b"2:{},0:,2:ac,"),
    ],
)
def test_frame_writes_the_length_first(framer: Any, framed: bytes) -> None:
    assert framer.frame([]) == b""
    assert framer.frame(iter([b"{}", bytearray(), memoryview(b"abcd")[::2]])) == framed
    assert type(framer.frame([b""])) is bytes


def test_a_framer_tells_how_it_was_made() -> None:
    framer = LengthPrefixedFramer(2, "little", includes_header=True, max_size=7)
    assert (framer.size, framer.byteorder, framer.includes_header, framer.max_size) == (2, "little", True, 7)


@pytest.mark.row("F5")
@pytest.mark.parametrize(
    ("size", "head"),
    [(1, "01"), (127, "7f"), (128, "8001"), (16383, "ff7f"), (16384, "808001"), (2097152, "80808001")],
)
def test_a_varint_is_as_short_as_can_be(size: int, head: str) -> None:
    framed = VarintFramer().frame([bytes(size)])
    assert framed[:-size].hex() == head
    assert VarintFramer(0).take(framed) == ([bytes(size)], None)


@pytest.mark.row("F5", "H6")
@pytest.mark.parametrize(
    ("framer", "longest"),
    [
        (one(), 255),
        (one(includes_header=True), 254),
        (two(), 65535),
        (prefixed(2, includes_header=True), 65533),
    ],
)
def test_a_message_that_the_prefix_cannot_tell_is_refused_and_nothing_is_framed(framer: Any, longest: int) -> None:
    assert framer.take(framer.frame([bytes(longest - 1), bytes(longest)])) == (
        [bytes(longest - 1), bytes(longest)],
        None,
    )
    with pytest.raises(OutgoingMessageTooLarge) as caught:
        framer.frame([b"good", bytes(longest + 1)])
    assert (caught.value.limit, caught.value.size) == (longest, longest + 1)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: prefixed(3), "size must be 1, 2, 4 or 8, not 3"),
        (lambda: prefixed(byteorder="native"), "byteorder must be 'big' or 'little', not 'native'"),  # type: ignore[arg-type]  # that is the point
        (lambda: prefixed(max_size=-1), "max_size must be 0 (no limit) or more, not -1"),
        (lambda: VarintFramer(-1), "max_size must be 0 (no limit) or more, not -1"),
        (lambda: NetstringFramer(-1), "max_size must be 0 (no limit) or more, not -1"),
    ],
)
def test_arguments_that_cannot_be_are_refused(make: Any, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        make()
