# SPDX-License-Identifier: MIT
"""Reads for the generators of users, however the stream is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tieline.errors import DeserializeError, LimitOverrunError
from tieline.testing.serializers import SERIALIZER_CASES, SerializerCase, SerializerRig
from tieline.wire.serializers.abc import AbstractIncrementalPacketSerializer
from tieline.wire.serializers.generated import GeneratorDecoder
from tieline.wire.serializers.reading import GeneratorStreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

LIMIT = 20


class Headed(AbstractIncrementalPacketSerializer[bytes, bytes]):
    """As a user writes one: a size as a line, then so many bytes."""

    def incremental_serialize(self, packet: bytes, /) -> Generator[bytes, None, None]:
        yield b"%d\r\n%b" % (len(packet), packet)

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[bytes, bytes]]:
        reader = GeneratorStreamReader()
        size = yield from reader.read_until(b"\r\n", LIMIT, keep_end=False)
        if not size.isdigit():
            raise DeserializeError("no size")
        body = yield from reader.read_exactly(int(size))
        return body, reader.read_all()


@pytest.mark.parametrize("case", SERIALIZER_CASES, ids=str)
def test_a_serializer_that_reads_so_keeps_what_the_kit_promises(case: SerializerCase) -> None:
    rig = SerializerRig(
        Headed,
        [b"abc", b"", b"\r\n", b"x" * 300],
        ending=[b"\r\n", b"x\r\n"],
        too_large=[(b"1" * 500 + b"\r\n", True), (b"1" * 21 + b"\r\n", True), (b"\r" * 100 + b"\r\n", True)],
    )
    case.check(rig)


def reads(stream: bytes, size: int, read: Callable[[GeneratorStreamReader], Generator[None, bytes, Any]]) -> list[Any]:
    """Return what *read* gives again and again of *stream*, which comes in pieces of *size* bytes."""

    def one() -> Generator[None, bytes, tuple[Any, bytes]]:
        reader = GeneratorStreamReader((yield))
        return (yield from read(reader)), reader.read_all()

    decoder = GeneratorDecoder[Any](one)
    seen: list[Any] = []
    for at in range(0, len(stream), size):
        decoder.feed(stream[at : at + size])
        fault: Exception | None = None
        while decoder.is_ready or fault is not None:
            packets, fault = decoder.take(100)
            seen += packets
            if fault is not None:
                seen.append(type(fault))
    return seen


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_up_to_a_separator_with_and_without_it(size: int) -> None:
    stream = b"one--two----th-ree--"
    assert reads(stream, size, lambda reader: reader.read_until(b"--", 9)) == [b"one--", b"two--", b"--", b"th-ree--"]
    plain = reads(stream, size, lambda reader: reader.read_until(b"--", 9, keep_end=False))
    assert plain == [b"one", b"two", b"", b"th-ree"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_nothing_of_what_is_too_long_is_read_as_a_packet(size: int) -> None:
    stream = b"1234--" + b"admin-" * 5 + b"-next--12345--"
    got = reads(stream, size, lambda reader: reader.read_until(b"--", 4))
    assert got == [b"1234--", LimitOverrunError, b"next--", LimitOverrunError]


def test_what_is_too_long_is_not_kept() -> None:
    reader = GeneratorStreamReader()
    reading = reader.read_until(b"\n", 100)
    next(reading)
    for _ in range(50):
        reading.send(b"x" * 90)
        assert len(reader._held) <= 190
    with pytest.raises(LimitOverrunError, match=r"limit 100\): 4500 bytes received") as caught:
        reading.send(b"\nrest")
    assert caught.value.remaining_data == b"rest"
    assert reader.read_all() == b""


def test_what_is_too_long_is_told_where_the_stream_ends_in_it() -> None:
    def read() -> Generator[None, bytes, tuple[Any, bytes]]:
        reader = GeneratorStreamReader((yield))
        return (yield from reader.read_until(b"--", 4)), reader.read_all()

    decoder = GeneratorDecoder[Any](read)
    for piece in (b"1234--12345", b"6-", b"7890"):
        decoder.feed(piece)
        packets, fault = decoder.take(9)
        assert fault is None
    assert (decoder.pending, decoder.has_begun) == (1, True)
    decoder.end()
    packets, fault = decoder.take(9)
    assert (packets, type(fault)) == ([], LimitOverrunError)
    assert "limit 4): at least 10 bytes received" in str(fault)
    assert decoder.take(9) == ([], None)
    assert decoder.has_begun


def test_a_generator_may_make_a_packet_of_what_is_too_long_where_the_stream_ends_in_it() -> None:
    def read() -> Generator[None, bytes, tuple[Any, bytes]]:
        reader = GeneratorStreamReader((yield))
        try:
            return (yield from reader.read_until(b"--", 4)), reader.read_all()
        except LimitOverrunError as exc:
            return "too long", exc.remaining_data

    def spoiled() -> Generator[None, bytes, Any]:
        yield from read()
        return 7

    for make, found in ((read, ["too long"]), (spoiled, [])):
        decoder = GeneratorDecoder[Any](make)
        decoder.feed(b"1234567890")
        assert decoder.take(9) == ([], None)
        decoder.end()
        packets, fault = decoder.take(9)
        assert packets == found
        assert (fault is None) is bool(found), "it has ended with no packet"


def test_what_has_come_is_read_at_most() -> None:
    reader = GeneratorStreamReader(b"abc")
    assert whole(reader.read(2)) == b"ab"
    assert whole(reader.read(2)) == b"c"
    assert whole(reader.read(0)) == whole(reader.read_exactly(0)) == b""
    reading = reader.read(2)
    next(reading)
    reading.send(b"")
    with pytest.raises(StopIteration) as ended:
        reading.send(b"def")
    assert ended.value.value == b"de"
    assert reader.read_all() == b"f"


def whole(reading: Generator[None, bytes, bytes]) -> bytes:
    """Return what *reading* reads without waiting."""
    with pytest.raises(StopIteration) as ended:
        next(reading)
    data: bytes = ended.value.value
    return data


@pytest.mark.parametrize(
    ("read", "error", "text"),
    [
        (lambda reader: reader.read(-1), ValueError, "size must not be negative, but is -1"),
        (lambda reader: reader.read_exactly(-1), ValueError, "size must not be negative, but is -1"),
        (lambda reader: reader.read_until(b"", 5), ValueError, "separator must not be empty"),
        (lambda reader: reader.read_until(b"x", 0), ValueError, "limit must be 1 or more, not 0"),
        (lambda reader: reader.read_until(b"x", 2.5), TypeError, "limit must be an int, not float"),
    ],
)
def test_reads_that_make_no_sense_are_refused(
    read: Callable[[GeneratorStreamReader], Generator[None, bytes, bytes]], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        next(read(GeneratorStreamReader()))
