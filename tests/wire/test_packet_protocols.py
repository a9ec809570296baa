# SPDX-License-Identifier: MIT
"""Protocols and converters: what they refuse, what their hooks change, and how faults are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tieline.errors import (
    DatagramProtocolParseError,
    DeserializeError,
    IncrementalDeserializeError,
    LimitOverrunError,
    PacketConversionError,
    StreamProtocolParseError,
    StreamTruncated,
    WebSocketClosed,
)
from tieline.wire.converters import AbstractPacketConverter, StapledPacketConverter
from tieline.wire.default import NOTHING
from tieline.wire.limits import Limits
from tieline.wire.packets import PacketConnection
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
from tieline.wire.serializers.stapled import StapledPacketSerializer

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


class OnlySent(AbstractIncrementalPacketSerializer[str, str]):
    """What its author has forgotten is to read."""

    def frame(self, packet: str, /) -> bytes:
        return packet.encode()


class OnlyReceived(AbstractIncrementalPacketSerializer[str, str]):
    """What its author has forgotten is to write."""

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[str, bytes]]:
        return (yield).decode(), b""


REFUSED: list[tuple[Callable[[], object], str]] = [
    (
        lambda: StreamProtocol(OnlySent()),
        "OnlySent is abstract: it overrides neither incremental_deserialize nor",
    ),
    (
        lambda: StreamProtocol(OnlyReceived()),
        "OnlyReceived is abstract: it overrides neither incremental_serialize nor",
    ),
    (lambda: OnlyReceived().serialize("x"), "OnlyReceived is abstract"),
    (lambda: StreamProtocol(5), "must be an AbstractIncrementalPacketSerializer, not int$"),  # type: ignore[call-overload]  # that is the point
    (lambda: StreamProtocol(JSONSerializer), "not the class JSONSerializer itself"),  # type: ignore[call-overload]  # that is the point
    (lambda: StreamProtocol(BytesSerializer()), "LengthPrefixedSerializer makes any serializer fit"),  # type: ignore[call-overload]  # that is the point
    (lambda: StreamProtocol(LINES, 5), "must be an AbstractPacketConverterComposite, not int"),  # type: ignore[call-overload]  # that is the point
    (lambda: BufferedStreamProtocol(OneWord()), "must be a BufferedIncrementalPacketSerializer, not OneWord"),
    (lambda: DatagramProtocol(None), "must be an AbstractPacketSerializer, not NoneType"),  # type: ignore[call-overload]  # that is the point
    (lambda: DatagramProtocol(LINES, int), "not int itself"),  # type: ignore[call-overload]  # that is the point
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
CONVERTER_CRASH = (RuntimeError, "the converter raised ZeroDivisionError while it read a packet")


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
        (DeserializeError, "the line is not ascii"),
        3,
        CONVERTER_CRASH,
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
    assert read(decoder, b"1\n13\n2\n\xff\n3\n\n") == [
        10,
        (StreamProtocolParseError, parse + "no luck"),
        20,
        (StreamProtocolParseError, parse + "the line is not ascii"),
        30,
        (RuntimeError, "the protocol raised ValueError while it read a packet"),
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


class Ending(OneWord):
    """Ends as it is told to, with each word."""

    def __init__(self, end: Callable[[bytes], tuple[str, Any]]) -> None:
        self._end = end

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[str, bytes]]:
        data = yield
        return self._end(data)


class Silent(OneWord):
    """Ends before it has been given anything."""

    def __init__(self) -> None:
        self.made = 0

    def incremental_deserialize(self) -> Any:
        self.made += 1
        return (yield from super().incremental_deserialize()) if self.made == 1 else ("", b"")


def raising(error: Exception) -> tuple[str, bytes]:
    raise error


def unplaced(rest: Any) -> IncrementalDeserializeError:
    """Return an error that says of no place to go on: it was set later."""
    error = IncrementalDeserializeError("no")
    error.remaining_data = rest
    return error


ENDS: list[tuple[Callable[[bytes], tuple[str, Any]], str]] = [
    (lambda data: ("", data), "the serializer made a packet of no bytes, and would go on so for ever"),
    (lambda data: ("", data * 2), "the serializer left 4 bytes, and had been given 2"),
    (lambda data: ("", None), "memoryview: a bytes-like object is required, not 'NoneType'"),
    (
        lambda data: raising(IncrementalDeserializeError("no", data)),
        "the serializer found a fault in no bytes, and would go on so for ever",
    ),
    (lambda data: raising(StreamProtocolParseError("no", b"abc")), "the serializer left 3 bytes, and had been given 2"),
    (lambda data: raising(unplaced(None)), "memoryview: a bytes-like object is required, not 'NoneType'"),
    (
        lambda data: raising(StreamProtocolParseError(data, DeserializeError("no"))),  # type: ignore[arg-type]  # that is the point
        "StreamProtocolParseError takes (message, remaining_data): remaining_data must be bytes, not DeserializeError",
    ),
]


@pytest.mark.row("K11")
@pytest.mark.parametrize(("end", "text"), ENDS)
def test_a_generator_that_does_not_say_where_to_go_on_ends_the_stream(end: Any, text: str) -> None:
    decoder = StreamProtocol(Ending(end)).new_decoder()
    (told,) = all_of_fed(decoder, b"xy")
    assert type(told) is RuntimeError
    assert str(told.__cause__) == text
    assert (decoder.is_broken, decoder.is_ready, decoder.pending) == (True, False, 0)


@pytest.mark.row("K11")
def test_a_generator_that_ends_before_it_is_given_anything_ends_the_stream() -> None:
    decoder = StreamProtocol(Silent()).new_decoder()
    assert all_of_fed(decoder, b"one ") == ["one"]
    (told,) = all_of_fed(decoder, b"two ")
    assert str(told.__cause__) == "the serializer made a packet of no bytes, and would go on so for ever"
    assert decoder.is_broken


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


class Measured(OneWord):
    """Remembers how much each generator was given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[str, bytes]]:
        data = b""
        while b" " not in data:
            data += yield
        self.given.append(len(data))
        word, _, rest = data.partition(b" ")
        return word.decode(), rest


def test_a_generator_is_given_little_behind_its_packet_however_much_has_come() -> None:
    """What it is given behind it the next one is given again: that would be work by the square of it."""
    words = ["", "a" * 5000, "b", *(["c"] * 5000), "d" * 300, *(["e"] * 300)]
    serializer = Measured()
    decoder = StreamProtocol(serializer).new_decoder()
    data = "".join(word + " " for word in words).encode()
    assert all_of_fed(decoder, data[:-3]) == words[:-2]
    assert (decoder.pending, decoder.unread()) == (1, b"")  # all of it was given to the last one
    assert all(given <= 2 * len(word) + 130 for given, word in zip(serializer.given, words, strict=False))
    decoder = StreamProtocol(serializer).new_decoder()
    decoder.feed(data)
    decoder.feed(b"end")
    assert decoder.take(1) == ([""], None)
    assert decoder.pending == len(data) + 2
    assert decoder.unread() == data[1:] + b"end"
    assert (decoder.pending, decoder.is_ready) == (0, False)


def test_a_serializer_that_says_not_how_to_read_tells_so_when_it_is_to() -> None:
    decoder = OnlySent().new_decoder()
    decoder.feed(b"x")
    _, fault = decoder.take(1)
    assert fault is not None
    assert str(fault.__cause__) == "OnlySent is abstract: it overrides neither new_decoder nor incremental_deserialize"


class Passing(AbstractIncrementalPacketSerializer[Any, Any]):
    """Leaves all to another one, by its generators."""

    def __init__(self, inner: AbstractIncrementalPacketSerializer[Any, Any]) -> None:
        self._inner = inner

    def incremental_serialize(self, packet: Any, /) -> Generator[bytes, None, None]:
        yield from self._inner.incremental_serialize(packet)

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[Any, bytes]]:
        return (yield from self._inner.incremental_deserialize())


class Lenient(Passing):
    """Goes on behind a packet that is none, and has nothing to say of it."""

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[Any, bytes]]:
        while True:
            try:
                return (yield from super().incremental_deserialize())
            except IncrementalDeserializeError:
                pass


class Same(AbstractPacketConverter[Any, Any]):
    """Converts nothing."""

    def create_from_dto_packet(self, packet: Any, /) -> Any:
        return packet

    def convert_to_dto_packet(self, obj: Any, /) -> Any:
        return obj


class Watching(StreamProtocol[Any, Any]):
    """Has a hook that changes nothing."""

    def build_packet_from_chunks(self) -> Generator[None, bytes, tuple[Any, bytes]]:
        return (yield from super().build_packet_from_chunks())


class WatchingBuffer(BufferedStreamProtocol[Any, Any]):
    """The same from a buffer."""

    def build_packet_from_buffer(self, buffer: Any, /) -> Any:
        return (yield from super().build_packet_from_buffer(buffer))


def stapled(inner: Any) -> Any:
    return StapledPacketSerializer(inner, inner)


# Each makes a protocol around a serializer of ours that reads it in another way.
WAYS: list[Callable[[Any], Any]] = [
    StreamProtocol,
    BufferedStreamProtocol,
    Watching,
    WatchingBuffer,
    lambda inner: StreamProtocol(Passing(inner)),
    lambda inner: Watching(Passing(Passing(inner))),
    lambda inner: StreamProtocol(stapled(inner)),
    lambda inner: BufferedStreamProtocol(stapled(inner)),
    lambda inner: WatchingBuffer(stapled(inner)),
    lambda inner: StreamProtocol(inner, Same()),
    lambda inner: Watching(Passing(inner), Same()),
]


@pytest.mark.row("H4", "K11")
@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_a_packet_over_the_limit_is_taken_for_another(way: Any) -> None:
    body = b"\x05ADMIN" * 3
    for inner, stream in (
        (JSONSerializer(limit=20), b'1\n"' + b"x" * 30 + b'{"admin":1}\n"next"\n'),
        (LengthPrefixedSerializer(JSONSerializer(), prefix_size=1, limit=15), b"\x011\x12" + body + b'\x06"next"'),
    ):
        for first in range(len(stream)):
            for second in range(first, len(stream)):
                decoder = way(inner).new_decoder()
                seen = [
                    item if not isinstance(item, Exception) else "a fault"
                    for piece in (stream[:first], stream[first:second], stream[second:])
                    for item in all_of_fed(decoder, piece)
                ]
                assert seen == [1, "a fault", "next"], (first, second)
                assert (decoder.pending, decoder.is_broken) == (0, False)


def ended(protocol: Any, *pieces: bytes, lost: Exception | None = None) -> tuple[list[Any], Exception | None]:
    """Return what is received, in the end, on a connection whose stream ends behind *pieces*."""
    machine = PacketConnection(protocol, Limits().resolved(accepted=False), accepted=False)
    machine.start(0.0)
    for piece in pieces:
        machine.receive_data(piece, 0.0)
    if lost is None:
        machine.receive_eof(0.0)
    else:
        machine.connection_lost(lost)
    seen: list[Any] = []
    while machine.is_ready:
        try:
            seen.append(machine.next_packet())
        except StreamProtocolParseError as exc:
            seen.append(exc)
    return seen, machine.end()


OVER = [
    (JSONSerializer(limit=20), [b'1\n"' + b"x" * 30, b"x" * 300]),
    (JSONSerializer(limit=20), [b'1\n"x', b"x" * 30, b"x" * 300]),
    (JSONSerializer(limit=20), [b"1\n" * 3 + b"x" * 5000]),
    (LengthPrefixedSerializer(JSONSerializer(), prefix_size=1, limit=15), [b"\x011\x12" + b"x" * 16]),
    (LengthPrefixedSerializer(JSONSerializer(), prefix_size=1, limit=15), [b"\x011\x12", b"x" * 9, b"y"]),
]


@pytest.mark.row("H4", "K11")
@pytest.mark.parametrize("lost", [None, WebSocketClosed(1000)], ids=["eof", "closed"])
@pytest.mark.parametrize(("inner", "pieces"), OVER)
@pytest.mark.parametrize("way", WAYS)
def test_a_packet_over_the_limit_is_told_where_the_stream_ends_in_it(
    way: Any, inner: Any, pieces: list[bytes], lost: Exception | None
) -> None:
    plain, _ = ended(StreamProtocol(inner), *pieces)
    seen, end = ended(way(inner), *pieces, lost=lost)
    told = [str(one).partition(": at least")[0] for one in seen]  # how much had come by then depends on the pieces
    assert told == [str(one).partition(": at least")[0] for one in plain]
    assert "packet too large" in str(seen[-1])
    assert type(end) is StreamTruncated
    assert "thrown away as it came" in str(end)


@pytest.mark.row("H4", "K11")
@pytest.mark.parametrize("way", WAYS)
def test_what_is_thrown_away_is_not_pending(way: Any) -> None:
    decoder = way(JSONSerializer(limit=20)).new_decoder()
    for piece in (b'"' + b"x" * 30, b"x" * 3000):
        all_of_fed(decoder, piece)
        assert (decoder.pending, decoder.has_begun) == (0, True)
    all_of_fed(decoder, b'x"\n12')
    assert (decoder.pending, decoder.has_begun) == (2, True)


class Forgiving(StreamProtocol[Any, Any]):
    """Its hook goes on behind a packet that is none, and has nothing to say of it."""

    def build_packet_from_chunks(self) -> Generator[None, bytes, tuple[Any, bytes]]:
        while True:
            try:
                return (yield from super().build_packet_from_chunks())
            except StreamProtocolParseError:
                pass


class Renaming(StreamProtocol[Any, Any]):
    """Its hook says in its own words what is wrong."""

    def build_packet_from_chunks(self) -> Generator[None, bytes, tuple[Any, bytes]]:
        try:
            return (yield from super().build_packet_from_chunks())
        except StreamProtocolParseError as exc:
            raise StreamProtocolParseError("in its own words", exc.remaining_data) from exc


def test_a_hook_has_its_say_where_the_stream_ends_in_a_packet_that_is_thrown_away() -> None:
    for inner, pieces in OVER:
        for protocol in (Forgiving(inner), Forgiving(Passing(inner)), Watching(Lenient(inner))):
            seen, end = ended(protocol, *pieces)
            assert 1 in seen
            assert {one for one in seen if isinstance(one, Exception)} == set()
            assert type(end) is StreamTruncated
        for renaming in (Renaming(inner), Renaming(Passing(inner))):
            seen, _ = ended(renaming, *pieces)
            assert str(seen[-1]) == "in its own words"
    (fault,), end = ended(Titled(JSONSerializer(limit=20)), b"t" + b"x" * 30, b"x")
    assert "packet too large" in str(fault), "a hook that drives the generator itself passes on what that yields"
    assert type(end) is StreamTruncated


@pytest.mark.row("K11")
@pytest.mark.parametrize("way", WAYS)
def test_where_the_end_of_a_packet_over_the_limit_is_unknown_nothing_follows(way: Any) -> None:
    for inner, over in (
        (MessagePackSerializer(limit=20), b"\xda\x01\x00"),
        (JSONSerializer(use_lines=False, limit=20), b"[" * 30),
    ):
        decoder = way(inner).new_decoder()
        (told,) = all_of_fed(decoder, over + b"\x01\x02[1]")
        reasons = [told, told.__cause__, told.__cause__ and told.__cause__.__cause__]
        assert "too large" in str(told)
        assert LimitOverrunError in map(type, reasons)
        assert decoder.is_broken
        assert all_of_fed(decoder, b"\x01[1]") == []


@pytest.mark.row("H7", "K10")
@pytest.mark.parametrize("way", WAYS)
def test_a_blank_line_is_no_beginning_of_a_packet(way: Any) -> None:
    decoder = way(JSONSerializer()).new_decoder()
    for data, packets, pending in (
        (b"1\n", [1], 0),
        (b"\n", [], 0),
        (b"\r", [], 1),
        (b"\n\n", [], 0),
        (b"\n2", [], 1),
        (b"\n\n", [2], 0),
        (b"3\n\n4", [3], 1),
    ):
        assert all_of_fed(decoder, data) == packets
        assert (decoder.pending, decoder.has_begun) == (pending, pending > 0)


class Titled(StreamProtocol[Any, Any]):
    """Reads a byte before each packet."""

    def build_packet_from_chunks(self) -> Generator[None, bytes, tuple[Any, bytes]]:
        title = yield
        reading = super().build_packet_from_chunks()
        told = next(reading)
        data = title[1:] or (yield told)
        while True:
            try:
                told = reading.send(data)
            except StopIteration as end:
                packet, rest = end.value
                return (title[:1], packet), rest
            data = yield told


def test_a_blank_line_behind_what_a_hook_has_read_is_the_middle_of_a_packet() -> None:
    decoder = Titled(JSONSerializer()).new_decoder()
    for data, pending in ((b"A", 1), (b"\n", 1), (b"\n\n", 1), (b"1", 2)):
        assert all_of_fed(decoder, data) == []
        assert decoder.pending == pending
    assert all_of_fed(decoder, b"\nB2\n") == [(b"A", 1), (b"B", 2)]
    assert decoder.pending == 0


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
    for bad, text in (
        (b"13", "a datagram was not a valid packet: no luck"),
        (b"\xff", "a datagram was not a valid packet: the line is"),
    ):
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
    reading = StreamProtocol(JSONSerializer(limit=9)).build_packet_from_chunks()
    next(reading)
    for piece in (b"1" * 20, b"2", b"2"):
        assert not reading.send(piece)  # told when its end is known, so that nobody takes the rest of it for more
    with pytest.raises(StreamProtocolParseError, match="at least 20 bytes") as caught:
        reading.send(b"3\n4\n")
    assert caught.value.remaining_data == b"4\n"
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
