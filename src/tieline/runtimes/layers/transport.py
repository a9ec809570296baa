# SPDX-License-Identifier: MIT
"""What a layer is to the protocol above it: asyncio's contract of transports.

Writing, reading and telling are here; how a connection begins and ends is in `layer.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from tieline.runtimes.contract import Transport, fill_buffers, is_buffered

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.host import Host
    from tieline.runtimes.layers.filters import Filter

__all__ = ["LayerTransport", "LowerTransport", "State"]

# Long data is filtered in parts of this size, each given on at once: beside what the transport below keeps, one part
# is in memory twice.
PART: Final = 256 * 1024


class State(IntEnum):
    """Where a layer is in its life. Ordered: it never goes back."""

    SHAKING = 0  # hands, that is
    OPEN = 1
    CLOSING = 2  # our last word is on its way, or the peer's is waited for
    ENDED = 3  # the transport below has been told to close
    LOST = 4  # the transport below is gone


class LowerTransport(Protocol):
    """The part of asyncio's transport contract that the layer uses."""

    def write(self, data: bytes, /) -> object: ...

    def can_write_eof(self) -> bool: ...

    def write_eof(self) -> object: ...

    def pause_reading(self) -> object: ...

    def resume_reading(self) -> object: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> object: ...

    def get_write_buffer_limits(self) -> tuple[int, int]: ...

    def get_write_buffer_size(self) -> int: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any: ...

    def is_closing(self) -> bool: ...

    def close(self) -> object: ...

    def abort(self) -> object: ...


class OpenTransport(LowerTransport, Protocol):
    """What the layer uses besides when it takes the place of the protocol of a connection that is open."""

    def is_reading(self) -> bool: ...

    def set_protocol(self, protocol: Any, /) -> object: ...


class LayerTransport(Transport):
    """The transport of the protocol *upper*.

    Attributes:
        part_size: The most bytes that its filter is given to send at once.
        hold_size: How many bytes are kept for a protocol that wants none before the transport below is not read.
    """

    part_size: ClassVar[int] = PART
    hold_size: ClassVar[int] = 0

    __slots__ = (
        "__weakref__",
        "_filter",
        "_held",
        "_host",
        "_in_upper",
        "_is_full",
        "_lower",
        "_lower_ended",
        "_lower_is_full",
        "_lower_paused",
        "_paused",
        "_rests",
        "_state",
        "_takes_data",
        "_takes_no_more",
        "_tells",
        "_turn_planned",
        "_upper",
    )

    def __init__(self, upper: Any, filter_: Filter, host: Host, *, is_made: bool) -> None:
        self._filter = filter_
        self._host = host
        self._lower: LowerTransport | None = None
        self._state = State.SHAKING
        self._tells = is_made  # upper knows this transport, or the one below
        self._held = b""  # what came for upper, who did not want it yet
        self._in_upper = False  # a callback of upper runs
        self._paused = False  # upper wants no data
        self._rests = False  # others are to have their turn first
        self._lower_paused = self._lower_ended = self._turn_planned = False
        self._lower_is_full = False
        self._takes_no_more = False  # what upper writes from now on can go nowhere
        self._is_full = False  # as upper has been told
        self.set_protocol(upper)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.name.lower()} on {self._lower!r}>"

    # --- taking its place ----------------------------------------------------------------------------------------

    @property
    def host(self) -> Host:
        """What tells the time and plans calls."""
        return self._host

    def go_between(self, lower: OpenTransport, unread: bytes = b"") -> None:
        """Go between *lower*, which is open, and its protocol, the upper of this layer, whose `is_made` is True.

        In one turn: nothing can come between, on any runtime. What upper was told of *lower* stays true of this: one
        that has paused reading, or was told to pause writing, goes on like that. *unread* is what has come that nobody
        has read: it is for the filter. So is the end of the peer's stream, if that has come.
        """
        limits = None
        if lower.get_write_buffer_size():
            # Whether upper has been told to pause is known to lower alone. So it is told by now, if it was not before.
            limits = lower.get_write_buffer_limits()
            lower.set_write_buffer_limits(0)
            self._lower_is_full = self._is_full = True
        # Transports of loops do not say so: when they are told to read on, they tell the end once more.
        has_ended = getattr(lower, "peer_has_ended", False)
        self._paused = not (has_ended or lower.is_reading())
        lower.pause_reading()
        lower.set_protocol(self)
        self.connection_made(lower)
        if limits is not None:
            lower.set_write_buffer_limits(limits[1], limits[0])
        if unread:
            self.data_received(unread)
        if has_ended:
            self.eof_received()
        else:
            lower.resume_reading()

    # --- for the protocol above: what there is -------------------------------------------------------------------

    def set_protocol(self, protocol: Any) -> None:
        """Let *protocol* receive everything from now on."""
        self._upper: Any = protocol
        self._takes_data = not is_buffered(protocol)

    def get_protocol(self) -> Any:
        """Return the protocol above; None when the connection is gone."""
        return self._upper

    @property
    def lower(self) -> LowerTransport | None:
        """The transport below; None before and after that is there."""
        return self._lower

    def is_closing(self) -> bool:
        """Return whether the connection is closing or gone."""
        return self._state > State.OPEN

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about this layer or the transport below."""
        return default if self._lower is None else self._lower.get_extra_info(name, default)

    # --- for the protocol above: writing -------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data* through the filter. After `close` or `abort` it is dropped."""
        if not isinstance(data, bytes):
            data = memoryview(data).cast("B")
        # Before the handshake only a protocol that was there earlier can write: it has to wait.
        if not data or not (self._state is State.OPEN or (self._state is State.SHAKING and self._tells)):
            return
        machine, lower, part_size = self._filter, self._lower, self.part_size
        assert lower is not None
        if len(data) <= part_size:
            output = machine.send(data)
            if output:
                lower.write(output)
        else:
            whole = memoryview(data)
            for start in range(0, len(whole), part_size):
                output = machine.send(whole[start : start + part_size])
                if output and self._state is State.OPEN:  # upper may abort when it is told that writing pauses
                    lower.write(output)
        if machine.unsent:
            self._tell_writing()
        elif machine.error is not None and self._state is State.OPEN:
            self._end(machine.error)

    def can_write_eof(self) -> bool:
        """Return False: closing one direction only is not done here."""
        return False

    def write_eof(self) -> None:
        """Raise NotImplementedError; see `can_write_eof`."""
        raise NotImplementedError(f"{type(self).__name__}: this kind of connection is not half-closed")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when upper is told to pause and to resume writing, in bytes of the transport below."""
        if self._lower is not None:
            self._lower.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit."""
        return (0, 0) if self._lower is None else self._lower.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent: below, and what cannot be filtered yet."""
        unsent = len(self._filter.unsent)
        return unsent if self._lower is None else unsent + self._lower.get_write_buffer_size()

    def _tell_writing(self) -> None:
        """Tell upper when to pause and to resume writing; one that was there before the handshake waits for it."""
        waits = self._state is State.SHAKING or self._takes_no_more
        is_full = waits or self._lower_is_full or bool(self._filter.unsent)
        if is_full is self._is_full or not self._tells or self._state > State.CLOSING:
            return
        self._is_full = is_full
        self._call_upper(self._upper.pause_writing if is_full else self._upper.resume_writing)

    # --- for the protocol above: reading -------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether data is delivered."""
        return not self._paused and self._state <= State.OPEN

    def pause_reading(self) -> None:
        """Deliver nothing from now on."""
        self._paused = True
        self._steer()

    def resume_reading(self) -> None:
        """Deliver data again, in a later turn at the earliest."""
        self._paused = False
        if self._held or self._filter.is_over or self._filter.has_more or self._lower_ended:
            self._plan_turn()
        else:
            self._steer()

    def take_breath(self) -> None:
        """Read nothing more in this turn of the loop, for the sake of other connections."""
        if State.OPEN <= self._state <= State.CLOSING and not self._rests:
            self._rests = True
            self._steer()
            self._plan_turn()

    def _plan_turn(self) -> None:
        if not self._turn_planned:
            self._turn_planned = True
            self._host.call_behind(self._take_turn)

    def _take_turn(self) -> None:
        self._turn_planned = self._rests = False
        try:
            self._go_on()
        except BaseException as exc:
            self._fail(exc)  # as transports do when a protocol raises
            raise

    def _go_on(self) -> None:
        """Deliver what was held, see whether the stream has ended, and read on."""
        if self._held and not self._paused and self._state is State.OPEN:
            held, self._held = self._held, b""
            self._deliver(held)
        if self._filter.has_more and not (self._held or self._paused) and State.OPEN <= self._state <= State.CLOSING:
            self._receive(b"")
        self._check_end()
        self._steer()

    def _deliver(self, data: bytes) -> None:
        """Give *data* to upper, or keep it until it wants some; the transport below is paused meanwhile."""
        if self._paused or self._held:
            self._held += data
            self._steer()
        elif self._takes_data:
            self._call_upper(self._upper.data_received, data)
        else:
            self._call_upper(self._fill_buffers, data)

    def _fill_buffers(self, data: bytes) -> None:
        """Deliver to a buffered protocol, whose buffers may be small; keep what it does not take because it pauses."""
        rest = fill_buffers(self._upper, data, lambda: self._state is State.OPEN and not self._paused)
        if rest and self._state is State.OPEN:
            self._held = bytes(rest)

    def _steer(self) -> None:
        """Have the transport below read when somebody wants what comes."""
        if self._lower_ended or self._lower is None or not State.OPEN <= self._state <= State.CLOSING:
            return
        waits = (self._paused or self._held) and len(self._held) >= self.hold_size
        wants = not (self._rests or self._filter.has_more) and (self._state is State.CLOSING or not waits)
        if wants is self._lower_paused:
            self._lower_paused = not wants
            if wants:
                self._lower.resume_reading()
            else:
                self._lower.pause_reading()

    # --- for the layer -------------------------------------------------------------------------------------------

    def _call_upper(self, callback: Callable[..., object], *args: object) -> None:
        """Call a callback of upper. The end, if it comes meanwhile, is told behind it."""
        was_in_upper, self._in_upper = self._in_upper, True
        try:
            callback(*args)
        finally:
            self._in_upper = was_in_upper
            if self._state is State.LOST and not was_in_upper:
                self._tell_lost()

    # What follows is the layer's own, and is only declared here: how a connection ends.

    @abstractmethod
    def connection_made(self, transport: LowerTransport) -> None: ...

    @abstractmethod
    def data_received(self, data: bytes | memoryview) -> None: ...

    @abstractmethod
    def eof_received(self) -> bool: ...

    @abstractmethod
    def _receive(self, data: bytes | memoryview) -> None: ...

    @abstractmethod
    def _check_end(self) -> None: ...

    @abstractmethod
    def _end(self, error: BaseException | None) -> None: ...

    @abstractmethod
    def _fail(self, error: BaseException) -> None: ...

    @abstractmethod
    def _tell_lost(self) -> None: ...
