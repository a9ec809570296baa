# SPDX-License-Identifier: MIT
"""What holds for every framer: round trips, cuts, linear work, bounded memory, and any bytes at all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.framed import calls_made_for, in_pieces, played
from tieline.errors import MessageTooLarge
from tieline.wire.framing.base import FramerBase, fresh_framer
from tieline.wire.framing.bitcoin import BitcoinFramer
from tieline.wire.framing.content_length import ContentLengthFramer
from tieline.wire.framing.json_stream import JSONStreamFramer
from tieline.wire.framing.length_prefixed import LengthPrefixedFramer
from tieline.wire.framing.netstring import NetstringFramer
from tieline.wire.framing.newline import NewlineFramer
from tieline.wire.framing.record_separator import RecordSeparatorFramer
from tieline.wire.framing.varint import VarintFramer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Those that carry any bytes, and those that carry JSON texts.
OF_BYTES: list[type[FramerBase[Any]]] = [ContentLengthFramer, LengthPrefixedFramer, NetstringFramer, VarintFramer]
OF_TEXTS: list[type[FramerBase[Any]]] = [JSONStreamFramer, RecordSeparatorFramer]
ALL: list[type[FramerBase[Any]]] = [*OF_BYTES, *OF_TEXTS, BitcoinFramer]


def message(make: type[FramerBase[Any]], size: int) -> Any:
    """Return a message of *size* bytes (and more than one) that the framer can carry."""
    text = b'"' + b"x" * (size - 2) + b'"'
    return (b"inv", text) if make is BitcoinFramer else text


@pytest.mark.row("F2", "F4", "F5")
@given(messages=st.lists(st.binary(max_size=300), max_size=8), size=st.integers(1, 50))
@pytest.mark.parametrize("make", OF_BYTES)
def test_any_messages_come_out_as_they_went_in(make: type[FramerBase[Any]], messages: list[bytes], size: int) -> None:
    assert played(make(), in_pieces(make().frame(messages), size)) == (messages, 0)


@pytest.mark.row("F2", "F7")
@given(
    pairs=st.lists(st.tuples(st.text("abz01-!~", min_size=1, max_size=12), st.binary(max_size=60)), max_size=6),
    size=st.integers(1, 40),
)
def test_any_commands_and_payloads_come_out_as_they_went_in(pairs: list[tuple[str, bytes]], size: int) -> None:
    sent = [(command.encode(), payload) for command, payload in pairs]
    assert played(BitcoinFramer(), in_pieces(BitcoinFramer().frame(sent), size)) == (sent, 0)


# Bytes that mean something to one of the framers.
PARTS = [
    *(b"Content-Length: ", b"\r\n", b"\r\n\r\n", b"3", b"0", b":", b",", b" ", b"\x00", b"\x80", b"\x00\x00\x00\x02"),
    *(b"\xf9\xbe\xb4\xd9", b"verack" + bytes(6), b"\x5d\xf6\xe0\xe2", b"{}", b"[", b'"', b"\x1e", b"\n", b"abc"),
]


@pytest.mark.row("F2", "F4", "F5", "F6", "F7", "H10")
@given(
    data=st.lists(st.sampled_from(PARTS) | st.binary(max_size=5), max_size=30).map(b"".join),
    size=st.integers(1, 20),
    limit=st.sampled_from([0, 1, 3, 100]),
)
@pytest.mark.parametrize("make", ALL)
def test_any_bytes_give_messages_or_a_documented_fault_however_they_are_cut(
    make: type[FramerBase[Any]], data: bytes, size: int, limit: int
) -> None:
    framer = make.with_limit(limit)
    messages, end = played(framer, in_pieces(data, size))
    whole, whole_end = played(make.with_limit(limit), [data])
    assert messages == whole
    if isinstance(end, str) and ": at least" in end:
        assert str(whole_end).split(":")[0] == end.split(":")[0]
    else:
        assert whole_end == end
    assert all(len(each[1] if make is BitcoinFramer else each) <= (limit or len(data)) for each in messages)


@pytest.mark.row("F2", "H5")
@pytest.mark.parametrize("make", ALL)
def test_the_limit_holds_for_max_minus_one_max_and_max_plus_one(make: type[FramerBase[Any]]) -> None:
    for limit in (10, 100_000):
        for size in (limit - 1, limit):
            framed = make.with_limit(0).frame([message(make, size)])
            for step in (len(framed), 7 if limit < 100 else 70_000):
                assert played(make.with_limit(limit), in_pieces(framed, step)) == ([message(make, size)], 0)
        framed = make.with_limit(0).frame([message(make, limit + 1)])
        for step in (len(framed), 7 if limit < 100 else 70_000):
            seen, end = played(make.with_limit(limit), in_pieces(framed, step))
            assert seen == []
            assert str(end).startswith(f"message too large (limit {limit}): ")


@pytest.mark.row("F2", "H5")
@pytest.mark.parametrize("make", [NewlineFramer, *ALL])
def test_a_limit_of_one_byte_is_one(make: type[FramerBase[Any]]) -> None:
    framed = make.with_limit(0).frame([message(make, 2)])
    assert make.with_limit(0).take(framed) == ([message(make, 2)], None)
    taken, fault = make.with_limit(1).take(framed)
    assert taken == []
    assert str(fault).startswith("message too large (limit 1): ")


@pytest.mark.row("F2", "F8", "H5")
@pytest.mark.parametrize("make", [NewlineFramer, *ALL])
def test_a_session_tells_a_framer_class_its_limit(make: Any) -> None:
    limited = fresh_framer(make, 12345)
    assert type(limited) is make
    names = ("max_payload_size", "max_block_size") if make is BitcoinFramer else ("max_size",)
    assert {getattr(limited, name) for name in names} == {12345}
    assert {getattr(make(), name) for name in names} == {4_000_000 if make is BitcoinFramer else 1_000_000}


@pytest.mark.row("F8")
@pytest.mark.parametrize("make", [NewlineFramer, *ALL])
def test_a_subclass_with_a_constructor_of_its_own_is_made_without_arguments(make: Any) -> None:
    class Own(make):  # type: ignore[misc]  # a class that is a parameter
        def __init__(self) -> None:
            super().__init__(max_payload_size=7) if make is BitcoinFramer else super().__init__(max_size=7)

    assert Own.with_limit(12345).max_size == 7


# --- how much ------------------------------------------------------------------------------------------------------


@pytest.mark.row("F2", "F4", "F5", "F6", "F7")
@pytest.mark.parametrize("step", [1, 100, 5000, 1 << 20])
@pytest.mark.parametrize("size", [2, 50, 4000, 20_000])
@pytest.mark.parametrize("make", ALL)
def test_the_work_is_linear_in_bytes(make: type[FramerBase[Any]], size: int, step: int) -> None:
    # Short messages cost most: fewer of them will do.
    data = make().frame([message(make, size)] * (10_000 // (size + 20) + 1))
    calls = calls_made_for(make(), in_pieces(data, step))
    assert calls_made_for(make(), in_pieces(data * 2, step)) <= 2 * calls + 30


# Streams that make a careless reader look again and again at what it has seen: one message, longer and longer.
HARD: list[tuple[Callable[[], FramerBase[Any]], Callable[[int], bytes]]] = [
    (ContentLengthFramer, lambda size: b"X: y\r\n" * 30 + b"Content-Length: %d\r\n\r\n" % size + bytes(size)),
    (JSONStreamFramer, lambda size: b"[1," * size + b"]" * size),
    (JSONStreamFramer, lambda size: b'["",' * size + b"]" * size),
    (JSONStreamFramer, lambda size: b"[[[[" + b"[[[]]]," * size + b"]]]]"),
    (JSONStreamFramer, lambda size: b'"' + b"\\\\" * size + b'"'),
    (JSONStreamFramer, lambda size: b'"' + b'\\"' * size + b'"'),
    (JSONStreamFramer, lambda size: b"1" * size + b" "),
    (JSONStreamFramer, lambda size: b" " * size + b"{}"),
    (JSONStreamFramer, lambda size: b"1 " * size),
    (RecordSeparatorFramer, lambda size: b"\x1e[" + b"\n" * size + b"]\n"),
    (RecordSeparatorFramer, lambda size: b"\x1e[" + b"\n[]," * size + b"]\n"),
    (RecordSeparatorFramer, lambda size: b"\x1e" * size + b"{}\n"),
    (RecordSeparatorFramer, lambda size: b"\x1e{\n" * size + b"\x1e{}\n"),
]


@pytest.mark.row("F2", "F4", "F5", "F6", "H10")
@pytest.mark.parametrize("step", [1, 100, 1 << 20])
@pytest.mark.parametrize(("make", "stream"), HARD)
def test_hard_streams_take_linear_work_too(
    make: Callable[[], FramerBase[Any]], stream: Callable[[int], bytes], step: int
) -> None:
    once, twice = stream(2000), stream(4000)
    assert played(make(), in_pieces(once, 1 << 20))[1] == 0
    calls = calls_made_for(make(), in_pieces(once, step))
    assert calls_made_for(make(), in_pieces(twice, step)) <= 2 * calls + 30


@pytest.mark.row("F2", "F4", "F5", "F6", "F7")
@pytest.mark.parametrize("make", ALL)
def test_a_trickle_of_tiny_pieces_is_held_in_about_its_own_size(make: type[FramerBase[Any]]) -> None:
    framer: Any = make()
    data = framer.frame([message(make, 100_000)])
    for piece in in_pieces(data[:-2], 2):
        assert framer.take(piece) == ([], None)
    assert framer.pending == len(data[:-2])
    assert sum(map(sys.getsizeof, framer._held)) < 2 * framer.pending
    assert framer.take(data[-2:]) == ([message(make, 100_000)], None)
    assert framer.pending == 0
    assert not framer._held


@pytest.mark.row("F2", "H12")
@pytest.mark.parametrize("make", ALL)
def test_what_is_announced_and_has_not_come_takes_no_memory(make: type[FramerBase[Any]]) -> None:
    framer: Any = make.with_limit(0)
    data = framer.frame([message(make, 3_000_000)])
    framer.take(data[:1000])
    assert framer.pending == 1000
    assert sum(map(sys.getsizeof, framer._held)) < 3000


@pytest.mark.row("F2")
@pytest.mark.parametrize("make", ALL)
def test_a_message_is_never_part_of_a_buffer_that_its_owner_fills_again(make: type[FramerBase[Any]]) -> None:
    framer = make()
    sent = [message(make, 10), message(make, 20)]
    data = framer.frame(sent)
    seen: list[Any] = []
    for piece in in_pieces(data, 25):
        buffer: Any = bytearray(piece)
        seen += framer.take(buffer)[0]
        buffer[:] = bytes(len(buffer))
    assert seen == sent
    assert {type(part) for each in seen for part in (each if make is BitcoinFramer else [each])} == {bytes}
    assert framer.take(memoryview(data)) == (sent, None)  # type: ignore[arg-type]  # what users do all the same


# --- users' own ----------------------------------------------------------------------------------------------------


class Upper(ContentLengthFramer):
    def messages(self, data: bytes) -> Iterator[bytes]:
        for each in super().messages(data):
            yield each.upper()


@pytest.mark.row("F1", "F2")
def test_a_subclass_that_overrides_messages_is_not_bypassed() -> None:
    framer = Upper(max_size=2)
    data = framer.frame([b"ab", b"c"])
    assert framer.take(data) == ([b"AB", b"C"], None)
    taken, fault = framer.take(data + framer.frame([b"abc"]))
    assert taken == [b"AB", b"C"]
    assert isinstance(fault, MessageTooLarge)
    assert framer.take(data) == ([], fault)


class Counted(ContentLengthFramer):
    seen = 0

    def take(self, data: bytes) -> tuple[list[bytes], Exception | None]:
        self.seen += 1
        return super().take(data)

    def messages(self, data: bytes) -> Iterator[bytes]:
        return iter(self.take(data)[0])


@pytest.mark.row("F1", "F2")
def test_a_subclass_may_override_take_as_well() -> None:
    framer = Counted()
    assert framer.take(framer.frame([b"a"])) == ([b"a"], None)
    assert [*framer.messages(framer.frame([b"a"]))] == [b"a"]
    assert framer.seen == 2


@pytest.mark.row("F1", "F2")
def test_whatever_a_subclass_raises_is_handed_over_and_is_the_end() -> None:
    class Faulty(NetstringFramer):
        def _finish(self, body: bytes, taken: list[bytes]) -> None:
            if body == b"no,":
                raise MemoryError
            super()._finish(body, taken)

    framer = Faulty()
    taken, fault = framer.take(b"3:yes,2:no,3:yes,")
    assert taken == [b"yes"]
    assert isinstance(fault, MemoryError)
    assert framer.take(b"3:yes,") == ([], fault)
    with pytest.raises(MemoryError):
        next(framer.messages(b"3:yes,"))


@pytest.mark.row("F1")
@pytest.mark.parametrize("messages", [b"abc", "abc", ["abc"], [5], [None]])
@pytest.mark.parametrize("make", [*OF_BYTES, *OF_TEXTS])
def test_what_is_not_bytes_is_refused(make: type[FramerBase[Any]], messages: Iterable[Any]) -> None:
    with pytest.raises(TypeError):
        make().frame(messages)
