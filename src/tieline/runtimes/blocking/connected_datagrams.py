# SPDX-License-Identifier: MIT
"""Connected sockets of datagrams in blocking code: see `tieline.runtimes.connected_datagrams`.

Any number of threads may use one. Who closes it waits for none of them: those that wait are woken, and the last of
them gives the descriptors back, since a number that another file has got meanwhile must not be waited for.
"""

from __future__ import annotations

import errno
import select
import socket
import threading
import time
from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import ConnectionLost
from tieline.runtimes import datagram_sockets
from tieline.runtimes.blocking.sockets import at_once, resolve
from tieline.runtimes.connected_datagrams import ConnectedDatagrams
from tieline.runtimes.forks import ELSEWHERE, STAYING

if TYPE_CHECKING:
    from tieline.endpoints.proxies import Route
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.runtimes.relayed_datagrams import Relayed

__all__ = ["BlockingConnectedDatagrams", "connect_datagrams"]

# Seconds that a thread waits at most before it looks again: poll(2) takes an int of milliseconds.
_LONGEST: Final = 3600.0


class BlockingConnectedDatagrams(ConnectedDatagrams):
    """One in blocking code.

    Args:
        sock: As of `ConnectedDatagrams`.
        relayed: As of `ConnectedDatagrams`.
        path: As of `ConnectedDatagrams`.
        look_every: Seconds after which a thread that waits looks at the socket again, in any case; inf = never.
    """

    __slots__ = ("_is_elsewhere", "_lines", "_lock", "_look_every", "_receiving", "_users", "_waker")

    def __init__(
        self, sock: socket.socket, relayed: Relayed | None = None, *, path: Any = None, look_every: float = inf
    ) -> None:
        super().__init__(sock, relayed, path=path)
        self._look_every = look_every
        self._is_elsewhere = False  # it belongs to another process
        self._waker: tuple[Any, Any] | None = None  # made when somebody waits for the first time
        self._begin_alone()
        STAYING.add(self)

    def _begin_alone(self) -> None:
        self._lines = (threading.Lock(), threading.Lock())
        self._receiving = threading.Lock()  # to receive takes two system calls
        self._lock = threading.Lock()  # for all counts
        self._users = 0  # threads that wait, or are in a system call

    def left_behind(self) -> None:
        """Take note, in a process that was just forked, that the socket stays with the other one.

        Nobody there is woken: what wakes them is never read, and would do so for ever.
        """
        self._begin_alone()
        self._is_elsewhere = self.is_closed = True
        self._give_back()

    def _why_closed(self) -> ConnectionError:
        return ConnectionLost(ELSEWHERE) if self._is_elsewhere else super()._why_closed()

    # --- one system call -----------------------------------------------------------------------------------------

    def receive_now(self, room: int = 0) -> Any:
        self._begin()
        try:
            with self._receiving:
                return super().receive_now(room)
        finally:
            self._done()

    def send_now(self, data: bytes, ancillary: Any = None) -> bool:
        self._begin()
        try:
            return super().send_now(data, ancillary)
        finally:
            self._done()

    def _begin(self) -> None:
        with self._lock:
            self.check_open()
            self._users += 1

    def _done(self) -> None:
        with self._lock:
            self._users -= 1
            is_last = self.is_closed and not self._users
        if is_last:
            self._give_back()

    # --- waiting -------------------------------------------------------------------------------------------------

    def _count(self, line: int, more: int) -> None:
        with self._lock:
            super()._count(line, more)

    async def _breathe(self) -> None:
        """Threads need not be told to."""

    async def _enter(self, line: int, until: float | None) -> None:
        left = -1.0 if until is None else min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX)
        if not self._lines[line].acquire(timeout=left):
            raise TimeoutError("others have waited all the time")

    def _leave(self, line: int) -> None:
        self._lines[line].release()

    async def _wait(self, writing: bool, until: float | None) -> None:
        left = inf if until is None else until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time is over")
        self._begin()
        try:
            wanted = [] if writing else [self.sock, *self._watched()]
            _select([*wanted, self._wakes()], [self.sock] if writing else [], min(left, self._look_every))
        finally:
            self._done()

    def _wakes(self) -> Any:
        """Return what can be read when it is closed."""
        with self._lock:
            if self._waker is None:
                reader, writer = socket.socketpair()
                self._waker = reader, writer
                if self.is_closed:
                    writer.send(b"\0")
            return self._waker[0]

    def _release(self) -> None:
        with self._lock:
            is_last = not self._users
            if self._waker is not None:
                self._waker[1].send(b"\0")  # never read, so it wakes all
        if is_last:
            self._give_back()

    def _give_back(self) -> None:
        self._close_sockets()
        waker, self._waker = self._waker, None
        for end in waker or ():
            end.close()


def _select(readers: list[Any], writers: list[Any], seconds: float) -> None:
    """Wait until one of them is ready, or for so many seconds."""
    seconds = min(seconds, _LONGEST)
    if not hasattr(select, "poll"):  # Windows
        select.select(readers, writers, [], seconds)
        return
    poll = select.poll()
    for sock in readers:
        poll.register(sock, select.POLLIN)
    for sock in writers:
        poll.register(sock, select.POLLOUT)
    poll.poll(int(seconds * 1000 + 0.999))  # rounded up, so that nobody comes too early, again and again


def connect_datagrams(
    asked: Asked, proxy: Route | None, *, timeout: float | None, look_every: float
) -> ConnectedDatagrams:
    """Return a socket that is connected as *asked*, by *proxy* if there is one.

    *timeout* is for what is said to the proxy.

    Raises:
        OSError: There is no such socket, or the proxy refuses.
        TimeoutError: Not within *timeout* seconds.
    """
    if proxy is None:
        sock, peer = at_once(datagram_sockets.opened(asked, resolve))
        return BlockingConnectedDatagrams(sock, path=peer, look_every=look_every)
    from tieline.runtimes.blocking.dialling import connector  # lazily: for those who use proxies alone
    from tieline.runtimes.relayed_datagrams import relayed
    from tieline.wire.addresses import Late

    deadline = inf if timeout is None else time.monotonic() + timeout
    try:
        sock, way = at_once(relayed(connector(deadline), asked, proxy))
    except Late:
        raise TimeoutError(errno.ETIMEDOUT, f"{asked.title} through {proxy} within {timeout:g} s") from None
    return BlockingConnectedDatagrams(sock, way, look_every=look_every)
