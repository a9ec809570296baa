# SPDX-License-Identifier: MIT
"""What every serializer is to keep, as cases that run over ours and over yours.

    import pytest
    from tieline.testing import SERIALIZER_CASES, SerializerRig

    RIG = SerializerRig(MySerializer, packets=[{"a": 1}, {}], faulty=[b"no packet\\n"])

    @pytest.mark.parametrize("case", SERIALIZER_CASES, ids=str)
    def test_my_serializer(case):
        case.check(RIG)

Nothing here needs pytest. A case that does not concern a serializer, such as those about streams for one that is only
good for datagrams, passes.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Generator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from random import Random
from typing import Any, Final

from tieline.errors import DeserializeError, LimitOverrunError, PacketConversionError
from tieline.testing.cuts import TURNS, in_pieces
from tieline.wire.protocols import BufferedStreamProtocol, StreamProtocol
from tieline.wire.serializers.abc import (
    AbstractIncrementalPacketSerializer,
    AbstractPacketSerializer,
    BufferedIncrementalPacketSerializer,
)
from tieline.wire.serializers.decoding import PacketDecoder
from tieline.wire.serializers.generated import BufferDecoder, GeneratorDecoder

__all__ = ["SERIALIZER_CASES", "SerializerCase", "SerializerRig"]

# Streams longer than this are not cut at every place, but at so many.
MAX_CUTS: Final = 400
MAX_STEPS: Final = 100_000
# So many packets, and so many bytes of them, come at once where the work that they make is measured.
MANY: Final = 16_384
MUCH: Final = 256 * 1024
# So often one byte comes where it is seen whether it can take all of the stack.
DEEP: Final = 20_000


@dataclass(frozen=True)
class SerializerRig:
    """A serializer under test, with test data.

    Attributes:
        make: Returns a new serializer, with the same settings each time.
        packets: Small valid packets; at least two, and not all equal.
        faulty: Streams of one invalid packet, after which the stream can continue.
        ending: Streams of one invalid packet, after which it cannot.
        too_large: Streams of one complete packet over the limit, each with whether the stream can continue after it.
        bombs: Streams of one packet that would take far more memory than its size.
        memory: The maximum number of bytes that may be allocated while such a packet is rejected.
        judges_alike: Whether an invalid packet causes the same error however the stream is split. Libraries that check
            more when they have the whole packet do not.

    Raises:
        ValueError: There are fewer than two *packets*, or all are equal, so a lost or repeated one would go unnoticed.
    """

    make: Callable[[], AbstractPacketSerializer[Any, Any]]
    packets: Sequence[Any]
    faulty: Sequence[bytes] = ()
    ending: Sequence[bytes] = ()
    too_large: Sequence[tuple[bytes, bool]] = ()
    bombs: Sequence[bytes] = ()
    memory: int = 8 << 20
    judges_alike: bool = True

    def __post_init__(self) -> None:
        if all(packet == self.packets[0] for packet in self.packets[1:]):
            raise ValueError(f"packets must be at least two, and not all the same: {list(self.packets)!r}")


@dataclass(frozen=True)
class SerializerCase:
    """A test case for serializers.

    Attributes:
        name: The name of the case.
        promise: The rule that it checks.
    """

    name: str
    promise: str
    body: Callable[[SerializerRig], None] = field(repr=False)

    def __str__(self) -> str:
        return self.name

    def check(self, rig: SerializerRig) -> None:
        """Check it.

        Raises:
            AssertionError: It is not kept; the text says with what.
        """
        self.body(rig)


_cases: Final[list[SerializerCase]] = []


def _case(body: Callable[[SerializerRig], None]) -> Callable[[SerializerRig], None]:
    _cases.append(SerializerCase(body.__name__, str(body.__doc__).rstrip("."), body))
    return body


# --- tools -----------------------------------------------------------------------------------------------------------


def _expect(condition: bool, text: str) -> None:
    if not condition:
        raise AssertionError(text)


class _Hooked(StreamProtocol[Any, Any]):
    """As users override its hook: they look at packets that ours has read."""

    def build_packet_from_chunks(self) -> Generator[None, bytes, tuple[Any, bytes]]:
        return (yield from super().build_packet_from_chunks())


class _HookedBuffered(BufferedStreamProtocol[Any, Any]):
    """The same from a buffer."""

    def build_packet_from_buffer(
        self, buffer: Any, /
    ) -> Generator[int | None, int, tuple[Any, bytes | bytearray | memoryview]]:
        return (yield from super().build_packet_from_buffer(buffer))


def _ways(made: AbstractPacketSerializer[Any, Any]) -> list[tuple[str, Callable[[], PacketDecoder[Any]]]]:
    """Return what makes a decoder, for each way in which a serializer can be read; none when it is not for streams."""
    if not isinstance(made, AbstractIncrementalPacketSerializer):
        return []
    ways: list[tuple[str, Callable[[], PacketDecoder[Any]]]] = [
        ("StreamProtocol", StreamProtocol(made).new_decoder),
        ("a hook of StreamProtocol", _Hooked(made).new_decoder),
        ("incremental_deserialize", partial(GeneratorDecoder, made.incremental_deserialize)),
    ]
    if isinstance(made, BufferedIncrementalPacketSerializer):
        create, read = made.create_deserializer_buffer, made.buffered_incremental_deserialize
        ways.append(("BufferedStreamProtocol", BufferedStreamProtocol(made).new_decoder))
        ways.append(("a hook of BufferedStreamProtocol", _HookedBuffered(made).new_decoder))
        ways.append(("buffered_incremental_deserialize", partial(BufferDecoder, create, read)))
    return ways


def _decoders(rig: SerializerRig) -> list[tuple[str, PacketDecoder[Any]]]:
    """Return a decoder for each way, each of a serializer of its own."""
    count = len(_ways(rig.make()))
    return [(way, new_decoder()) for way, new_decoder in (_ways(rig.make())[number] for number in range(count))]


def _incremental(rig: SerializerRig) -> AbstractIncrementalPacketSerializer[Any, Any]:
    return _for_streams(rig.make())


def _for_streams(made: AbstractPacketSerializer[Any, Any]) -> AbstractIncrementalPacketSerializer[Any, Any]:
    if not isinstance(made, AbstractIncrementalPacketSerializer):
        raise AssertionError("make() returns serializers of different kinds")
    return made


def _frames(rig: SerializerRig) -> list[bytes]:
    frame = StreamProtocol(_incremental(rig)).framer()
    return [frame(packet) for packet in rig.packets]


def _streams(rig: SerializerRig) -> list[tuple[str, bytes]]:
    """Return all packets as a stream, by each way in which one can be made."""
    made = _incremental(rig)
    by_generator = (piece for packet in rig.packets for piece in made.incremental_serialize(packet))
    return [
        ("frame", b"".join(_frames(rig))),
        ("frames", _incremental(rig).frames(rig.packets)),
        ("incremental_serialize", b"".join(by_generator)),
    ]


def _drain(decoder: PacketDecoder[Any], seen: list[Any], most: int) -> None:
    """Put the packets that are ready behind *seen*, and for each fault the class of it."""
    for _ in range(MAX_STEPS):
        packets, fault = decoder.take(most)
        seen += packets
        if fault is not None:
            if _caused_by(fault, (DeserializeError, PacketConversionError)) is None:
                raise AssertionError(f"bytes of a peer made it fail: {fault!r}") from fault
            seen.append(type(fault))
        elif len(packets) < most:
            return
    raise AssertionError("it makes packets of nothing, without an end")


def _caused_by(fault: BaseException, kind: type[Exception] | tuple[type[Exception], ...]) -> BaseException | None:
    """Return *fault*, or what it was told for, that is of a *kind*; None if nothing is."""
    found: BaseException | None = fault
    while found is not None and not isinstance(found, kind):
        found = found.__cause__
    return found


def _read(decoder: PacketDecoder[Any], pieces: Sequence[bytes], most: int = 3) -> list[Any]:
    seen: list[Any] = []
    for piece in pieces:
        decoder.feed(piece)
        _drain(decoder, seen, most)
    return seen


def _bytewise(data: bytes) -> list[bytes]:
    return in_pieces(data, 1)


def _cuts(size: int) -> Sequence[int]:
    return range(0, size + 1, max(1, size // MAX_CUTS))


def _all_cuts(data: bytes) -> list[list[bytes]]:
    """Return *data* cut in two at any place, and byte by byte."""
    return [*([data[:cut], data[cut:]] for cut in _cuts(len(data))), _bytewise(data)]


# --- cases -----------------------------------------------------------------------------------------------------------


@_case
def a_packet_comes_back(rig: SerializerRig) -> None:
    """What serialize makes, deserialize turns back; the packet that was sent is as it was."""
    for packet in rig.packets:
        sent = deepcopy(packet)
        before = repr(sent)
        data = rig.make().serialize(sent)
        _expect(repr(sent) == before, f"serialize has changed the packet: it was {before}, and is {sent!r}")
        _expect(type(data) is bytes, f"serialize returned {type(data).__name__}, not bytes")
        _expect_back(rig.make(), data, packet, "alone")


@_case
def nothing_is_kept_between_packets(rig: SerializerRig) -> None:
    """One serializer reads packets in any order, and behind what was none, as datagrams come."""
    made = rig.make()
    for packet, data in reversed([(packet, made.serialize(packet)) for packet in rig.packets]):
        _expect_back(made, data, packet, "in another order")
    for packet in rig.packets:
        data = made.serialize(packet)
        for none in (*(data[:cut] for cut in _cuts(len(data))), *(_flipped(data, at) for at in _cuts(len(data) - 1))):
            _refused_or_read(made, none)
            _expect_back(made, made.serialize(packet), packet, f"behind {none!r}")


def _expect_back(made: AbstractPacketSerializer[Any, Any], data: bytes, packet: Any, when: str) -> None:
    try:
        back = made.deserialize(data)
    except DeserializeError as exc:
        raise AssertionError(f"{when}: sent {packet!r}, got {exc!r}") from exc
    _expect(back == packet, f"{when}: sent {packet!r}, got {back!r}")


@_case
def a_stream_comes_back(rig: SerializerRig) -> None:
    """Packets that are sent one behind the other come out so, in every way to send and to read them."""
    if not _decoders(rig):
        return
    for how, stream in _streams(rig):
        for way, decoder in _decoders(rig):
            back = _read(decoder, [stream])
            _expect(back == list(rig.packets), f"{how}, {way}: sent {list(rig.packets)!r}, got {back!r}")
            _expect(decoder.pending == 0, f"{how}, {way}: {decoder.pending} bytes are left over")


@_case
def cuts_do_not_matter(rig: SerializerRig) -> None:
    """The same comes of a stream that is cut in two at any place, and of one that comes byte by byte."""
    if not _decoders(rig):
        return
    data = b"".join(_frames(rig))
    for cut in _cuts(len(data)):
        for way, decoder in _decoders(rig):
            back = _read(decoder, [data[:cut], data[cut:]])
            _expect(back == list(rig.packets), f"{way}, cut at {cut}: got {back!r}")
    for way, decoder in _decoders(rig):
        back = _read(decoder, _bytewise(data), 1)
        _expect(back == list(rig.packets), f"{way}, byte by byte: got {back!r}")


@_case
def a_part_is_no_packet(rig: SerializerRig) -> None:
    """The beginning of a packet is held, and counted as pending, until its end comes."""
    if not _decoders(rig):
        return
    first = _frames(rig)[0]
    for cut in range(1, len(first)):
        for way, decoder in _decoders(rig):
            back = _read(decoder, [first[:cut]])
            if back == [rig.packets[0]]:
                continue  # what follows here is only a mark behind it
            _expect(not back, f"{way}: {cut} bytes of {len(first)} gave {back!r}")
            _expect(decoder.pending > 0, f"{way}: nothing is pending behind {cut} bytes of {len(first)}")


@_case
def a_part_in_a_datagram_is_refused(rig: SerializerRig) -> None:
    """deserialize takes what is cut off for no packet, or for another packet, and never fails otherwise."""
    for packet in rig.packets:
        data = rig.make().serialize(packet)
        for cut in _cuts(len(data)):
            _refused_or_read(rig.make(), data[:cut])


def _refused_or_read(made: AbstractPacketSerializer[Any, Any], data: bytes) -> None:
    try:
        made.deserialize(data)
    except DeserializeError:
        pass
    except Exception as exc:
        raise AssertionError(f"bytes of a peer made it fail: {exc!r}") from exc


@_case
def streams_do_not_meet(rig: SerializerRig) -> None:
    """Two connections that share a serializer, and whose bytes come in turns, get their own packets, in every way."""
    shared = rig.make()
    packets = (list(rig.packets), [*reversed(rig.packets)])
    for way, new_decoder in _ways(shared):
        frame = StreamProtocol(_for_streams(shared)).framer()
        for sizes in TURNS:
            framed = [tuple(map(frame, pair)) for pair in zip(*packets, strict=True)]
            wholes = map(b"".join, zip(*framed, strict=True))
            streams = [in_pieces(whole, size) for whole, size in zip(wholes, sizes, strict=True)]
            decoders = (new_decoder(), new_decoder())
            seen: tuple[list[Any], list[Any]] = ([], [])
            for pieces in zip_longest(*streams, fillvalue=b""):
                for decoder, piece, back in zip(decoders, pieces, seen, strict=True):
                    decoder.feed(piece)
                    _drain(decoder, back, 1)
            _expect(seen == packets, f"{way}: sent {packets!r}, got {seen!r}")


@_case
def damage_is_a_fault(rig: SerializerRig) -> None:
    """Any bit of a packet may be wrong: that is told as a DeserializeError or not seen, and cuts do not matter."""
    data = rig.make().serialize(rig.packets[0])
    for at in _cuts(len(data) - 1):
        _refused_or_read(rig.make(), _flipped(data, at))
    if not _decoders(rig):
        return
    framed = b"".join(_frames(rig)[:2])
    for at in _cuts(len(framed) - 1):
        _same_in_all_cuts(rig, _flipped(framed, at))


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :] if data else data


def _same_in_all_cuts(rig: SerializerRig, data: bytes) -> None:
    for (way, one), (_, other) in zip(_decoders(rig), _decoders(rig), strict=True):
        whole, single = _read(one, [data], 1), _read(other, _bytewise(data), 1)
        # Or equal by text: damage may make a NaN of a number.
        _expect(
            not rig.judges_alike or whole == single or repr(whole) == repr(single),
            f"{way}: in one piece {data!r} gave {whole!r}, byte by byte {single!r}",
        )


@_case
def garbage_is_a_fault(rig: SerializerRig) -> None:
    """Bytes of chance are told as DeserializeErrors or wait for more, at any cut; so is one byte again and again."""
    for seed in range(20):
        data = Random(seed).randbytes(300)
        _refused_or_read(rig.make(), data)
        if _decoders(rig):
            _same_in_all_cuts(rig, data)
    for byte in range(256):  # with some of them something begins within something, more often than a stack is deep
        _refused_or_read(rig.make(), bytes([byte]) * DEEP)


@_case
def the_stream_goes_on(rig: SerializerRig) -> None:
    """A packet that is none is told once, in its place; those around it come, in every way and at any cut."""
    for faulty in rig.faulty:
        first, last = _frames(rig)[:2]
        for pieces in _all_cuts(first + faulty + last):
            for way, decoder in _decoders(rig):
                back = _read(decoder, pieces)
                told = [item for item in back if isinstance(item, type) and issubclass(item, Exception)]
                _expect(len(told) == 1, f"{way}: {faulty!r} was told as {told!r}")
                back.remove(told[0])
                _expect(back == list(rig.packets[:2]), f"{way}: around {faulty!r} came {back!r}")


@_case
def the_stream_ends(rig: SerializerRig) -> None:
    """Where it cannot go on, that is told once, in every way and at any cut; nothing more comes of it or is kept."""
    for ending in rig.ending:
        first = _frames(rig)[0]
        for pieces in _all_cuts(first + ending):
            for way, decoder in _decoders(rig):
                back = _read(decoder, [*pieces, first, first])
                _expect(back[0] == rig.packets[0], f"{way}: before {ending!r} came {back[0]!r}")
                _expect(len(back) == 2 and isinstance(back[1], type), f"{way}: {ending!r} gave {back[1:]!r}")
                _expect(decoder.is_broken, f"{way}: it does not say that the stream has ended")
                _expect(decoder.pending == 0, f"{way}: {decoder.pending} bytes are kept")


@_case
def the_limit_holds(rig: SerializerRig) -> None:
    """A packet over the limit is a LimitOverrunError, told once, in every way and at any cut; no part of it is one."""
    for stream, goes_on in rig.too_large:
        first, last = _frames(rig)[:2]
        for pieces in (*_all_cuts(first + stream + last), [first, *in_pieces(stream, 64), last]):
            for way, decoder in _decoders(rig):
                _check_overrun(way, decoder, pieces, rig.packets, goes_on)


def _check_overrun(
    way: str, decoder: PacketDecoder[Any], pieces: list[bytes], packets: Sequence[Any], goes_on: bool
) -> None:
    seen: list[Any] = []
    for piece in pieces:
        decoder.feed(piece)
        while decoder.is_ready:
            taken, fault = decoder.take(1)
            seen += taken
            if fault is not None:
                _expect(_caused_by(fault, LimitOverrunError) is not None, f"{way}: it was told as {fault!r}")
                seen.append(LimitOverrunError)
    wanted = [packets[0], LimitOverrunError, *([packets[1]] if goes_on else [])]
    _expect(seen == wanted, f"{way}: got {seen!r}, not {wanted!r}")
    _expect(decoder.is_broken is not goes_on, f"{way}: is_broken is {decoder.is_broken}")
    _expect(decoder.pending == 0, f"{way}: {decoder.pending} bytes are kept")


@_case
def many_at_once_are_no_more_work(rig: SerializerRig) -> None:
    """The first of many packets that come at once are not worth the work of all of them, in every way to read them."""
    if not _decoders(rig):
        return
    frame = min(filter(None, _frames(rig)), key=len)
    many = min(MANY, MUCH // len(frame))
    few = max(1, many // 32)
    for (way, one), (_, other) in zip(_decoders(rig), _decoders(rig), strict=True):
        singly = _seconds(one, [frame] * few, few)
        at_once = _seconds(other, [frame * many], few)
        # Work for all that has come may be done once, and costs less than if each packet came alone; not for each.
        most = singly / few * many
        _expect(at_once <= most, f"{way}: {few} of {many} packets took {at_once} s, and {most} s are all of them alone")


def _seconds(decoder: PacketDecoder[Any], pieces: Sequence[bytes], wanted: int) -> float:
    """Return how much time of the processor it takes to feed *pieces* and to take *wanted* packets, good or not."""
    begin = time.process_time()
    for piece in pieces:
        decoder.feed(piece)
        while decoder.is_ready and wanted:
            decoder.take(1)
            wanted -= 1
    return time.process_time() - begin


@_case
def a_bomb_does_not_go_off(rig: SerializerRig) -> None:
    """A packet that would grow in memory is refused before it does, in every way to read it."""
    for bomb in rig.bombs:
        reads: list[tuple[str, Callable[[bytes], object]]] = [("deserialize", rig.make().deserialize)]
        reads += [(way, _reader(decoder)) for way, decoder in _decoders(rig)]
        for way, read in reads:
            tracemalloc.start()
            try:
                _refused(way, read, bomb)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            _expect(peak <= rig.memory, f"{way}: {peak} bytes of memory were taken by {len(bomb)} bytes")


def _reader(decoder: PacketDecoder[Any]) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        decoder.feed(data)
        return decoder.next()

    return read


def _refused(way: str, read: Callable[[bytes], object], bomb: bytes) -> None:
    try:
        packet = read(bomb)
    except Exception as exc:
        if _caused_by(exc, DeserializeError) is None:
            raise
        return
    raise AssertionError(f"{way}: it was read: {type(packet).__name__}")


SERIALIZER_CASES: Final = tuple(_cases)
