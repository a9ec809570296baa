# SPDX-License-Identifier: MIT
"""Streams on asyncio: those of the standard library, on connections of ours, but for how TLS starts on them."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from tieline.runtimes.hangups import rest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tieline.endpoints.secured import TLSChoice
    from tieline.runtimes.stream_shapes import StreamCallback

__all__ = ["StreamReader", "StreamWriter", "Streams"]


class _Steering:
    """What a reader pauses and resumes: the reading of *transport*, in whose place another may come."""

    __slots__ = ("transport",)

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def __repr__(self) -> str:
        return repr(self.transport)

    def pause_reading(self) -> None:
        if not self.transport.is_closing():  # else it reads no more, and uvloop's would say so
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()


class StreamReader(asyncio.StreamReader):
    """The standard library's, which can be given another transport: TLS is one.

    Attributes:
        is_whole: The end of the peer's stream has come, and the connection is being lost: it is no matter how.
    """

    _steering: _Steering | None = None
    is_whole = False
    _late: Exception | None = None  # by which the connection was lost, where what had come is given out before

    # What is the standard library's own of its reader, and has been since 3.4.
    _buffer: bytearray
    _waiter: asyncio.Future[None] | None

    def exception(self) -> Exception | None:
        return self._late or super().exception()

    def set_exception(self, exc: Exception) -> None:
        if self.is_whole:
            return
        if not (self._buffer and isinstance(exc, BrokenPipeError)):
            super().set_exception(exc)
            return
        self._late = exc  # a peer that takes nothing more is heard before that
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(exc)

    async def _wait_for_data(self, func_name: str) -> None:
        if self._late is not None:
            raise self._late
        await super()._wait_for_data(func_name)  # type: ignore[misc]  # typeshed knows nothing of it

    def set_transport(self, transport: Any) -> None:
        if self._steering is None:
            self._steering = _Steering(transport)
            super().set_transport(self._steering)  # type: ignore[arg-type]  # it asks for no more
        else:
            self._steering.transport = transport

    def rest(self) -> Iterator[bytes]:
        """Yield what the peer has said before a write failed, which loops leave to the system; nothing = the end.

        Raises:
            OSError: The connection is broken.
        """
        assert self._steering is not None
        return rest_of(self._steering.transport, lambda: True)

    def take_unread(self) -> bytes:
        """Take what has come and was not given out. (`read` waits for nothing when there is something.)

        Raises:
            Exception: The connection has ended with it.
        """
        reading = self.read(sys.maxsize)
        try:
            reading.send(None)
        except StopIteration as done:
            unread: bytes = done.value
            return unread
        except RuntimeError:  # another task waits, so there is nothing
            return b""
        reading.close()
        return b""


class StreamWriter(asyncio.StreamWriter):
    """The standard library's, but that TLS starts on every connection of ours, and as on the other runtimes.

    The standard library would leave what has come in plain text, by whomever it was sent, for the reader to give out
    behind the handshake.
    """

    reader: StreamReader
    is_accepted = False

    async def start_tls(
        self,
        sslcontext: TLSChoice,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        from tieline.runtimes.asyncio.tls_layers import upgraded  # lazily: most programs never start TLS
        from tieline.runtimes.tls.starting import settings_to_start  # lazily, as above

        await self.drain()
        protocol: Any = self.transport.get_protocol()
        settings = settings_to_start(
            self.transport,
            sslcontext,
            server_side=self.is_accepted,
            server_hostname=server_hostname,
            handshake_timeout=ssl_handshake_timeout,
            shutdown_timeout=ssl_shutdown_timeout,
        )
        safe: Any = await upgraded(self.transport, protocol, unread=self.reader.take_unread(), **settings)
        self.reader.set_transport(safe)
        super().__init__(safe, protocol, self.reader, asyncio.get_running_loop())


class _StreamProtocol(asyncio.StreamReaderProtocol):
    """The standard library's, but that what breaks behind the end of the stream keeps nothing unread."""

    reader: StreamReader
    _has_ended = False

    def eof_received(self) -> bool | None:
        self._has_ended = True
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, BrokenPipeError) and not self._has_ended:
            exc = self._read_rest() or exc
        self.reader.is_whole = self._has_ended
        try:
            super().connection_lost(exc)
        finally:
            self.reader.is_whole = False

    def _read_rest(self) -> OSError | None:
        """Take in what the peer has said before a write failed. Returns what broke the connection, if that is told."""
        try:
            for data in self.reader.rest():
                if data:
                    self.reader.feed_data(data)
                else:
                    self.eof_received()
        except OSError as exc:
            return exc
        return None


class Streams:
    """See `tieline.runtimes.stream_shapes.Streams`."""

    __slots__ = ("protocol", "reader")

    def __init__(self, limit: int, callback: StreamCallback | None) -> None:
        loop = asyncio.get_running_loop()
        self.reader = StreamReader(limit=limit, loop=loop)
        called = None if callback is None else partial(_call, callback)
        self.protocol = _StreamProtocol(self.reader, called, loop=loop)
        self.protocol.reader = self.reader

    def writer(self, transport: Any) -> StreamWriter:
        writer = StreamWriter(transport, self.protocol, self.reader, asyncio.get_running_loop())
        writer.reader = self.reader
        return writer


def _call(callback: StreamCallback, reader: Any, writer: Any) -> Any:
    """Call back with a writer of ours: the protocol makes one of the standard library's."""
    writer.__class__ = StreamWriter
    writer.reader = reader
    writer.is_accepted = True
    return callback(reader, writer)
