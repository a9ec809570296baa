# SPDX-License-Identifier: MIT
"""Packets that end with a separator: the decoder, and the base for serializers of such."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from tieline.wire.default import NOTHING
from tieline.wire.framing.pieces import add_piece
from tieline.wire.serializers.abc import ReceivedT_co, SentT_contra
from tieline.wire.serializers.decoding import PacketDecoder, fault_of
from tieline.wire.serializers.framed import DEFAULT_LIMIT, FramedSerializer, overrun

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.default import Nothing

__all__ = ["AutoSeparatedPacketSerializer", "SeparatedDecoder"]

PacketT = TypeVar("PacketT")

# From this length on, finding a separator and slicing is cheaper than split().
_LONG: Final = 1024
# In place of a list that nothing is in, nor put into: an idle connection has none.
_NONE: Final[list[Any]] = cast("list[Any]", ())


class SeparatedDecoder(PacketDecoder[PacketT]):
    r"""Cuts a stream at a separator, and hands what stands between two of them to a function.

    A packet over the limit is a fault, told as soon as that many bytes of it have come; then it is thrown away up to
    its separator, and the stream goes on. The work is linear in bytes however the stream is cut.

    Args:
        separator: What follows each packet.
        limit: The most bytes of a packet, the separator not counted.
        decode: Makes a packet of its bytes.
        explain: Says what an error of *decode* means; as it is, if there is nothing to say.
        skip: What stands for no packet, such as an empty line.
    """

    __slots__ = (
        "_at",
        "_carry",
        "_decode",
        "_discarding",
        "_explain",
        "_has_faults",
        "_held",
        "_held_size",
        "_is_within",
        "_limit",
        "_lines",
        "_separator",
        "_separator_size",
        "_skip",
    )

    def __init__(
        self,
        separator: bytes,
        limit: int,
        decode: Callable[[bytes], PacketT],
        explain: Callable[[Exception], Exception] | None = None,
        skip: tuple[bytes, ...] = (),
    ) -> None:
        super().__init__()
        self._separator = separator
        self._separator_size = len(separator)
        self._limit = limit
        self._decode = decode
        self._explain = explain
        self._skip = skip
        self._lines: list[Any] = _NONE  # cut and not decoded, from _at on; a fault that is known stands in its place
        self._at = 0
        self._has_faults = False  # there are faults among them, or some that are over the limit
        self._held: list[bytes | bytearray] = _NONE  # of the packet whose separator has not come
        self._held_size = 0
        self._carry = b""  # the last of its bytes, where they may be the beginning of a separator
        self._discarding = False  # that packet is over the limit: what has come of it before stands among the lines
        self._is_within = False  # any of these three is set: a part of a packet has come

    def decode_alone(self, data: bytes) -> PacketT | Nothing:
        size = data.find(self._separator)
        if size < 0 or size + self._separator_size != len(data) or size > self._limit or self._is_within:
            return NOTHING
        line = data[:size]
        if line in self._skip:
            return NOTHING
        try:
            return self._decode(line)
        except Exception as exc:
            self.refuse_alone(fault_of(exc if self._explain is None else self._explain(exc)))
            return NOTHING

    def refuse_alone(self, fault: Exception) -> None:
        self._lines = [fault]
        self._has_faults = self._is_within = self._discarding = True  # as of a packet that is over the limit

    def feed(self, data: bytes) -> None:
        separator = self._separator
        if self._carry:
            data = self._carry + data
        elif type(data) is not bytes:
            data = bytes(data)  # a buffer that its owner may refill
        first = data.find(separator)
        if first < 0:
            self._hold(data)
            return
        lines: list[Any] = data.split(separator) if first < _LONG else _split_long(data, separator)
        tail = lines.pop()
        size = self._held_size + len(data)  # no packet can be longer, so nearly always none needs to be measured
        if self._held_size or self._discarding:
            self._complete(lines)
        for empty in self._skip:
            if empty in lines:
                lines = [line for line in lines if line != empty]
        if size > self._limit and any(len(line) > self._limit for line in lines):
            self._has_faults = True
        if self._at < len(self._lines):
            self._lines += lines
        else:
            self._lines = lines
            self._at = 0
        self.is_ready = self._at < len(self._lines)
        self._carry = b""
        self._is_within = False
        if tail:
            self._hold(tail)

    def _hold(self, piece: bytes) -> None:
        """Keep *piece* of the packet whose end has not come, the last of it apart if it may begin a separator."""
        self._carry = b""
        self._is_within = True
        for size in range(len(self._separator) - 1, 0, -1):
            if piece.endswith(self._separator[:size]):
                self._carry = piece[-size:]
                piece = piece[:-size]
                break
        if self._discarding or not piece:
            return
        self._held_size += len(piece)
        if not self._held:
            self._held = []
        add_piece(self._held, piece)
        if self._held_size > self._limit:
            self._lines = [*self._lines, b"".join(self._held)]
            self._has_faults = self.is_ready = True
            self._held = _NONE
            self._held_size = 0
            self._discarding = True

    def _complete(self, lines: list[Any]) -> None:
        """Put what is held before the first of *lines*; or throw that away, as the end of what is over the limit."""
        if self._discarding:
            del lines[0]
        else:
            lines[0] = b"".join((*self._held, lines[0]))
        self._held = _NONE
        self._held_size = 0
        self._discarding = False

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        at, lines = self._at, self._lines
        some = lines if not at and len(lines) <= most else lines[at : at + most]
        packets: list[PacketT] = []
        if self._has_faults:
            some, fault = self._up_to_fault(some)
        else:
            fault = None
        try:
            # In one step, without a line of Python for each packet. When one fails, those before it are in the list.
            packets.extend(map(self._decode, some))
        except Exception as exc:
            self._advance(at + len(packets) + 1)
            return packets, fault_of(exc if self._explain is None else self._explain(exc))
        self._advance(at + len(some) + (fault is not None))
        return packets, fault

    def _up_to_fault(self, lines: list[Any]) -> tuple[list[Any], Exception | None]:
        for index, line in enumerate(lines):
            if not isinstance(line, bytes):
                return lines[:index], line
            if len(line) > self._limit:
                return lines[:index], overrun(self._limit, len(line))
        return lines, None

    def _advance(self, at: int) -> None:
        self._at = at
        if at >= len(self._lines):
            self._lines = _NONE
            self._at = 0
            self.is_ready = self._has_faults = False

    @property
    def pending(self) -> int:
        lines = self._unread_lines()
        ends = len(lines) - (self._discarding and lines != [])
        return sum(map(len, lines)) + ends * self._separator_size + self._held_size + len(self._carry)

    @property
    def has_begun(self) -> bool:
        return self._is_within

    @property
    def is_discarding(self) -> bool:
        return self._discarding and not self.is_ready  # else the fault is among the lines, and not told

    def unread(self) -> bytes:
        """Return the bytes that are held; of a packet over the limit that was not told, what makes it so."""
        lines = self._unread_lines()
        end = self._separator if lines and not self._discarding else b""
        rest = b"".join((self._separator.join(lines), end, *self._held, self._carry))
        if lines:
            self._discarding = False  # it is whoever gets them who will see that
        self._advance(len(self._lines))
        self._held = _NONE
        self._held_size = 0
        self._carry = b""
        self._is_within = self._discarding
        return rest

    def _unread_lines(self) -> list[bytes]:
        """Return what is cut and not decoded; while something is thrown away, the last is what had come of that."""
        return [line for line in self._lines[self._at :] if isinstance(line, bytes)]


def _split_long(data: bytes, separator: bytes) -> list[bytes]:
    """Return ``data.split(separator)``, faster where packets are long: 1 MB costs 9 us, not 280."""
    lines: list[bytes] = []
    start = 0
    while (end := data.find(separator, start)) - start >= _LONG:
        lines.append(data[start:end])
        start = end + len(separator)
    # The first short one ends the search: a loop over short ones would cost five times what split() does.
    lines += data[start:].split(separator) if end >= 0 else [data[start:]]
    return lines


class AutoSeparatedPacketSerializer(FramedSerializer[SentT_contra, ReceivedT_co]):
    """The base of serializers whose packets end with a separator: override `serialize` and `deserialize`.

    A packet over the limit is dropped up to its separator, and the stream goes on after it.

    Args:
        separator: What follows each packet; at least one byte.
        checks_separator: Whether a packet that contains the separator is refused when it is sent. False is only for
            serializers that never produce one.
        limit: The maximum size of a received packet in bytes, not counting the separator.

    Raises:
        TypeError: *separator* is not bytes, or *limit* no int.
        ValueError: *separator* is empty, or *limit* not positive.
    """

    __slots__ = ("_checks_separator", "_separator")

    def __init__(self, separator: bytes, *, checks_separator: bool = True, limit: int = DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        if type(separator) is not bytes:
            raise TypeError(f"separator must be bytes, not {type(separator).__name__}")
        if not separator:
            raise ValueError("separator must not be empty")
        self._separator = separator
        self._checks_separator = checks_separator

    @property
    def separator(self) -> bytes:
        """What follows each packet."""
        return self._separator

    @abstractmethod
    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*, without the separator."""

    @abstractmethod
    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data* is; there is no separator in it.

        Raises:
            DeserializeError: *data* is not a valid packet.
        """

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return *packet* with its separator.

        Raises:
            ValueError: The packet contains the separator, so the peer would read it as several. Your fault.
        """
        data = self.serialize(packet)
        framed = data + self._separator
        # Not only inside: the end of a packet may make another separator with the first bytes of the one behind it.
        if self._checks_separator and framed.find(self._separator) != len(data):
            raise ValueError("a packet must not hold the separator that ends it")
        return framed

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        return SeparatedDecoder(self._separator, self.limit, self.deserialize)
