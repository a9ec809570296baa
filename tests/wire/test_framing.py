# SPDX-License-Identifier: MIT
"""Framing by lines, the base class that users derive from, and the rule that framers are per connection."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tieline.errors import MessageTooLarge
from tieline.wire.framing.base import FramerBase, fresh_framer, own_framer
from tieline.wire.framing.newline import NewlineFramer

FAULT = "fault"


def drain(framer: FramerBase, data: bytes) -> list[bytes | str]:
    """Take everything from *data*, going on behind faults, which show as FAULT."""
    seen: list[bytes | str] = []
    while True:
        taken, fault = framer.take(data)
        seen += taken
        if fault is None:
            return seen
        assert isinstance(fault, MessageTooLarge)
        seen.append(FAULT)
        data = b""


LONG = b"x" * 5000

# (max_size, the bytes, what comes of them, how many bytes stay pending)
CASES: list[tuple[int, bytes, list[bytes | str], int]] = [
    (0, b"", [], 0),
    (0, b"a\nb\n", [b"a", b"b"], 0),
    (0, b"a\ntail", [b"a"], 4),
    (0, b"\n\n\r\n\n", [], 0),
    (0, b"a\r\nb\r\n", [b"a\r", b"b\r"], 0),
    (0, b"\r\r\n \n", [b"\r\r", b" "], 0),
    (0, b"\r", [], 1),
    (0, b'["\xc3\xa9"]\n', [b'["\xc3\xa9"]'], 0),
    (0, LONG + b"\n" + LONG + b"\na\n" + LONG, [LONG, LONG, b"a"], 5000),
    (3, b"ab\nabc\n", [b"ab", b"abc"], 0),
    (3, b"abc", [], 3),
    (3, b"abcd\n", [FAULT], 0),
    (3, b"abcd", [FAULT], 0),
    (3, b"abcdefghijk", [FAULT], 0),
    (3, b"a\nabcd\nb\n", [b"a", FAULT, b"b"], 0),
    (3, b"a\nabcd\n\nabcde\r\nb\nc", [b"a", FAULT, FAULT, b"b"], 1),
    (3, b"abcdefg\nabcdefg\nabcdefg", [FAULT, FAULT, FAULT], 0),
    (3, b"ab\r\nabc\r\n", [b"ab\r", FAULT], 0),
    (4999, LONG + b"\na\n" + LONG, [FAULT, b"a", FAULT], 0),
]


@pytest.mark.row("F2", "F3", "H1", "H7")
@pytest.mark.parametrize(("max_size", "data", "expected", "pending"), CASES)
def test_a_cut_at_any_place_changes_nothing(
    max_size: int, data: bytes, expected: list[bytes | str], pending: int
) -> None:
    cuts = range(len(data) + 1) if len(data) < 100 else [*range(0, len(data), 997), 4999, 5000, 5001, len(data)]
    for cut in cuts:
        framer = NewlineFramer(max_size)
        assert drain(framer, data[:cut]) + drain(framer, data[cut:]) == expected, cut
        assert framer.pending == pending, cut


@pytest.mark.row("F2", "F3", "H1")
@pytest.mark.parametrize(("max_size", "data", "expected", "pending"), CASES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_small_pieces_change_nothing(
    max_size: int, data: bytes, expected: list[bytes | str], pending: int, size: int
) -> None:
    framer = NewlineFramer(max_size)
    assert [seen for at in range(0, len(data), size) for seen in drain(framer, data[at : at + size])] == expected
    assert framer.pending == pending


@pytest.mark.row("F2")
@given(
    data=st.lists(st.sampled_from([b"\n", b"\r", b"a", b"bcd", LONG]), max_size=30).map(b"".join),
    sizes=st.lists(st.integers(1, 6000), min_size=1, max_size=10),
    max_size=st.sampled_from([0, 1, 4, 4999, 5000]),
)
@example(data=(LONG + b"\n") * 2, sizes=[3334], max_size=4999)  # b"" is asked for while part of a line is held
def test_any_stream_in_any_pieces_gives_the_same(data: bytes, sizes: list[int], max_size: int) -> None:
    whole = drain(NewlineFramer(max_size), data)
    framer = NewlineFramer(max_size)
    pieces: list[bytes | str] = []
    at = 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        pieces += drain(framer, data[at : at + size])
        at += size
        assert framer.pending <= (max_size or len(data))
    assert pieces == whole


@pytest.mark.row("F3", "H5")
@pytest.mark.parametrize("end", [b"\n", b""])
def test_the_limit_holds_for_max_minus_one_max_and_max_plus_one(end: bytes) -> None:
    limit = 1_000_000
    for size in (limit - 1, limit):
        framer = NewlineFramer()
        assert framer.take(b"x" * size + end) == ([b"x" * size] if end else [], None)
        assert framer.pending == (0 if end else size)
    taken, fault = NewlineFramer().take(b"x" * (limit + 1) + end)
    assert taken == []
    assert isinstance(fault, MessageTooLarge)
    assert isinstance(fault, MemoryError)
    assert (fault.limit, fault.seen) == (limit, limit + 1)


@pytest.mark.row("F3", "H4")
def test_messages_raises_once_and_goes_on_behind_the_fault_in_the_same_chunk() -> None:
    framer = NewlineFramer(max_size=4)
    messages = framer.messages(b"one\ntoo long\ntwo\ntoo long again")
    assert next(messages) == b"one"
    with pytest.raises(MessageTooLarge) as caught:
        next(messages)
    assert (caught.value.limit, caught.value.seen) == (4, 8)
    messages = framer.messages(b"")
    assert next(messages) == b"two"
    with pytest.raises(MessageTooLarge):
        next(messages)
    assert list(framer.messages(b"")) == []
    assert list(framer.messages(b" and again\nsix\n")) == [b"six"]


@pytest.mark.row("F3")
def test_faults_left_behind_keep_their_place_when_more_data_comes_first() -> None:
    framer = NewlineFramer(max_size=2)
    assert framer.take(b"abc\na\nabc\nb")[0] == []
    taken, fault = framer.take(b"\nc\n")
    assert taken == [b"a"]
    assert isinstance(fault, MessageTooLarge)
    assert framer.take(b"d\n") == ([b"b", b"c", b"d"], None)


@pytest.mark.row("F3", "H3")
def test_an_endless_line_is_reported_at_the_limit_and_its_rest_is_not_kept() -> None:
    framer = NewlineFramer(max_size=100_000)
    faults = []
    for count in range(1, 200):
        taken, fault = framer.take(b"x" * 10_000)
        assert taken == []
        if fault is not None:
            faults.append((count, fault))
        assert framer.pending <= 100_000
    assert [count for count, _ in faults] == [11]
    assert framer.pending == 0
    assert framer.take(b"x\nnext\n") == ([b"next"], None)


@pytest.mark.row("F3")
def test_a_trickle_of_tiny_pieces_is_held_in_about_its_own_size() -> None:
    framer = NewlineFramer()
    for _ in range(50_000):
        framer.take(b"ab")
    assert framer.pending == 100_000
    assert sum(map(sys.getsizeof, framer._held or ())) < 2 * framer.pending


class CountingFramer(NewlineFramer):
    """Counts the bytes that are joined to complete lines."""

    joined = 0

    def _completed(self, end: bytes) -> bytes:
        line = super()._completed(end)
        self.joined += len(line)
        return line


def calls_made_for(framer: NewlineFramer, pieces: list[bytes]) -> int:
    """Return how many Python and C functions were called to take *pieces* to the last fault."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for piece in pieces:
            while framer.take(piece)[1] is not None:
                piece = b""
    finally:
        sys.setprofile(before)
    return calls


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.row("F2")
@pytest.mark.parametrize("size", [1, 100, 5000, 1 << 20])
@pytest.mark.parametrize("length", [0, 50, 4000, 8000, 8001, 20_000])
def test_the_work_is_linear_in_bytes(length: int, size: int) -> None:
    data = (b"x" * length + b"\n") * (10_000 // (length + 1) + 1)
    once, twice = CountingFramer(8000), CountingFramer(8000)
    calls = calls_made_for(once, in_pieces(data, size))
    assert calls_made_for(twice, in_pieces(data * 2, size)) <= 2 * calls + 30
    # Every byte is joined at most once.
    assert once.joined <= len(data)
    assert twice.joined <= 2 * len(data)


@pytest.mark.row("F2", "F3")
def test_many_faults_in_one_chunk_cost_what_they_are_long() -> None:
    chunk = b"too long\n" * 1000
    calls = calls_made_for(NewlineFramer(4), [chunk])
    assert calls_made_for(NewlineFramer(4), [chunk * 2]) <= 2 * calls + 30


@pytest.mark.row("F2")
def test_a_line_is_never_part_of_a_buffer_that_its_owner_fills_again() -> None:
    framer = NewlineFramer()
    buffer: Any = bytearray(b"a\nb")
    assert framer.take(buffer) == ([b"a"], None)
    buffer[:] = b"c\nd"
    assert framer.take(buffer) == ([b"bc"], None)
    assert type(framer.take(memoryview(b"\n"))[0][0]) is bytes  # type: ignore[arg-type]  # what users do all the same


@pytest.mark.parametrize("max_size", [-1, -1_000_000])
def test_a_negative_limit_is_refused(max_size: int) -> None:
    with pytest.raises(ValueError, match="max_size must be 0"):
        NewlineFramer(max_size)


# --- frame -------------------------------------------------------------------------------------------------------


@pytest.mark.row("F1")
@pytest.mark.parametrize(
    ("messages", "framed"),
    [
        ([], b""),
        (iter(()), b""),
        ([b"a"], b"a\n"),
        ((b"a", bytearray(b"b"), memoryview(b"c")), b"a\nb\nc\n"),
        ((text for text in (b"a", b"b")), b"a\nb\n"),
        ([memoryview(b"a-b-c")[::2]], b"abc\n"),
        ([memoryview(b"abcd").cast("H")], b"abcd\n"),
        ([b""], b"\n"),
    ],
)
def test_frame_gives_one_byte_string(messages: Iterable[bytes], framed: bytes) -> None:
    result = NewlineFramer().frame(messages)
    assert result == framed
    assert type(result) is bytes


@pytest.mark.row("F1")
@pytest.mark.parametrize("message", [b"a\nb", b"\n", bytearray(b"a\n"), memoryview(b"a\nb"), memoryview(b"a.\n.")[::2]])
def test_a_message_with_a_newline_is_refused_because_it_would_arrive_as_two(message: bytes) -> None:
    with pytest.raises(ValueError, match="must not hold a newline"):
        NewlineFramer().frame([b"good", message])


@pytest.mark.row("F1")
@pytest.mark.parametrize("messages", [b"abc", "abc", ["abc"], [5], [None]])
def test_what_is_not_bytes_is_refused(messages: Any) -> None:
    with pytest.raises(TypeError):
        NewlineFramer().frame(messages)


@pytest.mark.row("F1", "F2")
@given(st.lists(st.binary(min_size=1).map(lambda text: text.replace(b"\n", b"") or b"x").filter(lambda x: x != b"\r")))
def test_what_is_framed_comes_out_again(messages: list[bytes]) -> None:
    framer = NewlineFramer()
    assert framer.take(framer.frame(messages)) == (messages, None)


# --- users' framers ----------------------------------------------------------------------------------------------


class PairFramer(FramerBase):
    """Two bytes a message; a message that begins with ``!`` is a fault behind which the stream goes on."""

    def __init__(self) -> None:
        self.held = b""

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        return b"".join(messages)

    def messages(self, data: bytes) -> Iterator[bytes]:
        self.held += data
        while len(self.held) >= 2:
            pair, self.held = self.held[:2], self.held[2:]
            if pair.startswith(b"!"):
                raise KeyError("a fault of the user's own")
            yield pair


@pytest.mark.row("F1", "F2")
def test_a_users_framer_needs_only_frame_and_messages() -> None:
    framer = PairFramer()
    assert framer.pending == 0
    assert framer.take(b"aabbc") == ([b"aa", b"bb"], None)
    taken, fault = framer.take(b"c!!dd")
    assert taken == [b"cc"]
    assert isinstance(fault, KeyError)
    assert framer.take(b"") == ([b"dd"], None)


@pytest.mark.row("F1", "F8")
def test_a_users_framer_is_made_without_a_limit_unless_it_asks_for_it() -> None:
    assert PairFramer.with_limit(5).held == b""


@pytest.mark.row("F1")
def test_a_framer_without_frame_or_messages_is_refused_when_it_is_made() -> None:
    class Half(FramerBase):
        def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
            return b"".join(messages)

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]  # that is the point


class UpperFramer(NewlineFramer):
    def messages(self, data: bytes) -> Iterator[bytes]:
        for message in super().messages(data):
            yield message.upper()


@pytest.mark.row("F1", "F2")
def test_a_subclass_that_overrides_messages_is_not_bypassed() -> None:
    framer = UpperFramer(max_size=2)
    taken, fault = framer.take(b"a\nb\nabc\nc\n")
    assert taken == [b"A", b"B"]
    assert isinstance(fault, MessageTooLarge)
    assert framer.take(b"d\ne") == ([b"C", b"D"], None)
    assert framer.pending == 1


# --- one framer, one connection ------------------------------------------------------------------------------------


@pytest.mark.row("F8")
@pytest.mark.parametrize("source", [NewlineFramer, UpperFramer, PairFramer, lambda: NewlineFramer(max_size=5)])
def test_a_class_or_a_factory_gives_each_connection_its_own_framer(source: Any) -> None:
    first, second = fresh_framer(source), fresh_framer(source, 12345)
    assert first is not second
    assert isinstance(first, FramerBase)


SHARED = NewlineFramer()


@pytest.mark.row("F8")
@pytest.mark.parametrize(
    ("source", "why"),
    [
        (NewlineFramer(), r"would mix the bytes.*pass the class NewlineFramer, or a function.*lambda: NewlineFramer"),
        (UpperFramer(), "pass the class UpperFramer"),
        (None, "must be a FramerBase subclass or a function, not NoneType"),
        ("newline", "not str"),
        (dict, "factory must return a FramerBase, not dict"),
        (lambda: NewlineFramer, "factory must return a FramerBase, not ABCMeta"),
        (FramerBase, "abstract"),
    ],
)
@pytest.mark.parametrize("limit", [None, 12345])
def test_what_gives_no_framer_is_refused_and_the_text_says_what_to_pass(
    source: Any, why: str, limit: int | None
) -> None:
    with pytest.raises(TypeError, match=why):
        fresh_framer(source, limit)


@pytest.mark.row("F8")
def test_a_factory_that_returns_one_framer_twice_is_refused() -> None:
    def factory() -> NewlineFramer:
        return SHARED

    assert fresh_framer(factory) is SHARED
    with pytest.raises(TypeError, match="same framer twice"):
        fresh_framer(factory)


@pytest.mark.row("F8")
def test_a_framer_that_has_had_a_connection_gets_no_other() -> None:
    framer = NewlineFramer()
    assert own_framer(framer) is framer
    with pytest.raises(TypeError, match="this NewlineFramer has had one: make a new one for each session"):
        own_framer(framer)
    with pytest.raises(TypeError, match="same framer twice"):
        fresh_framer(lambda: framer)
