# SPDX-License-Identifier: MIT
"""Packets that are compressed, each by itself: in streams its end shows where the compressed data ends.

What comes out is bounded: a packet of 200 KB that would inflate to 200 MB is given up once it has passed the limit.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tieline.errors import IncrementalDeserializeError, UnsupportedOperation
from tieline.wire.serializers.abc import AbstractPacketSerializer, ReceivedT_co, SentT_contra
from tieline.wire.serializers.decoding import PacketDecoder, fault_of
from tieline.wire.serializers.framed import DEFAULT_LIMIT, FramedSerializer, overrun
from tieline.wire.serializers.sized import checked_serializer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BZ2CompressorSerializer", "ZlibCompressorSerializer", "ZstdCompressorSerializer"]

PacketT = TypeVar("PacketT")

# What bz2 and zstd of the standard library have alike: `decompress(data, max_length)`, `eof` and `unused_data`.
Decompressor: TypeAlias = Any


class InflatingDecoder(PacketDecoder[PacketT]):
    """Cuts a stream where compressed data ends, and hands what was in it to a function.

    A packet that *decode* refuses is a fault, and the stream goes on behind it. One over the limit, or that is broken
    as compressed data, ends the stream.

    Args:
        begin: Returns a decompressor for one packet.
        errors: What it raises about data that are no such.
        limit: The most bytes of a packet, decompressed.
        decode: Makes a packet of its bytes.
    """

    __slots__ = ("_begin", "_decode", "_errors", "_input", "_limit", "_output", "_running", "_seen", "_size")

    def __init__(
        self,
        begin: Callable[[], Decompressor],
        errors: type[Exception],
        limit: int,
        decode: Callable[[bytes], PacketT],
    ) -> None:
        super().__init__()
        self._begin = begin
        self._errors = errors
        self._limit = limit
        self._decode = decode
        self._input: list[bytes] = []  # not looked at yet
        self._forget()

    def _forget(self) -> None:
        self._running: Decompressor | None = None
        self._output: list[bytes] = []
        self._size = 0  # of the output
        self._seen = 0  # of the input of the packet that is running

    def feed(self, data: bytes) -> None:
        if data and not self.is_broken:
            self._input.append(bytes(data))
            self.is_ready = True

    def take(self, most: int) -> tuple[list[PacketT], Exception | None]:
        packets: list[PacketT] = []
        while self._input and len(packets) < most:
            data = b"".join(self._input)
            self._input.clear()
            try:
                packet = self._inflate(data)
            except IncrementalDeserializeError as exc:
                self.is_broken = True
                self._break_off()
                return packets, fault_of(exc)
            if packet is None:
                break
            try:
                packets.append(self._decode(packet))
            except Exception as exc:
                self.is_ready = bool(self._input)
                return packets, fault_of(exc)
        self.is_ready = bool(self._input)
        return packets, None

    def _inflate(self, data: bytes) -> bytes | None:
        """Return the bytes of the packet that *data* completes; None if it does not.

        Raises:
            LimitOverrunError: There are too many.
            IncrementalDeserializeError: *data* is nothing that was compressed.
        """
        running = self._running
        if running is None:
            running = self._running = self._begin()
        self._seen += len(data)
        try:
            # One byte more than may be: that it is there tells that it is too much.
            output = running.decompress(data, self._limit + 1 - self._size)
        except self._errors as exc:
            raise IncrementalDeserializeError("the packet is not compressed data, or damaged") from exc
        self._size += len(output)
        if output:
            self._output.append(output)
        # What cannot be compressed takes a little more, and nothing else should.
        if self._size > self._limit or (not running.eof and self._seen > self._limit + self._limit // 8 + 1024):
            raise overrun(self._limit, self._size, "at least {} bytes decompressed")
        if not running.eof:
            return None
        packet = b"".join(self._output)
        if running.unused_data:
            self._input.append(running.unused_data)
        self._forget()
        return packet

    def _break_off(self) -> None:
        self._input.clear()
        self._forget()
        self.is_ready = False

    @property
    def pending(self) -> int:
        return sum(map(len, self._input)) + self._seen

    def unread(self) -> bytes:
        """Return the bytes that no decompressor has been given yet."""
        rest = b"".join(self._input)
        self._break_off()
        return rest


class _CompressorSerializer(FramedSerializer[SentT_contra, ReceivedT_co]):
    """What the three have in common."""

    __slots__ = ("_serializer",)

    def __init__(self, serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co], limit: int) -> None:
        super().__init__(limit)
        self._serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co] = checked_serializer(serializer)

    @abstractmethod
    def _compress(self, data: bytes) -> bytes:
        """Return *data*, compressed."""

    @abstractmethod
    def _begin(self) -> Decompressor:
        """Return a decompressor for one packet."""

    @property
    @abstractmethod
    def _errors(self) -> type[Exception]:
        """What decompressors raise about data that are no such."""

    def frame(self, packet: SentT_contra, /) -> bytes:
        """Return the bytes of *packet*, compressed."""
        return self._compress(self._serializer.serialize(packet))

    def new_decoder(self) -> PacketDecoder[ReceivedT_co]:
        """Return a decoder for one connection."""
        return InflatingDecoder(self._begin, self._errors, self._limit, self._serializer.deserialize)


class _ZlibMember:
    """A decompressor of zlib that looks like the others."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running = zlib.decompressobj()

    @property
    def eof(self) -> bool:
        return self._running.eof

    @property
    def unused_data(self) -> bytes:
        return self._running.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        # What it has not consumed is never asked for: so much output is given up anyway.
        return self._running.decompress(data, max_length)


class ZlibCompressorSerializer(_CompressorSerializer[SentT_contra, ReceivedT_co]):
    """Compresses the packets of another serializer, by zlib (RFC 1950).

    A packet over the limit is refused before it is decompressed any further. That ends a stream, as damaged data does.

    Args:
        serializer: Converts packets to bytes and back; only its ``serialize`` and ``deserialize`` are used.
        compress_level: 0 (none) to 9 (smallest); -1 is zlib's default.
        limit: The maximum size of a received packet in bytes, decompressed.

    Raises:
        TypeError: *serializer* is none, or *limit* no int.
        ValueError: *compress_level* or *limit* is out of range.
    """

    __slots__ = ("_level",)

    def __init__(
        self,
        serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co],
        *,
        compress_level: int = -1,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(serializer, limit)
        self._level = _checked_level(compress_level, -1, 9)

    def _compress(self, data: bytes) -> bytes:
        return zlib.compress(data, self._level)

    def _begin(self) -> Decompressor:
        return _ZlibMember()

    @property
    def _errors(self) -> type[Exception]:
        return zlib.error


class BZ2CompressorSerializer(_CompressorSerializer[SentT_contra, ReceivedT_co]):
    """Compresses the packets of another serializer, by bzip2: small, and slow.

    A packet over the limit is refused before it is decompressed any further. That ends a stream, as damaged data does.

    Args:
        serializer: Converts packets to bytes and back; only its ``serialize`` and ``deserialize`` are used.
        compress_level: 1 to 9 (smallest).
        limit: The maximum size of a received packet in bytes, decompressed.

    Raises:
        TypeError: *serializer* is none, or *limit* no int.
        ValueError: *compress_level* or *limit* is out of range.
    """

    __slots__ = ("_begin_bz2", "_compress_bz2", "_level")

    def __init__(
        self,
        serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co],
        *,
        compress_level: int = 9,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(serializer, limit)
        self._level = _checked_level(compress_level, 1, 9)
        import bz2  # lazily: few programs need it

        self._compress_bz2: Callable[[bytes, int], bytes] = bz2.compress
        self._begin_bz2: Callable[[], Decompressor] = bz2.BZ2Decompressor

    def _compress(self, data: bytes) -> bytes:
        return self._compress_bz2(data, self._level)

    def _begin(self) -> Decompressor:
        return self._begin_bz2()

    @property
    def _errors(self) -> type[Exception]:
        return OSError


class ZstdCompressorSerializer(_CompressorSerializer[SentT_contra, ReceivedT_co]):
    """Compresses the packets of another serializer, by Zstandard (RFC 8878), in the standard library from 3.14 on.

    A packet over the limit is refused before it is decompressed any further. That ends a stream, as damaged data does.

    Args:
        serializer: Converts packets to bytes and back; only its ``serialize`` and ``deserialize`` are used.
        compress_level: 1 to 22 (smallest).
        limit: The maximum size of a received packet in bytes, decompressed.

    Raises:
        UnsupportedOperation: This interpreter has no ``compression.zstd``.
        TypeError: *serializer* is none, or *limit* no int.
        ValueError: *compress_level* or *limit* is out of range.
    """

    __slots__ = ("_begin_zstd", "_compress_zstd", "_level", "_zstd_error")

    def __init__(
        self,
        serializer: AbstractPacketSerializer[SentT_contra, ReceivedT_co],
        *,
        compress_level: int = 3,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        super().__init__(serializer, limit)
        self._level = _checked_level(compress_level, 1, 22)
        zstd = _zstd()
        self._compress_zstd: Callable[[bytes, int], bytes] = zstd.compress
        self._begin_zstd: Callable[[], Decompressor] = zstd.ZstdDecompressor
        self._zstd_error: type[Exception] = zstd.ZstdError

    def _compress(self, data: bytes) -> bytes:
        return self._compress_zstd(data, self._level)

    def _begin(self) -> Decompressor:
        return self._begin_zstd()

    @property
    def _errors(self) -> type[Exception]:
        return self._zstd_error


def _checked_level(level: object, least: int, most: int) -> int:
    if not isinstance(level, int) or not least <= level <= most:
        raise ValueError(f"compress_level must be an int from {least} to {most}, not {level!r}")
    return level


def _zstd() -> Any:
    try:
        from importlib import import_module

        return import_module("compression.zstd")  # typed for CPython 3.14 only
    except ImportError:
        raise UnsupportedOperation("Zstandard needs CPython 3.14 or later: this one has no compression.zstd") from None
