# SPDX-License-Identifier: MIT
"""Stream transports on trio: asyncio's contract over a non-blocking socket, TCP or Unix.

One task reads for as long as the connection stands. Writing tries the socket at once; what it does not take is written
by a second task, which lives only as long as that takes.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection, notify_closing, wait_readable, wait_writable

from tieline.runtimes.socket_streams import NOTHING, SocketStream
from tieline.runtimes.trio.host import nursery_is_over
from tieline.runtimes.trio.leading import FEW, Lead
from tieline.runtimes.trio.waiting import Parking

if TYPE_CHECKING:
    import socket

    from tieline.runtimes.trio.host import TrioHost

__all__ = ["StreamTransport"]

log = logging.getLogger("tieline.trio")


class StreamTransport(SocketStream):
    """The transport of one connected socket.

    Args:
        host: The host whose nursery the connection lives in.
        sock: A connected non-blocking stream socket; owned by the transport once it was started.
        protocol: Hears what comes; plain or buffered.

    Attributes:
        host: The host.
    """

    __slots__ = ("_is_lost", "_lead", "_parking", "_writes", "host")

    def __init__(self, host: TrioHost, sock: socket.socket, protocol: Any) -> None:
        super().__init__(sock, protocol)
        self.host = host
        self._writes = False  # the task that writes is there
        self._is_lost = False
        self._parking = Parking()  # of the task that reads
        self._lead: Lead | None = None  # the last time that others read

    def start(self) -> None:
        """Tell the protocol of the connection and begin to read.

        Raises:
            LocalProtocolError: The nursery is over: the socket is closed.
            Exception: The protocol's `connection_made` failed: the connection is closed.
        """
        host = self.host
        if not host.spawn(self._read):
            self._sock.close()
            raise nursery_is_over()
        host.hold()
        host.streams += 1
        if host.lead is not None:
            host.lead.stop()  # it is not the only one any more
        try:
            self._protocol.connection_made(self)
        except BaseException as exc:
            self._break(exc)
            raise

    # --- reading -------------------------------------------------------------------------------------------------

    def _reading_changed(self) -> None:
        if self.is_reading():
            self._parking.wake()
        elif self._lead is not None:
            self._lead.stop()  # whoever reads in our place

    @enable_ki_protection
    async def _read(self) -> None:
        host, sock = self.host, self._sock
        needed = FEW
        leads_at = host.waits + needed
        try:
            while True:
                if not self.is_reading():
                    # Here to the end, so that a nursery that is cancelled ends the connection in any state.
                    if self._is_lost:
                        return
                    await self._parking.wait()
                    continue
                await wait_readable(sock)
                if not self.is_reading():  # not any more
                    continue
                self._read_some()
                if host.waits >= leads_at and host.streams == 1 and self.is_reading():
                    needed = await self._let_others_read(needed)
                    leads_at = host.waits + needed
        except trio.ClosedResourceError:  # `_lose` has closed the socket
            return
        except trio.Cancelled:
            self.host.is_collapsing = True
            self._break(None)
            raise
        except BaseException as exc:  # what ends the program goes on to do so
            self._break(exc)
            raise

    async def _let_others_read(self, needed: int) -> int:
        """See `Lead.stand_by`."""
        protocol = self._protocol
        machine: Any = None if self._buffered else getattr(protocol, "machine", None)
        is_client = hasattr(machine, "receive_alone") and not machine.accepted
        lead = self._lead = Lead(
            self.host, self._sock, self._parking, self._read_some, self._fatal, protocol if is_client else None
        )
        if is_client:
            self._receive = lead.receive
        try:
            return await lead.stand_by(needed)
        finally:
            if is_client and self._protocol is protocol:
                self._receive = protocol.data_received

    def _fatal(self, error: BaseException) -> None:
        """What ends the program was raised by a callback, in a task of somebody else."""
        self._break(error)
        self.host.end_program(error)

    def _report(self, text: str, error: BaseException) -> None:
        log.error(text, exc_info=error)

    # --- writing -------------------------------------------------------------------------------------------------

    def _begin_to_write(self) -> bool:
        if not self._writes:
            self._writes = self.host.spawn(self._write_out)
        return self._writes

    @enable_ki_protection
    async def _write_out(self) -> None:
        try:
            while self._unsent:
                try:
                    await wait_writable(self._sock)
                except trio.ClosedResourceError:
                    if self._is_lost:
                        return
                    continue  # whoever read was woken so
                if self._unsent:
                    self._write_some()
        except trio.Cancelled:
            self.host.is_collapsing = True
            self._break(None)
            raise
        except BaseException as exc:
            self._break(exc)
            raise
        finally:
            self._writes = False
            self._unsent = NOTHING
        self._all_written()

    # --- the end -------------------------------------------------------------------------------------------------

    def _plan_end(self, error: BaseException | None) -> None:
        self.host.call_soon(partial(self._lose, error))

    def _lose(self, error: BaseException | None) -> None:
        self._is_lost = True
        host, sock = self.host, self._sock
        try:
            if self._failed_with is not None:
                error = self._read_rest()
            self._protocol.connection_lost(error)
        finally:
            # Not before: protocols of users' may look at the socket then, as with the loops' own transports.
            notify_closing(sock)
            sock.close()
            self._parking.wake()
            host.streams -= 1
            host.release()
            self._protocol = self._receive = self._lead = None  # they refer to this
