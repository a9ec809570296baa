# SPDX-License-Identifier: MIT
"""Where a value of a binary format ends that tells its own structure, such as MessagePack and CBOR.

Heads are read, contents are skipped. So a peer is refused by what it announces (a depth, a number of items, a size),
before any of it is built; and a byte is not looked at again when more comes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from tieline.errors import DeserializeError, IncrementalDeserializeError
from tieline.wire.serializers.abc import ReceivedT_co, SentT_contra
from tieline.wire.serializers.decoding import PacketDecoder, fault_of
from tieline.wire.serializers.framed import FramedSerializer, overrun

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENDLESS", "Head", "ScannedSerializer", "ValueScanner"]

PacketT = TypeVar("PacketT")

# So many items has a container whose end is marked.
ENDLESS: Final = -1


class Head(NamedTuple):
    """What a value begins with.

    Attributes:
        size: How many bytes it has, its contents as far as they are no values.
        items: How many values follow that are parts of it.
        is_map: Whether those are pairs.
        is_text: Whether it may be a key.
        is_end: Whether it ends a container of `ENDLESS` items.
        refusal: Why nobody should decode it; None nearly always.
    """

    size: int
    items: int = 0
    is_map: bool = False
    is_text: bool = False
    is_end: bool = False
    refusal: str | None = None


class ValueScanner(ABC):
    """The search for the end of one value, and then of the next.

    Args:
        limit: The most bytes of a value.
        max_depth: The most values that may be inside one another.
        text_keys: Whether keys must be text.

    Attributes:
        refusal: Why the value that ended last must not be decoded; None nearly always.
    """

    __slots__ = ("_at", "_limit", "_max_depth", "_open", "_text_keys", "refusal")

    def __init__(self, limit: int, max_depth: int, text_keys: bool) -> None:
        self._limit = limit
        self._max_depth = max_depth
        self._text_keys = text_keys
        self._at = 0  # how far the value has been looked at
        self._open: list[list[int]] = [[1, 0, 0]]  # of each container: items to come, items seen, whether it is a map
        self.refusal: str | None = None

    @abstractmethod
    def head(self, data: bytes | bytearray, at: int, stop: int) -> Head | None:
        """Return the head that is at *at*; None when not all of it has come before *stop*.

        Raises:
            DeserializeError: There is none of that kind.
        """

    def find(self, data: bytes | bytearray, start: int, stop: int) -> int:
        """Return where in *data* the value ends that begins at *start*; -1: not before *stop*.

        Raises:
            LimitOverrunError: The value is too large, or announces to be.
            IncrementalDeserializeError: It has no end, or too much depth.
        """
        at = start + self._at
        while self._open:
            head = self.head(data, at, stop) if at < stop else None
            if head is None:
                self._at = at - start
                return -1
            size = at - start + head.size
            # Each item takes a byte at least.
            if size + head.items > self._limit:
                raise overrun(self._limit, size + head.items, "{} bytes announced")
            at += head.size
            self._take_note(head)
        self._at = at - start
        if at > stop:
            return -1
        self._at = 0
        self._open = [[1, 0, 0]]
        return at

    def _take_note(self, head: Head) -> None:
        open_ = self._open
        top = open_[-1]
        if head.is_end:
            if top[0] >= 0 or (top[2] and top[1] & 1):
                raise IncrementalDeserializeError("the end of a container where none can be")
            open_.pop()
        else:
            if head.refusal is not None:
                self.refusal = head.refusal
            if top[2] and not top[1] & 1 and self._text_keys and not head.is_text:
                self.refusal = "a key is not text (text_keys=False would take it)"
            top[0] -= 1 if top[0] > 0 else 0
            top[1] += 1
            if head.items:
                if len(open_) > self._max_depth:
                    raise IncrementalDeserializeError(f"values are nested deeper than {self._max_depth}")
                open_.append([head.items, 0, head.is_map])
        while open_ and open_[-1][0] == 0:
            open_.pop()


class ScannedDecoder(PacketDecoder[PacketT]):
    """Cuts a stream into values, and hands each to a function.

    A value that *decode* refuses is a fault, and the stream goes on behind it. One without an end, or over a limit,
    ends the stream.
    """

    __slots__ = ("_at", "_buffer", "_decode", "_scanner")

    def __init__(self, scanner: ValueScanner, decode: Callable[[bytes], PacketT]) -> None:
        super().__init__()
        self._scanner = scanner
        self._decode = decode
        self._buffer = bytearray()
        self._at = 0  # where the first value begins that is not decoded

    def feed(self, data: bytes) -> None:
        if self.is_broken:
            return
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data
        self.is_ready = bool(self._buffer)

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        packets: list[PacketT] = []
        buffer, scanner = self._buffer, self._scanner
        while len(packets) < most:
            try:
                end = scanner.find(buffer, self._at, len(buffer))
            except DeserializeError as exc:
                self._buffer = bytearray()
                self._at = 0
                self.is_ready = False
                self.is_broken = True
                return packets, fault_of(exc)
            if end < 0:
                self.is_ready = False
                if self._at == len(buffer):
                    self._buffer = bytearray()  # an idle connection keeps no memory
                    self._at = 0
                break
            data = bytes(memoryview(buffer)[self._at : end])
            self._at = end
            try:
                packets.append(refused_or_decoded(scanner, self._decode, data))
            except Exception as exc:
                return packets, fault_of(exc)
        return packets, None

    @property
    def pending(self) -> int:
        return len(self._buffer) - self._at

    def unread(self) -> bytes:
        rest = bytes(self._buffer[self._at :])
        self._buffer = bytearray()
        self._at = 0
        self.is_ready = False
        return rest


def refused_or_decoded(scanner: ValueScanner, decode: Callable[[bytes], PacketT], data: bytes) -> PacketT:
    """Return the packet of *data*, unless the scanner has found a reason against it.

    Raises:
        DeserializeError: There is one.
    """
    refusal, scanner.refusal = scanner.refusal, None
    if refusal is not None:
        raise DeserializeError(refusal)
    return decode(data)


class ScannedSerializer(FramedSerializer[SentT_contra, ReceivedT_co]):
    """The base of serializers whose packets are values with a structure.

    Args:
        limit: The maximum size of a received packet in bytes.
        max_depth: How many values may be inside one another in it.
        text_keys: Whether keys must be text, since a peer could choose numbers that make a dict slow.

    Raises:
        TypeError: *limit* or *max_depth* is no int.
        ValueError: *limit* or *max_depth* is not positive.
    """

    __slots__ = ("_max_depth", "_text_keys")

    def __init__(self, limit: int, max_depth: int, text_keys: bool) -> None:
        super().__init__(limit)
        if not isinstance(max_depth, int):
            raise TypeError(f"max_depth must be an int, not {type(max_depth).__name__}")
        if max_depth < 1:
            raise ValueError(f"max_depth must be 1 or more, not {max_depth}")
        self._max_depth = max_depth
        self._text_keys = text_keys

    @abstractmethod
    def _new_scanner(self) -> ValueScanner:
        """Return a scanner for one stream or packet."""

    @abstractmethod
    def _decode(self, data: bytes) -> Any:
        """Return the packet of *data*, which is one value.

        Raises:
            DeserializeError: It is none after all.
        """

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data* is.

        Raises:
            DeserializeError: It is none, is not complete, or has something behind it.
        """
        scanner = self._new_scanner()
        end = scanner.find(data, 0, len(data))
        if end < 0:
            raise DeserializeError(f"the packet is not complete ({len(data)} bytes of it received)")
        if end < len(data):
            raise DeserializeError(f"{len(data) - end} bytes follow the packet")
        return refused_or_decoded(scanner, self._decode, data)  # type: ignore[no-any-return]  # `type` says what it is

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*; its end shows by itself."""
        return self.serialize(packet)

    @abstractmethod
    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*."""

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        return ScannedDecoder(self._new_scanner(), self._decode)
