# SPDX-License-Identifier: MIT
"""Sockets of datagrams on trio.

One task reads for as long as the socket is open; what the system does not take at once is written by a second task,
which lives only as long as that takes. Both live in the nursery that was given.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection, notify_closing, wait_readable, wait_writable

from tieline.runtimes import datagram_sockets
from tieline.runtimes.datagram_transport import SocketDatagrams
from tieline.runtimes.trio.host import nursery_is_over
from tieline.runtimes.trio.sockets import resolve
from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.runtimes.datagram_sockets import Asked
    from tieline.runtimes.host import Timer
    from tieline.runtimes.trio.host import TrioHost

__all__ = ["TrioDatagrams", "open_datagrams", "started"]

log = logging.getLogger("tieline.trio")


class TrioDatagrams(SocketDatagrams):
    """The transport of one socket in the nursery of *host*."""

    __slots__ = ("_host", "_is_lost", "_parking", "_timer", "_writes")

    def __init__(self, host: TrioHost, sock: socket.socket, protocol: Any, *, remote: Any, max_size: int) -> None:
        self._host = host
        self._is_lost = False
        self._parking = Parking()  # of the task that reads
        self._writes = False  # the task that writes is there
        self._timer: Timer | None = None  # until it writes again, in place of that task
        super().__init__(sock, protocol, remote=remote, max_size=max_size)

    def start(self) -> None:
        """Tell the protocol of the socket, and begin to read.

        Raises:
            LocalProtocolError: The nursery is over: the socket is closed.
            Exception: The protocol's `connection_made` failed: the socket is closed.
        """
        if not self._host.spawn(self._read):
            self._sock.close()
            raise nursery_is_over()
        self._host.hold()
        try:
            self._protocol.connection_made(self)
        except BaseException as exc:
            self.fail(exc)
            raise

    @enable_ki_protection
    async def _read(self) -> None:
        try:
            while not self._is_lost:
                if self.wants_data:
                    await wait_readable(self._sock)
                    self.read_some()
                else:
                    # Here to the end, so that a nursery that is cancelled ends the transport in any state.
                    await self._parking.wait()
        except trio.ClosedResourceError:  # `_lose` has closed the socket
            return
        except trio.Cancelled:
            self._host.is_collapsing = True
            self.abort()
            raise
        except BaseException as exc:  # what ends the program goes on to do so
            self.fail(exc)
            raise

    @enable_ki_protection
    async def _write_out(self) -> None:
        try:
            while self._unsent and self._timer is None:
                await wait_writable(self._sock)
                self.flush_some()
        except trio.ClosedResourceError:
            return
        except trio.Cancelled:
            self._host.is_collapsing = True
            self.abort()
            raise
        except BaseException as exc:
            self.fail(exc)
            raise
        finally:
            self._writes = False

    def _call_soon(self, fn: Callable[[], object]) -> None:
        self._host.call_soon(fn)

    def _flush_later(self, seconds: float) -> None:
        self._timer = self._host.call_at(self._host.now() + seconds, self._flush_now)

    def _flush_now(self) -> None:
        self._timer = None
        self.flush_some()

    def _writing_changed(self) -> None:
        if self._unsent and not self._writes:
            self._writes = self._host.spawn(self._write_out)
            if not self._writes:
                self.abort()

    def _reading_changed(self) -> None:
        if self.wants_data:
            self._parking.wake()

    def _ended(self, error: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._host.call_soon(partial(self._lose, error))

    def _lose(self, error: BaseException | None) -> None:
        self._is_lost = True
        try:
            self.tell_the_end(error)
        finally:
            notify_closing(self._sock)
            self._sock.close()
            self._parking.wake()
            self._host.release()

    def _complain(self, error: Exception) -> None:
        log.error("a callback of %r failed", self._protocol, exc_info=error)


async def open_datagrams(host: TrioHost, protocol_factory: Callable[[], Any], asked: Asked) -> tuple[Any, Any]:
    """Open a socket of datagrams, make the protocol, and return both after `connection_made`.

    See `tieline.create_datagram_endpoint`.
    """
    sock, remote = await datagram_sockets.opened(asked, resolve)
    return started(host, protocol_factory, sock, remote, asked.max_size)


def started(
    host: TrioHost, protocol_factory: Callable[[], Any], sock: socket.socket, remote: Any, max_size: int
) -> tuple[TrioDatagrams, Any]:
    """Give *sock* to a transport and a new protocol; closed when that fails."""
    try:
        protocol = host.make(protocol_factory)
        transport = TrioDatagrams(host, sock, protocol, remote=remote, max_size=max_size)
    except BaseException:
        sock.close()
        raise
    transport.start()
    return transport, protocol
