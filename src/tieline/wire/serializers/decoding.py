# SPDX-License-Identifier: MIT
"""The one way in which packets come out of a stream: feed bytes, take packets.

A decoder owns the bytes of one connection that are no packets yet. It decodes no more than it is asked for, so what a
peer has sent ahead waits as bytes, which is the smallest form of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from msgspec import DecodeError

from tieline.errors import DeserializeError, PacketConversionError, StreamProtocolParseError
from tieline.wire.default import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.default import Nothing

__all__ = ["ConvertingDecoder", "Fault", "PacketDecoder", "fault_of", "is_about_bytes", "is_no_utf8"]

PacketT = TypeVar("PacketT")


class Fault:
    """Stands among packets in the place of one that is none."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def told(self) -> Exception:
        """Return the error, and hold it no longer: what this has stood in may live on in frames of its traceback."""
        error = self.error
        del self.error
        return error


# What a serializer or converter may raise about a peer's bytes.
_ABOUT_BYTES: Final = (DeserializeError, PacketConversionError, StreamProtocolParseError)


class PacketDecoder(ABC, Generic[PacketT]):
    """Makes packets of the bytes of one stream. It belongs to one connection.

    Attributes:
        is_ready: Whether `take` may have anything to give. After `feed` it may; once `take` has given less than it was
            asked for, and no fault, it has not.
        is_broken: A fault has ended the stream: where its next packet begins cannot be known. What is fed from then on
            is thrown away.
    """

    __slots__ = ("is_broken", "is_ready")

    def __init__(self) -> None:
        self.is_ready = False
        self.is_broken = False

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Take in the next bytes of the stream."""

    @abstractmethod
    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        """Return the next packets, *most* at most, and what is wrong behind them: None, or a fault.

        A fault is told once, in its place among the packets, and only with fewer than *most*; call again to go on
        behind it. It is a `DeserializeError`, a `PacketConversionError`, or a RuntimeError about a serializer that
        raised anything else, with that as its cause.
        """

    def decode_alone(self, data: bytes) -> PacketT | Nothing:
        """Return the packet that *data* is, the next bytes of the stream. Only for while `is_ready` is not set.

        `NOTHING` when it is anything but one packet that is good, or when a part of one is held: then feed it, before
        all else. A packet that was found to be faulty is not decoded again by that; its fault is told.
        Override it where there is a shorter way than that, and `refuse_alone`.
        """
        return NOTHING

    def refuse_alone(self, fault: Exception) -> None:
        """Have *fault* told in place of what `decode_alone` was given, once that is fed, and do not decode it again.

        Whoever decodes a packet may remember it, as one that stops packets which are sent again does.
        """

    @property
    @abstractmethod
    def pending(self) -> int:
        """How many bytes are held that are no packets yet."""

    @property
    def has_begun(self) -> bool:
        """Whether a part of a packet has come, be it one that is thrown away; asked where `is_ready` is not set.

        It is `pending` over 0. Override it where bytes are thrown away before the end of their packet.
        """
        return self.pending > 0

    @property
    def is_discarding(self) -> bool:
        """Whether the packet whose fault was told last has not ended yet; what comes of it is thrown away.

        Override it where bytes are thrown away before the end of their packet.
        """
        return False

    @property
    def discarded(self) -> Exception | None:
        """Why the packet is thrown away that has not ended yet, where that was not told; None = none is.

        Override it where a fault is told at the end of its packet only.
        """
        return None

    def end(self) -> None:
        """Take note that nothing more will be fed. What `discarded` tells is a fault to be taken from now on.

        Override it where a fault is told at the end of its packet only.
        """

    @abstractmethod
    def unread(self) -> bytes:
        """Return the bytes that are held, and hold them no longer."""

    def next(self) -> PacketT | Nothing:
        """Return the next packet; `NOTHING` when its end has not come yet.

        Raises:
            DeserializeError: The peer's bytes are no packet.
            PacketConversionError: The converter refused it.
            RuntimeError: The serializer raised anything else; see ``__cause__``.
        """
        packets, fault = self.take(1)
        if fault is not None:
            raise fault
        return packets[0] if packets else NOTHING


def is_about_bytes(error: Exception) -> bool:
    """Tell whether an *error* of a serializer or converter says that the peer's bytes are at fault."""
    return isinstance(error, _ABOUT_BYTES)


def fault_of(error: Exception, whose: str = "serializer") -> Exception:
    """Return the fault that an *error* is: itself; where *whose* code has failed, a RuntimeError with it as cause.

    That keeps its traceback, which refers to all frames that are under way: none of these is to keep the fault in a
    variable, or a connection would be a circle, which stays until garbage is collected.
    """
    if is_about_bytes(error):
        error.__traceback__ = None  # its frames would keep the peer's bytes
        if error.__cause__ is None and error.__suppress_context__:
            error.__context__ = None  # raised ``from None``: nobody is shown it
        elif error.__cause__ is not None and isinstance(error, DeserializeError):
            # So would these. Where in a converter something went wrong is told, to whoever wrote it.
            error.__cause__.__traceback__ = None
        return error
    crash = RuntimeError(f"the {whose} raised {type(error).__name__} while it read a packet")
    crash.__cause__ = error
    return crash


def is_no_utf8(error: Exception) -> bool:
    """Tell whether msgspec says by *error* that a text is no UTF-8, for which it has no class of its own since 0.23."""
    if type(error) is DecodeError:  # and none of its subclasses, which repeat what users' code says
        return str(error).startswith("Invalid UTF-8")
    return isinstance(error, UnicodeDecodeError)


class ConvertingDecoder(PacketDecoder[PacketT]):
    """A decoder whose packets a function converts."""

    __slots__ = ("_convert", "_decoder", "_fault", "_held")

    def __init__(self, decoder: PacketDecoder[Any], convert: Callable[[Any], PacketT]) -> None:
        super().__init__()
        self._decoder = decoder
        self._convert = convert
        self._held: list[Any] = []  # decoded and not converted, the next one last: only behind a fault
        self._fault: Exception | None = None  # what came behind them

    def feed(self, data: bytes) -> None:
        self._decoder.feed(data)
        self._look()

    def decode_alone(self, data: bytes) -> PacketT | Nothing:
        packet = self._decoder.decode_alone(data)
        if packet is NOTHING:
            return NOTHING
        try:
            return self._convert(packet)
        except Exception as exc:
            self._decoder.refuse_alone(fault_of(exc, "converter"))
            return NOTHING

    def refuse_alone(self, fault: Exception) -> None:
        self._decoder.refuse_alone(fault)

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        held = self._held
        is_fresh = not held and self._fault is None  # nothing is left of what was taken before
        if is_fresh:
            held, self._fault = self._decoder.take(most)
            held.reverse()
            self._held = held
        packets: list[PacketT] = []
        while held and len(packets) < most:
            try:
                packets.append(self._convert(held.pop()))
            except Exception as exc:
                self._look()
                return packets, fault_of(exc, "converter")
        fault: Exception | None = None
        if len(packets) < most:
            fault, self._fault = self._fault, None
            if fault is None and not is_fresh:
                more, fault = self.take(most - len(packets))
                packets += more
        self._look()
        return packets, fault

    def _look(self) -> None:
        self.is_ready = bool(self._held) or self._fault is not None or self._decoder.is_ready
        self.is_broken = self._decoder.is_broken and not self.is_ready

    @property
    def pending(self) -> int:
        return self._decoder.pending

    @property
    def has_begun(self) -> bool:
        return self._decoder.has_begun

    @property
    def is_discarding(self) -> bool:
        return self._decoder.is_discarding

    @property
    def discarded(self) -> Exception | None:
        return self._decoder.discarded

    def end(self) -> None:
        self._decoder.end()
        self._look()

    def unread(self) -> bytes:
        """Return the bytes that are held. Packets that were decoded behind a fault are lost: take them one by one."""
        self._held, self._fault = [], None
        rest = self._decoder.unread()
        self._look()
        return rest
