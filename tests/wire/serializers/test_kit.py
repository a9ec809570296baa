# SPDX-License-Identifier: MIT
"""The kit of `tieline.testing.serializers` over all serializers of ours, and over some that break its promises."""

from __future__ import annotations

import bz2
import struct
import sys
import zlib
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import pytest

from tieline.errors import DeserializeError, IncrementalDeserializeError, LimitOverrunError
from tieline.testing.serializers import SERIALIZER_CASES, SerializerCase, SerializerRig
from tieline.wire.serializers.abc import (
    AbstractIncrementalPacketSerializer,
    BufferedIncrementalPacketSerializer,
)
from tieline.wire.serializers.bare import BytesSerializer, StringLineSerializer
from tieline.wire.serializers.cbor import CBORSerializer
from tieline.wire.serializers.compressed import (
    BZ2CompressorSerializer,
    ZlibCompressorSerializer,
    ZstdCompressorSerializer,
)
from tieline.wire.serializers.decoding import PacketDecoder
from tieline.wire.serializers.encoded import Base64EncoderSerializer
from tieline.wire.serializers.encrypted import EncryptorSerializer
from tieline.wire.serializers.file_based import FileBasedPacketSerializer
from tieline.wire.serializers.generated import GeneratorDecoder
from tieline.wire.serializers.json import JSONSerializer
from tieline.wire.serializers.messagepack import MessagePackSerializer
from tieline.wire.serializers.pickled import PickleSerializer
from tieline.wire.serializers.separated import AutoSeparatedPacketSerializer, SeparatedDecoder
from tieline.wire.serializers.sized import FixedSizePacketSerializer, LengthPrefixedSerializer
from tieline.wire.serializers.stapled import StapledPacketSerializer
from tieline.wire.serializers.structs import NamedTupleStructSerializer, StructSerializer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

if sys.version_info < (3, 14):
    # What `compression.zstd` is from 3.14 on, under its name on older interpreters.
    from backports import zstd

    @pytest.fixture(autouse=True)
    def _zstd(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "compression", type(sys)("compression"))
        monkeypatch.setitem(sys.modules, "compression.zstd", zstd)
else:
    from compression import zstd

KEY = b"0123456789abcdef"
FERNET_KEY = EncryptorSerializer.generate_key()
OBJECTS = [{"a": [1, 2.5, None, "x"], "b": {"c": True}}, {}, [], "text", {"long": "y" * 40}]
BYTES = [b"one", b"", b"two\r\nlines", bytes(range(64))]


class Point(NamedTuple):
    name: str
    x: int
    y: float


class Letters(AutoSeparatedPacketSerializer[str, str]):
    """As a user writes one: words in small letters, behind each a mark of two bytes."""

    def __init__(self, limit: int = 1000) -> None:
        super().__init__(b"<>", limit=limit)

    def serialize(self, packet: str, /) -> bytes:
        return packet.encode()

    def deserialize(self, data: bytes, /) -> str:
        if not data.isalpha():
            raise DeserializeError("not letters")
        return data.decode("latin-1")


class Twice(FixedSizePacketSerializer[int, int]):
    """A number, sent twice."""

    def __init__(self) -> None:
        super().__init__(2)

    def serialize(self, packet: int, /) -> bytes:
        return bytes([packet, packet])

    def deserialize(self, data: bytes, /) -> int:
        if len(data) != 2 or data[0] != data[1]:
            raise DeserializeError("not twice the same")
        return data[0]


class NetString(AbstractIncrementalPacketSerializer[bytes, bytes]):
    """By generators, as users write them: a digit for the size, then so many bytes."""

    def incremental_serialize(self, packet: bytes, /) -> Generator[bytes, None, None]:
        yield b"%d" % len(packet)
        yield packet

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[bytes, bytes]]:
        data = b""
        while not data:
            data = yield
        if not data[:1].isdigit():
            raise IncrementalDeserializeError("not a digit", data[1:])
        size = int(data[:1])
        data = data[1:]
        while len(data) < size:
            data += yield
        return data[:size], data[size:]


class BufferedNetString(NetString, BufferedIncrementalPacketSerializer[bytes, bytes]):
    """The same, from a buffer that is smaller than what comes."""

    def create_deserializer_buffer(self, sizehint: int, /) -> bytearray:
        return bytearray(10)

    def buffered_incremental_deserialize(
        self, buffer: bytearray, /
    ) -> Generator[int | None, int, tuple[bytes, memoryview]]:
        filled = yield None
        if not bytes(buffer[:1]).isdigit():
            raise IncrementalDeserializeError("not a digit", bytes(buffer[1:filled]))
        size = int(buffer[:1])
        while filled - 1 < size:
            filled += yield filled if filled % 2 else filled - len(buffer)
        return bytes(buffer[1 : 1 + size]), memoryview(buffer)[1 + size : filled]


class QuartetDecoder(PacketDecoder[int]):
    """Big-endian numbers of four bytes; the largest is none."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        self._held += data
        self.is_ready = True

    def take(self, most: int) -> tuple[list[int], Exception | None]:
        taken: list[int] = []
        while len(taken) < most and len(self._held) >= 4:
            number = int.from_bytes(self._held[:4], "big")
            del self._held[:4]
            if number == 0xFFFFFFFF:
                return taken, DeserializeError("the largest")
            taken.append(number)
        self.is_ready = len(self._held) >= 4
        return taken, None

    @property
    def pending(self) -> int:
        return len(self._held)

    def unread(self) -> bytes:
        rest = bytes(self._held)
        self._held.clear()
        self.is_ready = False
        return rest


class Quartets(AbstractIncrementalPacketSerializer[int, int]):
    """As a user writes one who wants no generators: in place of the two that make and read them."""

    def frame(self, packet: int, /) -> bytes:
        return packet.to_bytes(4, "big")

    def new_decoder(self) -> QuartetDecoder:
        return QuartetDecoder()


class Pascal(FileBasedPacketSerializer[bytes, bytes]):
    """From a file: a byte with the size, then so many bytes; the size 255 is none."""

    def __init__(self) -> None:
        super().__init__(ValueError, limit=100)

    def dump_to_file(self, packet: bytes, file: IO[bytes], /) -> None:
        file.write(bytes([len(packet)]) + packet)

    def load_from_file(self, file: IO[bytes], /) -> bytes:
        size = file.read(1)
        if size == b"\xff":
            raise ValueError("no size")
        data = file.read(size[0]) if size else b""
        if not size or len(data) < size[0]:
            raise EOFError
        return data


def json_tokens(**kwargs: Any) -> EncryptorSerializer[Any, Any]:
    return EncryptorSerializer(JSONSerializer(), FERNET_KEY, limit=1000, **kwargs)


def frame(data: bytes, size: int = 4) -> bytes:
    return len(data).to_bytes(size, "big") + data


RIGS: dict[str, SerializerRig] = {
    "json": SerializerRig(
        lambda: JSONSerializer(limit=200),
        OBJECTS,
        faulty=[b"{\n", b"nul\n", b'"\xff"\n', b"\xff\xfe\n", b"\0\0\n", b"[1] 2\n", b'"\\ud800"\n'],
        too_large=[(b"[" + b"1," * 200 + b"1]\n", True), (b"x" * 1000 + b"\n", True)],
    ),
    "json as it is set": SerializerRig(
        lambda: JSONSerializer(order="sorted", float_hook=Decimal, decimal_format="number", uuid_format="hex"),
        [{"a": Decimal("0.1"), "b": [1]}, Decimal("1E+400"), {}],
        faulty=[b'{"a" 1}\n'],
    ),
    "json of a type": SerializerRig(
        lambda: JSONSerializer(type=list[int]), [[1], [2, 3]], faulty=[b'["1"]\n', b"{}\n"]
    ),
    "bare json": SerializerRig(
        lambda: JSONSerializer(use_lines=False, limit=200),
        [17, *OBJECTS],
        faulty=[b"[}", b'{"a" 1}', b'"\xff"', b"nul "],
        ending=[b"}", b"\xff", b"GET / HTTP/1.1\r\n"],
        too_large=[(b"[" + b"1," * 200 + b"1]", False), (b'"' + b"x" * 1000 + b'"', False)],
    ),
    "lines": SerializerRig(
        lambda: StringLineSerializer(limit=100),
        ["hello", "", "wörld".encode().decode("ascii", "replace").replace("\ufffd", "o")],
        faulty=[b"\xff\n", b"a\0b\n"],
        too_large=[(b"x" * 500 + b"\n", True), (b"y" * 101 + b"\n", True)],
    ),
    "lines CRLF": SerializerRig(
        lambda: StringLineSerializer("CRLF", encoding="utf-8", limit=100),
        ["hällo", "", "\r", "a\nb", "\r\r"],
        faulty=[b"\xff\r\n", b"\0\r\n"],
        too_large=[(b"\r" * 500 + b"\r\n", True), (b"y" * 101 + b"\r\n", True)],
    ),
    "lines with their ends": SerializerRig(
        lambda: StringLineSerializer("CRLF", encoding="utf-8", keep_end=True, limit=100),
        ["hällo\r\n", "\r\n", "\r\r\n", "a\nb\r\n"],
        faulty=[b"\xff\r\n", b"\0\r\n"],
        too_large=[(b"\r" * 500 + b"\r\n", True), (b"y" * 101 + b"\r\n", True)],
    ),
    "letters": SerializerRig(
        Letters,
        ["abc", "d"],
        faulty=[b"1<>", b"<>", b"a<b<>", b"a>b<>"],
        too_large=[(b"x" * 3000 + b"<>", True), (b"<" * 3000 + b"<>", True)],
    ),
    "struct": SerializerRig(
        lambda: StructSerializer("!Hd"), [(1, 2.5), (65535, -0.0)], faulty=[struct.pack("!Hd", 1, float("nan"))]
    ),
    "named tuple": SerializerRig(
        lambda: NamedTupleStructSerializer(Point, {"name": "6s", "x": "i", "y": "f"}, "<"),
        [Point("a", 1, 0.5), Point("", -1, -2.0), Point("ütters"[:4], 0, 0.0)],
        faulty=[struct.pack("<6sif", b"\xff", 1, 1.0), struct.pack("<6sif", b"a", 1, float("nan"))],
    ),
    "fixed size": SerializerRig(Twice, [1, 2, 3], faulty=[b"ab"]),
    "msgpack": SerializerRig(
        lambda: MessagePackSerializer(limit=300),
        [*OBJECTS, -1, 2**40, b"bytes", "x" * 40, list(range(20)), {str(n): n for n in range(20)}, 1.5],
        faulty=[b"\xa1\xff", b"\x81\x01\x02", b"\x81\x91\x01\x02"],
        ending=[b"\xc1", b"\x91" * 200, b"\x81\xa1a" * 140],
        too_large=[
            (b"\xdd\x7f\xff\xff\xff", False),
            (b"\xdf\xff\xff\xff\xff", False),
            (b"\xc9\x7f\xff\xff\xff\x01", False),
        ],
        bombs=[b"\xdd\x7f\xff\xff\xff" + b"\x01" * 50, b"\xdf\x7f\xff\xff\xff\xa1a", b"\x91" * 100_000],
        memory=1 << 20,
    ),
    "cbor": SerializerRig(
        lambda: CBORSerializer(limit=300),
        [*OBJECTS, -1, 2**40, 2**70, b"bytes", "x" * 30, "x" * 280, list(range(30)), 1.5, None],
        faulty=[
            b"\x61\xff",
            b"\xa1\x01\x02",
            b"\xd8\x1c\x81\xd8\x1d\x00",
            b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xd8\x23\x61(",
            b"\xa1\xf6\x01",
        ],
        ending=[b"\x1c", b"\xff", b"\x81" * 200, b"\xbf\x61a\xff", b"\xdf"],
        too_large=[(b"\x9a\x7f\xff\xff\xff", False), (b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", False)],
        bombs=[b"\x9a\x7f\xff\xff\xff" + b"\x01" * 50, b"\x81" * 100_000, b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff"],
        memory=1 << 20,
    ),
    "pickle": SerializerRig(
        lambda: PickleSerializer(KEY, allow_unsafe=True, limit=300),
        [*OBJECTS, Point("a", 1, 2.0)],
        faulty=[frame(b"cos\nsystem\n(S'true'\ntR." + b"\0" * 32), frame(b""), frame(b"\0" * 32)],
        too_large=[(frame(b"x" * 500), True)],
    ),
    "length and bytes": SerializerRig(
        lambda: LengthPrefixedSerializer(BytesSerializer(), prefix_size=2, limit=300),
        BYTES,
        too_large=[(frame(b"x" * 500, 2), True), (frame(b"x" * 301, 2), True)],
    ),
    "length and msgpack": SerializerRig(
        lambda: LengthPrefixedSerializer(MessagePackSerializer(), prefix_size=4, byteorder="big", limit=300),
        OBJECTS,
        faulty=[frame(b"\x01\x02"), frame(b""), frame(b"\xc1"), frame(b"\x92\x01")],
        too_large=[(frame(b"\xc0" * 500), True)],
    ),
    "base64": SerializerRig(
        lambda: Base64EncoderSerializer(BytesSerializer(), limit=200),
        [*BYTES, b"\xfb\xff"],
        faulty=[b"????\r\n", b"abc\r\n", b"ab=c\r\n", b"+/+/\r\n"],
        too_large=[(b"A" * 1000 + b"\r\n", True)],
    ),
    "base64 with a checksum": SerializerRig(
        lambda: Base64EncoderSerializer(BytesSerializer(), alphabet="standard", checksum=True, separator=b"\n"),
        [*BYTES, b"\xfb\xff"],
        faulty=[b"\n", b"AAAA\n", b"A" * 64 + b"\n"],
    ),
    "base64 with a key": SerializerRig(
        lambda: Base64EncoderSerializer(JSONSerializer(), checksum=KEY), OBJECTS, faulty=[b"\r\n", b"AAAA\r\n"]
    ),
    "encrypted": SerializerRig(
        json_tokens,
        OBJECTS[:3],
        faulty=[b"\r\n", b"gAAAAA\r\n", b"\xff\r\n"],
        too_large=[(b"g" * 1500 + b"\r\n", True)],
    ),
    "zlib": SerializerRig(
        lambda: ZlibCompressorSerializer(JSONSerializer(), limit=300),
        OBJECTS,
        faulty=[zlib.compress(b"{"), zlib.compress(b"")],
        ending=[b"\0\0\0", b"x\x9c" + b"\xff" * 20],
        too_large=[(zlib.compress(b"1" * 301), False)],
        bombs=[zlib.compress(bytes(50_000_000))],
        memory=1 << 20,
    ),
    "bz2": SerializerRig(
        lambda: BZ2CompressorSerializer(JSONSerializer(), limit=300),
        OBJECTS,
        faulty=[bz2.compress(b"{"), bz2.compress(b"")],
        ending=[b"\0\0\0", b"BZh9" + b"\xff" * 20],
        too_large=[(bz2.compress(b"1" * 301), False)],
        bombs=[bz2.compress(bytes(20_000_000))],
        memory=16 << 20,  # what bz2 itself takes for a block
    ),
    "zstd": SerializerRig(
        lambda: ZstdCompressorSerializer(JSONSerializer(), limit=300),
        OBJECTS,
        faulty=[zstd.compress(b"{"), zstd.compress(b"")],
        ending=[b"\0\0\0\0\0\0\0", zstd.compress(b"1")[:4] + b"\xff" * 20],
        too_large=[(zstd.compress(b"1" * 301), False)],
        bombs=[zstd.compress(bytes(50_000_000))],
        memory=16 << 20,  # its window
        judges_alike=False,  # it checks the size that a frame tells only when it has all of it at once
    ),
    "stapled": SerializerRig(lambda: StapledPacketSerializer(JSONSerializer(), JSONSerializer()), OBJECTS),
    "stapled of generators": SerializerRig(lambda: StapledPacketSerializer(NetString(), NetString()), [b"a", b""]),
    "stapled one-shot": SerializerRig(
        lambda: StapledPacketSerializer(BytesSerializer(), LengthPrefixedSerializer(BytesSerializer())), BYTES
    ),
    "bytes": SerializerRig(BytesSerializer, BYTES),
    "generators": SerializerRig(NetString, [b"abc", b"", b"123456789"], faulty=[b"x"]),
    "a buffer": SerializerRig(BufferedNetString, [b"abc", b"", b"123456789"], faulty=[b"x"]),
    "a decoder": SerializerRig(Quartets, [1, 2, 0xFFFFFFFE], faulty=[b"\xff" * 4]),
    "a file": SerializerRig(
        Pascal, [b"abc", b"", b"x" * 99], ending=[b"\xff"], too_large=[(b"\xc8" + b"x" * 200, False)]
    ),
}


@pytest.mark.parametrize("packets", [[], [b"one"], [b"one", b"one"]])
def test_a_rig_has_packets_that_can_be_told_apart(packets: list[bytes]) -> None:
    with pytest.raises(ValueError, match="packets must be at least two, and not all the same"):
        SerializerRig(NetString, packets)


class Smuggling(Letters):
    """Takes the rest of a packet over its limit for more packets."""

    def new_decoder(self) -> PacketDecoder[str]:
        return GeneratorDecoder(self.incremental_deserialize)

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[str, bytes]]:
        data = b""
        while b"<>" not in data:
            if len(data) > self.limit:
                raise LimitOverrunError("too large", limit=self.limit)
            data += yield
        word, _, rest = data.partition(b"<>")
        if len(word) > self.limit:
            raise LimitOverrunError("too large", rest, limit=self.limit)
        return self._read(word, rest)

    def _read(self, word: bytes, rest: bytes) -> tuple[str, bytes]:
        try:
            return self.deserialize(word), rest
        except DeserializeError as exc:
            raise IncrementalDeserializeError(str(exc), rest) from exc


class Losing(Smuggling):
    """Throws away what stands behind what is no packet."""

    def _read(self, word: bytes, rest: bytes) -> tuple[str, bytes]:
        return self.deserialize(word) if word.isalpha() else self._lose(), rest

    def _lose(self) -> str:
        raise IncrementalDeserializeError("not letters")


class SquareDecoder(SeparatedDecoder[str]):
    """Looks at all that it holds for each packet."""

    def take(self, most: int) -> tuple[list[str], Exception | None]:
        self.feed(self.unread())
        return super().take(most)


class Square(Letters):
    def new_decoder(self) -> PacketDecoder[str]:
        return SquareDecoder(b"<>", self.limit, self.deserialize)


class Inflating(Letters):
    """Takes a lot of memory before it looks."""

    def deserialize(self, data: bytes, /) -> str:
        if data == b"1" * 500:
            bytearray(1 << 20)
        return super().deserialize(data)


class Forgetful(AbstractIncrementalPacketSerializer[int, int]):
    """Forgets what it knows of one connection when another one has something to say."""

    def __init__(self) -> None:
        self._size = 0

    def frame(self, packet: int, /) -> bytes:
        return bytes([packet]) + b"x" * packet

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[int, bytes]]:
        data = yield
        self._size = data[0]
        while len(data) <= self._size:
            data += yield
        return data[0], data[1 + data[0] :]


class Gathering(Letters):
    """Keeps what it could not read, and reads it with the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._held = b""

    def deserialize(self, data: bytes, /) -> str:
        self._held += data
        word = super().deserialize(self._held)
        self._held = b""
        return word


class Numbering(Letters):
    """Takes packets in the order in which they were sent alone."""

    def __init__(self) -> None:
        super().__init__()
        self._sent = self._received = 0

    def serialize(self, packet: str, /) -> bytes:
        self._sent += 1
        return bytes([64 + self._sent]) + packet.encode()

    def deserialize(self, data: bytes, /) -> str:
        word = super().deserialize(data)
        self._received += 1
        if ord(word[0]) != 64 + self._received:
            raise DeserializeError("not its turn")
        return word[1:]


class Changing(JSONSerializer[Any, Any]):
    """Leaves its mark in what it sends."""

    def serialize(self, packet: Any, /) -> bytes:
        packet.setdefault("version", 2)
        return super().serialize(packet)


class Unended(Letters):
    """Has another way to send in its generator."""

    def frame(self, packet: str, /) -> bytes:
        return super().frame(packet)

    def incremental_serialize(self, packet: str, /) -> Generator[bytes, None, None]:
        yield self.serialize(packet)


class Deep(Letters):
    """Goes into what is in brackets, and into that again."""

    def deserialize(self, data: bytes, /) -> str:
        return self.deserialize(data[1:]) if data[:1] == b"[" else super().deserialize(data)


BREAKING: list[tuple[Callable[[], Any], str]] = [
    (Smuggling, "the_limit_holds"),
    (Losing, "the_stream_goes_on"),
    (Square, "many_at_once_are_no_more_work"),
    (Inflating, "a_bomb_does_not_go_off"),
    (lambda: Letters(limit=100_000), "a_bomb_does_not_go_off"),
    (Gathering, "nothing_is_kept_between_packets"),
    (Numbering, "nothing_is_kept_between_packets"),
    (Unended, "a_stream_comes_back"),
    (Deep, "garbage_is_a_fault"),
]


@pytest.mark.parametrize(("make", "promise"), BREAKING)
def test_the_kit_sees_who_breaks_its_promises(make: Any, promise: str) -> None:
    bomb = b"1" * 500 if make is Inflating else b"x" * 2000
    rig = SerializerRig(
        make,
        ["abc", "d"],
        faulty=[b"1<>"],
        too_large=[(b"x" * 3000 + b"<>", True)],
        bombs=[bomb],
        memory=1 << 19,
    )
    case = next(case for case in SERIALIZER_CASES if case.name == promise)
    with pytest.raises(AssertionError):
        case.check(rig)


@pytest.mark.parametrize(
    ("make", "packets", "promise"),
    [
        (Forgetful, [1, 5, 3], "streams_do_not_meet"),
        (Changing, [{"a": 1}, {}], "a_packet_comes_back"),
    ],
)
def test_and_who_breaks_those_that_it_takes_other_packets_to_see(make: Any, packets: Any, promise: str) -> None:
    case = next(case for case in SERIALIZER_CASES if case.name == promise)
    with pytest.raises(AssertionError):
        case.check(SerializerRig(make, packets))


@pytest.mark.row("H75", "H77", "H78")
@pytest.mark.parametrize("case", SERIALIZER_CASES, ids=str)
@pytest.mark.parametrize("name", RIGS)
def test_a_serializer_keeps_what_the_kit_promises(name: str, case: SerializerCase) -> None:
    case.check(RIGS[name])


def test_a_staple_of_generators_is_read_by_them() -> None:
    staple = RIGS["stapled of generators"].make()
    assert isinstance(staple, AbstractIncrementalPacketSerializer)
    assert not isinstance(staple, BufferedIncrementalPacketSerializer)
