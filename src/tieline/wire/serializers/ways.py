# SPDX-License-Identifier: MIT
"""Which of the ways of an incremental serializer is used: the one that its class defines last.

A class may override the generators, which is how users write serializers, or `frame` and `new_decoder`, which cost
less. A subclass of one of ours that overrides a generator means it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tieline.wire.serializers.abc import BufferedIncrementalPacketSerializer, derives_first
from tieline.wire.serializers.generated import BufferDecoder, GeneratorDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.serializers.abc import AbstractIncrementalPacketSerializer
    from tieline.wire.serializers.decoding import PacketDecoder

__all__ = ["buffered_decoder_of", "decoder_of", "framer_of"]


def framer_of(serializer: AbstractIncrementalPacketSerializer[Any, Any]) -> Callable[[Any], bytes]:
    """Return what makes the bytes of a packet in a stream."""
    if derives_first(type(serializer), "frame", "incremental_serialize"):
        return serializer.frame
    return lambda packet: b"".join(serializer.incremental_serialize(packet))


def decoder_of(serializer: AbstractIncrementalPacketSerializer[Any, Any]) -> PacketDecoder[Any]:
    """Return a new decoder."""
    if derives_first(type(serializer), "new_decoder", "incremental_deserialize"):
        return serializer.new_decoder()
    return GeneratorDecoder(serializer.incremental_deserialize)


def buffered_decoder_of(serializer: BufferedIncrementalPacketSerializer[Any, Any]) -> PacketDecoder[Any]:
    """Return a new decoder that fills the serializer's own buffer, if it has a way of its own to read from one."""
    if derives_first(type(serializer), "new_decoder", "buffered_incremental_deserialize"):
        return decoder_of(serializer)
    return BufferDecoder(serializer.create_deserializer_buffer, serializer.buffered_incremental_deserialize)
