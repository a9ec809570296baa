# SPDX-License-Identifier: MIT
"""Packets that are datagrams, one each: what senders and receivers are told when there is something wrong with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from tieline.errors import DatagramProtocolParseError, DeserializeError, LocalProtocolError, PacketConversionError
from tieline.wire.protocols import sending_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tieline.wire.protocols import DatagramProtocol

__all__ = ["DatagramPackets"]

SentT = TypeVar("SentT")
ReceivedT = TypeVar("ReceivedT")


class DatagramPackets(Generic[SentT, ReceivedT]):
    """The packets of one client.

    Args:
        protocol: The format of packets.

    Attributes:
        packets_sent: How many packets were made datagrams of.
        packets_received: How many packets came, faulty ones not counted.
        faults: How many datagrams were no packets.
    """

    __slots__ = ("_build", "_make", "faults", "packets_received", "packets_sent")

    def __init__(self, protocol: DatagramProtocol[SentT, ReceivedT]) -> None:
        self._make = protocol.make_datagram
        self._build = protocol.build_packet_from_datagram
        self.packets_sent = 0
        self.packets_received = 0
        self.faults = 0

    def made(self, packet: SentT) -> bytes:
        """Return the datagram of *packet*.

        Raises:
            RuntimeError: The serializer or the converter failed; see ``__cause__``.
        """
        try:
            datagram = bytes(memoryview(self._make(packet)))
        except LocalProtocolError:
            raise  # what there is to mend is told already
        except Exception as exc:
            raise sending_error(exc) from exc
        self.packets_sent += 1
        return datagram

    def all_made(self, packets: Iterable[SentT]) -> list[bytes]:
        """Return the datagrams of *packets*; none counts when one of them cannot be made.

        Raises:
            RuntimeError: As of `made`.
        """
        before = self.packets_sent
        try:
            return [self.made(packet) for packet in packets]
        except BaseException:
            self.packets_sent = before
            raise

    def built(self, datagram: bytes) -> ReceivedT:
        """Return the packet of *datagram*.

        Raises:
            DatagramProtocolParseError: It is none; see ``__cause__``.
            RuntimeError: The serializer or the converter failed; see ``__cause__``.
        """
        try:
            packet = self._build(datagram)
        except DatagramProtocolParseError:
            self.faults += 1
            raise
        except (DeserializeError, PacketConversionError) as exc:
            self.faults += 1
            raise DatagramProtocolParseError(f"a datagram was not a valid packet: {exc}") from exc
        except Exception as exc:
            self.faults += 1
            text = f"the protocol raised {type(exc).__name__} while it read a datagram: {exc}"
            raise RuntimeError(text) from exc
        self.packets_received += 1
        return packet
