# SPDX-License-Identifier: MIT
"""The base for serializers by libraries that read from a file."""

from __future__ import annotations

from abc import abstractmethod
from io import BytesIO
from typing import IO, TYPE_CHECKING, TypeVar

from tieline.errors import DeserializeError
from tieline.wire.serializers.abc import ReceivedT_co, SentT_contra
from tieline.wire.serializers.decoding import PacketDecoder, fault_of
from tieline.wire.serializers.framed import DEFAULT_LIMIT, FramedSerializer, overrun

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FileBasedPacketSerializer"]

PacketT = TypeVar("PacketT")


class FileDecoder(PacketDecoder[PacketT]):
    """Has a function load packets from what has come; when that ends too early, again when more is there.

    A fault ends the stream: how much of it belongs to the packet is known only to who could read it.
    """

    __slots__ = ("_at", "_buffer", "_limit", "_load")

    def __init__(self, load: Callable[[IO[bytes]], PacketT], limit: int) -> None:
        super().__init__()
        self._load = load  # raises EOFError when it needs more
        self._limit = limit
        self._buffer = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        if data and not self.is_broken:
            self._buffer = self._buffer[self._at :] + data
            self._at = 0
            self.is_ready = True

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        packets: list[PacketT] = []
        while self.is_ready and len(packets) < most:
            file = BytesIO(self._buffer)
            file.seek(self._at)
            try:
                packet = self._load(file)
                end = file.tell()
                self._check(end - self._at)
            except EOFError:
                self.is_ready = False
                try:
                    self._check(len(self._buffer) - self._at)
                except DeserializeError as exc:
                    return packets, self._break(exc)
                break
            except Exception as exc:
                return packets, self._break(exc)
            self._at = end
            self.is_ready = end < len(self._buffer)
            packets.append(packet)
        return packets, None

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise overrun(self._limit, size)
        if not size:
            raise RuntimeError("the serializer made a packet of no bytes, and would go on so for ever")

    def _break(self, error: Exception) -> Exception:
        self.is_broken = True
        self.unread()
        return fault_of(error)

    @property
    def pending(self) -> int:
        return len(self._buffer) - self._at

    def unread(self) -> bytes:
        rest = self._buffer[self._at :]
        self._buffer = b""
        self._at = 0
        self.is_ready = False
        return rest


class FileBasedPacketSerializer(FramedSerializer[SentT_contra, ReceivedT_co]):
    """The base of serializers around a library that reads and writes files: override `dump_to_file`, `load_from_file`.

    A packet that is incomplete is read again from its beginning when more has arrived, so a peer that sends it in many
    small pieces causes work: keep *limit* small if strangers can connect, or wrap a one-shot serializer in
    `LengthPrefixedSerializer`. An invalid packet ends a stream.

    Args:
        expected_load_error: The exceptions that the library raises for invalid data.
        limit: The maximum size of a received packet in bytes.

    Raises:
        TypeError: *limit* is no int.
        ValueError: *limit* is not positive.
    """

    __slots__ = ("_expected",)

    def __init__(
        self,
        expected_load_error: type[Exception] | tuple[type[Exception], ...],
        *,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(limit)
        self._expected = expected_load_error

    @abstractmethod
    def dump_to_file(self, packet: SentT_contra, file: IO[bytes], /) -> None:
        """Write *packet* to *file*."""

    @abstractmethod
    def load_from_file(self, file: IO[bytes], /) -> ReceivedT_co:
        """Read one packet from *file*, and nothing after it.

        Raises:
            EOFError: The file ends before the packet does.
        """

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return what `dump_to_file` writes."""
        file = BytesIO()
        self.dump_to_file(packet, file)
        return file.getvalue()

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        return FileDecoder(self._load, self._limit)

    def _load(self, file: IO[bytes]) -> ReceivedT_co:
        try:
            return self.load_from_file(file)
        except EOFError:
            raise
        except self._expected as exc:
            raise DeserializeError("the packet cannot be loaded") from exc
