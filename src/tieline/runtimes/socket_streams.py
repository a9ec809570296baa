# SPDX-License-Identifier: MIT
"""Stream transports over a non-blocking socket, TCP or Unix, by asyncio's contract: what is the same on all runtimes.

Writing tries the socket at once; what it does not take is written when the runtime says that it may be. How a runtime
waits for a socket, and reports what a callback raises, is its own part.
"""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tieline.runtimes.contract import HearsFailedSends, Transport, is_buffered
from tieline.runtimes.fatal import fatal_in
from tieline.runtimes.hangups import MOST_BEHIND
from tieline.runtimes.memory import LONG_READ_SIZE, READ_SIZE, keep_memory
from tieline.runtimes.water_marks import WaterMarks

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NOTHING", "SocketStream"]

# How many pieces one system call writes; every system takes that many.
MAX_PIECES: Final = 64

# What an idle connection has unsent; shared, since an empty deque is larger than all else that a transport holds.
NOTHING: Final[deque[bytes | memoryview]] = deque()

_HAS_SENDMSG: Final = hasattr(socket.socket, "sendmsg")  # Windows has none


class SocketStream(WaterMarks, Transport):
    """The transport of one connected socket, but for waiting.

    Args:
        sock: A connected non-blocking stream socket; owned by the transport once it was started.
        protocol: Hears what comes; plain or buffered.
        peername: The peer's address, where it is known already.
        sockname: Our own, likewise.

    Attributes:
        is_bare: Nothing is between it and the socket, and nothing is left of either when it tells of its end.
        peer_has_ended: The end of the peer's stream has come: there is nothing more to read.
        proxy_target: The host and port that it leads to through a proxy; None without one.
    """

    __slots__ = (
        "_buffered",
        "_eof_asked",
        "_failed_with",
        "_is_broken",
        "_is_closing",
        "_paused",
        "_peername",
        "_receive",
        "_size",
        "_sock",
        "_sockname",
        "_unsent",
        "_unsent_size",
        "peer_has_ended",
    )

    is_bare: ClassVar[bool] = True
    proxy_target: Any = None
    _eof_sent: bool = False
    _failed_with: BaseException | None  # with what sending has failed
    _is_closing: bool  # nothing more is read, or taken to be written
    _is_broken: bool  # the end is planned: what is unsent was dropped

    def __init__(self, sock: socket.socket, protocol: Any, peername: Any = None, sockname: Any = None) -> None:
        self._sock = sock
        self._unsent: deque[bytes | memoryview] = NOTHING
        self._unsent_size = 0
        self._size = READ_SIZE
        self._eof_asked = self._paused = self.peer_has_ended = self._is_closing = self._is_broken = False
        self._failed_with = None
        self._sockname = _name(sock.getsockname) if sockname is None else sockname
        self._peername = _name(sock.getpeername) if peername is None else peername
        self.set_protocol(protocol)

    def __repr__(self) -> str:
        state = "lost" if self._protocol is None else "closing" if self._is_closing else "open"
        return f"<{type(self).__name__} {state} {self._sockname} - {self._peername}>"

    # --- for subclasses ------------------------------------------------------------------------------------------

    @abstractmethod
    def _reading_changed(self) -> None:
        """Read from now on, or no more, as `is_reading` says. Often nothing has changed."""

    @abstractmethod
    def _begin_to_write(self) -> bool:
        """See that what is unsent is written, in later turns; return False when nothing can be done there any more."""

    @abstractmethod
    def _plan_end(self, error: BaseException | None) -> None:
        """Have the protocol told that the connection is lost, once it is in no callback, and the socket closed."""

    @abstractmethod
    def _report(self, text: str, error: BaseException) -> None:
        """Report what a callback of the protocol has raised."""

    # --- facts ---------------------------------------------------------------------------------------------------

    def set_protocol(self, protocol: Any) -> None:
        """Let *protocol* receive everything from now on."""
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
        """Return a fact: socket, sockname, peername, and through a proxy proxy_target."""
        if name == "peername":
            return self._peername
        if name == "socket":
            return self._sock
        if name == "sockname":
            return self._sockname
        return self.proxy_target if name == "proxy_target" and self.proxy_target is not None else default

    # --- reading -------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether data is delivered."""
        return not (self._paused or self._is_closing or self.peer_has_ended)

    def pause_reading(self) -> None:
        """Deliver nothing from now on."""
        self._paused = True
        self._reading_changed()

    def resume_reading(self) -> None:
        """Deliver data again, in a later turn."""
        self._paused = False
        self._reading_changed()

    def _read_some(self) -> int:
        """Read once, hand on what came, and return how many bytes that were. The transport is reading."""
        if self._buffered:
            return self._fill_buffer()
        try:
            data = self._sock.recv(self._size)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            self._break(exc)
            return 0
        if len(data) == READ_SIZE == self._size:
            self._expect_much()
        try:
            if data:
                self._receive(data)
            else:
                self._ended()
        except BaseException as exc:
            self._failed(exc)
            return 0
        return len(data)

    def _expect_much(self) -> None:
        """Take more at once from now on: a read has come back full."""
        self._size = LONG_READ_SIZE
        keep_memory()

    def _ended(self) -> None:
        if self._failed_with is not None and not isinstance(self._failed_with, BrokenPipeError):
            return  # the send was told of the reset: a read is told once alone, and then an end
        self.peer_has_ended = True
        self._reading_changed()
        if not (self._protocol.eof_received() or self._is_broken):
            self.close()

    def _fill_buffer(self) -> int:
        """As `_read_some`, into a buffer of the protocol's: however small it is, what is left waits in the system."""
        try:
            with memoryview(self._protocol.get_buffer(-1)) as buffer:
                if not buffer.nbytes:
                    raise RuntimeError("get_buffer() returned an empty buffer")
                try:
                    size = self._sock.recv_into(buffer)
                except (BlockingIOError, InterruptedError):
                    return 0
                except OSError as exc:
                    self._break(exc)
                    return 0
            if size:
                self._protocol.buffer_updated(size)
            else:
                self._ended()
        except BaseException as exc:
            self._failed(exc)
            return 0
        return size

    def _failed(self, error: BaseException) -> None:
        """Report what a callback has raised, and end the connection by it; what ends the program goes on to do so."""
        if (fatal := fatal_in(error)) is not None:
            raise fatal
        self._report(f"a callback of {self._protocol!r} failed", error)
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
                self.fail_sending(exc)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        if self._unsent is NOTHING:
            self._unsent = deque()
        self._unsent.append(bytes(data) if isinstance(data, memoryview) and not isinstance(data.obj, bytes) else data)
        self._unsent_size += len(data)
        if self._begin_to_write():
            self._check_full()
        else:
            self._break(None)

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def write_eof(self) -> None:
        """Close the sending side after everything is sent."""
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
            self.fail_sending(exc)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""
        return self._unsent_size

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as exc:
            self._report(f"{callback!r} failed", exc)

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
            self.fail_sending(exc)
            return
        self._unsent_size -= sent
        while sent:  # nothing is out of the line before it was sent: others may look whether anything is unsent
            first = unsent[0]
            if len(first) > sent:
                unsent[0] = memoryview(first)[sent:]
                break
            del unsent[0]
            sent -= len(first)
        self._check_room()

    def _all_written(self) -> None:
        """Do what has waited until all was written."""
        if self._is_broken:
            return
        if self._is_closing:
            self._break(None)
        elif self._eof_asked and not self._eof_sent:
            self._send_eof()

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Read nothing more, send what was written, then close."""
        if self._is_closing:
            if self._failed_with is not None:
                self._paused = True  # what is unread is not asked for any more
            return
        if not self._unsent:
            self._break(None)
            return
        self._is_closing = True
        self._reading_changed()

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        self._break(None)

    def fail_sending(self, error: OSError) -> None:
        """Close because of *error*, by which the system takes nothing more; behind what the peer has said before."""
        if not self._is_closing:
            self._failed_with = error
        self._break(error)

    def _read_rest(self) -> BaseException | None:
        """Read out what the peer has said before sending failed, and return the error with which the connection ends.

        It is what the system holds, as far as the protocol wants it. To be called before the end is told.
        """
        protocol = self._protocol
        if isinstance(protocol, HearsFailedSends):
            protocol.sending_failed()
        self.set_protocol(protocol)  # nobody else is given it any more
        left = MOST_BEHIND
        while not (self._paused or self.peer_has_ended) and left > 0 and (size := self._read_some()):
            left -= size
        error, self._failed_with = self._failed_with, None  # its frames refer to this
        return error

    def _break(self, error: BaseException | None) -> None:
        """Close at once, because of *error* or on purpose; the protocol hears of it in the next turn."""
        self._is_closing = True
        self._reading_changed()
        if not self._is_broken:
            self._is_broken = True
            self._unsent = NOTHING
            self._unsent_size = 0
            self._plan_end(error)
        elif self._failed_with is not None:
            if error is None:
                self._paused = True  # as in `close`
            else:
                self._failed_with = error  # what has happened behind that tells more


def _name(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except OSError:  # the peer has gone already
        return None
