# SPDX-License-Identifier: MIT
"""Packets of MQTT 3.1.1, as a serializer that a user would write who wants them fast: with a decoder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tieline.errors import DeserializeError, IncrementalDeserializeError
from tieline.serializers import AbstractIncrementalPacketSerializer, PacketDecoder

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["MQTT", "MQTTSerializer", "text"]


class MQTT(NamedTuple):
    """A packet: its first byte, which says what it is, and what stands behind the length."""

    head: int
    body: bytes = b""


def text(value: str) -> bytes:
    """Return a text as it stands in a packet."""
    data = value.encode()
    return len(data).to_bytes(2) + data


class MQTTSerializer(AbstractIncrementalPacketSerializer[MQTT, MQTT]):
    """A byte, the length in one to four bytes of seven bits each, and the body."""

    def frame(self, packet: MQTT, /) -> bytes:
        length, size = bytearray(), len(packet.body)
        while True:
            size, bits = size >> 7, size & 127
            length.append(bits | 128 if size else bits)
            if not size:
                return bytes((packet.head, *length)) + packet.body

    def new_decoder(self) -> PacketDecoder[MQTT]:
        return _Decoder()

    def incremental_serialize(self, packet: MQTT, /) -> Generator[bytes, None, None]:
        yield self.frame(packet)

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[MQTT, bytes]]:
        raise NotImplementedError("new_decoder reads")


class _Decoder(PacketDecoder[MQTT]):
    """Reads packets one behind the other out of one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        if not self.is_broken:
            self._buffer += data
            self.is_ready = True

    def take(self, most: int) -> tuple[list[MQTT], Exception | None]:
        packets: list[MQTT] = []
        buffer, place = self._buffer, 0
        fault = None
        while len(packets) < most:
            try:
                start, end = _extent(buffer, place)
            except DeserializeError as exc:
                self.is_broken, place, fault = True, len(buffer), exc
                break
            if end > len(buffer) or start < 0:
                break
            packets.append(MQTT(buffer[place], bytes(buffer[start:end])))
            place = end
        del buffer[:place]
        self.is_ready = len(packets) == most and bool(buffer)
        return packets, fault

    @property
    def pending(self) -> int:
        return len(self._buffer)

    def unread(self) -> bytes:
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


def _extent(buffer: bytearray, place: int) -> tuple[int, int]:
    """Return where the body of the packet at *place* begins and ends; (-1, -1) when its length is not there yet."""
    size = 0
    for index in range(4):
        if place + 1 + index >= len(buffer):
            return -1, -1
        byte = buffer[place + 1 + index]
        size |= (byte & 127) << 7 * index
        if byte < 128:
            start = place + 2 + index
            return start, start + size
    raise IncrementalDeserializeError("a length of more than four bytes", remaining_data=b"")
