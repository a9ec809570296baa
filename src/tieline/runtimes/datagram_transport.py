# SPDX-License-Identifier: MIT
"""A socket of datagrams as a transport: all of it but the waiting, which each runtime does in its ``datagrams.py``.

Sending is in ``datagram_sending.py``. Nothing that comes is queued here: each datagram goes to the protocol at once, so
many in one turn, and those that nobody reads wait in the system's own queue, which drops what is too much and counts
it. A protocol that queues can pause reading.
"""

from __future__ import annotations

import errno
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.datagram_facts import Scratch, dropped_by_system, name_of
from tieline.runtimes.datagram_sending import BROKEN, DatagramSender

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["BATCH", "SocketDatagrams"]

# How many datagrams one turn reads: enough that waiting costs little, few enough that others wait for less than a
# millisecond.
BATCH: Final = 32
# Errors that wait to be told; more of them tell nothing new.
MOST_ERRORS: Final = 16


class SocketDatagrams(DatagramSender):
    """The transport of one socket; a runtime's own class says how to wait, in the methods at the end.

    Args:
        sock: The socket; owned by the transport.
        protocol: Hears what comes: see `tieline.transports.DatagramCallbacks`.
        remote: The address that the socket is connected to; None = it is not.
        max_size: The longest datagram that is taken; longer ones are dropped, and counted.
        flags: What each system call is told, so that none waits.

    Attributes:
        wants_data: Whether what comes is to be read.
        is_gone: The protocol is told that it is over, or is about to be.
        dropped: How many datagrams were dropped here.
    """

    __slots__ = (
        "_ancillary_room",
        "_errors",
        "_extra",
        "_is_paused",
        "_max_size",
        "_received",
        "_recvfrom",
        "dropped",
        "wants_data",
    )

    def __init__(self, sock: socket.socket, protocol: Any, *, remote: Any, max_size: int, flags: int = 0) -> None:
        super().__init__(sock, remote, flags)
        self._max_size = max_size
        self._errors: list[OSError] = []
        self._is_paused = False
        self.wants_data = True
        self.dropped = 0
        self._ancillary_room = 0
        self._recvfrom = sock.recvfrom if max_size < 1 << 16 else Scratch(sock, max_size + 1).recvfrom
        self._extra = {"socket": sock, "sockname": name_of(sock.getsockname), "peername": name_of(sock.getpeername)}
        self.set_protocol(protocol)

    def __repr__(self) -> str:
        state = "gone" if self.is_gone else "closing" if self._is_closing else "open"
        return f"<{type(self).__name__} {state} {self._extra['sockname']} - {self._extra['peername']}>"

    # --- facts ---------------------------------------------------------------------------------------------------

    def set_protocol(self, protocol: Any) -> None:
        """Let *protocol* receive everything from now on."""
        self._protocol: Any = protocol
        self._received: Callable[[bytes, Any], object] = protocol.datagram_received

    def get_protocol(self) -> Any:
        """Return the protocol; None when all is over."""
        return self._protocol

    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""
        return self._is_closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact: socket, sockname, peername; and how much is lost.

        ``dropped`` is how many datagrams this transport dropped since they were too long, ``dropped_by_system`` how
        many the system did since nobody read them in time (Linux; None elsewhere).
        """
        if name == "dropped":
            return self.dropped
        if not self.is_gone:
            if name == "sockname":  # the first datagram may have given it one
                self._extra[name] = name_of(self._sock.getsockname)
            elif name == "dropped_by_system":
                self._extra[name] = dropped_by_system(self._sock)
        return self._extra.get(name, default)

    # --- receiving -----------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether datagrams are delivered."""
        return self.wants_data

    def pause_reading(self) -> None:
        """Deliver nothing from now on: what comes waits in the system, which drops what is too much."""
        self._is_paused = True
        self._steer()

    def resume_reading(self) -> None:
        """Deliver datagrams again, in a later turn."""
        self._is_paused = False
        self._steer()

    def receive_ancillary(self, room: int) -> None:
        """Receive what comes beside the data from now on: the protocol's ``ancillary_received`` gets it.

        That is called with a `SocketAncillary`, right before ``datagram_received``, for each datagram that has such
        things beside it. Descriptors that are not taken out of the container are closed when it is dropped.

        Args:
            room: For how many bytes of control data; 0 = for none any more.

        Raises:
            ValueError: The socket is no Unix socket.
        """
        self._check_is_unix()
        self._ancillary_room = room

    def _steer(self) -> None:
        wants_data = not (self._is_paused or self._is_closing)
        if wants_data is not self.wants_data:
            self.wants_data = wants_data
            self._reading_changed()

    def read_some(self) -> None:
        """Read the datagrams that are there, but not too many, and deliver them."""
        if self._ancillary_room:
            self._read_with_ancillary()
            return
        recvfrom, size, flags = self._recvfrom, self._max_size + 1, self._flags
        for _ in range(BATCH):
            if not self.wants_data:
                return
            try:
                data, addr = recvfrom(size, flags)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                self._read_failed(exc)
                continue
            self.take(data, addr)

    def _read_with_ancillary(self) -> None:
        from tieline.runtimes.ancillary import receive_with  # lazily: for the few who use it

        for _ in range(BATCH):
            if not (self.wants_data and self._ancillary_room):
                return
            try:
                data, ancillary, _, addr = receive_with(
                    self._sock, self._max_size + 1, self._ancillary_room, self._flags
                )
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                self._read_failed(exc)
                continue
            except Exception as exc:  # by which it would fail each time, as with a room that is no size
                self.fail(exc)
                return
            if len(data) <= self._max_size and (ancillary or ancillary.is_truncated):
                received = self._protocol.ancillary_received
                self._tell(partial(received, ancillary))
            del ancillary
            if self.wants_data:
                self.take(data, addr)

    def take(self, data: bytes, addr: Any) -> None:
        """Deliver one datagram."""
        if len(data) > self._max_size:  # how long it really was is not known
            self.dropped += 1
            return
        try:
            self._received(data, addr)
        except Exception as exc:
            self._complain(exc)

    def _read_failed(self, error: OSError) -> None:
        if error.errno in BROKEN:
            self.fail(error)
        elif error.errno == errno.EMSGSIZE:  # so Windows tells of one that was cut
            self.dropped += 1
        else:
            self._plan_to_tell(error)

    # --- what the protocol is told -------------------------------------------------------------------------------

    def _plan_to_tell(self, error: OSError) -> None:
        """Have the protocol told of *error*, in the next turn: never from within what it calls."""
        if self._is_closing or len(self._errors) >= MOST_ERRORS:
            return
        self._errors.append(error)
        if len(self._errors) == 1:
            self._call_soon(self._tell_errors)

    def _tell_errors(self) -> None:
        errors, self._errors = self._errors, []
        for error in errors:
            if self._is_closing:
                return
            self._tell(partial(self._protocol.error_received, error))

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as exc:
            self._complain(exc)

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Deliver nothing more, send what is unsent, then close."""
        if self._is_closing:
            return
        self._is_closing = True
        self._steer()
        if not self._unsent:
            self._end(None)

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        self._is_closing = True
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """Close at once because of *error*."""
        self._is_closing = True
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if self.is_gone:
            return
        self.get_extra_info("sockname")
        self.get_extra_info("dropped_by_system")
        self.is_gone = True
        self._steer()
        self._unsent.clear()
        self._unsent_size = 0
        self._ended(error)

    def tell_the_end(self, error: BaseException | None) -> None:
        """Tell the protocol, once."""
        protocol = self._protocol
        if protocol is not None:
            protocol.connection_lost(error)
            self._protocol = self._received = None  # type: ignore[assignment]  # the protocol refers to this

    # --- what a runtime does its own way -------------------------------------------------------------------------

    @abstractmethod
    def _call_soon(self, fn: Callable[[], object]) -> None:
        """Have *fn* called in the next turn."""

    @abstractmethod
    def _reading_changed(self) -> None:
        """`wants_data` has changed: have `read_some` called when something comes, or not any more."""

    @abstractmethod
    def _ended(self, error: BaseException | None) -> None:
        """Have `tell_the_end` called in the next turn, and close the socket."""

    @abstractmethod
    def _complain(self, error: Exception) -> None:
        """Report that a callback of the protocol has failed."""
