# SPDX-License-Identifier: MIT
"""Waiting until a socket can be read or written, or until another thread says that something has changed."""

from __future__ import annotations

import errno
import os
import select
import socket
from math import inf
from typing import Any, Final

__all__ = ["Readiness"]

_POLL: Final[Any] = getattr(select, "poll", None)  # Windows has none
_READ: Final = select.POLLIN if _POLL is not None else 0
_WRITE: Final = select.POLLOUT if _POLL is not None else 0
# poll(2) takes an int of milliseconds.
_LONGEST: Final = 3600.0
# Where no descriptor is free to be woken by, whoever waits looks so often itself.
_UNWOKEN: Final = 0.02


class Readiness:
    """What one thread at a time waits for: a socket, and the call of another thread.

    Made when somebody has to wait like that for the first time: it owns one descriptor (Linux) or two. While none is
    free on Linux, it wakes up by itself 50 times a second.
    """

    __slots__ = ("_event", "_poll", "_sock", "_waker", "_watched")

    def __init__(self, sock: Any) -> None:
        self._event = -1
        self._waker: tuple[socket.socket, socket.socket] | None = None
        self._sock = sock
        self._poll: Any = None
        self._watched = 0
        if _POLL is not None:
            self._poll = _POLL()
        if hasattr(os, "eventfd"):
            self._make_event()
            return
        self._waker = socket.socketpair()
        for end in self._waker:
            end.setblocking(False)
        if self._poll is not None:
            self._poll.register(self._waker[0], _READ)

    def _make_event(self) -> bool:
        """Make what wakes whoever waits; return whether there was a descriptor free for it."""
        try:
            # A loop, so that no interrupt comes in between: other threads may run in the call, and raise one.
            for self._event in map(os.eventfd, (0,), (os.EFD_CLOEXEC | os.EFD_NONBLOCK,)):
                break
        except OSError as exc:
            if exc.errno not in {errno.EMFILE, errno.ENFILE}:
                raise
            return False
        self._poll.register(self._event, _READ)
        return True

    def wake(self) -> None:
        """Let whoever waits return, or whoever waits next. To be called by any thread."""
        if self._waker is None:
            if self._event >= 0:
                os.eventfd_write(self._event, 1)
            return
        try:
            self._waker[1].send(b"\0")
        except BlockingIOError:  # it has been woken often enough
            pass

    def wait(self, *, reading: bool, writing: bool, seconds: float) -> tuple[bool, bool]:
        """Wait for at most so many seconds (inf = for ever); return whether the socket can be read, and written.

        A socket that is broken can be read: the read tells why.
        """
        if self._poll is None:
            return self._select(reading, writing, seconds)
        if self._event < 0 and self._waker is None and not self._make_event():
            seconds = min(seconds, _UNWOKEN)
        watched = (_READ if reading else 0) | (_WRITE if writing else 0)
        if watched != self._watched:
            # One that nothing is wanted from is taken out: poll(2) tells of broken ones whether asked or not.
            if watched:
                self._poll.register(self._sock, watched)
            else:
                self._poll.unregister(self._sock)
            self._watched = watched
        # Rounded up, so that nobody comes too early, again and again.
        timeout = None if seconds == inf else int(min(seconds, _LONGEST) * 1000 + 0.999)
        readable = writable = False
        for fd, seen in self._poll.poll(timeout):
            if fd == self._event or (self._waker is not None and fd == self._waker[0].fileno()):
                self._calm()
            else:
                readable = reading and bool(seen & ~_WRITE)
                writable = writing and bool(seen & ~_READ)
        return readable, writable

    def _select(self, reading: bool, writing: bool, seconds: float) -> tuple[bool, bool]:
        assert self._waker is not None
        sock, waker = self._sock, self._waker[0]
        # Windows tells of a connection that failed by the third list only.
        readers = [waker, sock] if reading else [waker]
        found = select.select(
            readers, [sock] if writing else [], [sock] if writing else [], None if seconds == inf else seconds
        )
        if waker in found[0]:
            self._calm()
        return sock in found[0], bool(found[1] or found[2])

    def _calm(self) -> None:
        """Take back that somebody is to wake up."""
        try:
            if self._waker is None:
                os.eventfd_read(self._event)
            else:
                while self._waker[0].recv(1024):
                    pass
        except BlockingIOError:
            pass

    def __del__(self) -> None:
        # It was lost when its maker was interrupted (Ctrl-C), perhaps before it had all that it is made of.
        if hasattr(self, "_watched"):
            self.close()

    def close(self) -> None:
        """Give the descriptors back. Nobody may wait or call any more."""
        if self._waker is not None:
            for end in self._waker:
                end.close()
        elif self._event >= 0:
            os.close(self._event)
            self._event = -1
