# SPDX-License-Identifier: MIT
"""Connected sockets of datagrams on asyncio and uvloop: see `tieline.runtimes.connected_datagrams`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from tieline.runtimes import datagram_sockets
from tieline.runtimes.asyncio.sockets import resolve
from tieline.runtimes.connected_datagrams import ConnectedDatagrams

if TYPE_CHECKING:
    import socket

    from tieline.endpoints.proxies import Route
    from tieline.runtimes.datagram_sockets import Asked
    from tieline.runtimes.relayed_datagrams import Relayed

__all__ = ["AsyncioConnectedDatagrams", "connect_datagrams"]


class AsyncioConnectedDatagrams(ConnectedDatagrams):
    """One in the running loop."""

    __slots__ = ("_lines", "_loop", "_waiters")

    def __init__(self, sock: socket.socket, relayed: Relayed | None = None, *, path: Any = None) -> None:
        super().__init__(sock, relayed, path=path)
        self._loop = asyncio.get_running_loop()
        self._lines = (asyncio.Lock(), asyncio.Lock())
        self._waiters: list[asyncio.Future[None] | None] = [None, None]

    async def _breathe(self) -> None:
        await asyncio.sleep(0)

    async def _enter(self, line: int, until: float | None) -> None:
        async with asyncio.timeout_at(until):
            await self._lines[line].acquire()

    def _leave(self, line: int) -> None:
        self._lines[line].release()

    async def _wait(self, writing: bool, until: float | None) -> None:
        loop = self._loop
        waiter = self._waiters[writing] = loop.create_future()
        wake = partial(_wake, waiter)
        timer = None if until is None else loop.call_at(until, _expire, waiter)
        if writing:
            loop.add_writer(self.sock, wake)
        else:
            loop.add_reader(self.sock, wake)
            for sock in self._watched():
                loop.add_reader(sock, wake)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._waiters[writing] = None
            if not self.is_closed:  # else the number may be that of another file by now
                self._forget(writing)

    def _forget(self, writing: bool) -> None:
        if writing:
            self._loop.remove_writer(self.sock)
            return
        for sock in (self.sock, *self._watched()):
            self._loop.remove_reader(sock)

    def _release(self) -> None:
        for writing, waiter in enumerate(self._waiters):
            if waiter is not None:
                self._forget(bool(writing))
                _wake(waiter)
        self._close_sockets()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError("the time is over"))


async def connect_datagrams(asked: Asked, proxy: Route | None) -> ConnectedDatagrams:
    """Return a socket that is connected as *asked*, by *proxy* if there is one: see `AsyncBackend`."""
    if proxy is None:
        sock, peer = await datagram_sockets.opened(asked, resolve)
        return AsyncioConnectedDatagrams(sock, path=peer)
    from tieline.runtimes.asyncio.dialling import CONNECTOR
    from tieline.runtimes.relayed_datagrams import relayed  # lazily: for those who use proxies alone

    return AsyncioConnectedDatagrams(*await relayed(CONNECTOR, asked, proxy))
