# SPDX-License-Identifier: MIT
"""Protocols and converters: what they refuse, what their hooks change, and how faults are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tieline.errors import (
    DatagramProtocolParseError,
    DeserializeError,
    IncrementalDeserializeError,
    PacketConversionError,
    StreamProtocolParseError,
)
from tieline.wire.converters import AbstractPacketConverter, StapledPacketConverter
from tieline.wire.default import NOTHING
from tieline.wire.protocols import (
    BufferedStreamProtocol,
    DatagramProtocol,
    StreamProtocol,
    checked_datagram_protocol,
    checked_stream_protocol,
)
from tieline.wire.serializers.abc import AbstractIncrementalPacketSerializer, BufferedIncrementalPacketSerializer
from tieline.wire.serializers.bare import BytesSerializer, StringLineSerializer
from tieline.wire.serializers.decoding import PacketDecoder
from tieline.wire.serializers.json import JSONSerializer
from tieline.wire.serializers.messagepack import MessagePackSerializer
from tieline.wire.serializers.sized import LengthPrefixedSerializer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Numbers(AbstractPacketConverter[int, str]):
    """Numbers, as text; 13 is refused, and 14 fails."""

    def create_from_dto_packet(self, packet: str, /) -> int:
        if packet == "13":
            raise PacketConversionError("no luck")
        if packet == "14":
            raise ZeroDivisionError
        return int(packet)

    def convert_to_dto_packet(self, obj: int, /) -> str:
        return str(obj)


class Negative(Numbers):
    """The same, and what is received turns its sign."""

    def create_from_dto_packet(self, packet: str, /) -> int:
        return -super().create_from_dto_packet(packet)


LINES = StringLineSerializer()


class OneWord(AbstractIncrementalPacketSerializer[str, str]):
    """A word and a blank, by generators that know nothing of limits."""

    def incremental_serialize(self, packet: str, /) -> Generator[bytes, None, None]:
        yield packet.encode()
        yield b" "

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[str, bytes]]:
        data = b""
        while b" " not in data:
            data += yield
        word, _, rest = data.partition(b" ")
        if word == b"crash":
            raise ZeroDivisionError
        if word == b"lost":
            raise DeserializeError("lost")
        return word.decode(), rest


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: StreamProtocol(5), "must be an AbstractIncrementalPacketSerializer, not int$"),  # type: ignore[arg-type]  # that is the point
    (lambda: StreamProtocol(JSONSerializer), "not the class JSONSerializer itself"),  # type: ignore[arg-type]  # that is the point
    (lambda: StreamProtocol(BytesSerializer()), "LengthPrefixedSerializer makes any serializer fit"),  # type: ignore[arg-type]  # that is the point
    (lambda: StreamProtocol(LINES, 5), "must be an AbstractPacketConverterComposite, not int"),  # type: ignore[arg-type]  # that is the point
    (lambda: BufferedStreamProtocol(OneWord()), "must be a BufferedIncrementalPacketSerializer, not OneWord"),
    (lambda: DatagramProtocol(None), "must be an AbstractPacketSerializer, not NoneType"),  # type: ignore[arg-type]  # that is the point
    (lambda: DatagramProtocol(LINES, int), "not int itself"),  # type: ignore[arg-type]  # that is the point
    (lambda: checked_stream_protocol(DatagramProtocol(LINES)), "StreamProtocol or BufferedStreamProtocol, not Datagr"),
    (lambda: checked_stream_protocol(StreamProtocol), "not the class StreamProtocol itself"),
    (lambda: checked_datagram_protocol(StreamProtocol(LINES)), "must be a DatagramProtocol, not StreamProtocol"),
]


@pytest.mark.parametrize(("make", "text"), REFUSED)
def test_a_protocol_is_checked_when_it_is_made(make: Callable[[], object], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        make()


def test_the_parts_of_protocols_and_converters_can_be_asked_for() -> None:
    one, other = Numbers(), Negative()
    stapled = StapledPacketConverter(one, other)
    assert stapled.sent_packet_converter is one
    assert stapled.received_packet_converter is other
    for kind in (StreamProtocol, BufferedStreamProtocol, DatagramProtocol):
        protocol: Any = kind(LINES, stapled)
        assert protocol.serializer is LINES
        assert protocol.converter is stapled
    stream = StreamProtocol(LINES)
    assert checked_stream_protocol(stream) is stream
    datagrams: DatagramProtocol[Any] = DatagramProtocol(LINES)
    assert checked_datagram_protocol(datagrams) is datagrams
    assert str(StreamProtocol[int]) == str(StreamProtocol[int, int]) != str(StreamProtocol[int, str])
    assert str(DatagramProtocol[int]) == str(DatagramProtocol[int, int])


def all_of(decoder: PacketDecoder[Any], most: int = 10) -> list[Any]:
    """Return the packets that are ready, and faults in their place."""
    seen: list[Any] = []
    while decoder.is_ready:
        packets, fault = decoder.take(most)
        seen += packets
        if fault is not None:
            seen.append(fault)
    return seen


def read(decoder: PacketDecoder[Any], data: bytes, most: int = 10) -> list[Any]:
    decoder.feed(data)
    return [item if not isinstance(item, Exception) else (type(item), str(item)) for item in all_of(decoder, most)]


CRASH = (RuntimeError, "the serializer raised ZeroDivisionError while it read a packet")


class Hooked(StreamProtocol[int, int]):
    """Reads and writes in the ways that users override."""

    def generate_chunks(self, packet: int, /) -> Generator[bytes, None, None]:
        yield b">"
        yield from super().generate_chunks(packet)

    def build_packet_from_chunks(self) -> Generator[None, bytes, tuple[int, bytes]]:
        packet, rest = yield from super().build_packet_from_chunks()
        return packet * 10, rest


class HookedBuffer(BufferedStreamProtocol[int, int]):
    """The same from a buffer."""

    def create_buffer(self, sizehint: int, /) -> Any:
        return super().create_buffer(5)

    def build_packet_from_buffer(self, buffer: Any, /) -> Any:
        packet, rest = yield from super().build_packet_from_buffer(buffer)
        return packet * 10, rest


@pytest.mark.parametrize("most", [1, 2, 10])
@pytest.mark.parametrize("kind", [StreamProtocol, BufferedStreamProtocol])
def test_a_converter_stands_between(kind: Any, most: int) -> None:
    protocol = kind(LINES, Numbers())
    assert protocol.framer()(5) == b"".join(protocol.generate_chunks(5)) == b"5\n"
    decoder = protocol.new_decoder()
    assert read(decoder, b"1\n13\n2\n\xff\n3\n14\n4\n5", most) == [
        1,
        (PacketConversionError, "no luck"),
        2,
        (DeserializeError, "the line is no ascii"),
        3,
        CRASH,
        4,
    ]
    assert decoder.pending == 1
    assert decoder.unread() == b"5"
    assert decoder.next() is NOTHING
    assert repr(NOTHING) == "NOTHING"


def test_what_was_read_behind_a_fault_of_a_converter_waits_to_be_taken() -> None:
    decoder = StreamProtocol(LINES, Numbers()).new_decoder()
    decoder.feed(b"13\n1\n2\n\xff\n")
    packets, fault = decoder.take(10)
    assert (packets, type(fault)) == ([], PacketConversionError)
    assert decoder.take(1) == ([1], None)
    assert decoder.take(1) == ([2], None)
    assert decoder.is_ready
    packets, fault = decoder.take(1)
    assert (packets, type(fault)) == ([], DeserializeError)
    assert not decoder.is_ready


def test_a_stream_that_ends_behind_a_fault_of_a_converter_gives_what_came_before() -> None:
    protocol: Any = StreamProtocol(OneWord(), Numbers())
    assert read(protocol.new_decoder(), b"13 1 lost 2 ")[:2] == [(PacketConversionError, "no luck"), 1]
    decoder = protocol.new_decoder()
    decoder.feed(b"13 1 crash ")
    decoder.take(10)
    assert (decoder.is_ready, decoder.is_broken) == (True, False)
    assert all_of(decoder)[0] == 1
    assert decoder.is_broken


@pytest.mark.parametrize("kind", [Hooked, HookedBuffer])
def test_hooks_that_are_overridden_are_used(kind: Any) -> None:
    protocol = kind(LINES, Numbers())
    decoder = protocol.new_decoder()
    parse = "a packet of the stream is faulty: "
    # What a hook calls tells of the failure first.
    failed = "RuntimeError" if kind is Hooked else "ValueError"
    assert read(decoder, b"1\n13\n2\n\xff\n3\n\n") == [
        10,
        (StreamProtocolParseError, parse + "no luck"),
        20,
        (StreamProtocolParseError, parse + "the line is no ascii"),
        30,
        (RuntimeError, f"the serializer raised {failed} while it read a packet"),
    ]
    assert decoder.is_broken  # where a hook that failed would go on, nobody knows
    decoder.feed(b"4\n")
    assert not decoder.is_ready
    if kind is Hooked:
        assert protocol.framer()(7) == b">7\n"
    plain = kind(LINES)
    assert read(plain.new_decoder(), b"ab\n") == ["ab" * 10]
    assert b"".join(plain.generate_chunks("a")).endswith(b"a\n")


def test_generators_that_crash_or_lose_their_place_end_the_stream() -> None:
    for word, told in ((b"crash", CRASH), (b"lost", (DeserializeError, "lost"))):
        decoder = StreamProtocol(OneWord()).new_decoder()
        assert read(decoder, b"one " + word + b" two ") == ["one", told]
        assert decoder.is_broken
    assert StreamProtocol(OneWord()).framer()("one") == b"one "
    assert OneWord().deserialize(b"one ") == "one"
    assert OneWord().serialize("one") == b"one "
    assert OneWord().frames(["one", "two"]) == b"one two "
    with pytest.raises(DeserializeError, match=r"not complete \(2 bytes of it received\)"):
        OneWord().deserialize(b"on")
    with pytest.raises(DeserializeError, match="2 bytes follow the packet"):
        OneWord().deserialize(b"on xy")
    assert read(StreamProtocol(OneWord()).new_decoder(), b"on ") == ["on"]


class Greedy(OneWord):
    """Makes packets of nothing."""

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[str, bytes]]:
        data = yield
        return "", data


class Silent(OneWord):
    """Ends before it has been given anything."""

    def incremental_deserialize(self) -> Any:
        yield from ()
        return "", b""


@pytest.mark.parametrize("kind", [Greedy, Silent])
def test_a_generator_that_takes_nothing_is_stopped(kind: Any) -> None:
    (told,) = all_of_fed(StreamProtocol(kind()).new_decoder(), b"xy")
    assert isinstance(told, RuntimeError)
    assert str(told.__cause__) == "the serializer made a packet of no bytes, and would go on so for ever"


def all_of_fed(decoder: PacketDecoder[Any], data: bytes) -> list[Any]:
    decoder.feed(data)
    return all_of(decoder)


class NoRoom(OneWord, BufferedIncrementalPacketSerializer[str, str]):
    """Never has room in its buffer; negative places count from its end."""

    def create_deserializer_buffer(self, sizehint: int, /) -> bytearray:
        return bytearray(4)

    def buffered_incremental_deserialize(self, buffer: bytearray, /) -> Generator[int | None, int, Any]:
        yield -1
        yield 4


def test_a_buffer_that_is_full_is_a_fault_of_the_serializer() -> None:
    decoder = BufferedStreamProtocol(NoRoom()).new_decoder()
    (told,) = all_of_fed(decoder, b"xyz")
    assert isinstance(told, RuntimeError)
    assert str(told.__cause__) == "the serializer has no room in its buffer of 4 bytes at 4"


class FaultyBuffer(NoRoom):
    """Refuses every second byte."""

    def buffered_incremental_deserialize(self, buffer: bytearray, /) -> Generator[int | None, int, Any]:
        size = yield None
        raise IncrementalDeserializeError("no", bytes(buffer[1:size]))


def test_what_a_buffer_has_no_room_for_follows_what_a_fault_leaves() -> None:
    decoder = BufferedStreamProtocol(FaultyBuffer()).new_decoder()
    decoder.feed(b"abcdef")
    told = all_of(decoder)
    assert [type(fault) for fault in told] == [IncrementalDeserializeError] * 6
    assert all(fault.remaining_data == b"" for fault in told)


class Shouting(JSONSerializer[Any]):
    """Ours, with a generator of a user's over it."""

    def incremental_serialize(self, packet: Any, /) -> Generator[bytes, None, None]:
        yield from super().incremental_serialize(packet)
        yield b"!"

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[Any, bytes]]:
        packet, rest = yield from super().incremental_deserialize()
        return {"got": packet}, rest


class Doubling(JSONSerializer[Any]):
    """Ours, with another way to make a packet of its bytes."""

    def deserialize(self, data: bytes, /) -> Any:
        return [super().deserialize(data)] * 2


class DoublingLength(LengthPrefixedSerializer[Any]):
    """The same with a length."""

    def deserialize(self, data: bytes, /) -> Any:
        return [super().deserialize(data)] * 2


def test_what_a_subclass_of_ours_overrides_is_used() -> None:
    protocol = StreamProtocol(Shouting())
    assert protocol.framer()(1) == b"1\n!"
    assert read(protocol.new_decoder(), b"1\n2\n") == [{"got": 1}, {"got": 2}]
    assert read(StreamProtocol(Doubling()).new_decoder(), b"1\n2\n") == [[1, 1], [2, 2]]
    doubling = StreamProtocol(DoublingLength(BytesSerializer(), prefix_size=1))
    assert read(doubling.new_decoder(), b"\x01a\x00") == [[b"a"] * 2, [b""] * 2]


def test_datagrams_are_packets_or_parse_errors() -> None:
    plain = DatagramProtocol(MessagePackSerializer())
    assert plain.build_packet_from_datagram(plain.make_datagram({"a": 1})) == {"a": 1}
    protocol = DatagramProtocol(LINES, Numbers())
    assert protocol.make_datagram(5) == b"5"
    assert protocol.build_packet_from_datagram(b"5") == 5
    for bad, text in ((b"13", "a datagram was no packet: no luck"), (b"\xff", "a datagram was no packet: the line is")):
        with pytest.raises(DatagramProtocolParseError, match=text) as caught:
            protocol.build_packet_from_datagram(bad)
        assert isinstance(caught.value.__cause__, PacketConversionError | DeserializeError)
    with pytest.raises(ZeroDivisionError):
        protocol.build_packet_from_datagram(b"14")
    staple = DatagramProtocol(LINES, StapledPacketConverter(Numbers(), Negative()))
    assert staple.make_datagram(5) == b"5"
    assert staple.build_packet_from_datagram(b"5") == -5


def test_a_packet_is_read_by_hand() -> None:
    """`build_packet_from_chunks` as a user drives it."""
    reading = StreamProtocol(LINES, Numbers()).build_packet_from_chunks()
    next(reading)
    assert reading.send(b"4") is None
    with pytest.raises(StopIteration) as ended:
        reading.send(b"2\nrest")
    assert ended.value.value == (42, b"rest")
    reading = StreamProtocol(LINES, Numbers()).build_packet_from_chunks()
    next(reading)
    with pytest.raises(StreamProtocolParseError) as caught:
        reading.send(b"13\n14\n")
    assert caught.value.remaining_data == b"14\n"
    bare = StreamProtocol(JSONSerializer(use_lines=False)).build_packet_from_chunks()
    next(bare)
    with pytest.raises(DeserializeError, match="cannot begin with 0x7d"):
        bare.send(b"}")


def test_a_serializer_is_read_by_hand() -> None:
    """`incremental_deserialize` of ours, as a user drives it."""
    for data, rest in ((b"}\n[]\n", b"[]\n"), (b"1" * 30 + b"\n[]\n", b"[]\n")):
        for use_buffer in (False, True):
            serializer = JSONSerializer[Any](limit=20)
            buffer = serializer.create_deserializer_buffer(100)
            assert len(buffer) == 100
            reading: Any = serializer.incremental_deserialize()
            if use_buffer:
                buffer[: len(data)] = data
                reading = serializer.buffered_incremental_deserialize(buffer)
            next(reading)
            with pytest.raises(IncrementalDeserializeError) as caught:
                reading.send(len(data) if use_buffer else data)
            assert caught.value.remaining_data == rest
    reading = JSONSerializer(use_lines=False, limit=20).incremental_deserialize()
    next(reading)
    with pytest.raises(DeserializeError, match="too large") as ended:
        reading.send(b"[" + b"1," * 30)
    assert type(ended.value) is DeserializeError  # there is nowhere to go on
