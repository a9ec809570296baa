# SPDX-License-Identifier: MIT
"""What a serializer is: the base classes for ours and for those of users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic

from tieline.errors import DeserializeError, IncrementalDeserializeError
from tieline.wire.default import NOTHING
from tieline.wire.serializers.generated import GeneratorDecoder, read_one

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from typing_extensions import TypeVar  # type checkers know it, and it is not asked for at run time

    from tieline.wire.serializers.decoding import PacketDecoder

    SentT_contra = TypeVar("SentT_contra", contravariant=True, default=Any)
    ReceivedT_co = TypeVar("ReceivedT_co", covariant=True, default=SentT_contra)
else:
    from typing import TypeVar

    SentT_contra = TypeVar("SentT_contra", contravariant=True)
    ReceivedT_co = TypeVar("ReceivedT_co", covariant=True)

__all__ = [
    "AbstractIncrementalPacketSerializer",
    "AbstractPacketSerializer",
    "BufferedIncrementalPacketSerializer",
    "ReceivedT_co",
    "SentT_contra",
    "both",
    "check_overridden",
    "derives_first",
    "incremental_error",
    "overrides",
]


def both(kind: Any, params: Any) -> Any:
    """Return *params* of a generic class, with the second one as the first where it is left out."""
    if isinstance(params, tuple) or len(kind.__parameters__) != 2:
        return params  # pyright: ignore[reportUnknownVariableType]  # whatever it was given
    return (params, params)


class AbstractPacketSerializer(ABC, Generic[SentT_contra, ReceivedT_co]):
    """Converts one packet to bytes and back: enough for datagrams.

    A serializer stores nothing between two packets, so one object serves any number of connections and threads at once.
    """

    __slots__ = ("__weakref__",)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, params):  # TypeVar knows of defaults only from CPython 3.13 on
            """Return the class with its parameters; what is received is by default what is sent."""
            return super().__class_getitem__(both(cls, params))

    @abstractmethod
    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*. What it raises is the fault of who sends it."""

    @abstractmethod
    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data* is, all of it.

        Raises:
            DeserializeError: *data* is not a valid packet. Any other exception counts as a fault of the serializer.
        """


class AbstractIncrementalPacketSerializer(AbstractPacketSerializer[SentT_contra, ReceivedT_co]):
    """A serializer that finds the end of a packet in a stream by itself.

    Override `incremental_serialize` and `incremental_deserialize`; or `frame` and `new_decoder`, which cost less per
    packet. Whichever a class defines last is used. A class needs one of `incremental_serialize` and `frame`, and one of
    `incremental_deserialize` and `new_decoder`; otherwise protocols refuse it with a TypeError.
    """

    __slots__ = ()

    def incremental_serialize(self, packet: SentT_contra, /) -> Generator[bytes, None, None]:
        """Yield the bytes of *packet* in the stream, in as many pieces as is convenient."""
        check_overridden(type(self), "frame", "incremental_serialize")
        yield self.frame(packet)

    def incremental_deserialize(self) -> Generator[None, bytes, tuple[ReceivedT_co, bytes]]:
        """Read one packet: ``data = yield`` gives the next bytes of the stream; return the packet and the rest.

        Raises:
            IncrementalDeserializeError: The bytes are not a valid packet. The stream goes on at its ``remaining_data``,
                which must be less than what was given. Any other exception ends the stream, since that place is
                unknown.
        """
        check_overridden(type(self), "new_decoder", "incremental_deserialize")
        return (yield from read_one(self.new_decoder(), incremental_error))

    def serialize(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*: those that it has in a stream."""
        return self.frame(packet)

    def deserialize(self, data: bytes, /) -> ReceivedT_co:
        """Return the packet that *data* is, all of it.

        Raises:
            DeserializeError: It is none, or none that is complete, or more than one.
        """
        decoder = self.new_decoder()
        decoder.feed(data)
        packet = decoder.next()
        if packet is NOTHING:
            raise DeserializeError(f"the packet is not complete ({len(data)} bytes of it received)")
        rest = decoder.unread()
        if rest:
            raise DeserializeError(f"{len(rest)} bytes follow the packet")
        return packet

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet* in a stream."""
        return b"".join(self.incremental_serialize(packet))

    def frames(self, packets: Iterable[SentT_contra], /) -> bytes:
        """Return the bytes of all *packets* in a stream."""
        return b"".join(map(self.frame, packets))

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        return GeneratorDecoder(self.incremental_deserialize)


class BufferedIncrementalPacketSerializer(AbstractIncrementalPacketSerializer[SentT_contra, ReceivedT_co]):
    """An incremental serializer that can also read from a buffer of its own."""

    __slots__ = ()

    @abstractmethod
    def create_deserializer_buffer(self, sizehint: int, /) -> Any:
        """Return a writable buffer of bytes; *sizehint* bytes are convenient."""

    @abstractmethod
    def buffered_incremental_deserialize(
        self, buffer: Any, /
    ) -> Generator[int | None, int, tuple[ReceivedT_co, bytes | bytearray | memoryview]]:
        """Read one packet: ``size = yield place`` gives the size of what was written to *buffer* at *place*.

        *place* None is the beginning. Return the packet and what is behind it, which may be a part of the buffer.

        Raises:
            IncrementalDeserializeError: As of ``incremental_deserialize``.
        """


def overrides(kind: type[Any], base: type[Any], name: str) -> bool:
    """Return whether *kind* has another method *name* than *base*, from which it derives."""
    return getattr(kind, name) is not getattr(base, name)


def check_overridden(kind: type[Any], name: str, other: str) -> None:
    """Refuse a serializer that has neither of two ways to do the same.

    Raises:
        TypeError: So it is with *kind*.
    """
    base = AbstractIncrementalPacketSerializer
    if not (overrides(kind, base, name) or overrides(kind, base, other)):
        raise TypeError(f"{kind.__name__} is abstract: it overrides neither {name} nor {other}")


def incremental_error(fault: Exception, remaining_data: bytes) -> IncrementalDeserializeError:
    """Return what generators raise for a *fault* of a decoder that goes on behind it."""
    if isinstance(fault, IncrementalDeserializeError):
        fault.remaining_data = remaining_data
        return fault
    error = IncrementalDeserializeError(str(fault), remaining_data)
    error.__cause__ = fault
    return error


def derives_first(kind: type[Any], name: str, other: str) -> bool:
    """Return whether a class defines its method *name* as early as its method *other*, or earlier.

    So a subclass that overrides one of two ways to do the same has it its way.
    """
    first = next(base for base in kind.__mro__ if name in base.__dict__ or other in base.__dict__)
    return name in first.__dict__
