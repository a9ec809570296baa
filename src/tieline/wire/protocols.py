# SPDX-License-Identifier: MIT
"""Protocols: what a packet client sends and receives, as a serializer and perhaps a converter.

Users may derive from them and override the hooks. Nobody pays for hooks that are not overridden: clients ask a
protocol for a decoder and for a function that frames, and only an overridden hook comes between.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, overload

from tieline.errors import (
    DatagramProtocolParseError,
    DeserializeError,
    IncrementalDeserializeError,
    PacketConversionError,
    StreamProtocolParseError,
)
from tieline.wire.converters import checked_converter
from tieline.wire.serializers.abc import (
    AbstractIncrementalPacketSerializer,
    AbstractPacketSerializer,
    BufferedIncrementalPacketSerializer,
    both,
    check_overridden,
    overrides,
)
from tieline.wire.serializers.decoding import ConvertingDecoder, PacketDecoder
from tieline.wire.serializers.generated import BufferDecoder, GeneratorDecoder, read_one
from tieline.wire.serializers.ways import buffered_decoder_of, decoder_of, framer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from typing_extensions import TypeVar  # type checkers know it, and it is not asked for at run time

    from tieline.wire.converters import AbstractPacketConverterComposite

    SentT_contra = TypeVar("SentT_contra", contravariant=True, default=Any)
    ReceivedT_co = TypeVar("ReceivedT_co", covariant=True, default=SentT_contra)
else:
    from typing import TypeVar

    SentT_contra = TypeVar("SentT_contra", contravariant=True)
    ReceivedT_co = TypeVar("ReceivedT_co", covariant=True)

__all__ = [
    "AnyStreamProtocol",
    "BufferedStreamProtocol",
    "DatagramProtocol",
    "StreamProtocol",
    "checked_datagram_protocol",
    "checked_stream_protocol",
    "parse_error",
    "sending_error",
]


class AnyStreamProtocol(ABC, Generic[SentT_contra, ReceivedT_co]):
    """The common base of the two stream protocols."""

    __slots__ = ("__weakref__", "_converter", "_serializer")

    if not TYPE_CHECKING:

        def __class_getitem__(cls, params):  # TypeVar knows of defaults only from CPython 3.13 on
            """Return the class with its parameters; what is received is by default what is sent."""
            return super().__class_getitem__(both(cls, params))

    @overload
    def __init__(
        self, serializer: AbstractIncrementalPacketSerializer[SentT_contra, ReceivedT_co], converter: None = None
    ) -> None:
        """Take the types of packets from *serializer*."""

    @overload
    def __init__(
        self,
        serializer: AbstractIncrementalPacketSerializer[Any, Any],
        converter: AbstractPacketConverterComposite[SentT_contra, ReceivedT_co, Any, Any],
    ) -> None:
        """Take the types of packets from *converter*."""

    def __init__(
        self,
        serializer: AbstractIncrementalPacketSerializer[Any, Any],
        converter: AbstractPacketConverterComposite[SentT_contra, ReceivedT_co, Any, Any] | None = None,
    ) -> None:
        wanted = self._serializer_kind()
        if not isinstance(serializer, wanted):
            hint = ""
            if isinstance(serializer, AbstractPacketSerializer):
                hint = "; LengthPrefixedSerializer makes any serializer fit for streams"
            raise TypeError(f"serializer must be {a(wanted)}, not {name_of(serializer)}{hint}")
        check_overridden(type(serializer), "incremental_serialize", "frame")
        check_overridden(type(serializer), "incremental_deserialize", "new_decoder")
        self._serializer: Any = serializer
        self._converter: Any = None if converter is None else checked_converter(converter)

    @classmethod
    @abstractmethod
    def _serializer_kind(cls) -> type[Any]:
        """Return what the serializer must be."""

    @property
    def serializer(self) -> AbstractIncrementalPacketSerializer[Any, Any]:
        """The serializer."""
        return self._serializer  # type: ignore[no-any-return]  # it was checked

    @property
    def converter(self) -> AbstractPacketConverterComposite[SentT_contra, ReceivedT_co, Any, Any] | None:
        """The converter; None = there is none."""
        return self._converter  # type: ignore[no-any-return]  # it was checked

    def generate_chunks(self, packet: SentT_contra, /) -> Generator[bytes, None, None]:
        """Yield the bytes of *packet* in the stream, in as many pieces as is convenient. Override it to change them."""
        if self._converter is not None:
            packet = self._converter.convert_to_dto_packet(packet)
        yield from self._serializer.incremental_serialize(packet)

    def framer(self) -> Callable[[SentT_contra], bytes]:
        """Return the function that makes the bytes of a packet in the stream."""
        if overrides(type(self), AnyStreamProtocol, "generate_chunks"):
            return lambda packet: b"".join(self.generate_chunks(packet))
        frame = framer_of(self._serializer)
        if self._converter is None:
            return frame
        convert = self._converter.convert_to_dto_packet
        return lambda packet: frame(convert(packet))

    @abstractmethod
    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""

    def _converting(self, decoder: PacketDecoder[Any]) -> PacketDecoder[ReceivedT_co]:
        if self._converter is None:
            return decoder
        return ConvertingDecoder(decoder, self._converter.create_from_dto_packet)


class StreamProtocol(AnyStreamProtocol[SentT_contra, ReceivedT_co]):
    """The format of packets in a stream: a serializer, and optionally a converter. May be shared by any number of
    connections.

    Args:
        serializer: Converts packets to bytes, and finds packets in a stream.
        converter: Converts between the serializer's objects and those of the program; None = they are the same.

    Raises:
        TypeError: *serializer* is not an incremental serializer, or *converter* not a converter.
    """

    __slots__ = ()

    @classmethod
    def _serializer_kind(cls) -> type[Any]:
        return AbstractIncrementalPacketSerializer

    def build_packet_from_chunks(self) -> Generator[None, bytes, tuple[ReceivedT_co, bytes]]:
        """Read one packet: ``data = yield`` gives the next bytes of the stream; return the packet and the rest.

        Override it to read packets in another way.

        Raises:
            StreamProtocolParseError: The bytes are no packet; its ``remaining_data`` is where to go on.
        """
        return (yield from read_one(self._converting(decoder_of(self._serializer)), parse_error))

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        if overrides(type(self), StreamProtocol, "build_packet_from_chunks"):
            return GeneratorDecoder(self.build_packet_from_chunks, "protocol")
        return self._converting(decoder_of(self._serializer))


class BufferedStreamProtocol(AnyStreamProtocol[SentT_contra, ReceivedT_co]):
    """Packets over a stream, read into a buffer that the serializer makes.

    Args:
        serializer: Makes bytes of packets, and finds packets in its buffer.
        converter: Converts between what the serializer knows and what the program wants; None = they are the same.

    Raises:
        TypeError: *serializer* is no buffered serializer, or *converter* no converter.
    """

    __slots__ = ()

    @classmethod
    def _serializer_kind(cls) -> type[Any]:
        return BufferedIncrementalPacketSerializer

    def create_buffer(self, sizehint: int, /) -> Any:
        """Return a writable buffer of bytes; *sizehint* bytes are convenient."""
        return self._serializer.create_deserializer_buffer(sizehint)

    def build_packet_from_buffer(
        self, buffer: Any, /
    ) -> Generator[int | None, int, tuple[ReceivedT_co, bytes | bytearray | memoryview]]:
        """Read one packet: ``size = yield place`` gives the size of what was written to *buffer* at *place*.

        Override it to read packets in another way.

        Raises:
            StreamProtocolParseError: The bytes are no packet; its ``remaining_data`` is where to go on.
        """
        try:
            reading: Generator[int | None, int, tuple[Any, bytes]]
            reading = self._serializer.buffered_incremental_deserialize(buffer)
            packet, rest = yield from reading
        except IncrementalDeserializeError as exc:
            raise parse_error(exc, bytes(exc.remaining_data)) from exc
        if self._converter is not None:
            try:
                packet = self._converter.create_from_dto_packet(packet)
            except PacketConversionError as exc:
                raise parse_error(exc, bytes(rest)) from exc
        return packet, rest

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        mine, own = type(self), BufferedStreamProtocol
        if overrides(mine, own, "create_buffer") or overrides(mine, own, "build_packet_from_buffer"):
            return BufferDecoder(self.create_buffer, self.build_packet_from_buffer, "protocol")
        return self._converting(buffered_decoder_of(self._serializer))


class DatagramProtocol(Generic[SentT_contra, ReceivedT_co]):
    """The format of packets in datagrams, one each. May be shared by any number of connections.

    Args:
        serializer: Converts packets to bytes and back.
        converter: Converts between the serializer's objects and those of the program; None = they are the same.

    Raises:
        TypeError: *serializer* is not a serializer, or *converter* not a converter.
    """

    __slots__ = ("__weakref__", "_converter", "_serializer")

    if not TYPE_CHECKING:

        def __class_getitem__(cls, params):  # TypeVar knows of defaults only from CPython 3.13 on
            """Return the class with its parameters; what is received is by default what is sent."""
            return super().__class_getitem__(both(cls, params))

    @overload
    def __init__(
        self, serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co], converter: None = None
    ) -> None:
        """Take the types of packets from *serializer*."""

    @overload
    def __init__(
        self,
        serializer: AbstractPacketSerializer[Any, Any],
        converter: AbstractPacketConverterComposite[SentT_contra, ReceivedT_co, Any, Any],
    ) -> None:
        """Take the types of packets from *converter*."""

    def __init__(
        self,
        serializer: AbstractPacketSerializer[Any, Any],
        converter: AbstractPacketConverterComposite[SentT_contra, ReceivedT_co, Any, Any] | None = None,
    ) -> None:
        if not isinstance(serializer, AbstractPacketSerializer):
            raise TypeError(f"serializer must be {a(AbstractPacketSerializer)}, not {name_of(serializer)}")
        self._serializer: Any = serializer
        self._converter: Any = None if converter is None else checked_converter(converter)

    @property
    def serializer(self) -> AbstractPacketSerializer[Any, Any]:
        """The serializer."""
        return self._serializer  # type: ignore[no-any-return]  # it was checked

    @property
    def converter(self) -> AbstractPacketConverterComposite[SentT_contra, ReceivedT_co, Any, Any] | None:
        """The converter; None = there is none."""
        return self._converter  # type: ignore[no-any-return]  # it was checked

    def make_datagram(self, packet: SentT_contra, /) -> bytes:
        """Return the datagram of *packet*. What it raises is the fault of who sends it."""
        if self._converter is not None:
            packet = self._converter.convert_to_dto_packet(packet)
        data: bytes = self._serializer.serialize(packet)
        return data

    def build_packet_from_datagram(self, datagram: bytes, /) -> ReceivedT_co:
        """Return the packet of *datagram*.

        Raises:
            DatagramProtocolParseError: It is none; see ``__cause__``.
        """
        try:
            packet: ReceivedT_co = self._serializer.deserialize(datagram)
            if self._converter is not None:
                packet = self._converter.create_from_dto_packet(packet)
        except (DeserializeError, PacketConversionError) as exc:
            raise DatagramProtocolParseError(f"a datagram was not a valid packet: {exc}") from exc
        return packet


def parse_error(fault: Exception, remaining_data: bytes = b"") -> StreamProtocolParseError:
    """Return what receivers are told of a *fault* of a decoder."""
    if isinstance(fault, StreamProtocolParseError):
        fault.remaining_data = remaining_data
        return fault
    error = StreamProtocolParseError(f"a packet of the stream is faulty: {fault}", remaining_data)
    error.__cause__ = fault
    return error


def sending_error(error: Exception) -> RuntimeError:
    """Return what senders are told of an *error* of a serializer or converter."""
    return RuntimeError(f"the protocol raised {type(error).__name__} while it made the bytes of a packet: {error}")


def checked_stream_protocol(protocol: object) -> AnyStreamProtocol[Any, Any]:
    """Return *protocol*.

    Raises:
        TypeError: It is no protocol of streams.
    """
    checked: Any = protocol
    if not isinstance(protocol, AnyStreamProtocol):
        raise _not_a("StreamProtocol", " or BufferedStreamProtocol", checked)
    return checked  # type: ignore[no-any-return]  # it was checked


def checked_datagram_protocol(protocol: object) -> DatagramProtocol[Any, Any]:
    """Return *protocol*.

    Raises:
        TypeError: It is no protocol of datagrams.
    """
    checked: Any = protocol
    if not isinstance(protocol, DatagramProtocol):
        raise _not_a("DatagramProtocol", "", checked)
    return checked  # type: ignore[no-any-return]  # it was checked


def _not_a(kind: str, others: str, seen: object) -> TypeError:
    """Return the error for *seen* in the place of a protocol."""
    name = name_of(seen)
    lead = f": did you mean {kind}(serializer)?" if isinstance(seen, AbstractPacketSerializer) else ""
    return TypeError(f"protocol must be a {kind}{others}, not {name}{lead}")


def name_of(thing: object) -> str:
    """Return what *thing* is, for an error."""
    return f"the class {thing.__name__} itself" if isinstance(thing, type) else type(thing).__name__


def a(kind: type[Any]) -> str:
    """Return the name of *kind* with its article."""
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
