# SPDX-License-Identifier: MIT
"""One serializer for what is sent, another for what is received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from tieline.wire.serializers.abc import (
    AbstractIncrementalPacketSerializer,
    AbstractPacketSerializer,
    BufferedIncrementalPacketSerializer,
    ReceivedT_co,
    SentT_contra,
)
from tieline.wire.serializers.sized import checked_serializer
from tieline.wire.serializers.ways import buffered_decoder_of, decoder_of, framer_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from tieline.wire.serializers.decoding import PacketDecoder

__all__ = ["StapledPacketSerializer"]


class StapledPacketSerializer(AbstractPacketSerializer[SentT_contra, ReceivedT_co]):
    """Sends by one serializer and receives by another.

    It is incremental if both are, and reads from a buffer if the receiving one does.

    Args:
        sent_packet_serializer: Makes bytes of packets.
        received_packet_serializer: Makes packets of bytes.

    Raises:
        TypeError: One of them is no serializer.
    """

    __slots__ = ("_received", "_sent")

    _sent: Any
    _received: Any

    @overload
    def __new__(
        cls,
        sent_packet_serializer: AbstractIncrementalPacketSerializer[SentT_contra, Any],
        received_packet_serializer: BufferedIncrementalPacketSerializer[Any, ReceivedT_co],
    ) -> _StapledBuffered[SentT_contra, ReceivedT_co]:
        """It is for streams, and reads from a buffer as well."""

    @overload
    def __new__(
        cls,
        sent_packet_serializer: AbstractIncrementalPacketSerializer[SentT_contra, Any],
        received_packet_serializer: AbstractIncrementalPacketSerializer[Any, ReceivedT_co],
    ) -> _StapledIncremental[SentT_contra, ReceivedT_co]:
        """It is for streams."""

    @overload
    def __new__(
        cls,
        sent_packet_serializer: AbstractPacketSerializer[SentT_contra, Any],
        received_packet_serializer: AbstractPacketSerializer[Any, ReceivedT_co],
    ) -> StapledPacketSerializer[SentT_contra, ReceivedT_co]:
        """It is for datagrams, or for a frame around it."""

    def __new__(
        cls,
        sent_packet_serializer: AbstractPacketSerializer[SentT_contra, Any],
        received_packet_serializer: AbstractPacketSerializer[Any, ReceivedT_co],
    ) -> StapledPacketSerializer[SentT_contra, ReceivedT_co]:
        """Return a serializer that can do what both can."""
        kind: type[StapledPacketSerializer[Any, Any]] = cls
        if cls is StapledPacketSerializer and isinstance(sent_packet_serializer, AbstractIncrementalPacketSerializer):
            if isinstance(received_packet_serializer, BufferedIncrementalPacketSerializer):
                kind = _StapledBuffered
            elif isinstance(received_packet_serializer, AbstractIncrementalPacketSerializer):
                kind = _StapledIncremental
        new: Any = object.__new__  # Any, since checkers take it to make what its class is, and that alone
        return new(kind)  # type: ignore[no-any-return]  # that, or a subclass of it

    if not TYPE_CHECKING:  # checkers would take the class from here, and not what `__new__` makes

        def __init__(self, sent_packet_serializer, received_packet_serializer):
            self._sent = checked_serializer(sent_packet_serializer)
            self._received = checked_serializer(received_packet_serializer)

    @property
    def sent_packet_serializer(self) -> AbstractPacketSerializer[SentT_contra, Any]:
        """What makes bytes of packets."""
        return self._sent  # type: ignore[no-any-return]  # it was checked

    @property
    def received_packet_serializer(self) -> AbstractPacketSerializer[Any, ReceivedT_co]:
        """What makes packets of bytes."""
        return self._received  # type: ignore[no-any-return]  # it was checked

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*."""
        data: bytes = self._sent.serialize(packet)
        return data

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data* is, all of it.

        Raises:
            DeserializeError: It is none.
        """
        packet: ReceivedT_co = self._received.deserialize(data)
        return packet


class _StapledIncremental(
    StapledPacketSerializer[SentT_contra, ReceivedT_co], AbstractIncrementalPacketSerializer[SentT_contra, ReceivedT_co]
):
    """Both are incremental."""

    __slots__ = ()

    def incremental_serialize(self, packet: SentT_contra, /) -> Generator[bytes, None, None]:
        yield from self._sent.incremental_serialize(packet)

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[ReceivedT_co, bytes]]:
        reading: Generator[None, bytes, tuple[ReceivedT_co, bytes]] = self._received.incremental_deserialize()
        return (yield from reading)

    def frame(self, packet: SentT_contra, /) -> bytes:
        return framer_of(self._sent)(packet)

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        return decoder_of(self._received)


class _StapledBuffered(
    _StapledIncremental[SentT_contra, ReceivedT_co], BufferedIncrementalPacketSerializer[SentT_contra, ReceivedT_co]
):
    """Both are incremental, and what is received is read from a buffer."""

    __slots__ = ()

    def create_deserializer_buffer(self, sizehint: int, /) -> Any:
        return self._received.create_deserializer_buffer(sizehint)

    def buffered_incremental_deserialize(
        self, buffer: Any, /
    ) -> Generator[int | None, int, tuple[ReceivedT_co, bytes | bytearray | memoryview]]:
        reading: Generator[int | None, int, tuple[ReceivedT_co, bytes]] = (
            self._received.buffered_incremental_deserialize(buffer)
        )
        return (yield from reading)

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        return buffered_decoder_of(self._received)
