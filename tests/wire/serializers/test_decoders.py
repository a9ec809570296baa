# SPDX-License-Identifier: MIT
"""What decoders do with streams of odd shapes: long packets, blank lines, much at once, buffers that are refilled."""

from __future__ import annotations

import time
import zlib
from typing import IO, TYPE_CHECKING, Any

import msgspec
import pytest

from tieline.errors import DeserializeError, LimitOverrunError, PacketConversionError
from tieline.wire.default import NOTHING
from tieline.wire.serializers.bare import BytesSerializer, StringLineSerializer
from tieline.wire.serializers.compressed import ZlibCompressorSerializer
from tieline.wire.serializers.decoding import ConvertingDecoder
from tieline.wire.serializers.file_based import FileBasedPacketSerializer
from tieline.wire.serializers.json import JSONSerializer
from tieline.wire.serializers.messagepack import MessagePackSerializer
from tieline.wire.serializers.sized import LengthPrefixedSerializer
from tieline.wire.serializers.stapled import StapledPacketSerializer
from tieline.wire.serializers.structs import StructSerializer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.serializers.decoding import PacketDecoder


def taken(decoder: PacketDecoder[Any], most: int = 1000) -> list[Any]:
    """Return all that is ready; faults as their classes."""
    seen: list[Any] = []
    while decoder.is_ready:
        packets, fault = decoder.take(most)
        seen += packets
        if fault is not None:
            seen.append(type(fault))
    return seen


@pytest.mark.row("H7")
def test_blank_lines_and_carriage_returns_are_no_json_packets() -> None:
    decoder = JSONSerializer().new_decoder()
    decoder.feed(b"\r\n\n1\r\n" + b"\n" * 1000 + b"[2]\n\r\n")
    assert taken(decoder) == [1, [2]]
    assert decoder.pending == 0


@pytest.mark.row("H5")
def test_a_packet_of_exactly_the_limit_is_taken() -> None:
    makers: list[tuple[Callable[[int], bytes], Any]] = [
        (lambda size: b"x" * size + b"\n", StringLineSerializer(limit=2000)),
        (lambda size: b'"' + b"x" * (size - 2) + b'"\n', JSONSerializer(limit=2000)),
        (lambda size: b'"' + b"x" * (size - 2) + b'"', JSONSerializer(limit=2000, use_lines=False)),
        (lambda size: size.to_bytes(4, "big") + b"x" * size, LengthPrefixedSerializer(BytesSerializer(), limit=2000)),
        (lambda size: zlib.compress(b"x" * size), ZlibCompressorSerializer(BytesSerializer(), limit=2000)),
        (lambda size: b"\xda" + (size - 3).to_bytes(2, "big") + b"x" * (size - 3), MessagePackSerializer(limit=2000)),
    ]
    for make, serializer in makers:
        for size, goes in ((1999, True), (2000, True), (2001, False)):
            for step in (1, 700, 10_000):
                decoder = serializer.new_decoder()
                stream = make(size)
                seen: list[Any] = []
                for at in range(0, len(stream), step):
                    decoder.feed(stream[at : at + step])
                    seen += taken(decoder)
                assert len(seen) == 1
                assert (seen[0] is LimitOverrunError) is not goes, (serializer, size, step)


# By their first bytes: what tells its size by that, and what is followed by its size in one, two or four bytes.
MESSAGEPACK: list[bytes] = [
    *(bytes([byte]) for byte in (0x00, 0x7F, 0xE0, 0xFF, 0xC0, 0xC2, 0xC3, 0x80, 0x90, 0xA0)),
    b"\x8f" + b"".join(b"\xa1%c\x01" % (97 + number) for number in range(15)),
    b"\x9f" + b"\x01" * 15,
    b"\xbf" + b"x" * 31,
    *(
        bytes([byte]) + b"\x01" * size
        for byte, size in zip(range(0xCA, 0xD4), (4, 8, 1, 2, 4, 8, 1, 2, 4, 8), strict=True)
    ),
    *(bytes([0xD4 + number, 5]) + b"x" * (1 << number) for number in range(5)),
    *(bytes([0xC4 + number]) + size.to_bytes(1 << number) + b"x" * size for number in range(3) for size in (0, 2)),
    *(
        bytes([0xC7 + number]) + size.to_bytes(1 << number) + b"\5" + b"x" * size
        for number in range(3)
        for size in (0, 7)
    ),
    *(bytes([0xD9 + number]) + size.to_bytes(1 << number) + b"x" * size for number in range(3) for size in (0, 2)),
    *(bytes([0xDB + number]) + size.to_bytes(1 << number) + b"\1" * size for number in (1, 2) for size in (0, 2)),
    *(bytes([0xDD + number]) + size.to_bytes(1 << number) + b"\xa1x\1" * size for number in (1, 2) for size in (0, 1)),
    b"\x81\xd9\x02ab\x01",
]


@pytest.mark.parametrize("data", MESSAGEPACK, ids=lambda data: data[:6].hex())
def test_all_that_messagepack_has_ends_where_it_ends(data: bytes) -> None:
    packet = msgspec.msgpack.decode(data)
    for step in (1, len(data) + 1):
        decoder: Any = MessagePackSerializer().new_decoder()
        seen: list[Any] = []
        stream = data + b"\x01" + data
        for at in range(0, len(stream), step):
            decoder.feed(stream[at : at + step])
            seen += taken(decoder)
        assert seen == [packet, 1, packet]


def test_long_and_short_packets_in_one_read_come_in_order() -> None:
    words = ["x" * 3000, "", "y", "z" * 1025, "z" * 1024, "a"]
    decoder: Any = StringLineSerializer().new_decoder()
    decoder.feed("".join(word + "\n" for word in words).encode() + b"rest")
    assert taken(decoder) == words
    decoder.feed(bytearray(b"\n"))
    assert taken(decoder) == ["rest"]
    decoder.feed(b"x" * 3000 + b"\n" + b"y" * 3000)
    assert taken(decoder) == ["x" * 3000]
    assert decoder.unread() == b"y" * 3000


def test_what_is_fed_while_packets_wait_comes_behind_them() -> None:
    decoder = StringLineSerializer(limit=4).new_decoder()
    decoder.feed(b"one\ntwo\n")
    assert decoder.take(1) == (["one"], None)
    decoder.feed(b"three\nfour\nfi")
    decoder.feed(b"ve and more")
    assert decoder.pending == len(b"two\nthree\nfour\nfive and more")
    assert taken(decoder, 1) == ["two", LimitOverrunError, "four", LimitOverrunError]
    decoder.feed(b" of it\nsix\n")
    assert taken(decoder) == ["six"]
    decoder.feed(b"seven\neight\nnine\nten")
    assert decoder.unread() == b"seven\neight\nnine\nten"
    assert not decoder.is_ready


@pytest.mark.parametrize(
    ("serializer", "packet"),
    [
        (StringLineSerializer("CRLF"), "one"),
        (JSONSerializer(), [1]),
        (JSONSerializer(use_lines=False), [1]),
        (MessagePackSerializer(), [1, "two"]),
        (LengthPrefixedSerializer(BytesSerializer()), b"one"),
        (LengthPrefixedSerializer(BytesSerializer()), b"x" * 100_000),
        (StructSerializer("3s"), (b"one",)),
        (ZlibCompressorSerializer(JSONSerializer()), [1]),
    ],
)
def test_of_what_was_unread_nothing_is_left(serializer: Any, packet: Any) -> None:
    framed = serializer.frame(packet)
    for cut in {*range(40), *range(len(framed) - 2, len(framed) + 1), len(framed) // 2}:
        for before in (b"", framed):
            decoder = serializer.new_decoder()
            fed = before + framed[:cut]
            for piece in (fed[:-1], fed[-1:]):
                decoder.feed(piece)
            assert fed.endswith(decoder.unread())
            assert (decoder.pending, decoder.is_ready, decoder.has_begun) == (0, False, False)
            assert decoder.take(9) == ([], None)
            decoder.feed(framed)
            assert decoder.take(9) == ([packet], None)


@pytest.mark.row("H5")
def test_what_is_not_read_is_judged_by_whoever_reads_it() -> None:
    """Of a packet over the limit it is what has come before it was thrown away; unless its fault has been told."""
    decoder = StringLineSerializer("CRLF", limit=4).new_decoder()
    decoder.feed(b"one\r\ntwelve")
    decoder.feed(b" and more\r")
    assert decoder.take(1) == (["one"], None)
    assert not decoder.is_discarding  # this is not known yet to who takes
    rest = decoder.unread()
    assert rest == b"twelve\r"
    assert (decoder.has_begun, decoder.is_discarding, decoder.pending) == (False, False, 0)
    decoder.feed(rest)
    assert taken(decoder) == [LimitOverrunError]
    assert (decoder.has_begun, decoder.is_discarding) == (True, True)
    assert decoder.unread() == b"\r"
    decoder.feed(b"\r\ntwo\r\n")
    assert taken(decoder) == ["two"]
    assert (decoder.has_begun, decoder.is_discarding) == (False, False)


def test_a_buffer_that_its_owner_refills_does_not_change_packets() -> None:
    serializers: list[Any] = [
        LengthPrefixedSerializer(BytesSerializer(), prefix_size=1),
        StructSerializer("5s"),
        JSONSerializer(use_lines=False),
        MessagePackSerializer(),
    ]
    for serializer, stream in zip(
        serializers, (b"\x04abcd\x01e", b"abcdefghij", b'"abcd""e" ', b"\xa4abcd\xa1e"), strict=True
    ):
        decoder = serializer.new_decoder()
        buffer = bytearray(stream)
        decoder.feed(buffer)
        buffer[:] = bytes(len(buffer))
        assert len(taken(decoder)) == 2
        assert len(decoder.unread()) <= 1


READS: list[list[bytes]] = [
    [b"1\n", b"[2]\n", b"3\n4\n", b"5\n"],
    [b"\n", b"\r\n", b"1\r\n", b"\n1\n"],
    [b"1", b"2\n", b"3\n", b"4\n5", b"\n", b"6\n"],
    [b"{\n", b"1\n", b"\xff\n", b"2\n", b'"' + b"x" * 7 + b'"\n', b'"' + b"x" * 8 + b'"\n', b"3\n"],
    [b"x" * 11, b"1\n", b"2\n", b"3\n"],
    [b"\r", b"\n", b"1\n", b"", b"2\n"],
]


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize(
    "serializer",
    [
        JSONSerializer(limit=9),
        StringLineSerializer(limit=9),
        StringLineSerializer("CRLF", limit=9),
        MessagePackSerializer(limit=9),
    ],
)
def test_a_packet_that_comes_alone_may_be_decoded_alone(serializer: Any, reads: list[bytes]) -> None:
    """Whatever else comes, nothing is done."""
    quick, plain = serializer.new_decoder(), serializer.new_decoder()
    alone = 0
    for data in (*reads, b"\n", b"", b"7\n", b"8\n"):
        plain.feed(data)
        wanted = plain.take(10)
        packet = quick.decode_alone(data)
        if packet is NOTHING:
            quick.feed(data)
            packets, fault = quick.take(10)
            assert (packets, str(fault)) == (wanted[0], str(wanted[1]))
        else:
            assert ([packet], None) == wanted
            alone += 1
        assert (quick.is_ready, quick.pending, quick.has_begun) == (plain.is_ready, plain.pending, plain.has_begun)
    assert (alone >= 2) is (serializer.separator == b"\n" if hasattr(serializer, "separator") else False)


def test_a_packet_that_is_refused_alone_is_not_looked_at_again() -> None:
    seen: list[int] = []

    def checked(packet: int) -> int:
        seen.append(packet)
        if packet == 5:
            raise PacketConversionError("5 is too odd")
        return packet

    lines = JSONSerializer[Any]().new_decoder()
    for decoder in (ConvertingDecoder(lines, checked), ConvertingDecoder(ConvertingDecoder(lines, checked), abs)):
        for _ in range(2):  # a driver may ask again, in another way
            assert decoder.decode_alone(b"5\n") is NOTHING
        decoder.feed(b"5\n6\n")
        assert taken(decoder) == [PacketConversionError, 6]
        assert decoder.decode_alone(b"7\n") == 7
    assert seen == [5, 6, 7] * 2
    decoder = ConvertingDecoder(ConvertingDecoder(lines, abs), checked)
    assert decoder.decode_alone(b"-5\n") is NOTHING
    decoder.feed(b"-5\n-6\n")
    assert taken(decoder) == [PacketConversionError, 6]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 100])
def test_less_than_was_asked_for_is_the_end_also_behind_a_packet_that_is_refused(most: int) -> None:
    def checked(packet: int) -> int:
        if packet < 0:
            raise PacketConversionError("below 0")
        return packet

    decoder = ConvertingDecoder(JSONSerializer[Any]().new_decoder(), checked)
    decoder.feed(b"-1\n2\n3\n4\n?\n-5\n6\n7\n-8\n")
    seen: list[Any] = []
    while True:
        packets, fault = decoder.take(most)
        seen += packets
        if fault is not None:
            assert len(packets) < most
            seen.append(type(fault))
        elif len(packets) < most:
            break
    assert not decoder.is_ready
    refused = PacketConversionError
    assert seen == [refused, 2, 3, 4, DeserializeError, refused, 6, 7, refused]


@pytest.mark.parametrize("step", [100, 5000, 65_536, 70_000, 1_000_000])
def test_long_packets_and_short_ones_behind_them_come_in_order_however_they_are_cut(step: int) -> None:
    packets = [bytes([number]) * size for number, size in enumerate([70_000, 3, 65_536, 65_535, 0, 200_000, 5])]
    serializer = LengthPrefixedSerializer(BytesSerializer())
    stream = b"".join(map(serializer.frame, packets))
    for most in (1, 1000):
        decoder = serializer.new_decoder()
        seen: list[Any] = []
        for at in range(0, len(stream), step):
            decoder.feed(stream[at : at + step])
            seen += taken(decoder, most)
        assert seen == packets
        assert all(type(packet) is bytes for packet in seen)
        assert decoder.pending == 0


def test_a_long_packet_that_has_come_in_part_is_told_with_its_length() -> None:
    serializer = LengthPrefixedSerializer(StringLineSerializer())
    framed = serializer.frame("x" * 100_000)
    decoder = serializer.new_decoder()
    for begun in (framed[:4], framed[:50_000], framed[:-1]):
        decoder.feed(begun)
        assert taken(decoder) == []
        assert decoder.pending == len(begun)
        assert decoder.unread() == begun
    decoder.feed(framed[:50_000])
    assert decoder.take(1) == ([], None)
    decoder.feed(framed[50_000:-1] + b"\xff" + serializer.frame("next"))
    assert taken(decoder) == [DeserializeError, "next"]


def test_what_comes_behind_a_long_packet_before_that_is_taken_is_kept() -> None:
    serializer = LengthPrefixedSerializer(BytesSerializer())
    framed = serializer.frame(bytes(100_000))
    decoder = serializer.new_decoder()
    decoder.feed(framed[:1000])
    assert taken(decoder) == []
    for piece in (framed[1000:], b"\0\0", b"\0\3", b"abc"):
        decoder.feed(piece)
    assert taken(decoder) == [bytes(100_000), b"abc"]


def test_a_small_rest_does_not_keep_a_large_read() -> None:
    decoder = LengthPrefixedSerializer(BytesSerializer()).new_decoder()
    decoder.feed((b"\0\0\0\x03abc" * 1000) + b"\0\0\0\x03a")
    assert taken(decoder) == [b"abc"] * 1000
    assert decoder.pending == 5
    decoder.feed(b"bc")
    assert taken(decoder) == [b"abc"]
    assert decoder.pending == 0


@pytest.mark.row("H12")
def test_a_length_that_is_only_announced_takes_no_memory_and_is_skipped_as_it_comes() -> None:
    decoder = LengthPrefixedSerializer(BytesSerializer(), limit=10).new_decoder()
    decoder.feed(b"\xff\xff\xff\xff")
    assert taken(decoder) == [LimitOverrunError]
    for _ in range(100):
        decoder.feed(bytes(100_000))
    assert decoder.pending == 0
    assert not decoder.is_ready


@pytest.mark.row("H3")
@pytest.mark.parametrize(
    "serializer",
    [
        StringLineSerializer(limit=1 << 22),
        JSONSerializer(limit=1 << 22, use_lines=False),
        LengthPrefixedSerializer(BytesSerializer(), limit=1 << 22),
        MessagePackSerializer(limit=1 << 22),
    ],
)
def test_the_work_is_linear_in_bytes_however_small_the_pieces(serializer: Any) -> None:
    def work(size: int) -> float:
        packet = bytes(size) if isinstance(serializer, LengthPrefixedSerializer) else "x" * size
        stream = serializer.frame(packet)
        decoder = serializer.new_decoder()
        packets: list[Any] = []
        start = time.process_time()
        for at in range(0, len(stream), 50):
            decoder.feed(stream[at : at + 50])
            packets, fault = decoder.take(1)
            assert fault is None
        assert packets == [packet]
        return time.process_time() - start

    small = min(work(40_000) for _ in range(3))
    assert work(400_000) < 40 * small  # ten times the bytes; squared it would be a hundred times


class Zero(FileBasedPacketSerializer[bytes, bytes]):
    """Reads nothing where there is a 0, and fails where there is a 1."""

    def __init__(self) -> None:
        super().__init__((ValueError,), limit=10)

    def dump_to_file(self, packet: bytes, file: IO[bytes], /) -> None:
        file.write(packet)

    def load_from_file(self, file: IO[bytes], /) -> bytes:
        byte = file.read(1)
        if byte == b"\0":
            file.seek(-1, 1)
            return b""
        if byte == b"\1":
            raise ZeroDivisionError
        return byte


def test_a_file_that_is_read_wrongly_ends_the_stream() -> None:
    for data, cause in ((b"a\0", "a packet of no bytes"), (b"a\1", "")):
        decoder = Zero().new_decoder()
        decoder.feed(data)
        assert decoder.take(1) == ([b"a"], None)
        _, fault = decoder.take(1)
        assert isinstance(fault, RuntimeError)
        assert cause in str(fault.__cause__)
        assert decoder.is_broken
        decoder.feed(b"a")
        assert not decoder.is_ready
    assert Zero().deserialize(b"a") == b"a"
    with pytest.raises(DeserializeError, match="1 bytes follow"):
        Zero().deserialize(b"ab")


def test_json_that_has_begun_behind_a_packet_is_pending() -> None:
    decoder: Any = JSONSerializer(use_lines=False).new_decoder()
    decoder.feed(b"[1][2")
    assert taken(decoder) == [[1]]
    assert decoder.pending == 2


def test_half_a_separator_is_pending_too() -> None:
    decoder: Any = StringLineSerializer("CRLF").new_decoder()
    decoder.feed(b"one\r\ntwo\r")
    assert taken(decoder) == ["one"]
    assert decoder.pending == len(b"two\r")


def test_a_staple_can_do_what_both_parts_can() -> None:
    lines, raw = StringLineSerializer(), BytesSerializer()
    assert not hasattr(StapledPacketSerializer(lines, raw), "new_decoder")
    assert not hasattr(StapledPacketSerializer(raw, lines), "new_decoder")
    both: Any = StapledPacketSerializer(lines, lines)
    assert list(both.incremental_serialize("a")) == [b"a\n"]
