# SPDX-License-Identifier: MIT
"""Decoders around the generators of users: one generator reads one packet, then the next begins.

What follows the end of a packet is given to the next generator at once, as far as packets are asked for.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tieline.errors import IncrementalDeserializeError, StreamProtocolParseError
from tieline.wire.serializers.decoding import PacketDecoder, fault_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["BufferDecoder", "GeneratorDecoder"]

PacketT = TypeVar("PacketT")

BUFFER_SIZE: Final = 64 * 1024


class _Adapted(PacketDecoder[PacketT]):
    """What the two have in common."""

    __slots__ = ("_running", "_seen", "_unread")

    def __init__(self) -> None:
        super().__init__()
        self._unread: list[bytes] = []  # not given to any generator yet
        self._running: Generator[Any, Any, Any] | None = None
        self._seen = 0  # how many bytes the generator that runs has been given

    def feed(self, data: bytes) -> None:
        if data and not self.is_broken:
            self._unread.append(data if type(data) is bytes else bytes(data))
            self.is_ready = True

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        packets: list[PacketT] = []
        unread = self._unread
        while unread and len(packets) < most:
            data = unread[0] if len(unread) == 1 else b"".join(unread)
            unread.clear()
            try:
                if self._running is None:
                    self._running, self._seen = self._begin(), 0
                self._seen += len(data)
                self._give(self._running, data)
            except Exception as exc:
                self._running = None
                try:
                    packets.append(self._packet(exc))
                except Exception as error:
                    fault = fault_of(error)
                    self._go_on_behind(fault)
                    return packets, fault
        self.is_ready = bool(unread)
        return packets, None

    def _packet(self, end: Exception) -> PacketT:
        """Return the packet that a generator has ended with, and keep the rest; raise what it raised instead."""
        if not isinstance(end, StopIteration):
            raise end
        packet, rest = end.value
        if len(rest) >= self._seen:
            raise RuntimeError("the serializer made a packet of no bytes, and would go on so for ever")
        self._put_back(rest)
        return packet  # type: ignore[no-any-return]  # what a generator ends with, nobody checks

    def _put_back(self, rest: bytes | bytearray | memoryview) -> None:
        if len(rest):
            self._unread.append(bytes(rest))

    def _go_on_behind(self, fault: Exception) -> None:
        if isinstance(fault, IncrementalDeserializeError | StreamProtocolParseError):
            rest, fault.remaining_data = fault.remaining_data, b""  # what is read on is not for who gets the fault
            self._put_back(rest)
        else:
            self.is_broken = True
        self.is_ready = bool(self._unread)

    @property
    def pending(self) -> int:
        return sum(map(len, self._unread)) + (self._seen if self._running is not None else 0)

    def unread(self) -> bytes:
        """Return the bytes that no generator has been given yet."""
        rest = b"".join(self._unread)
        self._unread.clear()
        self.is_ready = False
        return rest

    @abstractmethod
    def _begin(self) -> Generator[Any, Any, Any]:
        """Return a new generator that waits for its first bytes."""

    @abstractmethod
    def _give(self, running: Generator[Any, Any, Any], data: bytes) -> None:
        """Give *data* to the generator; all of it, unless that ends before."""


class GeneratorDecoder(_Adapted[PacketT]):
    """Reads packets by generators that are sent bytes and return ``(packet, rest)``."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[], Generator[None, bytes, tuple[PacketT, bytes]]]) -> None:
        super().__init__()
        self._make = make

    def _begin(self) -> Generator[Any, Any, Any]:
        generator = self._make()
        next(generator)
        return generator

    def _give(self, running: Generator[Any, Any, Any], data: bytes) -> None:
        running.send(data)


class BufferDecoder(_Adapted[PacketT]):
    """Reads packets by generators that are told how much was written into their buffer, and yield where to go on."""

    __slots__ = ("_buffer", "_create", "_make", "_place")

    def __init__(
        self,
        create: Callable[[int], Any],
        make: Callable[[Any], Generator[int | None, int, tuple[PacketT, bytes | bytearray | memoryview]]],
    ) -> None:
        super().__init__()
        self._create = create
        self._make = make
        self._buffer: Any = None
        self._place = 0

    def _begin(self) -> Generator[Any, Any, Any]:
        if self._buffer is None:
            self._buffer = self._create(BUFFER_SIZE)
        generator = self._make(self._buffer)
        self._place = next(generator) or 0
        return generator

    def _give(self, running: Generator[Any, Any, Any], data: bytes) -> None:
        at = 0
        with memoryview(self._buffer).cast("B") as view:
            while at < len(data):
                place = self._place if self._place >= 0 else self._place + len(view)
                size = min(len(data) - at, len(view) - place)
                if size <= 0:
                    raise RuntimeError(f"the serializer has no room in its buffer of {len(view)} bytes at {place}")
                view[place : place + size] = data[at : at + size]
                at += size
                try:
                    self._place = running.send(size) or 0
                except Exception as end:
                    self._keep(end, data[at:])
                    raise

    def _keep(self, end: Exception, behind: bytes) -> None:
        """Put what the generator has not been told of behind what it leaves."""
        if isinstance(end, StopIteration):
            packet, rest = end.value
            end.value = (packet, bytes(rest) + behind)
        elif isinstance(end, IncrementalDeserializeError | StreamProtocolParseError):
            end.remaining_data = bytes(end.remaining_data) + behind
