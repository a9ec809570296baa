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
    """What all transports have."""

    __slots__ = ()

    @abstractmethod
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about the connection, or *default* where there is no such fact.

        Sockets: ``socket``, ``sockname``, ``peername`` (None when the socket cannot tell). TLS besides:
        ``compression``, ``cipher``, ``peercert``, ``sslcontext``, ``ssl_object``. Pipes: ``pipe``. Child processes:
        ``subprocess``.
        """

    @abstractmethod
    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""

    @abstractmethod
    def close(self) -> None:
        """Deliver nothing more, send what was written, then close: ``connection_lost(None)``. Again: nothing."""

    @abstractmethod
    def set_protocol(self, protocol: Any) -> None:
        """Let *protocol* hear all that comes from now on."""

    @abstractmethod
    def get_protocol(self) -> Any:
        """Return the protocol."""


class ReadTransport(BaseTransport):
    """What can be read from."""

    __slots__ = ()

    @abstractmethod
    def is_reading(self) -> bool:
        """Return whether data is delivered."""

    @abstractmethod
    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`. Again, or when closing: nothing."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Deliver data again, but not before this returns. Again, or when closing: nothing."""


class WriteTransport(BaseTransport):
    """What can be written to."""

    __slots__ = ()

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, now or later. Never waits; what it must keep, it copies.

        Raises:
            RuntimeError: After `write_eof`.
            TypeError: *data* is not bytes-like.
        """

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write all of them, joined."""
        self.write(b"".join(list_of_data))

    @abstractmethod
    def can_write_eof(self) -> bool:
        """Return whether `write_eof` can close one direction alone. Over TLS it cannot."""

    @abstractmethod
    def write_eof(self) -> None:
        """Close the direction of writing, behind what was written. Again: nothing.

        Raises:
            NotImplementedError: The transport cannot.
        """

    @abstractmethod
    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""

    @abstractmethod
    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit, in bytes."""

    @abstractmethod
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set with how many unsent bytes the protocol is told to pause writing, and to resume.

        It is told to pause when there are more than *high* bytes, and to resume when there are *low* or less. Without
        *low* that is a part of *high*.

        Raises:
            ValueError: Not 0 <= low <= high.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close at once: ``connection_lost(None)``. What is unsent is dropped."""


class Transport(ReadTransport, WriteTransport):
    """A stream in both directions."""

    __slots__ = ()


class DatagramTransport(BaseTransport):
    """A socket of datagrams."""

    __slots__ = ()

    @abstractmethod
    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send *data* as one datagram, now or later. Never waits.

        Args:
            data: The payload; may be empty.
            addr: Whom to; None = the address that the socket is connected to.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close at once: ``connection_lost(None)``. What is unsent is dropped."""


class SubprocessTransport(BaseTransport):
    """A child process and its pipes."""

    __slots__ = ()

    @abstractmethod
    def get_pid(self) -> int:
        """Return the process's number."""

    @abstractmethod
    def get_returncode(self) -> int | None:
        """Return the exit code; -N when signal N ended the process, None while it runs.

        255 = nobody knows it: somebody else has waited for the process, or SIGCHLD is ignored. The log has a warning.
        """

    @abstractmethod
    def get_pipe_transport(self, fd: int) -> Any:
        """Return the transport of the pipe to descriptor *fd* of the child; None when there is no such pipe."""

    @abstractmethod
    def send_signal(self, signal: int) -> None:
        """Send *signal* to the process.

        Raises:
            ProcessLookupError: It has ended.
        """

    @abstractmethod
    def terminate(self) -> None:
        """Ask the process to end (SIGTERM).

        Raises:
            ProcessLookupError: It has ended.
        """

    @abstractmethod
    def kill(self) -> None:
        """End the process (SIGKILL).

        Raises:
            ProcessLookupError: It has ended.
        """


class BaseProtocol:
    """What all protocols may hear; each of these does nothing."""

    __slots__ = ()

    def connection_made(self, transport: Any) -> None:
        """The connection stands. Called once, first."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone: because of *exc*, or None: it ended, or this side closed it. Called once, last."""

    def pause_writing(self) -> None:
        """More is unsent than the transport's high limit."""

    def resume_writing(self) -> None:
        """What is unsent has fallen to the transport's low limit."""


class Protocol(BaseProtocol):
    """Hears a stream piece by piece."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """These bytes came; never none."""

    def eof_received(self) -> bool | None:
        """The peer sends no more. True: the transport stays open for writing; not so over TLS. Else it closes."""
        return None


class BufferedProtocol(BaseProtocol):
    """Hears a stream by way of a buffer of its own.

    On asyncio this class becomes a subclass of asyncio's own as soon as tieline dials or listens there.
    """

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> Any:
        """Return a writable buffer for what comes; any size but 0.

        Args:
            sizehint: How many bytes are likely to come; -1 = unknown.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get_buffer()")

    def buffer_updated(self, nbytes: int) -> None:
        """The first *nbytes* bytes of the buffer have come."""

    def eof_received(self) -> bool | None:
        """The peer sends no more; see `Protocol.eof_received`."""
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
    """Hears datagrams: what asyncio names ``DatagramProtocol``. (That of tieline is a packet protocol.)"""

    __slots__ = ()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A datagram came from *addr*; it may be empty."""

    def error_received(self, exc: OSError) -> None:
        """The system reports an error of an earlier datagram, as ICMP does. The socket stays usable."""


class SubprocessProtocol(BaseProtocol):
    """Hears a child process."""

    __slots__ = ()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """The child wrote to its descriptor *fd*."""

    def pipe_connection_lost(self, fd: int, exc: BaseException | None) -> None:
        """The pipe to descriptor *fd* of the child is closed."""

    def process_exited(self) -> None:
        """The child has ended."""


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
