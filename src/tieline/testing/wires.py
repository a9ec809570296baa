# SPDX-License-Identifier: MIT
"""What connects two ends in memory: a bounded pipe in each direction, and the wire that says when they may go on.

A pipe behaves as a socket that does not block does: a write takes as much as there is room for, a read gives what has
arrived, the end of the stream stands behind the bytes, and a reset drops them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.testing.faults import Faults

__all__ = ["CAPACITY", "Pipe", "Turns", "Waker", "Wire"]

# Bytes that are on their way or unread, at most; sockets have about as many.
CAPACITY: Final = 64 * 1024


class Turns(Protocol):
    """Who makes calls later: a `VirtualClock`, or the host of a runtime."""

    def now(self) -> float: ...

    def call_at(self, when: float, fn: Callable[[], object], /) -> Any: ...

    def call_soon(self, fn: Callable[[], object], /) -> object: ...


class Waker:
    """Wakes the ends of a connection that live on the same *turns*: once a turn, in any order if chance says so."""

    def __init__(self, turns: Turns, faults: Faults | None) -> None:
        self.turns = turns
        self._faults = faults
        self._ready: list[Callable[[], object]] = []
        self._is_planned = False

    def wake(self, fn: Callable[[], object]) -> None:
        """Have *fn* called in the next turn; once, however often it is asked for."""
        if fn not in self._ready:
            self._ready.append(fn)
        if not self._is_planned:
            self._is_planned = True
            self.turns.call_soon(self._wake_all)

    def _wake_all(self) -> None:
        self._is_planned = False
        ready, self._ready = self._ready, []
        late: list[Callable[[], object]] = []
        if self._faults is not None:
            ready, late = self._faults.in_any_order(ready)
        for fn in late:
            self.wake(fn)
        for index, fn in enumerate(ready):
            try:
                fn()
            except BaseException:
                for rest in ready[index + 1 :]:
                    self.wake(rest)
                raise


class Wire:
    """The two pipes of one connection.

    Args:
        first: Who makes calls for the first end.
        second: Who makes them for the second one; may be the same.
        capacity: Of each pipe, in bytes.
        faults: What may go wrong; None = nothing.

    Attributes:
        there: The pipe from the first end to the second.
        back: The pipe from the second end to the first.

    Raises:
        ValueError: There is no capacity.
    """

    def __init__(self, first: Turns, second: Turns, capacity: int, faults: Faults | None) -> None:
        if capacity < 1:
            raise ValueError(f"the capacity must be 1 byte at least, not {capacity!r}")
        self.faults = faults
        one = Waker(first, faults)
        other = one if second is first else Waker(second, faults)
        self.there, self.back = Pipe(self, one, other, capacity), Pipe(self, other, one, capacity)
        self._cut = None if faults is None else faults.new_cut()

    def moved(self, size: int) -> None:
        """Take note of bytes on their way, and cut the connection when it is time for that."""
        if self._cut is None:
            return
        left, how = self._cut
        self._cut = left - size, how
        if left >= size:
            return
        self._cut = None
        assert self.faults is not None
        if how == "half":
            (self.there if self.faults.is_first() else self.back).end()
            return
        for pipe in (self.there, self.back):
            if how == "reset":
                pipe.reset()
            else:
                pipe.end()
                pipe.refuse()


class Pipe:
    """One direction.

    Attributes:
        writer: Wakes the end that writes.
        reader: Wakes the end that reads.
        on_data: Called in a turn in which something can be read: bytes, the end, or a reset.
        on_room: Called in a turn in which something can be written, or nothing can any more.
        is_ended: Nothing more is written.
        is_refused: Nothing is read any more.
        is_reset: It was reset.
    """

    def __init__(self, wire: Wire, writer: Waker, reader: Waker, capacity: int) -> None:
        self._wire = wire
        self.writer = writer
        self.reader = reader
        self._capacity = capacity
        self._arrived = bytearray()
        self._on_way: list[tuple[float, bytes]] = []  # when each piece arrives; b"" = the end
        self._last_arrival = 0.0
        self._end_arrived = False
        self._is_blocked = False
        self.on_data: Callable[[], object] | None = None
        self.on_room: Callable[[], object] | None = None
        self.is_ended = self.is_refused = self.is_reset = False

    @property
    def size(self) -> int:
        """How many bytes are written and not read."""
        return len(self._arrived) + sum(len(piece) for _, piece in self._on_way)

    @property
    def has_unread(self) -> bool:
        """Whether there is anything that nobody has read."""
        return bool(self._arrived or self._on_way)

    # --- the end that writes -------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take some of *data* and return how many bytes; 0 = none now, and `on_room` tells when.

        Raises:
            ConnectionResetError: It was reset.
            BrokenPipeError: Nobody reads any more, or its end was written.
        """
        if self.is_reset:
            raise ConnectionResetError(104, "the connection in memory was reset by its peer")
        if self.is_refused or self.is_ended:
            raise BrokenPipeError(32, "nobody reads this connection in memory any more")
        taken = min(len(data), self._capacity - self.size)
        faults = self._wire.faults
        if faults is not None and taken > 0:
            if self._is_blocked or faults.is_blocked():
                self._block()
                return 0
            taken = faults.piece(taken)
        if taken > 0:
            self._send(bytes(data[:taken]))
            self._wire.moved(taken)
        return max(0, taken)

    def _block(self) -> None:
        if not self._is_blocked:
            self._is_blocked = True
            assert self._wire.faults is not None
            turns = self.writer.turns
            turns.call_at(turns.now() + self._wire.faults.pause(), self._unblock)

    def _unblock(self) -> None:
        self._is_blocked = False
        self._wake_writer()

    def end(self) -> None:
        """Say that nothing more is written."""
        if not (self.is_ended or self.is_reset):
            self.is_ended = True
            self._send(b"")

    def reset(self) -> None:
        """Drop all that is unread; both ends learn of it."""
        self._arrived.clear()
        self._on_way.clear()
        self.is_reset = True
        self._wake_reader()
        self._wake_writer()

    def _send(self, piece: bytes) -> None:
        faults, turns = self._wire.faults, self.reader.turns
        pause = 0.0 if faults is None else faults.pause()
        if not pause and not self._on_way:
            self._arrive(piece)
            return
        self._last_arrival = max(self._last_arrival, turns.now() + pause)
        self._on_way.append((self._last_arrival, piece))
        turns.call_at(self._last_arrival, self._arrive_next)

    def _arrive_next(self) -> None:
        if self._on_way:  # else it was reset meanwhile
            self._arrive(self._on_way.pop(0)[1])

    def _arrive(self, piece: bytes) -> None:
        if piece:
            self._arrived += piece
        else:
            self._end_arrived = True
        self._wake_reader()

    # --- the end that reads --------------------------------------------------------------------------------------

    def read(self, size: int) -> bytes | None:
        """Return up to *size* bytes that have arrived, b"" at the end of the stream, None when there is nothing yet.

        Raises:
            ConnectionResetError: It was reset.
        """
        if self.is_reset:
            raise ConnectionResetError(104, "the connection in memory was reset by its peer")
        if not self._arrived:
            return b"" if self._end_arrived else None
        taken = min(size, len(self._arrived))
        if self._wire.faults is not None:
            taken = self._wire.faults.piece(taken)
        data = bytes(self._arrived[:taken])
        del self._arrived[:taken]
        self._wake_writer()
        return data

    def is_readable(self) -> bool:
        """Return whether `read` has something to say."""
        return bool(self._arrived) or self._end_arrived or self.is_reset

    def refuse(self) -> None:
        """Read nothing any more: what is written from now on breaks the pipe."""
        self.is_refused = True
        self._wake_writer()

    def _wake_reader(self) -> None:
        if self.on_data is not None:
            self.reader.wake(self.on_data)

    def _wake_writer(self) -> None:
        if self.on_room is not None:
            self.writer.wake(self.on_room)
