# SPDX-License-Identifier: MIT
"""Connected sockets of datagrams on trio: see `tieline.runtimes.connected_datagrams`. They need no nursery."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_writable

from tieline.runtimes import datagram_sockets
from tieline.runtimes.connected_datagrams import ConnectedDatagrams
from tieline.runtimes.trio.sockets import resolve

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from tieline.endpoints.proxies import Route
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.runtimes.relayed_datagrams import Relayed

__all__ = ["TrioConnectedDatagrams", "connect_datagrams"]


class TrioConnectedDatagrams(ConnectedDatagrams):
    """One on trio."""

    __slots__ = ("_lines",)

    def __init__(self, sock: socket.socket, relayed: Relayed | None = None, *, path: Any = None) -> None:
        super().__init__(sock, relayed, path=path)
        self._lines = (trio.Lock(), trio.Lock())

    async def _breathe(self) -> None:
        await checkpoint()

    async def _enter(self, line: int, until: float | None) -> None:
        try:
            self._lines[line].acquire_nowait()  # also when no time is left
        except trio.WouldBlock:
            await _in_time(self._lines[line].acquire, until)

    def _leave(self, line: int) -> None:
        self._lines[line].release()

    async def _wait(self, writing: bool, until: float | None) -> None:
        try:
            if writing:
                await _in_time(partial(wait_writable, self.sock), until)
            elif self._watched():
                await _in_time(partial(_any_readable, self.sock, *self._watched()), until)
            else:
                await _in_time(partial(wait_readable, self.sock), until)
        except trio.ClosedResourceError:  # `_release` was called; the caller looks
            pass

    def _release(self) -> None:
        try:
            for sock in (self.sock, *self._watched()):
                notify_closing(sock)
        except RuntimeError:  # trio has ended, or this is another thread: then nobody waits
            pass
        self._close_sockets()


async def _in_time(wait: Callable[[], Awaitable[object]], until: float | None) -> None:
    if until is None:
        await wait()
        return
    with trio.CancelScope(deadline=until) as scope:
        await wait()
        return
    if scope.cancelled_caught:
        raise TimeoutError("the time is over")


async def _any_readable(*socks: socket.socket) -> None:
    """Wait until one of them can be read, or is closed."""

    async def one(sock: socket.socket) -> None:
        try:
            if sock.fileno() >= 0:  # it may have been closed before this task came to run
                await wait_readable(sock)
        except trio.ClosedResourceError:
            pass
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for sock in socks:
            nursery.start_soon(one, sock)


async def connect_datagrams(asked: Asked, proxy: Route | None) -> ConnectedDatagrams:
    """Return a socket that is connected as *asked*, by *proxy* if there is one: see `AsyncBackend`."""
    if proxy is None:
        sock, peer = await datagram_sockets.opened(asked, resolve)
        return TrioConnectedDatagrams(sock, path=peer)
    from tieline.runtimes.relayed_datagrams import relayed  # lazily: for those who use proxies alone
    from tieline.runtimes.trio.dialling import CONNECTOR

    return TrioConnectedDatagrams(*await relayed(CONNECTOR, asked, proxy))
