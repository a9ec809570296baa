# SPDX-License-Identifier: MIT
"""A socket of datagrams as a transport: all of it but the waiting, which each runtime does in its ``datagrams.py``.

Sending tries the socket at once; what it does not take is kept, up to a bound. Nothing that comes is queued here: each
datagram goes to the protocol at once, so many in one turn, and those that nobody reads wait in the system's own queue,
which drops what is too much and counts it. A protocol that queues can pause reading, or use a `DatagramQueue`.
"""

from __future__ import annotations

import errno
import os
import socket
from abc import abstractmethod
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from tieline.endpoints.socket_addresses import UnixSocketAddress
from tieline.runtimes.contract import DatagramTransport
from tieline.runtimes.datagram_facts import Scratch, dropped_by_system, longest_payload, name_of, numeric_host
from tieline.runtimes.water_marks import HIGH_WATER, LOW_WATER, water_marks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.ancillary import SocketAncillary

__all__ = ["BATCH", "SocketDatagrams"]

# How many datagrams one turn reads: enough that waiting costs little, few enough that others wait for less than a
# millisecond.
BATCH: Final = 32
# More than this many unsent bytes are not kept, for protocols that do not heed pause_writing.
MOST_UNSENT: Final = 4 * 1024 * 1024
# What a kept datagram counts beyond its payload, so that empty ones count too.
OVERHEAD: Final = 64
# Errors that wait to be told; more of them tell nothing new.
MOST_ERRORS: Final = 16
# Seconds until a Unix socket whose queue was full is tried again, and the most that this grows to: when it has room,
# the system tells only those who are connected to it.
PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 0.05

_UNIX: Final[int] = getattr(socket, "AF_UNIX", -1)
_BROKEN: Final = frozenset({errno.EBADF, errno.ENOTSOCK})
_BYTES: Final = (bytes, bytearray, memoryview)


class SocketDatagrams(DatagramTransport):
    """The transport of one socket; a runtime's own class says how to wait, in the methods at the end.

    Args:
        sock: The socket; owned by the transport.
        protocol: Hears what comes: see `tieline.transports.DatagramCallbacks`.
        remote: The address that the socket is connected to; None = it is not.
        max_size: The longest datagram that is taken; longer ones are dropped, and counted.
        flags: What each system call is told, so that none waits.

    Attributes:
        wants_data: Whether what comes is to be read.
        is_gone: The protocol is told that it is over, or is about to be.
        dropped: How many datagrams were dropped here.
    """

    __slots__ = (
        "_ancillary_room",
        "_errors",
        "_extra",
        "_family",
        "_flags",
        "_high",
        "_is_closing",
        "_is_full",
        "_is_paused",
        "_last_host",
        "_low",
        "_max_size",
        "_pause",
        "_protocol",
        "_received",
        "_recvfrom",
        "_remote",
        "_sock",
        "_unsent",
        "_unsent_size",
        "dropped",
        "is_gone",
        "wants_data",
    )

    def __init__(self, sock: socket.socket, protocol: Any, *, remote: Any, max_size: int, flags: int = 0) -> None:
        self._sock = sock
        self._family: int = sock.family
        self._remote = remote
        self._max_size = max_size
        self._flags = flags
        self._unsent: deque[tuple[bytes, Any, SocketAncillary | None]] = deque()
        self._unsent_size = 0
        self._low, self._high = LOW_WATER, HIGH_WATER
        self._is_full = False  # as the protocol has been told
        self._pause = PAUSE
        self._errors: list[OSError] = []
        self._is_paused = self._is_closing = self.is_gone = False
        self.wants_data = True
        self.dropped = 0
        self._ancillary_room = 0
        self._last_host: object = None
        self._recvfrom = sock.recvfrom if max_size < 1 << 16 else Scratch(sock, max_size + 1).recvfrom
        self._extra = {"socket": sock, "sockname": name_of(sock.getsockname), "peername": name_of(sock.getpeername)}
        self.set_protocol(protocol)

    def __repr__(self) -> str:
        state = "gone" if self.is_gone else "closing" if self._is_closing else "open"
        return f"<{type(self).__name__} {state} {self._extra['sockname']} - {self._extra['peername']}>"

    # --- facts ---------------------------------------------------------------------------------------------------

    def set_protocol(self, protocol: Any) -> None:
        """Let *protocol* hear all that comes from now on."""
        self._protocol: Any = protocol
        self._received: Callable[[bytes, Any], object] = protocol.datagram_received

    def get_protocol(self) -> Any:
        """Return the protocol; None when all is over."""
        return self._protocol

    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact: socket, sockname, peername; and how much is lost.

        ``dropped`` is how many datagrams this transport dropped since they were too long, ``dropped_by_system`` how
        many the system did since nobody read them in time (Linux; None elsewhere).
        """
        if name == "dropped":
            return self.dropped
        if not self.is_gone:
            if name == "sockname":  # the first datagram may have given it one
                self._extra[name] = name_of(self._sock.getsockname)
            elif name == "dropped_by_system":
                self._extra[name] = dropped_by_system(self._sock)
        return self._extra.get(name, default)

    # --- sending -------------------------------------------------------------------------------------------------

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send *data* as one datagram, now or when the system takes it. Never waits.

        Args:
            data: The payload; may be empty.
            addr: Whom to; None = the address that the socket is connected to. Numeric: a name would have to be looked
                up.

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

    def try_sendto(self, data: bytes, addr: Any) -> bool:
        """As `sendto`, if the system takes the datagram at once; else return False: nothing is kept of it."""
        addr = self._checked(addr)
        return self._is_closing or (not self._unsent and self._sent(data, addr, None))

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
        if self._family == _UNIX:
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
        is_again = False
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
                self._plan_to_tell(exc)
                # The system reports the fate of an earlier datagram in place of sending this one. (Of Unix sockets
                # it is the fate of this one.)
                if is_again or self._family == _UNIX or exc.errno in _BROKEN:
                    return True
                is_again = True

    def _keep(self, data: bytes | bytearray | memoryview, addr: Any, ancillary: SocketAncillary | None) -> None:
        longest = longest_payload(self._sock)
        if len(data) > longest:
            raise OSError(errno.EMSGSIZE, f"a datagram of {len(data)} bytes is too long for its socket")
        size = self._unsent_size + len(data) + OVERHEAD
        if size > max(MOST_UNSENT, 2 * self._high):
            raise OSError(errno.ENOBUFS, f"{self._unsent_size} bytes are unsent already: heed pause_writing()")
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
        others_first = self._family == _UNIX and self._remote is None
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
        self._check_room()
        if self._is_closing and not self._unsent:
            self._end(None)

    # --- flow control --------------------------------------------------------------------------------------------

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent; each datagram counts 64 more than its payload."""
        return self._unsent_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set over how many unsent bytes the protocol is told to pause writing, and at how many to resume.

        Raises:
            ValueError: Not 0 <= low <= high.
        """
        self._low, self._high = water_marks(high, low)
        self._check_full()

    def _check_full(self) -> None:
        if self._unsent_size > self._high and not self._is_full:
            self._is_full = True
            self._tell(self._protocol.pause_writing)

    def _check_room(self) -> None:
        if self._is_full and self._unsent_size <= self._low and not self.is_gone:
            self._is_full = False
            self._tell(self._protocol.resume_writing)

    # --- receiving -----------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether datagrams are delivered."""
        return self.wants_data

    def pause_reading(self) -> None:
        """Deliver nothing from now on: what comes waits in the system, which drops what is too much."""
        self._is_paused = True
        self._steer()

    def resume_reading(self) -> None:
        """Deliver datagrams again, in a later turn."""
        self._is_paused = False
        self._steer()

    def receive_ancillary(self, room: int) -> None:
        """Receive what comes beside the data from now on: the protocol's ``ancillary_received`` gets it.

        That is called with a `SocketAncillary`, right before ``datagram_received``, for each datagram that has such
        things beside it. Descriptors that are not taken out of the container are closed when it is dropped.

        Args:
            room: For how many bytes of control data; 0 = for none any more.

        Raises:
            ValueError: The socket is no Unix socket.
        """
        self._check_is_unix()
        self._ancillary_room = room

    def _check_is_unix(self) -> None:
        if self._family != _UNIX:
            raise ValueError("only Unix sockets have ancillary data")

    def _steer(self) -> None:
        wants_data = not (self._is_paused or self._is_closing)
        if wants_data is not self.wants_data:
            self.wants_data = wants_data
            self._reading_changed()

    def read_some(self) -> None:
        """Read the datagrams that are there, but not too many, and deliver them."""
        if self._ancillary_room:
            self._read_with_ancillary()
            return
        recvfrom, size, flags = self._recvfrom, self._max_size + 1, self._flags
        for _ in range(BATCH):
            if not self.wants_data:
                return
            try:
                data, addr = recvfrom(size, flags)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                self._read_failed(exc)
                continue
            self.take(data, addr)

    def _read_with_ancillary(self) -> None:
        from tieline.runtimes.ancillary import receive_with  # lazily: for the few who use it

        for _ in range(BATCH):
            if not (self.wants_data and self._ancillary_room):
                return
            try:
                data, ancillary, _, addr = receive_with(
                    self._sock, self._max_size + 1, self._ancillary_room, self._flags
                )
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                self._read_failed(exc)
                continue
            if len(data) <= self._max_size and (ancillary or ancillary.is_truncated):
                received = self._protocol.ancillary_received
                self._tell(partial(received, ancillary))
            del ancillary
            if self.wants_data:
                self.take(data, addr)

    def take(self, data: bytes, addr: Any) -> None:
        """Deliver one datagram."""
        if len(data) > self._max_size:  # how long it really was is not known
            self.dropped += 1
            return
        try:
            self._received(data, addr)
        except Exception as exc:
            self._complain(self._received, exc)

    def _read_failed(self, error: OSError) -> None:
        if error.errno in _BROKEN:
            self.fail(error)
        elif error.errno == errno.EMSGSIZE:  # so Windows tells of one that was cut
            self.dropped += 1
        else:
            self._plan_to_tell(error)

    # --- what the protocol is told -------------------------------------------------------------------------------

    def _plan_to_tell(self, error: OSError) -> None:
        """Have the protocol told of *error*, in the next turn: never from within what it calls."""
        if self._is_closing or len(self._errors) >= MOST_ERRORS:
            return
        self._errors.append(error)
        if len(self._errors) == 1:
            self._call_soon(self._tell_errors)

    def _tell_errors(self) -> None:
        errors, self._errors = self._errors, []
        for error in errors:
            if self._is_closing:
                return
            self._tell(partial(self._protocol.error_received, error))

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as exc:
            self._complain(callback, exc)

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Deliver nothing more, send what is unsent, then close."""
        if self._is_closing:
            return
        self._is_closing = True
        self._steer()
        if not self._unsent:
            self._end(None)

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        self._is_closing = True
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """Close at once because of *error*."""
        self._is_closing = True
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if self.is_gone:
            return
        self.get_extra_info("sockname")
        self.get_extra_info("dropped_by_system")
        self.is_gone = True
        self._steer()
        self._unsent.clear()
        self._unsent_size = 0
        self._ended(error)

    def tell_the_end(self, error: BaseException | None) -> None:
        """Tell the protocol, once."""
        protocol = self._protocol
        if protocol is not None:
            protocol.connection_lost(error)
            self._protocol = self._received = None  # type: ignore[assignment]  # the protocol refers to this

    # --- what a runtime does its own way -------------------------------------------------------------------------

    @abstractmethod
    def _call_soon(self, fn: Callable[[], object]) -> None:
        """Have *fn* called in the next turn."""

    @abstractmethod
    def _flush_later(self, seconds: float) -> None:
        """Have `flush_some` called after so many seconds, and not each time that the socket can be written."""

    @abstractmethod
    def _writing_changed(self) -> None:
        """There is something unsent now, or there is nothing any more: have `flush_some` called when it can be."""

    @abstractmethod
    def _reading_changed(self) -> None:
        """`wants_data` has changed: have `read_some` called when something comes, or not any more."""

    @abstractmethod
    def _ended(self, error: BaseException | None) -> None:
        """Have `tell_the_end` called in the next turn, and close the socket."""

    @abstractmethod
    def _complain(self, callback: Any, error: Exception) -> None:
        """Report that a callback of the protocol has failed."""
