# SPDX-License-Identifier: MIT
"""What type checkers know of packets: `make types` reads this file, and what they see is what there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, assert_type, cast

import pytest

from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import (
    BytesSerializer,
    JSONSerializer,
    LengthPrefixedSerializer,
    MessagePackSerializer,
    StapledPacketSerializer,
    StringLineSerializer,
)
from tieline.wire.converters import AbstractPacketConverter

if TYPE_CHECKING:
    from tieline.wire.protocols import AnyStreamProtocol


@dataclass
class Order:
    to: int


class Celsius(AbstractPacketConverter[float, str]):
    def create_from_dto_packet(self, packet: str, /) -> float:
        return float(packet)

    def convert_to_dto_packet(self, obj: float, /) -> str:
        return str(obj)


def the_received(protocol: AnyStreamProtocol[Any, Any], data: bytes) -> Any:
    decoder = protocol.new_decoder()
    decoder.feed(data)
    return decoder.next()


def test_what_is_received_is_of_the_type_of_the_serializer() -> None:
    lines = StreamProtocol(JSONSerializer(type=Order))
    assert_type(lines, StreamProtocol[Any, Order])
    assert the_received(lines, b'{"to":5}\n') == Order(5)
    numbers = StreamProtocol(LengthPrefixedSerializer(MessagePackSerializer(type=list[int]), prefix_size=1))
    assert_type(numbers, StreamProtocol[Any, list[int]])
    assert the_received(numbers, b"\2\x91\1") == [1]
    datagrams = DatagramProtocol(JSONSerializer(type=Order))
    assert_type(datagrams, DatagramProtocol[Any, Order])
    assert datagrams.build_packet_from_datagram(b'{"to":6}') == Order(6)


def test_where_checkers_have_no_word_for_the_type_it_is_anything() -> None:
    some = StreamProtocol(JSONSerializer(type=Literal["on", "off"]))
    assert_type(some, StreamProtocol[Any, Any])
    assert the_received(some, b'"on"\n') == "on"


def test_or_it_is_what_the_converter_makes() -> None:
    degrees = StreamProtocol(StringLineSerializer(), Celsius())
    assert_type(degrees, StreamProtocol[float, float])
    assert the_received(degrees, b"20.5\n") == 20.5


def test_checkers_take_a_staple_for_what_it_is() -> None:
    stapled = StapledPacketSerializer(StringLineSerializer(), LengthPrefixedSerializer(BytesSerializer()))
    protocol = StreamProtocol(stapled)
    assert_type(protocol, "StreamProtocol[str, bytes]")
    assert protocol.framer()("a") == b"a\n"
    one_shot = StapledPacketSerializer(BytesSerializer(), StringLineSerializer())
    assert_type(one_shot, "StapledPacketSerializer[bytes | bytearray | memoryview, str]")
    with pytest.raises(TypeError, match="serializer must be an AbstractIncrementalPacketSerializer"):
        StreamProtocol(cast("Any", one_shot))
