# SPDX-License-Identifier: MIT
"""Decoders around the generators of users, and generators around our decoders.

One generator reads one packet, then the next begins: nothing of a connection is known to both. What follows the end of
a packet is given to the next generator at once, as far as packets are asked for.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tieline.errors import DeserializeError, IncrementalDeserializeError, StreamProtocolParseError
from tieline.wire.serializers.decoding import PacketDecoder, fault_of, is_about_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["BufferDecoder", "GeneratorDecoder", "Skipped", "StreamEndedWithin", "read_one"]

PacketT = TypeVar("PacketT")

BUFFER_SIZE: Final = 64 * 1024
# So many bytes a generator is given at first, and then as many as it has been given. What it has been given behind its
# packet the next one is given again: of many small packets that would be all of a large read, for each.
FIRST_PIECE: Final = 128

# What a generator may end with so that the stream goes on, where its `remaining_data` begins.
_GOES_ON: Final = (IncrementalDeserializeError, StreamProtocolParseError)


class Skipped(int):
    """What a generator may yield in place of None: so many of its bytes are held no longer.

    It is the number 0, the beginning of a buffer, for whoever takes it for a place in one.

    Attributes:
        size: How many bytes, since the generator has yielded last.
        fault: Why the packet is thrown away that they are part of, and that has not ended; None = they were part of
            none, as blank lines are.
    """

    size: int
    fault: Exception | None

    def __new__(cls, size: int, fault: Exception | None = None) -> Skipped:
        self = super().__new__(cls)
        self.size = size
        self.fault = fault
        return self


class StreamEndedWithin(BaseException):
    """Raised in a generator that has yielded `Skipped` with a fault, when the end of that packet will not come."""


def read_one(
    decoder: PacketDecoder[Any], told: Callable[[Exception, bytes], Exception], buffer: Any = None
) -> Generator[Any, Any, tuple[Any, bytes]]:
    """Read one packet by a *decoder* that is made for it, and return it with what is behind.

    A fault is raised once the end of its packet has come, or that of the stream, be that long after the packet was
    found to be too large: nobody would know that the bytes up to there are to be thrown away.

    Args:
        decoder: What is fed the bytes.
        told: Returns what is raised for a fault behind which the stream goes on, with the bytes that are behind.
        buffer: Where the bytes are written, if the generator is told how many; None = it is sent the bytes themselves.

    Raises:
        DeserializeError: The bytes are no packet, and where the next one begins cannot be known.
    """
    fault: Exception | None = None
    skipped: Skipped | None = None
    held = 0
    while True:
        try:
            sent = yield skipped
        except StreamEndedWithin:
            if fault is None:  # then it is the decoder's to say
                decoder.end()
                _, fault = decoder.take(1)
            if fault is None:
                skipped = None
                continue
            raise told(fault, b"") if _goes_on(decoder, fault) else _ending(fault) from None
        data = sent if buffer is None else bytes(memoryview(buffer)[:sent])
        decoder.feed(data)
        held += len(data)
        if fault is None:
            packets, fault = decoder.take(1)
            if packets:
                return packets[0], decoder.unread()
        if fault is not None and not decoder.is_discarding:
            raise told(fault, decoder.unread()) if _goes_on(decoder, fault) else _ending(fault)
        gone, held = held - decoder.pending, decoder.pending
        untold = decoder.discarded if fault is None else fault
        skipped = Skipped(gone, untold) if gone or untold is not None else None


def _goes_on(decoder: PacketDecoder[Any], fault: Exception) -> bool:
    return is_about_bytes(fault) and not decoder.is_broken


def _ending(fault: Exception) -> Exception:
    """Return a *fault* as an error that says of no place to go on; of a crash what it was, for whoever tells that."""
    if not is_about_bytes(fault):
        return fault.__cause__ if isinstance(fault.__cause__, Exception) else fault
    if not isinstance(fault, _GOES_ON):
        return fault
    error = DeserializeError(str(fault))
    error.__cause__ = fault
    return error


class _Adapted(PacketDecoder[PacketT]):
    """What the two have in common."""

    __slots__ = ("_dropped", "_fed", "_has_ended", "_left", "_running", "_seen", "_untold", "_whose")

    def __init__(self, whose: str) -> None:
        super().__init__()
        self._whose = whose
        self._fed: list[bytes] = []  # as it came, behind all of what is left
        self._left: list[memoryview] = []  # no generator has been given it for good; what is next is the last one
        self._running: Generator[Any, Any, Any] | None = None
        self._seen = 0  # how many bytes the generator that runs has been given, without blank ones that it has skipped
        self._dropped = 0  # how many of these it has thrown away
        self._untold: Exception | None = None  # why it throws away the packet that it is in
        self._has_ended = False  # nothing more is fed

    def feed(self, data: bytes) -> None:
        if data and not self.is_broken:
            self._fed.append(data if type(data) is bytes else bytes(data))
            self.is_ready = True

    def end(self) -> None:
        self._has_ended = True
        self._look()

    def _look(self) -> None:
        self.is_ready = bool(self._left or self._fed) or (self._has_ended and self._untold is not None)

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        packets: list[PacketT] = []
        while self.is_ready and len(packets) < most:
            try:
                if self._running is None:
                    self._seen = self._dropped = 0
                    self._running = self._begin()
                if self._left or self._fed:
                    self._take_note(self._go_on(self._running))
                else:
                    return packets, self._end_within(self._running, packets)
            except Exception as end:
                self._running = self._untold = None
                self._dropped = 0
                try:
                    packets.append(self._packet(end))
                except Exception as error:
                    return packets, self._fault(error)
            self._look()
        return packets, None

    def _take_note(self, yielded: object) -> None:
        """Take note of what the generator yields."""
        self._untold = None
        if isinstance(yielded, Skipped):
            self._untold = yielded.fault
            if yielded.fault is None:
                self._seen -= yielded.size
            else:
                self._dropped += yielded.size

    def _end_within(self, running: Generator[Any, Any, Any], packets: list[PacketT]) -> Exception | None:
        """Return what is wrong with the packet that is thrown away, now that the stream ends in it.

        It stays begun. The generator may say it in its own way, make one of *packets* of it, or have nothing to say.
        """
        fault, self._untold = self._untold, None
        self.is_ready = False
        try:
            running.throw(StreamEndedWithin())
        except StreamEndedWithin:  # it knows nothing of that, and has only passed on what another one yields
            return fault
        except Exception as end:
            try:
                packets.append(self._packet(end))
            except Exception as exc:
                return fault_of(exc, self._whose)
        return None

    def _cut(self, room: int = sys.maxsize) -> bytes:
        """Return what the generator is given next, which has *room* for so many bytes."""
        most = min(max(FIRST_PIECE, self._seen), room)
        if not self._left:
            self._left.append(memoryview(b"".join(self._fed)))
            self._fed.clear()
        piece = self._left.pop()
        if len(piece) > most:
            self._left.append(piece[most:])
            piece = piece[:most]
        self._seen += len(piece)
        return bytes(piece)

    def _packet(self, end: Exception) -> PacketT:
        """Return the packet that a generator has ended with, or raise what it raised; what it has left is put back."""
        if isinstance(end, StopIteration):
            packet, rest = end.value
            self._put_back(rest, "made a packet of")
            return packet  # type: ignore[no-any-return]  # what a generator ends with, nobody checks
        if isinstance(end, _GOES_ON):
            rest, end.remaining_data = end.remaining_data, b""  # what is read on is not for who gets the fault
            self._put_back(rest, "found a fault in")
        raise end

    def _put_back(self, rest: bytes | bytearray | memoryview, did: str) -> None:
        """Have *rest* read next.

        Raises:
            TypeError: It is no bytes.
            RuntimeError: It is no less than the generator had been given.
        """
        left = bytes(memoryview(rest))
        if len(left) > self._seen:
            raise RuntimeError(f"the {self._whose} left {len(left)} bytes, and had been given {self._seen}")
        if len(left) == self._seen:
            raise RuntimeError(f"the {self._whose} {did} no bytes, and would go on so for ever")
        if left:
            self._left.append(memoryview(left))

    def _fault(self, error: Exception) -> Exception:
        if not isinstance(error, _GOES_ON):
            self.is_broken = True
            self.unread()
        self._look()
        return fault_of(error, self._whose)

    @property
    def pending(self) -> int:
        unread = sum(map(len, self._left)) + sum(map(len, self._fed))
        return unread + (self._seen - self._dropped if self._running is not None else 0)

    @property
    def has_begun(self) -> bool:
        return self._dropped > 0 or self.pending > 0

    @property
    def discarded(self) -> Exception | None:
        return self._untold

    def unread(self) -> bytes:
        """Return the bytes that no generator has been given yet."""
        rest = b"".join((*reversed(self._left), *self._fed))
        self._left.clear()
        self._fed.clear()
        self.is_ready = False
        return rest

    @abstractmethod
    def _begin(self) -> Generator[Any, Any, Any]:
        """Return a new generator that waits for its first bytes."""

    @abstractmethod
    def _go_on(self, running: Generator[Any, Any, Any]) -> object:
        """Give the generator its next bytes, and return what it yields."""


class GeneratorDecoder(_Adapted[PacketT]):
    """Reads packets by generators that are sent bytes and return ``(packet, rest)``.

    Args:
        make: Returns a new generator.
        whose: What a failure of it is put down to.
    """

    __slots__ = ("_make",)

    def __init__(
        self, make: Callable[[], Generator[None, bytes, tuple[PacketT, bytes]]], whose: str = "serializer"
    ) -> None:
        super().__init__(whose)
        self._make = make

    def _begin(self) -> Generator[Any, Any, Any]:
        generator = self._make()
        next(generator)
        return generator

    def _go_on(self, running: Generator[Any, Any, Any]) -> object:
        return running.send(self._cut())


class BufferDecoder(_Adapted[PacketT]):
    """Reads packets by generators that are told how much was written into their buffer, and yield where to go on.

    Args:
        create: Returns the buffer.
        make: Returns a new generator.
        whose: What a failure of these is put down to.
    """

    __slots__ = ("_buffer", "_create", "_make", "_place")

    def __init__(
        self,
        create: Callable[[int], Any],
        make: Callable[[Any], Generator[int | None, int, tuple[PacketT, bytes | bytearray | memoryview]]],
        whose: str = "serializer",
    ) -> None:
        super().__init__(whose)
        self._create = create
        self._make = make
        self._buffer: Any = None
        self._place = 0

    def _begin(self) -> Generator[Any, Any, Any]:
        if self._buffer is None:
            self._buffer = self._create(BUFFER_SIZE)
        generator = self._make(self._buffer)
        self._place = next(generator) or 0
        return generator

    def _go_on(self, running: Generator[Any, Any, Any]) -> object:
        with memoryview(self._buffer).cast("B") as view:
            place = self._place if self._place >= 0 else self._place + len(view)
            room = len(view) - place
            if room <= 0:
                raise RuntimeError(f"the {self._whose} has no room in its buffer of {len(view)} bytes at {place}")
            data = self._cut(room)
            view[place : place + len(data)] = data
        yielded = running.send(len(data))
        self._place = yielded or 0
        return yielded
