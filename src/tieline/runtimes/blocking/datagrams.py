# SPDX-License-Identifier: MIT
"""Sockets of datagrams in blocking code: moved by whoever polls.

Any thread may send, close or poll at any time. One polls at a time, the others wait for their turn; the protocol is
called by whoever polls, or sends, with the transport's lock held.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError
from tieline.finite import check_timeout
from tieline.runtimes.blocking.readiness import Readiness
from tieline.runtimes.datagram_transport import SocketDatagrams
from tieline.runtimes.forks import ELSEWHERE, STAYING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.runtimes.ancillary import SocketAncillary

__all__ = ["BlockingDatagrams", "started"]

log = logging.getLogger("tieline.blocking")

# Seconds between two looks at what the socket itself does not tell: see `BlockingDatagrams.look`.
_LOOK: Final = 0.25


class _Turn:
    """One move: all state is guarded, and what was planned for soon happens at its end."""

    __slots__ = ("_depth", "_lock", "soon")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self.soon: deque[Callable[[], object]] = deque()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        try:
            if self._depth == 1:
                while self.soon:
                    self.soon.popleft()()
        finally:
            self._depth -= 1
            self._lock.release()


class BlockingDatagrams(SocketDatagrams):
    """The transport of one socket, moved by `poll`.

    Attributes:
        look: Called now and then by whoever polls; None = nothing is.
    """

    __slots__ = (
        "__weakref__",
        "_error",
        "_flush_at",
        "_has_ended",
        "_is_led",
        "_lead",
        "_leader",
        "_moves",
        "_readiness",
        "_turn",
        "look",
    )

    def __init__(self, sock: socket.socket, protocol: Any, *, remote: Any, max_size: int) -> None:
        self._begin_alone()
        self._has_ended = False
        self._moves = 0  # how often something has come
        self._flush_at = -inf
        self._error: BaseException | None = None
        self.look: Callable[[], object] | None = None
        self._readiness = Readiness(sock)
        super().__init__(sock, protocol, remote=remote, max_size=max_size)
        STAYING.add(self)

    def _begin_alone(self) -> None:
        self._turn = _Turn()
        self._lead = threading.Lock()
        self._is_led = False  # a thread is in a system call, or about to be
        self._leader = 0  # which thread that is

    def left_behind(self) -> None:
        """Take note, in a process that was just forked, that the socket stays with the other one."""
        self._begin_alone()
        self.fail(ConnectionLost(ELSEWHERE))

    def start(self) -> None:
        """Tell the protocol of the socket."""
        try:
            with self._turn:
                self._protocol.connection_made(self)
        except BaseException as exc:
            self.fail(exc)
            raise

    # --- moves ---------------------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Handle what has come, and return whether anything did.

        Waits until something has come and is handled, or for *timeout* seconds; 0 = handle only what is there, None =
        wait without end. Meanwhile what is unsent is sent, as far as the system takes it.

        Raises:
            ClosedError: The transport is closed by this side.
            ConnectionLost: It was lost; see ``__cause__``.
            ValueError: *timeout* is negative.
        """
        timeout = check_timeout("timeout", timeout)
        if self._leader == threading.get_ident():
            raise LocalProtocolError("poll() is called from within a callback of the protocol, that is, from poll()")
        until = inf if timeout is None else time.monotonic() + timeout
        seen = self._moves
        lead = self._lead
        if not lead.acquire(timeout=-1.0 if timeout is None else min(timeout, threading.TIMEOUT_MAX)):
            return self._moves != seen
        try:
            with self._turn:
                self._check_open()
                self._is_led = True
                self._leader = threading.get_ident()
            while True:
                if self._moves != seen or self._has_ended:
                    return True
                left = until - time.monotonic()
                self._wait(max(0.0, left))
                if left <= 0:
                    return self._moves != seen or self._has_ended
        finally:
            with self._turn:
                self._is_led = False
                self._leader = 0
                if self._has_ended:
                    self._release()
            lead.release()

    def _check_open(self) -> None:
        if not self.is_gone:
            return
        if self._error is not None:
            raise ConnectionLost("the socket of datagrams is lost") from self._error
        raise ClosedError("the transport is closed")

    def _wait(self, seconds: float) -> None:
        """Wait for at most so many seconds, then do what there is to do."""
        if self._flush_at > -inf:
            seconds = min(seconds, max(0.0, self._flush_at - time.monotonic()))
        if self.look is not None:
            seconds = min(seconds, _LOOK)
        writing = bool(self._unsent) and self._flush_at == -inf
        readable, writable = self._readiness.wait(reading=self.wants_data, writing=writing, seconds=seconds)
        with self._turn:
            if self.is_gone:
                return
            if self._flush_at > -inf and time.monotonic() >= self._flush_at:
                self._flush_at = -inf
                writable = True
            if writable:
                self.flush_some()
            if readable:
                self.read_some()
                self._moves += 1
            if self.look is not None:
                self.look()

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        with self._turn:
            super().sendto(data, addr)

    def sendmsg(self, data: bytes | bytearray | memoryview, ancillary: SocketAncillary, addr: Any = None) -> None:
        with self._turn:
            super().sendmsg(data, ancillary, addr)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        with self._turn:
            super().set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        with self._turn:
            super().pause_reading()

    def resume_reading(self) -> None:
        with self._turn:
            super().resume_reading()

    def close(self) -> None:
        """Deliver nothing more, and close when all is sent: at once, or in later calls of `poll`."""
        with self._turn:
            super().close()

    def abort(self) -> None:
        with self._turn:
            super().abort()

    def fail(self, error: BaseException) -> None:
        with self._turn:
            super().fail(error)

    # --- for the transport ---------------------------------------------------------------------------------------

    def _call_soon(self, fn: Callable[[], object]) -> None:
        self._turn.soon.append(fn)

    def _flush_later(self, seconds: float) -> None:
        self._flush_at = time.monotonic() + seconds

    def _writing_changed(self) -> None:
        self._flush_at = -inf
        self._call_leader()

    def _reading_changed(self) -> None:
        self._call_leader()

    def _call_leader(self) -> None:
        if self._is_led:
            self._readiness.wake()

    def _ended(self, error: BaseException | None) -> None:
        self._error = error
        self._turn.soon.append(lambda: self._lose(error))

    def _lose(self, error: BaseException | None) -> None:
        try:
            self.tell_the_end(error)
        finally:
            self._has_ended = True
            if self._is_led:  # it closes: here the descriptor could be another file's while it waits for it
                self._readiness.wake()
            else:
                self._release()

    def _release(self) -> None:
        self._sock.close()
        self._readiness.close()

    def _complain(self, error: Exception) -> None:
        log.error("a callback of %r failed", self._protocol, exc_info=error)


def started(
    protocol_factory: Callable[[], Any], sock: socket.socket, remote: Any, max_size: int
) -> tuple[BlockingDatagrams, Any]:
    """Give *sock* to a transport and a new protocol; closed when that fails."""
    try:
        protocol = protocol_factory()
        transport = BlockingDatagrams(sock, protocol, remote=remote, max_size=max_size)
    except BaseException:
        sock.close()
        raise
    transport.start()
    return transport, protocol
