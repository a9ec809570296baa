# SPDX-License-Identifier: MIT
"""Stream readers and writers as every runtime has them: the shapes of asyncio's own, for annotations.

On asyncio they are those of the standard library, of classes of ours that are derived from them for the sake of TLS; on
trio they are ours, in ``runtimes/trio/readers.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

__all__ = ["StreamCallback", "StreamReader", "StreamWriter", "Streams"]


class StreamReader(Protocol):
    """Reads a stream: on asyncio an ``asyncio.StreamReader``, on trio the same by other means.

    One task reads at a time. On trio it raises `tieline.exceptions.IncompleteReadError`, an EOFError as asyncio's
    own is, and `tieline.exceptions.ReadLimitError`, a ValueError, in place of ``asyncio.LimitOverrunError``.
    """

    async def read(self, n: int = -1) -> bytes:
        """Return up to *n* bytes, at least one; ``b""`` at the end of the stream. -1 = all until then."""
        ...

    async def readline(self) -> bytes:
        """Return a line with its newline; what there is without one at the end of the stream.

        Raises:
            ValueError: It is longer than the limit. What there is of it is dropped.
        """
        ...

    async def readexactly(self, n: int) -> bytes:
        """Return *n* bytes.

        Raises:
            EOFError: The stream ended before: an ``IncompleteReadError`` with what there was, as ``partial``.
        """
        ...

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Return all up to *separator*, that included.

        Raises:
            EOFError: As `readexactly`.
            Exception: It is further away than the limit: asyncio's ``LimitOverrunError``, or `ReadLimitError` on trio.
                Nothing is lost.
        """
        ...

    def __aiter__(self) -> Self:
        """Iterate over lines, as `readline` returns them."""
        ...

    async def __anext__(self) -> bytes: ...

    def at_eof(self) -> bool:
        """Return whether the stream has ended and all of it was read."""
        ...

    def feed_data(self, data: bytes) -> None:
        """Take *data* as what came next."""

    def feed_eof(self) -> None:
        """Take it that nothing more comes."""

    def exception(self) -> BaseException | None:
        """Return what the connection was lost with."""
        ...

    def set_exception(self, exc: Exception) -> None:
        """Have *exc* raised by whoever reads."""

    def set_transport(self, transport: Any) -> None:
        """Have *transport* pause while more than twice the limit waits to be read."""


class StreamWriter(Protocol):
    """Writes a stream: on asyncio an ``asyncio.StreamWriter``, on trio the same by other means."""

    @property
    def transport(self) -> Any:
        """The transport."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, now or later; `drain` waits."""

    def writelines(self, data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write all of them."""

    async def drain(self) -> None:
        """Wait until there is room to write on.

        Raises:
            ConnectionError: The connection is lost.
        """

    def can_write_eof(self) -> bool:
        """Return whether one direction can be closed alone. Over TLS it cannot."""
        ...

    def write_eof(self) -> None:
        """Close the direction of writing, behind what was written."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about the connection; see `tieline.transports.BaseTransport.get_extra_info`."""
        ...

    async def start_tls(
        self,
        sslcontext: Any,
        *,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> None:
        """Speak TLS from here on: as the server where the connection was accepted, else as the client.

        It is what `tieline.start_tls` does, with the same arguments and errors. What the reader has not given out
        counts as the beginning of TLS: text that somebody on the line has put behind the peer's "go ahead" breaks the
        handshake. **Dangerous:** what it has given out came in plain text, by whomever it was sent; none of it may
        count for more behind the handshake. And a writer of asyncio's own (``asyncio.open_connection``) leaves what
        has come in plain text for the reader to give out behind the handshake, as if it had come in TLS.
        """

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        ...

    def close(self) -> None:
        """Send what was written, then close."""

    async def wait_closed(self) -> None:
        """Wait until the connection is closed; raise what it was lost with."""


StreamCallback: TypeAlias = "Callable[[Any, Any], Coroutine[Any, Any, None] | None]"


class Streams(Protocol):
    """The streams of one connection; made by `AsyncBackend.new_streams`."""

    @property
    def protocol(self) -> Any:
        """What the transport is to drive."""
        ...

    @property
    def reader(self) -> Any:
        """The stream reader."""
        ...

    def writer(self, transport: Any) -> Any:
        """Return a stream writer on *transport*, which drives the protocol."""
