# SPDX-License-Identifier: MIT
"""Converters: between the packets that a serializer knows and the objects that a program wants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # type checkers know it, and it is not asked for at run time

    SentT_contra = TypeVar("SentT_contra", contravariant=True)
    ReceivedT_co = TypeVar("ReceivedT_co", covariant=True)
    SentDTOT_co = TypeVar("SentDTOT_co", covariant=True)
    ReceivedDTOT_contra = TypeVar("ReceivedDTOT_contra", contravariant=True, default=SentDTOT_co)
    PacketT = TypeVar("PacketT")
    DTOT = TypeVar("DTOT")
else:
    from typing import TypeVar

    SentT_contra, ReceivedT_co, SentDTOT_co, ReceivedDTOT_contra, PacketT, DTOT = map(
        TypeVar, ("SentT_contra", "ReceivedT_co", "SentDTOT_co", "ReceivedDTOT_contra", "PacketT", "DTOT")
    )

__all__ = [
    "AbstractPacketConverter",
    "AbstractPacketConverterComposite",
    "StapledPacketConverter",
    "checked_converter",
]


class AbstractPacketConverterComposite(ABC, Generic[SentT_contra, ReceivedT_co, SentDTOT_co, ReceivedDTOT_contra]):
    """Converts both ways, if sent and received packets are of different kinds.

    In the names, DTO is the serializer's kind of packet. A converter stores nothing between two packets, so one object
    serves any number of connections and threads at once.
    """

    __slots__ = ("__weakref__",)

    @abstractmethod
    def create_from_dto_packet(self, packet: ReceivedDTOT_contra, /) -> ReceivedT_co:
        """Return the program's object for a *packet* of the serializer.

        Raises:
            PacketConversionError: The packet is invalid; the receiver gets a parse error.
        """

    @abstractmethod
    def convert_to_dto_packet(self, obj: SentT_contra, /) -> SentDTOT_co:
        """Return the packet of the serializer for *obj*."""


class AbstractPacketConverter(AbstractPacketConverterComposite[PacketT, PacketT, DTOT, DTOT]):
    """Converts both ways between two kinds of packets."""

    __slots__ = ()


class StapledPacketConverter(
    AbstractPacketConverterComposite[SentT_contra, ReceivedT_co, SentDTOT_co, ReceivedDTOT_contra]
):
    """Converts sent packets with one converter, and received packets with another.

    Args:
        sent_packet_converter: For what is sent.
        received_packet_converter: For what is received.

    Raises:
        TypeError: One of them is no converter.
    """

    __slots__ = ("_received", "_sent")

    def __init__(
        self,
        sent_packet_converter: AbstractPacketConverterComposite[SentT_contra, Any, SentDTOT_co, Any],
        received_packet_converter: AbstractPacketConverterComposite[Any, ReceivedT_co, Any, ReceivedDTOT_contra],
    ) -> None:
        self._sent: Any = checked_converter(sent_packet_converter)
        self._received: Any = checked_converter(received_packet_converter)

    @property
    def sent_packet_converter(self) -> AbstractPacketConverterComposite[SentT_contra, Any, SentDTOT_co, Any]:
        """The converter for what is sent."""
        return self._sent  # type: ignore[no-any-return]  # it was checked

    @property
    def received_packet_converter(
        self,
    ) -> AbstractPacketConverterComposite[Any, ReceivedT_co, Any, ReceivedDTOT_contra]:
        """The converter for what is received."""
        return self._received  # type: ignore[no-any-return]  # it was checked

    def create_from_dto_packet(self, packet: ReceivedDTOT_contra, /) -> ReceivedT_co:
        """Return what the converter for what is received makes of *packet*."""
        made: ReceivedT_co = self._received.create_from_dto_packet(packet)
        return made

    def convert_to_dto_packet(self, obj: SentT_contra, /) -> SentDTOT_co:
        """Return what the converter for what is sent makes of *obj*."""
        made: SentDTOT_co = self._sent.convert_to_dto_packet(obj)
        return made


def checked_converter(converter: object) -> AbstractPacketConverterComposite[Any, Any, Any, Any]:
    """Return *converter*.

    Raises:
        TypeError: It is no converter.
    """
    checked: Any = converter
    if not isinstance(converter, AbstractPacketConverterComposite):
        seen = converter.__name__ + " itself" if isinstance(converter, type) else type(converter).__name__
        raise TypeError(f"converter must be an AbstractPacketConverterComposite, not {seen}")
    return checked  # type: ignore[no-any-return]  # it was checked
