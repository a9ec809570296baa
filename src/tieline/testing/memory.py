# SPDX-License-Identifier: MIT
"""Stream transports in memory: asyncio's whole contract, without a socket, on whatever makes calls later."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.contract import Transport, fill_buffers
from tieline.runtimes.water_marks import WaterMarks
from tieline.testing.wires import CAPACITY, Pipe, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.testing.faults import Faults
    from tieline.testing.wires import Turns

__all__ = ["MemoryPeer", "MemoryTransport", "memory_pair", "memory_peer"]

log = logging.getLogger("tieline.testing")

READ_SIZE: Final = 64 * 1024


class MemoryTransport(WaterMarks, Transport):
    """One end of an in-memory connection; `memory_pair` and `memory_peer` create it.

    It behaves like a transport on a socket: data that the pipe does not accept at once is buffered, data is delivered
    in later turns and never from within a call, and `connection_lost` is called once, at the earliest in the turn after
    `close` or `abort`. An exception in a callback ends the connection, and is logged by "tieline.testing"; on a
    `VirtualClock` it is raised by the method that moves the clock. `get_extra_info` supports ``peername`` and
    ``sockname``: ("memory", number).
    """

    __slots__ = (
        "_eof_asked",
        "_eof_sent",
        "_extra",
        "_incoming",
        "_is_buffered",
        "_is_closing",
        "_is_lost",
        "_on_lost",
        "_outgoing",
        "_paused",
        "_reports",
        "_turns",
        "_unsent",
        "_wake",
        "_wire",
        "peer_has_ended",
    )

    def __init__(
        self,
        wire: Wire,
        incoming: Pipe,
        outgoing: Pipe,
        protocol: Any,
        *,
        number: int,
        reports: Callable[[BaseException], object] | None = None,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        self._wire = wire
        self._turns = incoming.reader.turns
        self._wake = incoming.reader.wake
        self._incoming = incoming
        self._outgoing = outgoing
        self._reports = reports
        self._on_lost = on_lost
        self._unsent = bytearray()
        self._eof_asked = self._eof_sent = False
        self._paused = False
        self.peer_has_ended = False  # the peer sends no more
        self._is_closing = False
        self._is_lost = False  # or is about to be told
        self._extra: dict[str, Any] = {"sockname": ("memory", number), "peername": ("memory", 3 - number)}
        self.set_protocol(protocol)

    def __repr__(self) -> str:
        state = "lost" if self._is_lost else "closing" if self._is_closing else "open"
        faults = "" if self._wire.faults is None else f" with {self._wire.faults!r}"
        return f"<{type(self).__name__} {state}{faults}>"

    def start(self) -> None:
        """Tell the protocol of the connection and begin to read. For whoever makes the transport."""
        try:
            self._protocol.connection_made(self)
        except BaseException as exc:
            self._lose(exc)
            raise
        self._incoming.on_data = self._read
        self._outgoing.on_room = self._flush
        if self._incoming.is_readable():
            self._wake(self._read)

    # --- facts ---------------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._extra.get(name, default)

    def is_closing(self) -> bool:
        return self._is_closing

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        self._is_buffered = hasattr(protocol, "get_buffer") and not hasattr(protocol, "data_received")

    def get_protocol(self) -> Any:
        return self._protocol

    # --- reading -------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        return not (self._paused or self._is_closing or self.peer_has_ended)

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            if self._incoming.is_readable():
                self._wake(self._read)

    def _read(self) -> None:
        if not self.is_reading():
            return
        try:
            data = self._incoming.read(READ_SIZE)
        except OSError as exc:
            self._lose(exc)
            return
        if data is None:
            return
        try:
            if data:
                self._deliver(data)
            else:
                self.peer_has_ended = True
                if not self._protocol.eof_received():
                    self.close()
        except Exception as exc:
            self._failed(exc)
        if self._incoming.is_readable() and self.is_reading():
            self._wake(self._read)

    def _deliver(self, data: bytes) -> None:
        if not self._is_buffered:
            self._protocol.data_received(data)
            return
        fill_buffers(self._protocol, data, lambda: not self._is_closing)

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes):
            data = bytes(memoryview(data).cast("B"))
        if self._eof_asked:
            raise RuntimeError("cannot write after write_eof()")
        if self._is_closing or not data:
            return
        if not self._unsent:
            try:
                data = data[self._outgoing.write(data) :]
            except OSError as exc:
                self._lose(exc)
                return
        self._unsent += data
        self._check_full()

    def _flush(self) -> None:
        if self._is_lost:
            return
        try:
            if self._unsent:
                taken = self._outgoing.write(self._unsent)
                del self._unsent[:taken]
                if taken and self._unsent:
                    self._wake(self._flush)
        except OSError as exc:
            self._lose(exc)
            return
        self._check_room()
        if self._unsent or self._is_lost:
            return
        if self._is_closing:
            self._lose(None)
        elif self._eof_asked and not self._eof_sent:
            self._send_eof()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._is_closing or self._eof_asked:
            return
        self._eof_asked = True
        if not self._unsent:
            self._send_eof()

    def _send_eof(self) -> None:
        self._eof_sent = True
        self._outgoing.end()

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as exc:
            self._report(exc)

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        if not self._unsent:
            self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def _failed(self, error: BaseException) -> None:
        self._report(error)
        self._lose(error)

    def _report(self, error: BaseException) -> None:
        if self._reports is None:
            log.error("a callback of %r failed", self._protocol, exc_info=error)
        else:
            self._reports(error)

    def _lose(self, error: BaseException | None) -> None:
        """Close at once, because of *error* or on purpose; the protocol hears of it in the next turn."""
        self._is_closing = True
        if self._is_lost:
            return
        self._is_lost = True
        self._unsent.clear()
        self._turns.call_soon(lambda: self._tell_lost(error))

    def _tell_lost(self, error: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(error)
        except Exception as exc:
            self._report(exc)
        finally:
            self._protocol = None  # it refers to this
            _leave(self._incoming, self._outgoing)
            if self._on_lost is not None:
                self._on_lost()


def _leave(incoming: Pipe, outgoing: Pipe) -> None:
    """Close one end, as a socket is closed: unread bytes reset the connection."""
    if incoming.has_unread:
        outgoing.reset()
        incoming.reset()
    else:
        outgoing.end()
        incoming.refuse()


class MemoryPeer:
    """The other end of an in-memory connection: a test sends and receives bytes, as with a non-blocking socket."""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._is_closed = False

    def send(self, data: bytes) -> int:
        """Send what is taken of *data* now, and return how many bytes that is.

        Raises:
            ConnectionError: The other end is gone.
        """
        return self._outgoing.write(data)

    def receive(self, size: int = READ_SIZE) -> bytes | None:
        """Return up to *size* bytes; b"" = the end of the stream; None = nothing has come.

        Raises:
            ConnectionResetError: The other end has reset the connection.
        """
        return self._incoming.read(size)

    def end(self) -> None:
        """Say that nothing more will be sent; what comes can still be received."""
        self._outgoing.end()

    def close(self) -> None:
        """Close, as a socket is closed: with unread bytes it is a reset. Again: nothing."""
        if not self._is_closed:
            self._is_closed = True
            _leave(self._incoming, self._outgoing)

    def reset(self) -> None:
        """Cut the connection: the other end hears of a ConnectionResetError."""
        self._is_closed = True
        self._outgoing.reset()
        self._incoming.reset()


def memory_pair(
    first: Any, second: Any, turns: Turns, *, capacity: int = CAPACITY, faults: Faults | None = None
) -> tuple[MemoryTransport, MemoryTransport]:
    """Connect two protocols in memory, and return their transports; `connection_made` has been called on both.

    Args:
        first: An asyncio-style protocol, plain or buffered.
        second: Another one.
        turns: The scheduler: a `VirtualClock`. (On an event loop, use a `MemoryNetwork`.)
        capacity: The number of unread bytes in each direction, those in transit included, at which writes wait.
        faults: Random faults; None = none.
    """
    wire = Wire(turns, turns, capacity, faults)
    ours = MemoryTransport(wire, wire.back, wire.there, first, number=1, reports=_raises(turns))
    theirs = MemoryTransport(wire, wire.there, wire.back, second, number=2, reports=_raises(turns))
    ours.start()
    theirs.start()
    return ours, theirs


def memory_peer(
    protocol: Any, turns: Turns, *, capacity: int = CAPACITY, faults: Faults | None = None
) -> tuple[MemoryTransport, MemoryPeer]:
    """Connect a protocol with a `MemoryPeer`, and return its transport and that peer; see `memory_pair`."""
    wire = Wire(turns, turns, capacity, faults)
    transport = MemoryTransport(wire, wire.back, wire.there, protocol, number=1, reports=_raises(turns))
    transport.start()
    return transport, MemoryPeer(wire.there, wire.back)


def _raises(turns: Turns) -> Callable[[BaseException], object]:
    """Return what lets an error of a callback come out of whoever moves the clock, in the next turn."""

    def report(error: BaseException) -> None:
        def again() -> None:
            raise error

        turns.call_soon(again)

    return report
