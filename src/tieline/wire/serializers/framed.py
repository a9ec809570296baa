# SPDX-License-Identifier: MIT
"""What our serializers for streams have in common: a limit, and the buffer that the base classes ask for."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import LimitOverrunError
from tieline.wire.serializers.abc import (
    BufferedIncrementalPacketSerializer,
    ReceivedT_co,
    SentT_contra,
    incremental_error,
)
from tieline.wire.serializers.generated import read_one

if TYPE_CHECKING:
    from collections.abc import Generator

    from tieline.wire.serializers.decoding import PacketDecoder

__all__ = ["DEFAULT_LIMIT", "FramedSerializer", "checked_limit", "overrun"]

# As `Limits.max_message` for connections that are accepted: parsing costs up to 44 times the size in memory.
DEFAULT_LIMIT: Final = 1 << 20


def checked_limit(limit: object) -> int:
    """Return *limit*, a number of bytes.

    Raises:
        TypeError: It is no int.
        ValueError: It is not positive.
    """
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"limit must be an int, not {type(limit).__name__}")
    if limit < 1:
        raise ValueError(f"limit must be 1 or more, not {limit}")
    return limit


def overrun(limit: int, seen: int, why: str = "at least {} bytes received") -> LimitOverrunError:
    """Return the fault of a packet that is over its limit."""
    return LimitOverrunError(f"packet too large (limit {limit}): {why.format(seen)}", limit=limit)


class FramedSerializer(BufferedIncrementalPacketSerializer[SentT_contra, ReceivedT_co]):
    """A serializer for streams that says how a packet is framed and how a decoder is made; the rest follows.

    Args:
        limit: The maximum size of a received packet in bytes.
    """

    __slots__ = ("_limit",)

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = checked_limit(limit)

    @property
    def limit(self) -> int:
        """The most bytes of a packet that is received."""
        return self._limit

    @abstractmethod
    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet* in a stream."""

    @abstractmethod
    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""

    def create_deserializer_buffer(self, sizehint: int, /) -> bytearray:
        """Return a buffer of *sizehint* bytes."""
        return bytearray(sizehint)

    def buffered_incremental_deserialize(
        self, buffer: Any, /
    ) -> Generator[int | None, int, tuple[ReceivedT_co, bytes | bytearray | memoryview]]:
        """Read one packet; see `BufferedIncrementalPacketSerializer.buffered_incremental_deserialize`."""
        return (yield from read_one(self.new_decoder(), incremental_error, buffer))
