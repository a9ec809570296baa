# SPDX-License-Identifier: MIT
"""Packets whose size is known beforehand: always the same, or told by a number before each."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from tieline.errors import OutgoingMessageTooLarge
from tieline.wire.framing.pieces import add_piece
from tieline.wire.serializers.abc import AbstractPacketSerializer, ReceivedT_co, SentT_contra, overrides
from tieline.wire.serializers.decoding import PacketDecoder, fault_of
from tieline.wire.serializers.framed import DEFAULT_LIMIT, FramedSerializer, overrun

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FixedSizeDecoder",
    "FixedSizePacketSerializer",
    "LengthPrefixedSerializer",
    "PrefixedDecoder",
    "checked_serializer",
]

PacketT = TypeVar("PacketT")

# From this length on, the bytes of a packet are joined without its length, to be copied once and not twice.
_LONG: Final = 64 * 1024
_PREFIX_SIZES: Final = (1, 2, 3, 4, 8)


class _Chunks(PacketDecoder[PacketT]):
    """Bytes that wait, and how many are needed before it is worth to look at them."""

    __slots__ = ("_at", "_decode", "_needed", "_pieces", "_size")

    def __init__(self, decode: Callable[[bytes], PacketT], needed: int) -> None:
        super().__init__()
        self._decode = decode
        self._pieces: list[bytes | bytearray] = []  # joined once, when what is needed has come
        self._at = 0  # the beginning of what is not decoded, in the first piece
        self._size: int = 0  # of all of them, without what is decoded
        self._needed = needed

    def feed(self, data: bytes) -> None:
        if type(data) is not bytes:
            data = bytes(data)  # a buffer that its owner may refill
        if self._pieces:
            add_piece(self._pieces, data)
        elif data:
            self._pieces.append(data)
            self._at = 0
        self._size += len(data)
        self.is_ready = self._size >= self._needed

    def _joined(self) -> bytes:
        """Return all that waits, from `_at` on."""
        pieces = self._pieces
        if len(pieces) > 1:
            pieces[:] = [b"".join(pieces)]
        return pieces[0]  # type: ignore[return-value]  # the first one is never gathered: see `feed`

    def _decoded(self, at: int) -> None:
        """Take note that all before *at*, in the first piece, is decoded."""
        self._size -= at - self._at
        self._at = at
        if not self._size:
            self._pieces = []
            self._at = 0
        elif self._size < self._needed and at > 4096:
            # What is left is about to wait: it must not keep the memory of all that came with it.
            self._pieces = [self._joined()[at:]]
            self._at = 0
        self.is_ready = self._size >= self._needed

    @property
    def pending(self) -> int:
        return self._size

    def unread(self) -> bytes:
        rest = self._joined()[self._at :] if self._pieces else b""
        self._pieces = []
        self._at = self._size = 0
        self.is_ready = False
        return rest


class FixedSizeDecoder(_Chunks[PacketT]):
    """Cuts a stream into packets of *size* bytes. One that *decode* refuses is a fault, and the next one follows."""

    __slots__ = ()

    def __init__(self, size: int, decode: Callable[[bytes], PacketT]) -> None:
        super().__init__(decode, size)

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        packets: list[PacketT] = []
        if not self.is_ready:
            return packets, None
        data, at, size = self._joined(), self._at, self._needed
        stop = at + size * min(most, self._size // size)
        try:
            # In one step, without a line of Python for each packet. When one fails, those before it are in the list.
            packets.extend(map(self._decode, [data[start : start + size] for start in range(at, stop, size)]))
        except Exception as exc:
            self._decoded(at + size * (len(packets) + 1))
            return packets, fault_of(exc)
        self._decoded(stop)
        return packets, None


class PrefixedDecoder(_Chunks[PacketT]):
    """Cuts a stream into packets that follow their own length.

    A packet over the limit is a fault, told at its length, before any byte of it is kept; it is thrown away as it
    comes, and the stream goes on behind it.

    Args:
        prefix_size: How many bytes the length has.
        byteorder: "big" or "little".
        limit: The most bytes of a packet.
        decode: Makes a packet of its bytes.
    """

    __slots__ = ("_body", "_byteorder", "_limit", "_prefix_size", "_to_skip")

    def __init__(
        self, prefix_size: int, byteorder: Literal["big", "little"], limit: int, decode: Callable[[bytes], PacketT]
    ) -> None:
        super().__init__(decode, prefix_size)
        self._prefix_size = prefix_size
        self._byteorder: Literal["big", "little"] = byteorder
        self._limit = limit
        self._to_skip = 0  # how many bytes are to be thrown away before the next length
        self._body = 0  # the length of a long packet whose bytes come now; what waits begins behind its length

    def feed(self, data: bytes) -> None:
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        super().feed(data)

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        packets: list[PacketT] = []
        if not self.is_ready:
            return packets, None
        if self._body:
            try:
                packets.append(self._decode(self._cut_body()))
            except Exception as exc:
                return packets, fault_of(exc)
            if most == 1 or self._size < self._needed:
                return packets, None
        data, at = self._joined(), self._at
        fault: Exception | None = None
        left, prefix_size = self._size, self._prefix_size
        self._needed = prefix_size
        while left >= prefix_size and len(packets) < most:
            start = at + prefix_size
            size = int.from_bytes(data[at:start], self._byteorder)
            if size > self._limit:
                fault = overrun(self._limit, size, "{} bytes announced")
                at, self._to_skip = self._skip(start, left - prefix_size, size)
                break
            if left - prefix_size < size:
                if size < _LONG:
                    self._needed = prefix_size + size
                else:
                    at, self._body, self._needed = start, size, size
                break
            at = start + size
            left -= prefix_size + size
            try:
                packets.append(self._decode(data[start:at]))
            except Exception as exc:
                self._decoded(at)
                return packets, fault_of(exc)
        self._decoded(at)
        return packets, fault

    def _cut_body(self) -> bytes:
        """Return the bytes of the long packet that has come in full. Each of them is copied once."""
        pieces, at, left = self._pieces, self._at, self._body
        parts: list[memoryview] = []
        while left:
            parts.append(memoryview(pieces[len(parts)])[at : at + left])
            left -= len(parts[-1])
            at = 0 if left else at + len(parts[-1])
        body = b"".join(parts)
        count = len(parts)
        parts.clear()  # a piece that is seen by somebody cannot grow
        pieces[:count] = [bytes(pieces[count - 1][at:])]
        self._at = 0
        self._size -= len(body)
        self._body, self._needed = 0, self._prefix_size
        if not self._size:
            self._pieces = []
        self.is_ready = self._size >= self._needed
        return body

    @property
    def pending(self) -> int:
        return self._size + (self._prefix_size if self._body else 0)

    @property
    def has_begun(self) -> bool:
        return self._to_skip > 0 or self.pending > 0

    @property
    def is_discarding(self) -> bool:
        return self._to_skip > 0

    def unread(self) -> bytes:
        prefix = self._body.to_bytes(self._prefix_size, self._byteorder) if self._body else b""
        self._body, self._needed = 0, self._prefix_size
        return prefix + super().unread()

    def _skip(self, start: int, left: int, size: int) -> tuple[int, int]:
        """Return where to go on behind a packet that is thrown away, and how much of it is still to come."""
        return start + min(left, size), max(0, size - left)


class FixedSizePacketSerializer(FramedSerializer[SentT_contra, ReceivedT_co]):
    """The base of serializers whose packets all have *size* bytes: override `serialize` and `deserialize`.

    Args:
        size: How many bytes a packet has; it is the limit as well.

    Raises:
        TypeError: *size* is no int.
        ValueError: *size* is not positive.
    """

    __slots__ = ()

    def __init__(self, size: int) -> None:
        super().__init__(size)

    @property
    def packet_size(self) -> int:
        """How many bytes a packet has."""
        return self._limit

    @abstractmethod
    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*: `packet_size` of them."""

    @abstractmethod
    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data* is.

        Raises:
            DeserializeError: *data* is not a valid packet.
        """

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*.

        Raises:
            ValueError: They are not `packet_size`. Your fault.
        """
        data = self.serialize(packet)
        if len(data) != self._limit:
            raise ValueError(f"a packet must have {self._limit} bytes, not {len(data)}")
        return data

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        return FixedSizeDecoder(self._limit, self.deserialize)


class LengthPrefixedSerializer(FramedSerializer[SentT_contra, ReceivedT_co]):
    """Puts the length of a packet before it, which makes any serializer fit for streams.

    The length does not count itself. A packet over the limit is dropped, and the stream goes on after it.

    Args:
        serializer: Converts packets to bytes and back; only its ``serialize`` and ``deserialize`` are used.
        prefix_size: The size of the length in bytes: 1, 2, 3, 4 or 8.
        byteorder: "big" (network order) or "little".
        limit: The maximum size of a received packet in bytes, not counting the length.

    Raises:
        TypeError: *serializer* is none, or *limit* no int.
        ValueError: *prefix_size* or *byteorder* is none of these, or *limit* is not positive.
    """

    __slots__ = ("_byteorder", "_prefix_size", "_serializer")

    def __init__(
        self,
        serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co],
        *,
        prefix_size: int = 4,
        byteorder: Literal["big", "little"] = "big",
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(limit)
        self._serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co] = checked_serializer(serializer)
        if prefix_size not in _PREFIX_SIZES:
            raise ValueError(f"prefix_size must be one of {_PREFIX_SIZES}, not {prefix_size!r}")
        if byteorder not in ("big", "little"):
            raise ValueError(f"byteorder must be 'big' or 'little', not {byteorder!r}")
        self._prefix_size = prefix_size
        self._byteorder: Literal["big", "little"] = byteorder

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet* without its length, as in a datagram."""
        return self._serializer.serialize(packet)

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data*, without a length, is.

        Raises:
            DeserializeError: *data* is not a valid packet.
        """
        return self._serializer.deserialize(data)

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* after its length.

        Raises:
            OutgoingMessageTooLarge: The length has no room for it. Your fault.
        """
        data = self.serialize(packet)
        size = len(data)
        try:
            return size.to_bytes(self._prefix_size, self._byteorder) + data
        except OverflowError:
            raise OutgoingMessageTooLarge(256**self._prefix_size - 1, size) from None  # it says all of it

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        decode = self.deserialize
        if not overrides(type(self), LengthPrefixedSerializer, "deserialize"):
            decode = self._serializer.deserialize  # one call less for each packet
        return PrefixedDecoder(self._prefix_size, self._byteorder, self._limit, decode)


def checked_serializer(serializer: object) -> AbstractPacketSerializer[Any, Any]:
    """Return *serializer*.

    Raises:
        TypeError: It is no serializer.
    """
    checked: Any = serializer
    if not isinstance(serializer, AbstractPacketSerializer):
        seen = serializer.__name__ + " itself" if isinstance(serializer, type) else type(serializer).__name__
        raise TypeError(f"serializer must be an AbstractPacketSerializer, not {seen}")
    return checked  # type: ignore[no-any-return]  # it was checked
