# SPDX-License-Identifier: MIT
"""Accepting on asyncio: from a listening socket to transports, by a loop of our own on stock asyncio and uvloop alike.

The loops' own servers differ where it hurts: when the process is out of descriptors (one logs a traceback for each
try, the other throws connections away), and when closing (a connection may be lost between the two). Which protocol a
connection gets is decided by whoever listens; this file knows none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from tieline.runtimes.asyncio.host import current_host
from tieline.runtimes.asyncio.introductions import Introduction
from tieline.runtimes.asyncio.streams import started
from tieline.runtimes.contract import OurProtocol
from tieline.runtimes.fatal import fatal_in
from tieline.runtimes.listening import FULL_ROUNDS, MADE_AT_ONCE, MAX_WAITING, PASSED_OVER, RETRY_AFTER, tell_pause

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

__all__ = ["Acceptor", "attach"]


class Acceptor:
    """Accepts from one listening socket until it is closed, in the running loop.

    Args:
        sock: The socket: non-blocking, listening. Owned from the call on.
        take: Is given each accepted socket, which it owns, and the peer's address. What it raises goes to the loop's
            exception handler, and ends the program where that is its purpose.
    """

    __slots__ = (
        "_at_once",
        "_full_rounds",
        "_host",
        "_is_closed",
        "_loop",
        "_make_planned",
        "_retry",
        "_sock",
        "_take",
        "_task",
        "_waiting",
    )

    def __init__(self, sock: socket.socket, take: Callable[[socket.socket, Any], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._host = current_host()
        self._sock = sock
        self._take = take
        self._waiting: deque[tuple[socket.socket, Any]] = deque()
        self._at_once = 1
        self._full_rounds = 0  # how often as many have come as were asked for, in a row
        self._make_planned = self._is_closed = False
        self._retry: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._host.acceptors.add(self._sock.fileno())
        self._watch()

    def close(self) -> None:
        """Accept no more and close the listening socket, at once. Connections that were accepted are handed on first.

        Those that the system has not given to us yet are reset by it.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._host.acceptors.discard(self._sock.fileno())
        if self._retry is not None:
            self._retry.cancel()
        if self._task is not None:
            self._task.cancel()
        else:
            self._loop.remove_reader(self._sock)
        self._sock.close()
        while self._waiting:
            self._hand_on()

    # --- accepting -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._retry = None
        try:
            self._loop.add_reader(self._sock, self._on_readable)
        except NotImplementedError:  # Windows' proactor loop
            self._task = self._loop.create_task(self._accept_one_by_one(), name="tieline accepts")

    def _on_readable(self) -> None:
        # Most often there is one, and asking for another is a system call and an exception for nothing. So twice as
        # many are asked for when as many as that have come several times in a row.
        for _ in range(min(self._at_once, MAX_WAITING - len(self._waiting))):
            try:
                sock, address = self._sock.accept()
            except BlockingIOError:
                self._at_once = 1
                self._full_rounds = 0
                break
            except OSError as exc:
                if exc.errno in PASSED_OVER:
                    continue
                self._loop.remove_reader(self._sock)
                self._retry = self._loop.call_later(RETRY_AFTER, self._watch)
                tell_pause(exc)
                break
            sock.setblocking(False)
            self._waiting.append((sock, address))
        else:
            self._full_rounds += 1
            if self._full_rounds == FULL_ROUNDS:
                self._full_rounds = 0
                self._at_once = min(2 * self._at_once, MAX_WAITING)
        if not self._make_planned:
            self._make()

    async def _accept_one_by_one(self) -> None:
        while True:
            try:
                accepted = await self._loop.sock_accept(self._sock)
            except OSError as exc:
                if exc.errno not in PASSED_OVER:
                    tell_pause(exc)
                    await asyncio.sleep(RETRY_AFTER)
            else:
                self._waiting.append(accepted)
                self._hand_on()

    # --- handing on ----------------------------------------------------------------------------------------------

    def _make(self) -> None:
        self._make_planned = False
        for _ in range(MADE_AT_ONCE):
            if not self._waiting:
                return
            self._hand_on()
        if self._waiting:
            self._make_planned = True
            self._loop.call_soon(self._make)

    def _hand_on(self) -> None:
        sock, address = self._waiting.popleft()
        try:
            self._take(sock, address)
        except BaseException as exc:  # a factory may raise anything, and costs its own connection alone
            sock.close()
            _failed(self._loop, exc)


def _failed(loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
    if (fatal := fatal_in(error)) is not None:
        current_host().end_program(fatal)
    else:
        loop.call_exception_handler({"message": "an accepted connection could not be served", "exception": error})


def attach(protocol: Any, sock: socket.socket, peername: Any = None, sockname: Any = None) -> None:
    """Make a transport of an accepted *sock*, at once, for *protocol*; `connection_made` comes now or in the next turn.

    What it raises in the next turn goes where that of the acceptor's *take* goes, and the transport is closed.

    Raises:
        Exception: There is no transport and will be none; the socket is still the caller's.
    """
    # The address of a client on a Unix socket is empty.
    if started(sock, protocol, peername or None, sockname) is not None:
        return
    loop = asyncio.get_running_loop()
    heard: Any = protocol if isinstance(protocol, OurProtocol) else Introduction(protocol, partial(_failed, loop))
    coroutine: Coroutine[Any, Any, object] = loop.connect_accepted_socket(lambda: heard, sock)
    # Not as a task, which might be cancelled before it has begun and would take half as long again. The coroutine
    # makes the transport in its first step; then it waits for one future, which says that the protocol knows it.
    future: asyncio.Future[None] = coroutine.send(None)
    future.add_done_callback(partial(_finish, coroutine))


def _finish(coroutine: Coroutine[Any, Any, object], _future: object) -> None:
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    except RuntimeError:  # uvloop: `connection_made` has closed the transport, which is its right
        pass
    else:
        raise AssertionError("the loop waits for more than one future before a connection stands")
