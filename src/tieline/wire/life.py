# SPDX-License-Identifier: MIT
"""What the machines of all streams have alike: their life, their deadlines, and output that the peer does not take.

What the bytes mean is no concern of this file.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from tieline.errors import (
    ClosedError,
    ConnectionLost,
    EndOfStream,
    StreamReset,
    StreamTruncated,
    TLSTruncated,
    WebSocketClosed,
)
from tieline.wire.default import NOTHING
from tieline.wire.flow import Flow
from tieline.wire.limits import ceiling
from tieline.wire.states import OPEN
from tieline.wire.timers import NEVER

if TYPE_CHECKING:
    from tieline.wire.carriage import Carriage
    from tieline.wire.limits import Limits
    from tieline.wire.timers import TimerName

__all__ = ["Life", "ends_stream", "lost"]


class Life:
    """The life of one connection.

    Attributes:
        carriage: How messages come to it that what carries them keeps apart.
        state: Where the connection is in its life.
        limits: The limits, resolved.
        flow: How much is owed.
        timers: When there is something to do.
        is_smooth: Whether the connection is open and holds nothing back: there is nothing to do but what reads and
            orders cause.
        close_reason: Why the connection ended; None while it is open, or when this side closed it and nothing broke
            until the end.
        was_closed_here: Whether this side closed it, before anything else ended it.
        ended_by: What an end of stream between two messages means; None = `EndOfStream`. Set by the driver.
        must_abort: The peer takes nothing: the transport is to be aborted.
        bytes_sent: How many bytes were given out to be written.
    """

    __slots__ = (
        "__dict__",
        "bytes_sent",
        "close_reason",
        "flow",
        "is_smooth",
        "limits",
        "state",
        "timers",
        "was_closed_here",
    )

    carriage: ClassVar[Carriage] = "counted"

    # What nearly no connection has is the class's, until one has it; so it is in the layers above.
    ended_by: ConnectionLost | None = None
    must_abort: bool = False
    # While output waits: how many bytes the peer has taken, and when it must have taken more.
    _stalled: tuple[int, float] | None = None

    def __init__(self, limits: Limits) -> None:
        self.state = OPEN
        self.limits = limits
        self.flow = Flow(limits)
        self.timers = NEVER
        self.is_smooth = False  # set when a turn has left it so; whatever changes that takes it back
        self.close_reason: Exception | None = None
        self.was_closed_here = False
        self.bytes_sent: int = 0

    @property
    def deadline(self) -> float:
        """When `handle_deadline` is to be called, by the driver's clock; may be early, never late; inf = never."""
        return self.timers.first

    @property
    def keeps_unread(self) -> bool:
        """Whether a connection that is not read and was reset is to be kept, until it is read up to there."""
        return False

    def receive_one(self, data: bytes, now: float) -> Any:  # for machines that have a short way
        """Take in a read that is one plain message, and return its event; `NOTHING` where there is no such way."""
        return NOTHING

    def receive_first(self, data: bytes, now: float) -> Any:  # likewise
        """As `receive_one`, while it is a stranger that nothing valid has come from."""
        return NOTHING

    def _set_timer(self, name: TimerName, when: float = inf) -> None:
        """Set one of the timers; without a time it is lifted."""
        if getattr(self.timers, name) != when:
            self.timers = self.timers.changed(name, when)

    # --- output that waits ---------------------------------------------------------------------------------------

    def writing_paused(self, unsent: int, now: float) -> None:
        """The transport is over its high-water mark, or is closing, with *unsent* bytes in its buffer."""
        self.flow.pause()
        self.is_smooth = False
        self._stalled = None
        self.writing_progressed(unsent, now)

    def writing_progressed(self, unsent: int, now: float) -> None:
        """The transport has *unsent* bytes in its buffer now. A peer that takes some gets its time anew."""
        timeout = ceiling(self.limits.write_timeout)
        taken = self.bytes_sent - unsent
        if self._stalled is None or taken > self._stalled[0]:
            self._stalled = taken, now + timeout
        self._set_timer("write", min(now + timeout / 4, self._stalled[1]))

    def writing_resumed(self) -> None:
        """The transport is at or below its low-water mark."""
        self.flow.resume()
        self._stop_write_timer()

    def _stop_write_timer(self) -> None:
        self._set_timer("write")
        self._stalled = None

    def _check_writing(self, now: float) -> None:
        """Give up a peer that has taken nothing for too long."""
        if self._stalled is not None and now >= self._stalled[1]:
            self._stop_write_timer()
            self.must_abort = True
            if self.close_reason is None:
                self.close_reason = TimeoutError(f"the peer took no byte for {self.limits.write_timeout} s")

    # --- the end -------------------------------------------------------------------------------------------------

    def _end_of_stream(self, pending: int) -> ConnectionLost:
        """Return why the connection ended, when the peer sends no more and so much of a message had come."""
        if pending:
            reason: ConnectionLost = StreamTruncated(pending)
            if self.ended_by is not None:
                reason.__cause__ = self.ended_by
                reason.args = (f"{reason}: {self.ended_by}",)
            return reason
        return self.ended_by or EndOfStream("the peer closed the connection")

    def sending_failed(self) -> None:  # for machines that are not read at times
        """Nothing can be sent any more: the driver is about to read what has come, as far as it is wanted."""

    def peer_vanished(self) -> None:
        """Take note that the transport is to be aborted because the peer is gone, which no read has told."""
        if self.close_reason is None:
            self.close_reason = StreamReset("the connection was reset by the peer")

    def _closed_by_user(self) -> None:
        """Take note that this side wants the end. What goes wrong until then changes nothing for who comes later."""
        if self.close_reason is None:
            self.was_closed_here = True

    def check_open(self) -> None:
        """Refuse an order to a connection that is not open.

        Raises:
            ClosedError: This side has closed it.
            ConnectionLost: It went down, or is about to.
        """
        if self.state is not OPEN:
            raise self.why_not_open()

    def why_not_open(self) -> ClosedError | ConnectionLost:
        """Return what is raised at who gives an order to a connection that is not open any more."""
        if self.was_closed_here or self.close_reason is None:
            return ClosedError("the session is closed")
        gone = ConnectionLost("the connection is down")
        gone.__cause__ = self.close_reason
        return gone


def ends_stream(error: BaseException | None) -> bool:
    """Return whether an *error* of the transport tells that the peer has ended its stream, be it without a word."""
    return isinstance(error, WebSocketClosed | TLSTruncated)


def lost(error: BaseException) -> ConnectionLost:
    """Return what an error of the transport means for those who wait."""
    if isinstance(error, OSError):
        error.__traceback__ = None  # its frames, of transports, know all that is to keep it
    if isinstance(error, ConnectionLost):
        return error
    if isinstance(error, ConnectionResetError):
        told: ConnectionLost = StreamReset("the connection was reset by the peer")
    elif isinstance(error, BrokenPipeError):
        told = ConnectionLost("the connection takes nothing more that is sent")
    else:
        told = ConnectionLost(f"the connection broke: {str(error) or type(error).__name__}")
    told.__cause__ = error
    return told
