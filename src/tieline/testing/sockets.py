# SPDX-License-Identifier: MIT
"""Stream sockets in memory, for blocking code: what `socket.socketpair` gives, but that the system knows of none.

A pair shares one condition. Whoever changes anything wakes all who wait for it, in whatever thread.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
from math import inf
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tieline.testing.wires import CAPACITY

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MemorySocket", "memory_sockets"]

_AT_ONCE: Final = getattr(socket, "MSG_DONTWAIT", 0)
# Where the system has no such option nobody sets it.
_READ_LIMIT: Final = getattr(socket, "SO_RCVTIMEO", -1)
# Seconds of one wait, of which there may be several: conditions take no more.
_LONGEST_WAIT: Final = min(threading.TIMEOUT_MAX, 1e6)


class _Direction:
    """What is on its way from one end to the other."""

    __slots__ = ("capacity", "held", "is_ended", "is_refused", "is_reset")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = bytearray()
        self.is_ended = False  # nothing more is written
        self.is_refused = False  # nothing is read any more
        self.is_reset = False  # what is held can still be read, then comes a reset

    def is_readable(self) -> bool:
        return bool(self.held) or self.is_ended or self.is_reset

    def is_writable(self) -> bool:
        return len(self.held) < self.capacity or self.is_ended or self.is_refused or self.is_reset


class MemorySocket(socket.socket):
    """One end of an in-memory connection, for blocking code that takes a connected stream socket.

    `memory_sockets` creates a pair. It reports the family of TCP and behaves like a Unix stream socket: any number of
    threads may use it, a send accepts what there is room for, the end of the stream follows the data that was sent, and
    closing an end with unread data resets the connection. It has no file descriptor (`fileno` returns -1), so selectors
    and event loops cannot use it; its addresses are ("memory", number). Closing it wakes threads that wait in a call.
    """

    def __init__(
        self, changed: threading.Condition, incoming: _Direction, outgoing: _Direction, *, number: int
    ) -> None:
        # Not that of the class above, which would make a socket of the system. What `makefile` needs is of its kind.
        self._io_refs = 0
        self._closed = False
        self._changed = changed
        self._incoming = incoming
        self._outgoing = outgoing
        self._number = number
        self._timeout: float | None = None
        self._read_limit: float | None = None
        self._is_closed = self._resets = False

    def __repr__(self) -> str:
        return f"<MemorySocket {self._number}{' closed' if self._is_closed else ''}>"

    # --- facts ---------------------------------------------------------------------------------------------------

    @property
    def family(self) -> Any:
        """That of TCP, ``AF_INET``: what takes a socket of TCP is to take it."""
        return socket.AF_INET

    @property
    def type(self) -> Any:
        """SOCK_STREAM."""
        return socket.SOCK_STREAM

    def fileno(self) -> int:
        """Return -1: there is no descriptor."""
        return -1

    def getsockname(self) -> tuple[str, int]:
        """Return ("memory", number)."""
        return "memory", self._number

    def getpeername(self) -> tuple[str, int]:
        """Return ("memory", number), that of the other end."""
        return "memory", 3 - self._number

    # --- settings ------------------------------------------------------------------------------------------------

    def setblocking(self, flag: bool, /) -> None:
        """As of any socket."""
        self._timeout = None if flag else 0.0

    def settimeout(self, value: float | None, /) -> None:
        """As of any socket."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = value

    def gettimeout(self) -> float | None:
        """As of any socket."""
        return self._timeout

    def getblocking(self) -> bool:
        """As of any socket."""
        return self._timeout != 0.0

    def setsockopt(self, level: int, optname: int, value: Any, optlen: Any = None, /) -> None:
        """Set the time limit of reads (``SO_RCVTIMEO``), or that closing is a reset (``SO_LINGER`` with no time).

        All other options are taken, and mean nothing here.
        """
        if level != socket.SOL_SOCKET:
            return
        if optname == _READ_LIMIT:
            seconds, microseconds = struct.unpack("ll", value)
            self._read_limit = (seconds + microseconds / 1e6) or None
        elif optname == socket.SO_LINGER:
            self._resets = struct.unpack("ii", value) == (1, 0)

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> Any:
        """Return 0: no option is set, and no error is pending."""
        return 0

    # --- bytes ---------------------------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send what there is room for, and return how many bytes that is; wait for room as any socket does.

        Raises:
            ConnectionResetError: The other end has reset the connection.
            BrokenPipeError: The other end is closed, or this end was shut down for writing.
            BlockingIOError, TimeoutError: There is no room, now or in time.
        """
        with memoryview(data).cast("B") as view:
            out = self._outgoing
            with self._changed:
                self._wait(out.is_writable, None, flags)
                if out.is_reset or self._incoming.is_reset:
                    raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
                if out.is_refused or out.is_ended:
                    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
                taken = min(len(view), out.capacity - len(out.held))
                out.held += view[:taken]
                self._changed.notify_all()
                return taken

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of *data*; raises what `send` raises."""
        with memoryview(data).cast("B") as view:
            at = 0
            while at < len(view):
                at += self.send(view[at:], flags)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Return what has come, *bufsize* bytes at most; b"" at the end of the stream. It waits as any socket does.

        Raises:
            ConnectionResetError: The other end has reset the connection.
            BlockingIOError, TimeoutError: Nothing has come, now or in time.
        """
        incoming = self._incoming
        with self._changed:
            self._wait(incoming.is_readable, self._read_limit, flags)
            if not incoming.held:
                if incoming.is_reset:
                    incoming.is_reset = False  # it is told once
                    incoming.is_ended = True
                    raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
                return b""
            data = bytes(memoryview(incoming.held)[:bufsize])
            if not flags & socket.MSG_PEEK:
                del incoming.held[: len(data)]
                self._changed.notify_all()
            return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As `recv`, into *buffer*; return how many bytes."""
        with memoryview(buffer).cast("B") as view:
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data)

    def _wait(self, is_ready: Callable[[], bool], limit: float | None, flags: int) -> None:
        """Wait until *is_ready*, with the condition's lock held."""
        timeout = 0.0 if flags & _AT_ONCE else self._timeout
        until = inf if timeout is None else time.monotonic() + timeout
        limited = inf if limit is None else time.monotonic() + limit
        while True:
            if self._is_closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            if is_ready():
                return
            left = min(until, limited) - time.monotonic()
            if left <= 0:
                if timeout and until <= limited:
                    raise TimeoutError("timed out")
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self._changed.wait(None if left == inf else min(left, _LONGEST_WAIT))

    # --- the end -------------------------------------------------------------------------------------------------

    def shutdown(self, how: int, /) -> None:
        """As of any socket: say that nothing more is sent (SHUT_WR), nothing more read (SHUT_RD), or both."""
        with self._changed:
            if self._is_closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            if how in (socket.SHUT_WR, socket.SHUT_RDWR):
                self._outgoing.is_ended = True
            if how in (socket.SHUT_RD, socket.SHUT_RDWR):
                self._incoming.is_ended = self._incoming.is_refused = True
            self._changed.notify_all()

    def close(self) -> None:
        """Close: what was sent can still be read by the other end. With anything unread here it is a reset.

        As of any socket it takes effect when the files that ``makefile`` gave are closed as well.
        """
        super().close()

    # The class above calls it, behind the last file.
    def _real_close(self, _ss: Any = None) -> None:
        self._close(is_reset=self._resets or bool(self._incoming.held))

    def reset(self) -> None:
        """Close at once, whatever files there are, so that the other end hears of a ConnectionResetError."""
        self._close(is_reset=True)

    def _close(self, *, is_reset: bool) -> None:
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._incoming.held.clear()
            self._incoming.is_refused = True
            if is_reset:
                self._outgoing.is_reset = True
            else:
                self._outgoing.is_ended = True
            self._changed.notify_all()

    def detach(self) -> NoReturn:
        """Refuse: there is no descriptor to be given away."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def new_readiness(self) -> Any:
        """Return what a transport waits by, in the place of poll(2). For transports."""
        return _Readiness(self._changed, self._incoming, self._outgoing)


class _Readiness:
    """See `tieline.runtimes.blocking.readiness.Readiness`."""

    def __init__(self, changed: threading.Condition, incoming: _Direction, outgoing: _Direction) -> None:
        self._changed = changed
        self._incoming = incoming
        self._outgoing = outgoing
        self._is_woken = False

    def wake(self) -> None:
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def wait(self, *, reading: bool, writing: bool, seconds: float) -> tuple[bool, bool]:
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                readable = reading and self._incoming.is_readable()
                writable = writing and self._outgoing.is_writable()
                left = until - time.monotonic()
                if readable or writable or self._is_woken or left <= 0:
                    self._is_woken = False
                    return readable, writable
                self._changed.wait(None if left == inf else min(left, _LONGEST_WAIT))

    def close(self) -> None: ...


def memory_sockets(*, capacity: int = CAPACITY) -> tuple[MemorySocket, MemorySocket]:
    """Return two connected in-memory stream sockets for blocking code, as `socket.socketpair` does with real ones.

    They can be used wherever blocking code takes a connected socket: ``tieline.blocking.ClientSession(sock=...)``,
    packet clients, `tieline.blocking.create_connection`, and your own code for the other end.

    Args:
        capacity: The number of unread bytes in each direction at which sending waits.

    Raises:
        ValueError: *capacity* is not positive.
    """
    if capacity < 1:
        raise ValueError(f"the capacity must be 1 byte at least, not {capacity!r}")
    changed = threading.Condition()
    there, back = _Direction(capacity), _Direction(capacity)
    return MemorySocket(changed, back, there, number=1), MemorySocket(changed, there, back, number=2)
