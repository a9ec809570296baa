# SPDX-License-Identifier: MIT
"""Datagram transports in memory: what is sent arrives whole, once, or not at all."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.contract import DatagramTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.testing.faults import Faults
    from tieline.testing.wires import Turns

__all__ = ["MemoryDatagramTransport", "memory_datagram_pair"]

# What a UDP datagram over IPv4 can carry.
LONGEST: Final = 65_507
MOST_WAITING: Final = 64


class MemoryDatagramTransport(DatagramTransport):
    """One of two connected in-memory datagram transports; `memory_datagram_pair` creates both.

    A datagram that does not fit into the other end's queue is dropped and counted, as by the system. With faults,
    datagrams may also be delayed, and therefore reordered; none is lost by that.

    Attributes:
        address: The address of this end, ("memory", number).
        dropped: The number of datagrams that were dropped because the queue of this end was full.
    """

    __slots__ = (
        "_faults",
        "_is_closing",
        "_is_planned",
        "_most_waiting",
        "_peer",
        "_protocol",
        "_turns",
        "_waiting",
        "address",
        "dropped",
    )

    def __init__(self, protocol: Any, turns: Turns, number: int, most_waiting: int, faults: Faults | None) -> None:
        self._protocol: Any = protocol
        self._turns = turns
        self._most_waiting = most_waiting
        self._faults = faults
        self._peer: MemoryDatagramTransport | None = None
        self._waiting: deque[bytes | OSError] = deque()
        self._is_planned = self._is_closing = False
        self.address = ("memory", number)
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address[1]} {'closing' if self._is_closing else 'open'}>"

    def start(self, peer: MemoryDatagramTransport) -> None:
        """Connect to *peer* and tell the protocol. For whoever makes the transport."""
        self._peer = peer
        self._protocol.connection_made(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        facts = {"sockname": self.address, "peername": None if self._peer is None else self._peer.address}
        return facts.get(name, default)

    def is_closing(self) -> bool:
        return self._is_closing

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send *data* as one datagram; see `DatagramTransport.sendto`.

        Raises:
            TypeError: *data* is not bytes-like.
            ValueError: *addr* is not the address of the other end, or *data* is longer than a datagram.
        """
        datagram = bytes(memoryview(data).cast("B"))
        peer = self._peer
        assert peer is not None
        if addr is not None and addr != peer.address:
            raise ValueError(f"addr must be None or {peer.address}, whom this transport is connected to, not {addr!r}")
        if len(datagram) > LONGEST:
            raise ValueError(f"a datagram has {LONGEST} bytes at most, not {len(datagram)}")
        if self._is_closing:
            return
        if peer.is_closing():
            self._arrive(ConnectionRefusedError(111, "nobody receives datagrams at the other end in memory"))
            return
        pause = 0.0 if self._faults is None else self._faults.pause()
        if pause:
            self._turns.call_at(self._turns.now() + pause, lambda: peer._arrive(datagram))
        else:
            peer._arrive(datagram)

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._waiting.clear()
            self._turns.call_soon(self._tell_lost)

    def _tell_lost(self) -> None:
        protocol, self._protocol = self._protocol, None  # it refers to this
        protocol.connection_lost(None)

    def _arrive(self, what: bytes | OSError) -> None:
        if self._is_closing:
            return
        if len(self._waiting) >= self._most_waiting:
            self.dropped += 1
            return
        self._waiting.append(what)
        if not self._is_planned:
            self._is_planned = True
            self._turns.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_planned = False
        while self._waiting and not self._is_closing:
            what = self._waiting.popleft()
            assert self._peer is not None
            callback: Callable[..., object] = self._protocol.error_received
            args: tuple[Any, ...] = (what,)
            if isinstance(what, bytes):
                callback, args = self._protocol.datagram_received, (what, self._peer.address)
            try:
                callback(*args)
            except Exception:
                self._waiting.clear()
                self.abort()
                raise


def memory_datagram_pair(
    first: Any, second: Any, turns: Turns, *, most_waiting: int = MOST_WAITING, faults: Faults | None = None
) -> tuple[MemoryDatagramTransport, MemoryDatagramTransport]:
    """Connect two datagram protocols in memory, and return their transports; `connection_made` has been called on both.

    Args:
        first: An asyncio-style datagram protocol.
        second: Another one.
        turns: The scheduler: a `VirtualClock`, or the host of a runtime.
        most_waiting: The maximum number of datagrams that wait to be received at each end; further ones are dropped.
        faults: Random delays and reordering; None = none.
    """
    ours = MemoryDatagramTransport(first, turns, 1, most_waiting, faults)
    theirs = MemoryDatagramTransport(second, turns, 2, most_waiting, faults)
    ours.start(theirs)
    theirs.start(ours)
    return ours, theirs
