# SPDX-License-Identifier: MIT
"""Streams on trio: a reader and a writer of the shapes that asyncio's have, and the protocol behind both."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Self

import trio
from trio.lowlevel import checkpoint

from tieline.errors import BusyResourceError, IncompleteReadError, ReadLimitError
from tieline.runtimes.contract import HearsFailedSends, Protocol
from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tieline.endpoints.secured import TLSChoice
    from tieline.runtimes.stream_shapes import StreamCallback
    from tieline.runtimes.trio.host import TrioHost

__all__ = ["StreamReader", "StreamWriter", "Streams"]

log = logging.getLogger("tieline.trio")


class StreamReader:
    """See `tieline.runtimes.stream_shapes.StreamReader`. Also iterates over lines.

    Each of its waits is a checkpoint. A read that is cancelled takes nothing.

    Args:
        limit: How long what `readline` and `readuntil` return may be, in bytes; while more than twice as much waits to
            be read, the transport is paused.

    Raises:
        ValueError: *limit* is not over 0.
    """

    __slots__ = (
        "_buffer",
        "_error",
        "_has_ended",
        "_is_waiting",
        "_limit",
        "_parking",
        "_pause_above",
        "_paused",
        "_transport",
    )

    def __init__(self, limit: int = 65536) -> None:
        if limit <= 0:
            raise ValueError(f"limit must be over 0, not {limit!r}")
        self._limit = limit
        self._pause_above: float = 2 * limit
        self._buffer = bytearray()
        self._has_ended = False
        self._error: Exception | None = None
        self._transport: Any = None
        self._paused = self._is_waiting = False
        self._parking = Parking()

    # --- for the protocol ----------------------------------------------------------------------------------------

    def set_transport(self, transport: Any) -> None:
        self._transport = transport

    def feed_data(self, data: bytes | bytearray | memoryview) -> None:
        if self._has_ended:
            raise RuntimeError("feed_data() after feed_eof()")
        if not data:
            return
        self._buffer += data
        self._parking.wake()
        if self._transport is not None and not self._paused and len(self._buffer) > self._pause_above:
            self._paused = True
            self._transport.pause_reading()

    def feed_eof(self) -> None:
        self._has_ended = True
        self._parking.wake()

    def keep_all(self) -> None:
        """Pause the transport no more: what comes from now on is the last that the peer has said."""
        self._pause_above = inf
        if self._paused:
            self._resume()

    def take_unread(self) -> bytes:
        """Return what has come and is not read yet, and forget it."""
        return self._take(len(self._buffer))

    def exception(self) -> Exception | None:
        return self._error

    def set_exception(self, exc: Exception) -> None:
        self._error = exc
        self._parking.wake()

    # --- for whoever reads ---------------------------------------------------------------------------------------

    def at_eof(self) -> bool:
        return self._has_ended and not self._buffer

    async def read(self, n: int = -1) -> bytes:
        await self._begin()
        if n == 0:
            return b""
        if n < 0:
            return await self._read_all()
        if not self._buffer and not self._has_ended:
            await self._wait()
        return self._take(n)

    async def _read_all(self) -> bytes:
        taken: list[bytes] = []
        try:
            while True:
                if self._buffer:
                    taken.append(self._take(len(self._buffer)))
                if self._has_ended:
                    return b"".join(taken)
                await self._wait()
        except BaseException:
            self._buffer[:0] = b"".join(taken)
            raise

    async def readexactly(self, n: int) -> bytes:
        if n < 0:
            raise ValueError(f"n must be 0 or more, not {n}")
        await self._begin()
        while len(self._buffer) < n:
            if self._has_ended:
                raise IncompleteReadError(self._take(n), n)
            await self._wait()
        return self._take(n)

    async def readline(self) -> bytes:
        try:
            return await self.readuntil(b"\n")
        except IncompleteReadError as exc:
            return exc.partial
        except ReadLimitError as exc:
            whole = self._buffer.startswith(b"\n", exc.consumed)
            self._take(exc.consumed + 1 if whole else len(self._buffer))
            raise

    async def readuntil(self, separator: bytes | Sequence[bytes] = b"\n") -> bytes:
        separators = (
            (bytes(separator),)
            if isinstance(separator, bytes | bytearray | memoryview)
            else tuple(separator)
        )  # fmt: skip
        if not separators or not all(separators):
            raise ValueError("a separator must be at least one byte long")
        await self._begin()
        longest = max(map(len, separators))
        searched = 0
        while True:
            found = [(at + len(one), at) for one in separators if (at := self._buffer.find(one, searched)) >= 0]
            if found:
                end, start = min(found)
                if start > self._limit:
                    raise ReadLimitError(f"the separator is behind the limit of {self._limit} bytes", start)
                return self._take(end)
            searched = max(0, len(self._buffer) + 1 - longest)
            if searched > self._limit:
                raise ReadLimitError(f"there is no separator within the limit of {self._limit} bytes", searched)
            if self._has_ended:
                raise IncompleteReadError(self._take(len(self._buffer)), None)
            await self._wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def _begin(self) -> None:
        await checkpoint()
        if self._error is not None:
            raise self._error

    async def _wait(self) -> None:
        """Wait for more, or for the end."""
        if self._is_waiting:
            raise BusyResourceError("another task is reading from this stream")
        if self._paused:  # more is asked for than the limits let in
            self._resume()
        self._is_waiting = True
        try:
            await self._parking.wait()
        finally:
            self._is_waiting = False
        if self._error is not None:
            raise self._error

    def _take(self, size: int) -> bytes:
        if size >= len(self._buffer):
            data = bytes(self._buffer)
            self._buffer.clear()
        else:
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
        if self._paused and len(self._buffer) <= self._limit:
            self._resume()
        return data

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()


class StreamWriter:
    """See `tieline.runtimes.stream_shapes.StreamWriter`."""

    __slots__ = ("_streams", "_transport")

    def __init__(self, transport: Any, streams: Streams) -> None:
        self._transport = transport
        self._streams = streams

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport!r}>"

    @property
    def transport(self) -> Any:
        return self._transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._transport.write(data)

    def writelines(self, data: Iterable[bytes | bytearray | memoryview]) -> None:
        self._transport.writelines(data)

    def can_write_eof(self) -> bool:
        return bool(self._transport.can_write_eof())

    def write_eof(self) -> None:
        self._transport.write_eof()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return bool(self._transport.is_closing())

    def close(self) -> None:
        self._transport.close()

    async def drain(self) -> None:
        await self._streams.drain()

    async def wait_closed(self) -> None:
        await self._streams.wait_lost()

    async def start_tls(
        self,
        sslcontext: TLSChoice,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        from tieline.runtimes.tls.starting import settings_to_start  # lazily: most programs never start TLS
        from tieline.runtimes.trio.tls_layers import upgraded  # lazily, as above

        await self.drain()
        settings = settings_to_start(
            self._transport,
            sslcontext,
            server_side=self._streams.is_accepted,
            server_hostname=server_hostname,
            handshake_timeout=ssl_handshake_timeout,
            shutdown_timeout=ssl_shutdown_timeout,
        )
        unread = self._streams.reader.take_unread()
        self._transport = await upgraded(self._transport, self._streams, unread=unread, **settings)
        self._streams.set_transport(self._transport)


class Streams(HearsFailedSends, Protocol):
    """See `tieline.runtimes.stream_shapes.Streams`: here it is its own protocol."""

    __slots__ = (
        "_callback",
        "_has_ended",
        "_host",
        "_lost",
        "_lost_with",
        "_room",
        "_transport",
        "is_accepted",
        "reader",
    )

    def __init__(self, host: TrioHost, limit: int, callback: StreamCallback | None) -> None:
        self._host = host
        self._has_ended = False
        self._callback = callback
        self.is_accepted = callback is not None
        self._lost = trio.Event()
        self._lost_with: BaseException | None = None
        self._room: trio.Event | None = None
        self._transport: Any = None
        self.reader = StreamReader(limit)

    @property
    def protocol(self) -> Streams:
        return self

    def writer(self, transport: Any) -> StreamWriter:
        return StreamWriter(transport, self)

    # --- callbacks of the transport ------------------------------------------------------------------------------

    def set_transport(self, transport: Any) -> None:
        self._transport = transport
        self.reader.set_transport(transport)

    def connection_made(self, transport: Any) -> None:
        self.set_transport(transport)
        callback, self._callback = self._callback, None
        if callback is None:
            return
        result = callback(self.reader, self.writer(transport))
        if isinstance(result, Coroutine) and not self._host.spawn(partial(self._run, result)):
            result.close()

    async def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception:
            log.exception("the callback of a stream server failed")
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self.reader.feed_data(data)

    def eof_received(self) -> bool:
        self._has_ended = True
        self.reader.feed_eof()
        return bool(self._transport.can_write_eof())

    def pause_writing(self) -> None:
        self._room = trio.Event()

    def resume_writing(self) -> None:
        self._make_room()

    def sending_failed(self) -> None:
        self.reader.keep_all()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lost_with = exc
        if isinstance(exc, Exception) and not self._has_ended:  # else it was writing that failed
            self.reader.set_exception(exc)
        else:
            self.reader.feed_eof()
        self._lost.set()
        self._make_room()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()

    # --- for the writer ------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        error = self.reader.exception()
        if error is not None:
            raise error
        await checkpoint()
        if self._room is not None:
            await self._room.wait()
        if self._lost.is_set():
            raise self.reader.exception() or ConnectionResetError("the connection is lost")

    async def wait_lost(self) -> None:
        await self._lost.wait()
        if self._lost_with is not None:
            raise self._lost_with
