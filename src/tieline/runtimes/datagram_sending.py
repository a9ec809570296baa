# SPDX-License-Identifier: MIT
"""The sending half of a socket of datagrams: tried at once, kept within bounds when the system does not take it."""

from __future__ import annotations

import errno
import os
import socket
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from tieline.endpoints.socket_addresses import UnixSocketAddress
from tieline.runtimes.contract import DatagramTransport
from tieline.runtimes.datagram_facts import longest_payload, numeric_host
from tieline.runtimes.water_marks import WaterMarks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.ancillary import SocketAncillary

__all__ = ["BROKEN", "UNIX", "DatagramSender"]

# More than this many unsent bytes are not kept, for protocols that do not heed pause_writing.
MOST_UNSENT: Final = 4 * 1024 * 1024
# What a kept datagram counts beyond its payload, so that empty ones count too.
OVERHEAD: Final = 64
# Seconds until a Unix socket whose queue was full is tried again, and the most that this grows to: when it has room,
# the system tells only those who are connected to it.
PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 0.05

UNIX: Final[int] = getattr(socket, "AF_UNIX", -1)
# Errors after which the socket itself is of no use.
BROKEN: Final = frozenset({errno.EBADF, errno.ENOTSOCK})
_BYTES: Final = (bytes, bytearray, memoryview)


class DatagramSender(WaterMarks, DatagramTransport):
    """What sends, and tells the protocol to pause and to resume.

    Args:
        sock: The socket; owned by the transport.
        remote: The address that the socket is connected to; None = it is not.
        flags: What each system call is told, so that none waits.

    Attributes:
        is_gone: The protocol is told that it is over, or is about to be.
    """

    __slots__ = (
        "_family",
        "_flags",
        "_is_closing",
        "_last_host",
        "_pause",
        "_remote",
        "_sock",
        "_unsent",
        "_unsent_size",
        "is_gone",
    )

    def __init__(self, sock: socket.socket, remote: Any, flags: int) -> None:
        self._sock = sock
        self._family: int = sock.family
        self._remote = remote
        self._flags = flags
        self._unsent: deque[tuple[bytes, Any, SocketAncillary | None]] = deque()
        self._unsent_size = 0
        self._pause = PAUSE
        self._is_closing = self.is_gone = False
        self._last_host: object = None

    # --- sending -------------------------------------------------------------------------------------------------

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send *data* as one datagram, now or when the system takes it. Never waits.

        Args:
            data: The payload; may be empty.
            addr: The receiver; None = the address that the socket is connected to. Numeric: a name would have to be
                looked up.

        Raises:
            OSError: EMSGSIZE: such a socket carries no datagram as long as this. ENOBUFS: so much is unsent that this
                one is not kept; who heeds `pause_writing` never gets there. All other errors go to `error_received`.
            TypeError: *data* is not bytes-like.
            ValueError: An address where none can be given, or none where one must be, or a name.
        """
        if not isinstance(data, _BYTES):
            raise TypeError(f"a datagram is bytes-like, not {type(data).__name__}")
        if addr is not None or self._remote is None:
            addr = self._checked(addr)
        if not self._is_closing and (self._unsent or not self._sent(data, addr, None)):
            self._keep(data, addr, None)

    def try_sendto(self, data: bytes, addr: Any, ancillary: SocketAncillary | None = None) -> bool:
        """As `sendto`, if the system takes the datagram at once; else return False: nothing is kept of it.

        *ancillary* goes beside it, as by `sendmsg`.
        """
        addr = self._checked(addr)
        return self._is_closing or (not self._unsent and self._sent(data, addr, ancillary))

    def sendmsg(self, data: bytes | bytearray | memoryview, ancillary: SocketAncillary, addr: Any = None) -> None:
        """As `sendto`, with what goes beside it; for Unix sockets.

        Descriptors may be closed as soon as this returns.

        Raises:
            OSError: As `sendto`; EMSGSIZE also when *ancillary* does not fit.
            ValueError: As `sendto`, or the socket is no Unix socket.
        """
        if not isinstance(data, _BYTES):
            raise TypeError(f"a datagram is bytes-like, not {type(data).__name__}")
        self._check_is_unix()
        if addr is not None or self._remote is None:
            addr = self._checked(addr)
        ancillary.as_raw()  # refused at once
        if not self._is_closing and (self._unsent or not self._sent(data, addr, ancillary)):
            self._keep(data, addr, ancillary.kept())

    def _checked(self, addr: Any) -> Any:
        """Return *addr* as the socket takes it; None for the one that it is connected to."""
        if addr is None:
            raise ValueError("sendto() needs an address: the socket is not connected to any")
        if self._family == UNIX:
            path = addr.as_raw() if isinstance(addr, UnixSocketAddress) else os.fspath(cast("str | bytes", addr))
            encoded = os.fsencode(path)  # now, and not when its turn comes: it may hold what no path can
            if self._remote is None:
                return path
            if encoded == os.fsencode(self._remote):
                return None
        elif self._remote is not None:
            if tuple(addr[:2]) == tuple(self._remote[:2]):
                return None
        else:
            host, port = addr[:2]
            if not isinstance(port, int) or not 0 <= port <= 65535:
                raise ValueError(f"the port of an address must be a number from 0 to 65535, not {port!r}")
            if host != self._last_host:
                self._last_host = numeric_host(host, self._family)
            return addr
        raise ValueError(f"the socket is connected to {self._remote!r}: nothing can be sent to {addr!r}")

    def _sent(self, data: bytes | bytearray | memoryview, addr: Any, ancillary: SocketAncillary | None) -> bool:
        """Try to send; return whether there is no more to do about this datagram.

        Raises:
            OSError: EMSGSIZE.
        """
        earlier: OSError | None = None
        while True:
            try:
                if ancillary is not None:
                    from tieline.runtimes.ancillary import send_with  # lazily: for the few who use it

                    send_with(self._sock, bytes(data), ancillary.as_raw(), self._flags, addr)
                elif addr is None:
                    self._sock.send(data, self._flags)
                else:
                    self._sock.sendto(data, self._flags, addr)
                return True
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as exc:
                if exc.errno == errno.EMSGSIZE:
                    raise OSError(exc.errno, f"a datagram of {len(data)} bytes is too long for its socket") from exc
                if earlier is not None and exc.errno == earlier.errno:
                    return True  # it was the fate of this one, and is told
                self._plan_to_tell(exc)
                # The system may report the fate of an earlier datagram in place of sending this one. (Of Unix sockets
                # it is the fate of this one.)
                if earlier is not None or self._family == UNIX or exc.errno in BROKEN:
                    return True
                earlier = exc

    def _keep(self, data: bytes | bytearray | memoryview, addr: Any, ancillary: SocketAncillary | None) -> None:
        longest = longest_payload(self._sock)
        if len(data) > longest:
            raise OSError(errno.EMSGSIZE, f"a datagram of {len(data)} bytes is too long for its socket")
        size = self._unsent_size + len(data) + OVERHEAD
        if size > max(MOST_UNSENT, 2 * self._high):
            raise OSError(errno.ENOBUFS, f"{self._unsent_size} bytes are unsent already: obey pause_writing()")
        self._unsent_size = size
        self._unsent.append((bytes(data), addr, ancillary))
        if len(self._unsent) == 1:
            self._writing_changed()
        self._check_full()

    def flush_some(self) -> None:
        """Send what the system takes of what is unsent."""
        if self.is_gone:
            return
        full: set[Any] = set()  # whose queues have no room; what is for others is not to wait for them
        others_first = self._family == UNIX and self._remote is None
        size_before = self._unsent_size
        for _ in range(len(self._unsent)):
            datagram = data, addr, ancillary = self._unsent.popleft()
            try:
                is_done = addr not in full and self._sent(data, addr, ancillary)
            except OSError as exc:
                self._plan_to_tell(exc)
                is_done = True
            if is_done:
                self._unsent_size -= len(data) + OVERHEAD
                if ancillary is not None:
                    ancillary.clear()
            elif others_first:
                full.add(addr)
                self._unsent.append(datagram)  # all are looked at once, so their order stays
            else:
                self._unsent.appendleft(datagram)
                break
        if not self._unsent:
            self._writing_changed()
        elif others_first:
            self._pause = PAUSE if self._unsent_size < size_before else min(2 * self._pause, LONGEST_PAUSE)
            self._flush_later(self._pause)
        if not self.is_gone:
            self._check_room()
        if self._is_closing and not self._unsent:
            self._end(None)

    # --- flow control --------------------------------------------------------------------------------------------

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent; each datagram counts 64 more than its payload."""
        return self._unsent_size

    def _check_is_unix(self) -> None:
        if self._family != UNIX:
            raise ValueError("only Unix sockets have ancillary data")

    # --- what the rest of the transport does ---------------------------------------------------------------------

    @abstractmethod
    def _plan_to_tell(self, error: OSError) -> None: ...

    @abstractmethod
    def _tell(self, callback: Callable[[], object]) -> None: ...

    @abstractmethod
    def _end(self, error: BaseException | None) -> None: ...

    # --- what a runtime does its own way -------------------------------------------------------------------------

    @abstractmethod
    def _flush_later(self, seconds: float) -> None:
        """Have `flush_some` called after so many seconds, and not each time that the socket can be written."""

    @abstractmethod
    def _writing_changed(self) -> None:
        """There is something unsent now, or there is nothing any more: have `flush_some` called when it can be."""
