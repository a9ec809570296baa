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
    """Reads a stream: on asyncio an ``asyncio.StreamReader``, on trio a class with the same methods.

    One task reads at a time. On trio it raises `tieline.exceptions.IncompleteReadError`, an EOFError as asyncio's
    own is, and `tieline.exceptions.ReadLimitError`, a ValueError, in place of ``asyncio.LimitOverrunError``.
    """

    async def read(self, n: int = -1) -> bytes:
        """Return up to *n* bytes, at least one; ``b""`` at the end of the stream. -1 = all until then."""
        ...

    async def readline(self) -> bytes:
        """Return a line with its newline; at the end of the stream, the rest without one.

        Raises:
            ValueError: It is longer than the limit. The part that has arrived is dropped.
        """
        ...

    async def readexactly(self, n: int) -> bytes:
        """Return *n* bytes.

        Raises:
            EOFError: The stream ended before: an ``IncompleteReadError`` with the data so far, as ``partial``.
        """
        ...

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Return everything up to and including *separator*.

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
        """Add *data* to the stream, as if it had arrived."""

    def feed_eof(self) -> None:
        """End the stream."""

    def exception(self) -> BaseException | None:
        """Return the error by which the connection was lost; None = none."""
        ...

    def set_exception(self, exc: Exception) -> None:
        """Make reads raise *exc*."""

    def set_transport(self, transport: Any) -> None:
        """Set the *transport* to pause while more than twice the limit waits to be read."""


class StreamWriter(Protocol):
    """Writes a stream: on asyncio an ``asyncio.StreamWriter``, on trio a class with the same methods."""

    @property
    def transport(self) -> Any:
        """The transport."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, now or later; `drain` waits."""

    def writelines(self, data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write all of them."""

    async def drain(self) -> None:
        """Wait until there is room to write more.

        Raises:
            ConnectionError: The connection is lost.
        """

    def can_write_eof(self) -> bool:
        """Return whether one direction can be closed alone. Over TLS it cannot."""
        ...

    def write_eof(self) -> None:
        """Close the sending side after everything is sent."""

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
        """Upgrade the connection to TLS: as the server if the connection was accepted, otherwise as the client.

        Arguments and errors are those of `tieline.start_tls`. Data that the reader has not returned yet is taken as the
        beginning of TLS, so plain text that an attacker has injected makes the handshake fail. **Dangerous:** data that
        the reader has returned before was plain text, from anybody on the network; do not trust it after the handshake.
        A writer of ``asyncio.open_connection`` keeps plain text that has arrived, and its reader returns it after the
        handshake as if it had arrived over TLS.
        """

    def is_closing(self) -> bool:
        """Return whether the connection is closing or closed."""
        ...

    def close(self) -> None:
        """Send what was written, then close."""

    async def wait_closed(self) -> None:
        """Wait until the connection is closed; raise the error by which it was lost, if any."""


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
