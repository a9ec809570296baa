# SPDX-License-Identifier: MIT
"""A socket as a transport of asyncio's kind, moved by whoever waits.

It never waits itself: `write` sends what the socket takes at once, and keeps the rest for `flush_some`. All of its
methods are called with the pump's lock held; its protocol is called with it, and hears of the end only by way of
`call_soon`, so never from within another callback.
"""

from __future__ import annotations

import socket
import struct
import sys
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.blocking.readiness import Readiness
from tieline.runtimes.contract import HearsFailedSends, is_buffered
from tieline.runtimes.hangups import MOST_BEHIND
from tieline.runtimes.memory import LONG_READ_SIZE, READ_SIZE, keep_memory
from tieline.runtimes.water_marks import UnsentBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tieline.runtimes.blocking.moved import Mover

__all__ = ["AT_ONCE", "LONGEST_READ", "READS_PLAINLY", "SocketTransport"]

# Where a socket that blocks can be read with a time limit of its own, and written without waiting.
READS_PLAINLY: Final = hasattr(socket, "MSG_DONTWAIT") and sys.platform != "win32"
# Seconds that one plain read may take. No other thread can call back whoever is in it.
LONGEST_READ: Final = 0.05
# What sends and reads are told that are not to wait.
AT_ONCE: Final = getattr(socket, "MSG_DONTWAIT", 0)


class SocketTransport(UnsentBytes):
    """The transport of one connected stream socket.

    Attributes:
        reads: Reads, in which a thread may wait; each step is one. None where that is not the way to read: the socket
            has no time limit of its own, or the protocol brings buffers.
        send: Sends what the system takes of some bytes, when it is told `AT_ONCE`: past all that is kept here. None
            while something is, and when nothing is to be sent any more.
        wants_data: Whether what comes is to be read.
        peer_has_ended: The end of the peer's stream has come: there is nothing more to read.
        is_deaf: The system takes nothing more: the transport is gone, or sending has failed, and what the peer has said
            before is still to be delivered, by `finish`.
        failed_with: With what sending has failed; None = it has not.
        is_gone: The protocol has been told that the connection is lost, or is about to be.
    """

    __slots__ = (
        "_buffered",
        "_eof_written",
        "_extra",
        "_is_closing",
        "_is_paused",
        "_pump",
        "_read_size",
        "_sock",
        "failed_with",
        "is_deaf",
        "is_gone",
        "peer_has_ended",
        "reads",
        "send",
        "wants_data",
    )

    def __init__(self, sock: socket.socket, protocol: Any, pump: Mover) -> None:
        super().__init__(protocol)
        self._sock = sock
        self._pump = pump
        self.send: Callable[[bytes, int], int] | None = sock.send
        self.wants_data = True
        self.is_deaf = self.is_gone = False
        self.failed_with: OSError | None = None
        self._is_paused = False  # the protocol wants no data
        self.peer_has_ended = False
        self._is_closing = False
        self._eof_written = False
        self.reads: Iterator[bytes] | None
        self._read_size = READ_SIZE
        self.set_protocol(protocol)
        if READS_PLAINLY:
            sock.setblocking(True)
            seconds = struct.pack("ll", 0, int(LONGEST_READ * 1_000_000))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        else:
            sock.setblocking(False)
        self._extra = {"socket": sock, "sockname": sock.getsockname(), "peername": _peer_name(sock)}

    def __repr__(self) -> str:
        state = "gone" if self.is_gone else "closing" if self._is_closing else "open"
        return f"<{type(self).__name__} {state} to {self._extra['peername'] or 'a local peer'}>"

    # --- facts ---------------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact: socket, sockname, peername (None when the socket cannot tell)."""
        return self._extra.get(name, default)

    def is_closing(self) -> bool:
        """Return whether the connection is closing or gone."""
        return self._is_closing or self.is_deaf

    def get_protocol(self) -> Any:
        """Return the protocol; None when the connection is gone."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Let *protocol* receive everything from now on."""
        self._protocol = protocol
        self._buffered = is_buffered(protocol)
        is_plain = READS_PLAINLY and not self._buffered
        self.reads = map(self._sock.recv, repeat(self._read_size)) if is_plain else None

    def _read_more_at_once(self) -> None:
        keep_memory()
        self._read_size = LONG_READ_SIZE
        if self.reads is not None:
            self.reads = map(self._sock.recv, repeat(LONG_READ_SIZE))

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, as far as the socket takes it at once, and keep the rest. After `close` or EOF it is dropped."""
        if self._is_closing or self._eof_written:
            return
        if not self.unsent:
            try:
                sent = self._sock.send(data, AT_ONCE)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as exc:
                self.fail_sending(exc)
                return
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        self.unsent += data
        self.send = None
        self._pump.has_changed()
        self._check_full()

    def writelines(self, list_of_data: Any) -> None:
        """Write all of them, joined."""
        self.write(b"".join(list_of_data))

    def flush_some(self) -> None:
        """Send what the socket takes of what is unsent."""
        if not self.unsent or self.is_gone:
            return
        try:
            sent = self._sock.send(self.unsent, AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self.fail_sending(exc)
            return
        del self.unsent[:sent]
        self._check_room()
        if self.unsent or self.is_gone:
            return
        self._pump.has_emptied()
        if self._is_closing:
            self._end(None)
        elif self._eof_written:
            self._shut_down_writing()
        else:
            self.send = self._sock.send

    def can_write_eof(self) -> bool:
        """Return True: one direction can be closed alone."""
        return True

    def write_eof(self) -> None:
        """Say that nothing more will be sent, behind what was written."""
        if self._is_closing or self._eof_written:
            return
        self._eof_written = True
        self.send = None
        if not self.unsent:
            self._shut_down_writing()

    def _shut_down_writing(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            self.fail_sending(exc)

    # --- reading -------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether data is delivered."""
        return self.wants_data

    def pause_reading(self) -> None:
        """Deliver nothing from now on."""
        self._is_paused = True
        self._steer()

    def resume_reading(self) -> None:
        """Deliver data again."""
        self._is_paused = False
        self._steer()

    def _steer(self) -> None:
        wants_data = not (self._is_paused or self.peer_has_ended or self._is_closing)
        if wants_data is not self.wants_data:
            self.wants_data = wants_data
            self._pump.has_changed()

    def read_some(self) -> None:
        """Read what there is, once, and deliver it."""
        if self.wants_data:
            self._read_once()

    def _read_once(self) -> int:
        """Read and deliver, and return how many bytes that were."""
        if self._buffered:
            return self._fill_buffer()
        try:
            data = self._sock.recv(self._read_size, AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            self.fail(exc)
            return 0
        self.deliver(data)
        return len(data)

    def deliver(self, data: bytes) -> None:
        """Hand on what was read; nothing = the peer sends no more."""
        if self._is_closing:  # meanwhile; one that was paused meanwhile is given it all the same, not to lose it
            return
        try:
            if data:
                if len(data) == READ_SIZE == self._read_size:
                    self._read_more_at_once()
                self._protocol.data_received(data)
            else:
                self._ended()
        except BaseException as exc:
            self.fail(exc)
            raise

    def _fill_buffer(self) -> int:
        """As `_read_once`, into a buffer of the protocol's: however small it is, what is left waits in the system."""
        try:
            with memoryview(self._protocol.get_buffer(-1)) as buffer:
                if not buffer.nbytes:
                    raise RuntimeError("get_buffer() returned an empty buffer")
                try:
                    size = self._sock.recv_into(buffer, 0, AT_ONCE)
                except (BlockingIOError, InterruptedError):
                    return 0
                except OSError as exc:
                    self.fail(exc)
                    return 0
            # The buffer is let go of by now: the protocol may resize it.
            if size:
                self._protocol.buffer_updated(size)
            else:
                self._ended()
            return size
        except BaseException as exc:
            self.fail(exc)
            raise

    def _ended(self) -> None:
        if self.failed_with is not None and not isinstance(self.failed_with, BrokenPipeError):
            self.fail(self.failed_with)  # the send was told of the reset: a read is told once alone, and then an end
            return
        self.peer_has_ended = True
        self._steer()
        if not (self._protocol.eof_received() or self.is_deaf):
            self.close()

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close as soon as all is sent. What comes in is dropped."""
        if self._is_closing:
            return
        self._is_closing = True
        self.send = None
        self._steer()
        if not self.unsent:
            self._end(None)

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        self._is_closing = True
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """Close at once because of *error*."""
        self._is_closing = True
        self._end(error)

    def fail_sending(self, error: OSError) -> None:
        """Close because of *error*, by which the system takes nothing more; behind what the peer has said before."""
        if self._is_closing:
            self.fail(error)
        elif not self.is_deaf:
            self.is_deaf = self._eof_written = True  # nothing is taken to be written any more
            self.failed_with = error
            self.send = None
            self.unsent = bytearray()
            self._pump.sending_failed(self.finish)

    def finish(self) -> None:
        """Read out what the peer has said before sending failed, and close. Nobody may be reading.

        That is what the system holds of it, as far as the protocol wants it.
        """
        if self.is_gone:
            return
        if isinstance(self._protocol, HearsFailedSends):
            self._protocol.sending_failed()
        left = MOST_BEHIND
        while self.wants_data and left > 0 and (size := self._read_once()):
            left -= size
        assert self.failed_with is not None
        self.fail(self.failed_with)

    def _end(self, error: BaseException | None) -> None:
        if self.is_gone:
            return
        self.is_gone = self.is_deaf = True
        self.send = None
        self._steer()
        self.unsent = bytearray()
        pump = self._pump
        del self._pump  # needed no more: the two would keep each other alive until the garbage is collected

        def tell() -> None:
            protocol = self._protocol
            if protocol is not None:
                protocol.connection_lost(error)  # again, when it was interrupted (Ctrl-C) the first time
                self._protocol = None
            self.failed_with = None  # its frames refer to this

        pump.call_soon(tell)
        pump.transport_ended()

    def new_readiness(self) -> Readiness:
        """Return what the leader waits by."""
        # A socket that is none of the system's, as those in memory for tests, brings its own.
        make: Callable[[], Readiness] | None = getattr(self._sock, "new_readiness", None)
        return Readiness(self._sock) if make is None else make()

    def shut_down(self) -> None:
        """Have those who are in a system call with the socket return."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is gone already
            pass

    def release(self) -> None:
        """Close the socket. Nobody may be in a system call with it: the descriptor may be another file's at once."""
        self._sock.close()


def _peer_name(sock: socket.socket) -> object:
    try:
        return sock.getpeername() or None
    except OSError:
        return None
