# SPDX-License-Identifier: MIT
"""Packets that are datagrams: what is told of those that are none, and of serializers that fail."""

from __future__ import annotations

from typing import Any

import pytest

from tieline.errors import (
    DatagramProtocolParseError,
    DeserializeError,
    LocalProtocolError,
    PacketConversionError,
)
from tieline.wire.datagram_packets import DatagramPackets
from tieline.wire.protocols import DatagramProtocol, StreamProtocol, checked_datagram_protocol
from tieline.wire.serializers.json import JSONSerializer


class Protocol(DatagramProtocol[Any]):
    """Fails as it is told to."""

    def __init__(self) -> None:
        super().__init__(JSONSerializer())

    def make_datagram(self, packet: Any, /) -> bytes:
        if isinstance(packet, Exception):
            raise packet
        return super().make_datagram(packet)

    def build_packet_from_datagram(self, datagram: bytes, /) -> Any:
        match datagram:
            case b"parse":
                raise DatagramProtocolParseError("no packet")
            case b"raw":
                raise DeserializeError("no packet")
            case b"converter":
                raise PacketConversionError("no packet")
            case b"bug":
                raise KeyError("a bug")
        return super().build_packet_from_datagram(datagram)


def test_packets_become_datagrams_and_come_out_of_them() -> None:
    packets = DatagramPackets(Protocol())
    assert packets.made([1]) == b"[1]"
    assert packets.all_made([1, 2]) == [b"1", b"2"]
    assert packets.built(b"[1]") == [1]
    assert (packets.packets_sent, packets.packets_received, packets.faults) == (3, 1, 0)


@pytest.mark.row("K11")
@pytest.mark.parametrize("datagram", [b"parse", b"raw", b"converter", b"{"])
def test_a_datagram_that_is_no_packet_is_told(datagram: bytes) -> None:
    packets = DatagramPackets(Protocol())
    with pytest.raises(DatagramProtocolParseError):
        packets.built(datagram)
    assert (packets.packets_received, packets.faults) == (0, 1)
    assert packets.built(b"1") == 1


@pytest.mark.row("K11")
def test_a_protocol_that_fails_is_told_both_ways() -> None:
    packets = DatagramPackets(Protocol())
    with pytest.raises(RuntimeError, match="raised KeyError while it read a datagram") as told:
        packets.built(b"bug")
    assert isinstance(told.value.__cause__, KeyError)
    assert packets.faults == 1
    for error in (KeyError("a bug"), PacketConversionError("no way")):
        with pytest.raises(RuntimeError, match="while it made the bytes of a packet") as told:
            packets.made(error)
        assert told.value.__cause__ is error
    own = LocalProtocolError("it says so itself")
    with pytest.raises(LocalProtocolError) as same:
        packets.made(own)
    assert same.value is own
    with pytest.raises(RuntimeError):
        packets.all_made([1, KeyError()])
    assert packets.packets_sent == 0


def test_a_buffer_of_the_serializers_is_copied() -> None:
    class Buffered(DatagramProtocol[Any]):
        buffer = bytearray(b"one")

        def make_datagram(self, packet: Any, /) -> bytes:
            return self.buffer  # type: ignore[return-value]  # so do programs that were written for other libraries

    made = DatagramPackets(Buffered(JSONSerializer())).made(0)
    Buffered.buffer[:] = b"two"
    assert made == b"one"


def test_protocols_are_checked() -> None:
    protocol = DatagramProtocol(JSONSerializer())
    assert checked_datagram_protocol(protocol) is protocol
    with pytest.raises(TypeError, match="must be a DatagramProtocol, not StreamProtocol"):
        checked_datagram_protocol(StreamProtocol(JSONSerializer()))
    with pytest.raises(TypeError, match="not the class DatagramProtocol itself"):
        checked_datagram_protocol(DatagramProtocol)
