# SPDX-License-Identifier: MIT
"""asyncio's contract of transports and protocols, as base classes that need no asyncio.

The contract is the one that the documentation of asyncio states under "Transports and Protocols"; every runtime keeps
it. Protocols that derive from asyncio's own classes, or from none at all, are as good.

All of it belongs to one thread: the one that runs the loop, or in blocking code the one that moves the transport.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "BaseProtocol",
    "BaseTransport",
    "BufferedProtocol",
    "DatagramCallbacks",
    "DatagramTransport",
    "HearsFailedSends",
    "OurProtocol",
    "Protocol",
    "ReadTransport",
    "SubprocessProtocol",
    "SubprocessTransport",
    "Transport",
    "WriteTransport",
    "fill_buffers",
    "is_buffered",
]


class BaseTransport(ABC):
    """The base of all transports."""

    __slots__ = ()

    @abstractmethod
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection, or *default* if there is none by that name.

        Sockets: ``socket``, ``sockname``, ``peername`` (None when the socket does not know it). With TLS also:
        ``compression``, ``cipher``, ``peercert``, ``sslcontext``, ``ssl_object``. Pipes: ``pipe``. Child processes:
        ``subprocess``.
        """

    @abstractmethod
    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""

    @abstractmethod
    def close(self) -> None:
        """Stop delivering data, send what was written, then close: ``connection_lost(None)``. May be called again."""

    @abstractmethod
    def set_protocol(self, protocol: Any) -> None:
        """Have *protocol* receive all further callbacks."""

    @abstractmethod
    def get_protocol(self) -> Any:
        """Return the protocol."""


class ReadTransport(BaseTransport):
    """A transport that can be read from."""

    __slots__ = ()

    @abstractmethod
    def is_reading(self) -> bool:
        """Return whether data is being delivered."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`. Has no effect when paused already, or when closing."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Deliver data again, but not before this returns. Has no effect when not paused, or when closing."""


class WriteTransport(BaseTransport):
    """A transport that can be written to."""

    __slots__ = ()

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, now or later, without waiting. Data that must be kept is copied.

        Raises:
            RuntimeError: After `write_eof`.
            TypeError: *data* is not bytes-like.
        """

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write the concatenation of *list_of_data*."""
        self.write(b"".join(list_of_data))

    @abstractmethod
    def can_write_eof(self) -> bool:
        """Return whether `write_eof` is supported. Over TLS it is not."""

    @abstractmethod
    def write_eof(self) -> None:
        """Close the writing direction after all that was written. May be called again.

        Raises:
            NotImplementedError: The transport cannot close one direction alone.
        """

    @abstractmethod
    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that are not sent yet."""

    @abstractmethod
    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit, in bytes."""

    @abstractmethod
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the numbers of unsent bytes at which the protocol is told to pause and to resume writing.

        ``pause_writing`` is called when there are more than *high* bytes, ``resume_writing`` when there are *low* or
        fewer. If *low* is None, it is a fraction of *high*.

        Raises:
            ValueError: Not 0 <= low <= high.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close at once: ``connection_lost(None)``. Unsent data is dropped."""


class Transport(ReadTransport, WriteTransport):
    """A transport of a stream in both directions."""

    __slots__ = ()


class DatagramTransport(BaseTransport):
    """A transport of datagrams."""

    __slots__ = ()

    @abstractmethod
    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send *data* as one datagram, now or later, without waiting.

        Args:
            data: The payload; may be empty.
            addr: The address to send to; None = the one that the socket is connected to.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close at once: ``connection_lost(None)``. Unsent data is dropped."""


class SubprocessTransport(BaseTransport):
    """The transport of a child process and its pipes."""

    __slots__ = ()

    @abstractmethod
    def get_pid(self) -> int:
        """Return the process ID."""

    @abstractmethod
    def get_returncode(self) -> int | None:
        """Return the exit code; -N if signal N ended the process, None while it runs.

        255 if it is unknown, since other code has waited for the process or SIGCHLD is ignored; a warning is logged.
        """

    @abstractmethod
    def get_pipe_transport(self, fd: int) -> Any:
        """Return the transport of the pipe to descriptor *fd* of the child; None when there is no such pipe."""

    @abstractmethod
    def send_signal(self, signal: int) -> None:
        """Send *signal* to the process.

        Raises:
            ProcessLookupError: The process has ended.
        """

    @abstractmethod
    def terminate(self) -> None:
        """Ask the process to end (SIGTERM).

        Raises:
            ProcessLookupError: The process has ended.
        """

    @abstractmethod
    def kill(self) -> None:
        """End the process (SIGKILL).

        Raises:
            ProcessLookupError: The process has ended.
        """


class BaseProtocol:
    """The base of all protocols; its callbacks do nothing."""

    __slots__ = ()

    def connection_made(self, transport: Any) -> None:
        """The connection is established. Called once, first."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is closed: because of *exc*; None = it ended, or this side closed it. Called once, last."""

    def pause_writing(self) -> None:
        """The number of unsent bytes exceeds the high limit of the transport."""

    def resume_writing(self) -> None:
        """The number of unsent bytes has fallen to the low limit of the transport."""


class Protocol(BaseProtocol):
    """A protocol that receives a stream in pieces."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Data has arrived; *data* is never empty."""

    def eof_received(self) -> bool | None:
        """The peer has ended its stream. Return True to keep the transport open for writing (not over TLS)."""
        return None


class BufferedProtocol(BaseProtocol):
    """A protocol that receives a stream in a buffer of its own.

    On asyncio this class becomes a subclass of asyncio's own as soon as tieline dials or listens there.
    """

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> Any:
        """Return a writable buffer for the next read, of any size but 0.

        Args:
            sizehint: The likely number of bytes; -1 = unknown.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get_buffer()")

    def buffer_updated(self, nbytes: int) -> None:
        """Data has arrived: the first *nbytes* bytes of the buffer."""

    def eof_received(self) -> bool | None:
        """The peer has ended its stream; see `Protocol.eof_received`."""
        return None


class HearsFailedSends:
    """A protocol of a stream that is to know when what it hears is the last that its peer has said."""

    __slots__ = ()

    def sending_failed(self) -> None:
        """Nothing can be sent any more: what the peer has said before is about to come, as far as it is wanted.

        Called by transports of ours, behind all other callbacks but those that tell of that and of the end.
        """


class OurProtocol(HearsFailedSends):
    """A protocol of a stream that is one of ours: its `connection_made` raises nothing."""

    __slots__ = ()

    def never_made(self) -> None:
        """The connection that it was made for will not come: a handshake below has failed. Called instead of all else.

        What refers to each other in a circle lets go here, or it would stay for the garbage collector.
        """


class DatagramCallbacks(BaseProtocol):
    """A protocol of datagrams, as asyncio's ``DatagramProtocol``. (tieline uses that name for packet protocols.)"""

    __slots__ = ()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A datagram has arrived from *addr*; *data* may be empty."""

    def error_received(self, exc: OSError) -> None:
        """The system reports an error of an earlier datagram, such as an ICMP message. The socket stays usable."""


class SubprocessProtocol(BaseProtocol):
    """A protocol of a child process."""

    __slots__ = ()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """The child has written *data* to its file descriptor *fd*."""

    def pipe_connection_lost(self, fd: int, exc: BaseException | None) -> None:
        """The pipe to file descriptor *fd* of the child is closed."""

    def process_exited(self) -> None:
        """The child has exited."""


def is_buffered(protocol: Any) -> bool:
    """Return whether *protocol* is to be given data by way of buffers of its own."""
    if isinstance(protocol, BufferedProtocol):
        return True
    return hasattr(protocol, "get_buffer") and not callable(getattr(protocol, "data_received", None))


def fill_buffers(protocol: Any, data: bytes, goes_on: Callable[[], bool]) -> memoryview:
    """Deliver *data* in as many pieces as the protocol's buffers make of it, for as long as *goes_on* says so.

    Returns what was not delivered.

    Raises:
        RuntimeError: The protocol gave an empty buffer.
    """
    rest = memoryview(data)
    while rest and goes_on():
        buffer = memoryview(protocol.get_buffer(len(rest))).cast("B")
        size = min(len(buffer), len(rest))
        if not size:
            raise RuntimeError("get_buffer() returned an empty buffer")
        buffer[:size] = rest[:size]
        rest = rest[size:]
        del buffer  # the protocol may resize it
        protocol.buffer_updated(size)
    return rest
