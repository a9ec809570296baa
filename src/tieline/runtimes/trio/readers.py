# SPDX-License-Identifier: MIT
"""Streams on trio: a reader and a writer of the shapes that asyncio's have, and the protocol behind both."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import trio
from trio.lowlevel import checkpoint

from tieline.errors import BusyResourceError, IncompleteReadError, ReadLimitError
from tieline.runtimes.stream_buffers import FedReader, FeedingProtocol, separators_of
from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tieline.endpoints.secured import TLSChoice
    from tieline.runtimes.stream_shapes import StreamCallback
    from tieline.runtimes.trio.host import TrioHost

__all__ = ["StreamReader", "StreamWriter", "Streams"]

log = logging.getLogger("tieline.trio")


class StreamReader(FedReader):
    """See `tieline.runtimes.stream_shapes.StreamReader`. Also iterates over lines.

    Each of its waits is a checkpoint. A read that is cancelled takes nothing.
    """

    __slots__ = ("_is_waiting", "_parking")

    def __init__(self, limit: int = 65536) -> None:
        super().__init__(limit)
        self._is_waiting = False
        self._parking = Parking()

    def _changed(self) -> None:
        self._parking.wake()

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
            self._drop_line(exc)
            raise

    async def readuntil(self, separator: bytes | Sequence[bytes] = b"\n") -> bytes:
        separators = separators_of(separator)
        await self._begin()
        searched = 0
        while True:
            found = self._cut(separators, searched)
            if isinstance(found, bytes):
                return found
            searched = found
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
        self._check_lost(has_more=bool(self._buffer))

    async def _wait(self) -> None:
        """Wait for more, or for the end."""
        self._check_lost(has_more=False)
        if self._is_waiting:
            raise BusyResourceError("another task is reading from this stream")
        if self._paused:  # more is asked for than the limits let in
            self._resume()
        self._is_waiting = True
        had = len(self._buffer)
        try:
            await self._parking.wait()
        finally:
            self._is_waiting = False
        self._check_lost(has_more=len(self._buffer) > had)


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


class Streams(FeedingProtocol):
    """See `tieline.runtimes.stream_shapes.Streams`: here it is its own protocol."""

    __slots__ = ("_callback", "_host", "_lost", "_lost_with", "_room", "is_accepted")

    reader: StreamReader

    def __init__(self, host: TrioHost, limit: int, callback: StreamCallback | None) -> None:
        super().__init__(StreamReader(limit))
        self._host = host
        self._callback = callback
        self.is_accepted = callback is not None
        self._lost = trio.Event()
        self._lost_with: BaseException | None = None
        self._room: trio.Event | None = None

    @property
    def protocol(self) -> Streams:
        return self

    def writer(self, transport: Any) -> StreamWriter:
        return StreamWriter(transport, self)

    # --- callbacks of the transport ------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
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

    def pause_writing(self) -> None:
        self._room = trio.Event()

    def resume_writing(self) -> None:
        self._make_room()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lost_with = exc
        super().connection_lost(exc)
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
