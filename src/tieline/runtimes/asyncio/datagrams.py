# SPDX-License-Identifier: MIT
"""Sockets of datagrams on asyncio and uvloop.

Ours and not the loop's: those report a datagram that is too long to `error_received`, or close; drop empty ones (before
CPython 3.12); and read one for each turn of the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tieline.runtimes import datagram_sockets
from tieline.runtimes.asyncio.sockets import resolve
from tieline.runtimes.datagram_transport import SocketDatagrams

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.runtimes.datagram_sockets import Asked

__all__ = ["AsyncioDatagrams", "open_datagrams", "started"]


class AsyncioDatagrams(SocketDatagrams):
    """The transport of one socket in the running loop."""

    __slots__ = ("_loop", "_timer")

    def __init__(self, sock: socket.socket, protocol: Any, *, remote: Any, max_size: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        super().__init__(sock, protocol, remote=remote, max_size=max_size)

    def start(self) -> None:
        """Tell the protocol of the socket, and begin to read.

        Raises:
            Exception: The protocol's `connection_made` failed: the socket is closed.
        """
        try:
            self._protocol.connection_made(self)
            if self.wants_data:
                self._loop.add_reader(self._sock, self.read_some)
        except BaseException as exc:
            self.fail(exc)
            raise

    def _call_soon(self, fn: Callable[[], object]) -> None:
        self._loop.call_soon(fn)

    def _tell_errors(self) -> None:
        # An error of the socket stops the handle of libuv that watches it, and uvloop does not start it again.
        if self.wants_data and not self.is_gone:
            self._loop.remove_reader(self._sock)
            self._loop.add_reader(self._sock, self.read_some)
        if self._unsent and self._timer is None:
            self._loop.remove_writer(self._sock)
            self._loop.add_writer(self._sock, self.flush_some)
        super()._tell_errors()

    def _flush_later(self, seconds: float) -> None:
        self._loop.remove_writer(self._sock)
        self._timer = self._loop.call_later(seconds, self._flush_now)

    def _flush_now(self) -> None:
        self._timer = None
        self.flush_some()

    def _writing_changed(self) -> None:
        if self._unsent:
            self._loop.add_writer(self._sock, self.flush_some)
        else:
            self._loop.remove_writer(self._sock)

    def _reading_changed(self) -> None:
        if self.wants_data:
            self._loop.add_reader(self._sock, self.read_some)
        else:
            self._loop.remove_reader(self._sock)

    def _ended(self, error: BaseException | None) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: BaseException | None) -> None:
        try:
            self.tell_the_end(error)
        finally:
            self._sock.close()

    def _complain(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": f"a callback of {self._protocol!r} failed",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )


async def open_datagrams(protocol_factory: Callable[[], Any], asked: Asked) -> tuple[Any, Any]:
    """Open a socket of datagrams, make the protocol, and return both after `connection_made`.

    See `tieline.create_datagram_endpoint`.
    """
    sock, remote = await datagram_sockets.opened(asked, resolve)
    return started(protocol_factory, sock, remote, asked.max_size)


def started(
    protocol_factory: Callable[[], Any], sock: socket.socket, remote: Any, max_size: int
) -> tuple[AsyncioDatagrams, Any]:
    """Give *sock* to a transport and a new protocol; closed when that fails."""
    try:
        protocol = protocol_factory()
        transport = AsyncioDatagrams(sock, protocol, remote=remote, max_size=max_size)
    except BaseException:
        sock.close()
        raise
    transport.start()
    return transport, protocol
