# SPDX-License-Identifier: MIT
"""Accepting on trio: from a listening socket to transports.

Which protocol a connection gets is decided by whoever listens; this file knows none.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import checkpoint, enable_ki_protection, notify_closing, wait_readable

from tieline.runtimes.fatal import fatal_in
from tieline.runtimes.listening import MADE_AT_ONCE, MAX_WAITING, PASSED_OVER, RETRY_AFTER, tell_pause
from tieline.runtimes.trio.streams import StreamTransport
from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.runtimes.trio.host import TrioHost

__all__ = ["Acceptor", "attach"]

log = logging.getLogger("tieline.trio")


class Acceptor:
    """Accepts from one listening socket until it is closed, in a task of the nursery of *host*; first it waits.

    Args:
        host: The host of the connections.
        sock: The socket: non-blocking, listening. Owned from the call on.
        take: Is given each accepted socket, and owns it. What it raises is logged, and ends the program where that is
            its purpose.
    """

    __slots__ = (
        "_at_once",
        "_host",
        "_is_closed",
        "_is_started",
        "_on_cancelled",
        "_pause",
        "_sock",
        "_take",
        "_waiting",
    )

    def __init__(self, host: TrioHost, sock: socket.socket, take: Callable[[socket.socket], object]) -> None:
        self._host = host
        self._sock = sock
        self._take = take
        self._waiting: deque[socket.socket] = deque()
        self._at_once = 1
        self._is_closed = self._is_started = False
        self._on_cancelled: Callable[[], object] | None = None
        self._pause = Parking()

    def open(self, on_cancelled: Callable[[], object]) -> None:
        """Live from now on; *on_cancelled* is called when the nursery is cancelled before `close`.

        Raises:
            LocalProtocolError: The nursery is over; `close` closes the socket.
        """
        self._on_cancelled = on_cancelled
        self._host.enter(self._accept)

    def start(self) -> None:
        """Begin to accept."""
        self._is_started = True
        self._pause.wake()

    def close(self) -> None:
        """Accept no more and close the listening socket, at once. Connections that were accepted are handed on first.

        Those that the system has not given to us yet are reset by it.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._pause.wake()
        notify_closing(self._sock)
        self._sock.close()
        while self._waiting:
            self._hand_on()

    # --- accepting -----------------------------------------------------------------------------------------------

    @enable_ki_protection
    async def _accept(self) -> None:
        try:
            while not (self._is_started or self._is_closed):
                await self._pause.wait()
            while not self._is_closed:
                if self._waiting:
                    await checkpoint()
                else:
                    await wait_readable(self._sock)
                error = self._accept_waiting()
                self._make_some()
                if error is not None:
                    tell_pause(error)
                    while self._waiting:
                        await checkpoint()
                        self._make_some()
                    with trio.move_on_after(RETRY_AFTER):
                        await self._pause.wait()
        except trio.ClosedResourceError:
            return
        finally:
            if not self._is_closed and self._on_cancelled is not None:
                self._on_cancelled()

    def _accept_waiting(self) -> OSError | None:
        """Accept what there is, up to a bound; return why that must pause."""
        if self._is_closed:
            return None
        # Twice as many as last time, since most often there is one and asking for another is a system call for nothing.
        for _ in range(min(self._at_once, MAX_WAITING - len(self._waiting))):
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                self._at_once = 1
                return None
            except OSError as exc:
                if exc.errno in PASSED_OVER:
                    continue
                return exc
            sock.setblocking(False)
            self._waiting.append(sock)
        self._at_once = min(2 * self._at_once, MAX_WAITING)
        return None

    # --- handing on ----------------------------------------------------------------------------------------------

    def _make_some(self) -> None:
        for _ in range(MADE_AT_ONCE):
            if not self._waiting:
                return
            self._hand_on()

    def _hand_on(self) -> None:
        sock = self._waiting.popleft()
        try:
            self._take(sock)
        except BaseException as exc:  # a factory may raise anything, and costs its own connection alone
            sock.close()
            if (fatal := fatal_in(exc)) is not None:
                self._host.end_program(fatal)
            else:
                log.exception("an accepted connection could not be served")


def attach(host: TrioHost, protocol: Any, sock: socket.socket) -> None:
    """Make a transport of an accepted *sock*, at once, for *protocol*.

    Raises:
        Exception: There is no transport and will be none, or `connection_made` failed and the transport is closed.
    """
    StreamTransport(host, sock, protocol).start()
