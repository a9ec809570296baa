# SPDX-License-Identifier: MIT
"""Streams in blocking code: a reader and a writer of the shapes that asyncio's have, each wait with a time limit."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any, Self

from tieline.errors import IncompleteReadError, ReadLimitError
from tieline.finite import time_after
from tieline.runtimes.stream_buffers import FedReader, FeedingProtocol, separators_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tieline.endpoints.secured import TLSChoice
    from tieline.runtimes.blocking.polled import PolledTransport

__all__ = ["StreamReader", "StreamWriter", "Streams"]


class StreamReader(FedReader):
    """Reads a stream: `asyncio.StreamReader` without ``await``. Iterates over lines.

    What waits takes *timeout*: seconds for all of it, None = without end, 0 = only what is there. It raises
    `TimeoutError` when they are over, and has taken nothing then. While it waits, what was written is sent on. It
    belongs, with its writer, to one thread at a time.

    When the connection was lost, all that waits raises what it was lost with; where the peer takes nothing more, that
    comes behind what it has said.
    """

    __slots__ = ()

    def __init__(self, limit: int = 65536) -> None:
        """Make a reader; `open_connection` does.

        Args:
            limit: How long what `readline` and `readuntil` return may be, in bytes; while more than twice as much waits
                to be read, the transport is paused.

        Raises:
            ValueError: *limit* is not over 0.
        """
        super().__init__(limit)

    def read(self, n: int = -1, timeout: float | None = None) -> bytes:
        """Return up to *n* bytes, at least one; ``b""`` at the end of the stream. -1 = all until then."""
        until = self._begin(timeout)
        if n == 0:
            return b""
        while (n < 0 or not self._buffer) and not self._has_ended:
            self._wait(until, timeout)
        return self._take(len(self._buffer) if n < 0 else n)

    def readexactly(self, n: int, timeout: float | None = None) -> bytes:
        """Return *n* bytes.

        Raises:
            IncompleteReadError: The stream ended before; ``partial`` is the data so far.
        """
        if n < 0:
            raise ValueError(f"n must be 0 or more, not {n}")
        until = self._begin(timeout)
        while len(self._buffer) < n:
            if self._has_ended:
                raise IncompleteReadError(self._take(n), n)
            self._wait(until, timeout)
        return self._take(n)

    def readline(self, timeout: float | None = None) -> bytes:
        """Return a line with its newline; at the end of the stream, the rest without one.

        Raises:
            ReadLimitError: It is longer than the limit. The part that has arrived is dropped.
        """
        try:
            return self.readuntil(b"\n", timeout)
        except IncompleteReadError as exc:
            return exc.partial
        except ReadLimitError as exc:
            self._drop_line(exc)
            raise

    def readuntil(self, separator: bytes | Sequence[bytes] = b"\n", timeout: float | None = None) -> bytes:
        """Return everything up to and including *separator*; of several separators, the one that ends first.

        Raises:
            IncompleteReadError: As `readexactly`.
            ReadLimitError: It is further away than the limit. Nothing is lost.
        """
        separators = separators_of(separator)
        until = self._begin(timeout)
        searched = 0
        while True:
            found = self._cut(separators, searched)
            if isinstance(found, bytes):
                return found
            searched = found
            self._wait(until, timeout)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _begin(self, timeout: float | None) -> float:
        """Return until when to wait."""
        until = time_after(time.monotonic(), "timeout", timeout)
        self._check_lost(has_more=bool(self._buffer))
        return until

    def _wait(self, until: float, timeout: Any) -> None:
        """Wait for more, or for the end."""
        self._check_lost(has_more=False)
        if self._paused:  # more is asked for than the limits let in
            self._resume()
        seconds = until - time.monotonic()
        had = len(self._buffer)
        moved = self._transport.poll(None if until == inf else max(0.0, seconds))
        self._check_lost(has_more=len(self._buffer) > had)
        if not moved and seconds <= 0:
            raise TimeoutError(f"not enough has come within {float(timeout):g} s")
        if not moved and self._transport.is_closing():
            self._has_ended = True  # closed by this side; whoever polled the transport has heard of it


class StreamWriter:
    """Writes a stream: `asyncio.StreamWriter` without ``await``; what waits takes *timeout*, as with `StreamReader`."""

    __slots__ = ("_reader", "_transport")

    def __init__(self, transport: PolledTransport, reader: StreamReader) -> None:
        self._transport = transport
        self._reader = reader

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport!r}>"

    @property
    def transport(self) -> PolledTransport:
        """The transport."""
        return self._transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data* as far as the system takes it; the rest goes out while something waits: `drain`, or a read."""
        self._transport.write(data)

    def writelines(self, data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write all of them, joined."""
        self._transport.writelines(data)

    def drain(self, timeout: float | None = None) -> None:
        """Wait until the system has taken all that was written. What comes meanwhile is kept for the reader.

        Raises:
            TimeoutError: It has not, within *timeout* seconds; it stays to be sent.
            ConnectionError: The connection is lost.
        """
        transport, reader = self._transport, self._reader
        until = time_after(time.monotonic(), "timeout", timeout)
        while True:
            error = reader.exception()
            if error is not None:
                raise error
            if transport.is_closing() and not transport.get_write_buffer_size():
                raise ConnectionResetError("the connection is closed")
            if not transport.get_write_buffer_size():
                return
            seconds = until - time.monotonic()
            if not transport.poll(None if until == inf else max(0.0, seconds)) and seconds <= 0:
                raise TimeoutError(f"the system has not taken all within {float(timeout or 0):g} s")

    def can_write_eof(self) -> bool:
        """Return whether one direction can be closed alone. Over TLS it cannot."""
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """Close the sending side after everything is sent."""
        self._transport.write_eof()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about the connection; see `tieline.transports.BaseTransport.get_extra_info`."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Begin to close; `wait_closed` sends the rest."""
        self._transport.close()

    def wait_closed(self, timeout: float | None = None) -> None:
        """Send what is left, and wait until the connection is closed.

        Raises:
            TimeoutError: It is not, within *timeout* seconds.
            Exception: What the connection was lost with.
        """
        self._transport.wait_closed(timeout)
        error = self._reader.exception()
        if error is not None:
            raise error

    def start_tls(
        self,
        sslcontext: TLSChoice,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        """Speak TLS from here on, as its client. What the reader has not given out counts as the beginning of TLS.

        For the arguments, and for what is raised, see `tieline.start_tls`.
        """
        from tieline.runtimes.blocking.polled import upgrade_polled  # lazily: most programs never start TLS
        from tieline.runtimes.tls.starting import settings_to_start  # lazily, as above

        settings = settings_to_start(
            self._transport,
            sslcontext,
            server_side=False,
            server_hostname=server_hostname,
            handshake_timeout=ssl_handshake_timeout,
            shutdown_timeout=ssl_shutdown_timeout,
        )
        upgrade_polled(self._transport, self._transport.get_protocol(), unread=self._reader.take_unread(), **settings)


class Streams(FeedingProtocol):
    """The protocol behind a reader and a writer."""

    __slots__ = ()

    reader: StreamReader

    def __init__(self, limit: int) -> None:
        super().__init__(StreamReader(limit))
