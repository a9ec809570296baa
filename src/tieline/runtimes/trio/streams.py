# SPDX-License-Identifier: MIT
"""Stream transports on trio: asyncio's contract over a non-blocking socket, TCP or Unix.

One task reads for as long as the connection stands. Writing tries the socket at once; what it does not take is written
by a second task, which lives only as long as that takes.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import trio
from trio.lowlevel import enable_ki_protection, notify_closing, wait_readable, wait_writable

from tieline.runtimes.contract import Transport, is_buffered
from tieline.runtimes.memory import keep_memory
from tieline.runtimes.trio.leading import FEW, Lead
from tieline.runtimes.trio.waiting import Parking
from tieline.runtimes.water_marks import HIGH_WATER, LOW_WATER, water_marks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.trio.host import TrioHost

__all__ = ["StreamTransport"]

log = logging.getLogger("tieline.trio")

# What one read takes. Below the size from which glibc asks the system for the memory of each read.
READ_SIZE: Final = 64 * 1024
# What it takes once a stream has filled that: fewer turns of the loop. glibc keeps the memory by then (`keep_memory`).
LONG_READ_SIZE: Final = 256 * 1024
# How many pieces one system call writes; every system takes that many.
MAX_PIECES: Final = 64

# What an idle connection has unsent; shared, since an empty deque is larger than all else that a transport holds.
_NOTHING: Final[deque[bytes | memoryview]] = deque()

_HAS_SENDMSG: Final = hasattr(socket.socket, "sendmsg")  # Windows has none


class StreamTransport(Transport):
    """The transport of one connected socket.

    Args:
        host: The host whose nursery the connection lives in.
        sock: A connected non-blocking stream socket; owned by the transport once it was started.
        protocol: Hears what comes; plain or buffered.

    Attributes:
        host: The host.
    """

    __slots__ = (
        "_buffered",
        "_eof_asked",
        "_eof_sent",
        "_extra",
        "_high",
        "_is_broken",
        "_is_closing",
        "_is_full",
        "_is_lost",
        "_lead",
        "_low",
        "_parking",
        "_paused",
        "_protocol",
        "_reading_over",
        "_receive",
        "_size",
        "_sock",
        "_unsent",
        "_unsent_size",
        "_writes",
        "host",
    )

    def __init__(self, host: TrioHost, sock: socket.socket, protocol: Any) -> None:
        self.host = host
        self._sock = sock
        self._unsent: deque[bytes | memoryview] = _NOTHING
        self._unsent_size = 0
        self._low, self._high = LOW_WATER, HIGH_WATER
        self._is_full = False  # as the protocol has been told
        self._writes = False  # the task that writes is there
        self._eof_asked = self._eof_sent = False
        self._paused = self._reading_over = False
        self._is_closing = False  # nothing more is read, or taken to be written
        self._is_broken = False  # the end is planned: what is unsent was dropped
        self._is_lost = False
        self._parking = Parking()  # of the task that reads
        self._lead: Lead | None = None  # the last time that others read
        self._size = READ_SIZE
        self._extra = {"socket": sock, "sockname": _name(sock.getsockname), "peername": _name(sock.getpeername)}
        self.set_protocol(protocol)

    def __repr__(self) -> str:
        state = "lost" if self._is_lost else "closing" if self._is_closing else "open"
        return f"<{type(self).__name__} {state} {self._extra['sockname']} - {self._extra['peername']}>"

    def start(self) -> None:
        """Tell the protocol of the connection and begin to read.

        Raises:
            Exception: The protocol's `connection_made` failed: the connection is closed.
        """
        self.host.hold()
        self.host.streams += 1
        if self.host.lead is not None:
            self.host.lead.stop()  # it is not the only one any more
        try:
            self._protocol.connection_made(self)
        except BaseException as exc:
            self._break(exc)
            raise
        if not (self._is_broken or self.host.spawn(self._read)):
            self._break(None)

    # --- facts ---------------------------------------------------------------------------------------------------

    def set_protocol(self, protocol: Any) -> None:
        """Let *protocol* hear all that comes from now on."""
        self._protocol: Any = protocol
        self._buffered = is_buffered(protocol)
        self._receive: Any = None if self._buffered else protocol.data_received

    def get_protocol(self) -> Any:
        """Return the protocol."""
        return self._protocol

    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact: socket, sockname, peername."""
        return self._extra.get(name, default)

    # --- reading -------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether data is delivered."""
        return not (self._paused or self._is_closing or self._reading_over)

    def pause_reading(self) -> None:
        """Deliver nothing from now on."""
        self._paused = True
        self._leave_reading()

    def resume_reading(self) -> None:
        """Deliver data again, in a later turn."""
        self._paused = False
        self._parking.wake()

    @enable_ki_protection
    async def _read(self) -> None:
        host, sock = self.host, self._sock
        needed = FEW
        leads_at = host.waits + needed
        try:
            while True:
                if not self.is_reading():
                    # Here to the end, so that a nursery that is cancelled ends the connection in any state.
                    if self._is_lost:
                        return
                    await self._parking.wait()
                    continue
                await wait_readable(sock)
                if not self.is_reading():  # not any more
                    continue
                self._read_some()
                if host.waits >= leads_at and host.streams == 1 and self.is_reading():
                    self._lead = Lead(host, sock, self._parking, self._read_some, self._fatal)
                    needed = await self._lead.stand_by(needed)
                    leads_at = host.waits + needed
        except trio.ClosedResourceError:  # `_lose` has closed the socket
            return
        except trio.Cancelled:
            self.host.is_collapsing = True
            self._break(None)
            raise
        except BaseException as exc:  # what ends the program goes on to do so
            self._break(exc)
            raise

    def _fatal(self, error: BaseException) -> None:
        """What ends the program was raised by a callback, in a task of somebody else."""
        self._break(error)
        self.host.end_program(error)

    def _leave_reading(self) -> None:
        """Nothing is to be read for now: whoever does that in our place is to stop."""
        if self._lead is not None:
            self._lead.stop()

    def _read_some(self) -> None:
        """Read once, and hand on what came. The transport is reading."""
        if self._buffered:
            self._fill_buffer()
            return
        try:
            data = self._sock.recv(self._size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._break(exc)
            return
        if len(data) == READ_SIZE == self._size:
            self._size = LONG_READ_SIZE
            keep_memory()
        try:
            if data:
                self._receive(data)
            else:
                self._ended()
        except Exception as exc:
            self._failed(exc)

    def _ended(self) -> None:
        self._reading_over = True
        self._leave_reading()
        if not self._protocol.eof_received():
            self.close()

    def _fill_buffer(self) -> None:
        """Read once, into a buffer of a buffered protocol: however small it is, what is left waits in the system."""
        try:
            with memoryview(self._protocol.get_buffer(-1)) as buffer:
                if not buffer.nbytes:
                    raise RuntimeError("get_buffer() returned an empty buffer")
                try:
                    size = self._sock.recv_into(buffer)
                except (BlockingIOError, InterruptedError):
                    return
                except OSError as exc:
                    self._break(exc)
                    return
            if size:
                self._protocol.buffer_updated(size)
            else:
                self._ended()
        except Exception as exc:
            self._failed(exc)

    def _failed(self, error: Exception) -> None:
        log.error("a callback of %r failed", self._protocol, exc_info=error)
        self._break(error)

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, what the system takes at once and the rest when it does. Never waits.

        After `close`, `abort` or the loss of the connection it is dropped.

        Raises:
            RuntimeError: After `write_eof`.
            TypeError: *data* is not bytes-like.
        """
        if not isinstance(data, bytes):
            data = memoryview(data).cast("B")
        if self._eof_asked:
            raise RuntimeError("cannot write after write_eof()")
        if self._is_closing or not data:
            return
        if not self._unsent:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as exc:
                self._break(exc)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        if self._unsent is _NOTHING:
            self._unsent = deque()
        self._unsent.append(bytes(data) if isinstance(data, memoryview) and not isinstance(data.obj, bytes) else data)
        self._unsent_size += len(data)
        if not self._writes:
            self._writes = self.host.spawn(self._write_out)
            if not self._writes:
                self._break(None)
                return
        self._check_full()

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def write_eof(self) -> None:
        """Close the direction of writing, behind what was written."""
        if self._is_closing or self._eof_asked:
            return
        self._eof_asked = True
        if not self._unsent:
            self._send_eof()

    def _send_eof(self) -> None:
        self._eof_sent = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            self._break(exc)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""
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
        if self._is_full and self._unsent_size <= self._low:
            self._is_full = False
            self._tell(self._protocol.resume_writing)

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception:
            log.exception("%r failed", callback)

    @enable_ki_protection
    async def _write_out(self) -> None:
        try:
            while self._unsent:
                try:
                    await wait_writable(self._sock)
                except trio.ClosedResourceError:
                    if self._is_lost:
                        return
                    continue  # whoever read was woken so
                if self._unsent:
                    self._write_some()
        except trio.Cancelled:
            self.host.is_collapsing = True
            self._break(None)
            raise
        except BaseException as exc:
            self._break(exc)
            raise
        finally:
            self._writes = False
            self._unsent = _NOTHING
        if self._is_broken:
            return
        if self._is_closing:
            self._break(None)
        elif self._eof_asked and not self._eof_sent:
            self._send_eof()

    def _write_some(self) -> None:
        unsent = self._unsent
        try:
            if len(unsent) > 1 and _HAS_SENDMSG:
                sent = self._sock.sendmsg(list(islice(unsent, MAX_PIECES)))
            else:
                sent = self._sock.send(unsent[0])
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._break(exc)
            return
        self._unsent_size -= sent
        while sent:
            first = unsent.popleft()
            if len(first) > sent:
                unsent.appendleft(memoryview(first)[sent:])
                break
            sent -= len(first)
        self._check_room()

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Read nothing more, send what was written, then close."""
        if self._is_closing:
            return
        self._is_closing = True
        self._leave_reading()
        if not self._unsent:
            self._break(None)

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        self._break(None)

    def _break(self, error: BaseException | None) -> None:
        """Close at once, because of *error* or on purpose; the protocol hears of it in the next turn."""
        self._is_closing = True
        self._leave_reading()
        if not self._is_broken:
            self._is_broken = True
            self._unsent = _NOTHING
            self._unsent_size = 0
            self.host.call_soon(partial(self._lose, error))

    def _lose(self, error: BaseException | None) -> None:
        self._is_lost = True
        try:
            self._protocol.connection_lost(error)
        finally:
            notify_closing(self._sock)
            self._sock.close()
            self._parking.wake()
            self.host.streams -= 1
            self.host.release()
            self._protocol = self._receive = self._lead = None  # they refer to this


def _name(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except OSError:  # the peer has gone already
        return None
