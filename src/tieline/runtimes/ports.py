# SPDX-License-Identifier: MIT
"""What a link stands between: the machine that it drives, the transport that it writes to, the sink that it reports to.

The fourth, time and turns, is in `tieline.runtimes.host`. Events are whatever the machine and the sink agree on. A link
knows two things about them: a tuple is the end of a call of ours, behind which more is likely to be asked; and they are
told apart by identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.errors import ClosedError, ConnectionLost
    from tieline.wire.flow import Flow
    from tieline.wire.limits import Limits
    from tieline.wire.states import State
    from tieline.wire.timers import Timers

__all__ = ["Machine", "Sink", "Transport"]


class Machine(Protocol):
    """One connection's rules: bytes and time in, events and bytes out.

    Attributes:
        state: Where the connection is in its life.
        is_smooth: Whether there is nothing to do but what reads and orders cause.
        must_abort: The transport is to be aborted.
        close_reason: Why the connection ended; None while it is open, or when this side closed it.
        ended_by: What an end of stream means, if the transport knows; for `receive_eof`.
        bytes_received: How many bytes have come.
        bytes_sent: How many bytes were given out to be written; a link that writes others counts those too.
        output_size: How many bytes wait for `data_to_send`.
        unsent: What could not be sent, for the sink; the link takes it out.
    """

    state: State
    limits: Limits
    flow: Flow
    timers: Timers
    is_smooth: bool
    must_abort: bool
    close_reason: Exception | None
    ended_by: ConnectionLost | None
    bytes_received: int
    bytes_sent: int
    output_size: int
    unsent: Any

    def check_open(self) -> None:
        """Refuse an order to a connection that is not open: raises what `why_not_open` returns."""
        ...

    def why_not_open(self) -> ClosedError | ConnectionLost:
        """Return what is raised at who gives an order to a connection that is not open any more."""
        ...

    # --- what it wants -------------------------------------------------------------------------------------------

    @property
    def queued(self) -> Sequence[Any] | None:
        """What waits to be sent; None for nothing."""
        ...

    @property
    def replies(self) -> Sequence[Any]:
        """What waits to be encoded and sent."""
        ...

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything to do."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether `next_events` has anything to do."""
        ...

    @property
    def wants_data(self) -> bool:
        """Whether the transport is to be read."""
        ...

    @property
    def keeps_unread(self) -> bool:
        """Whether a connection that is not read and was reset is to be kept, until it is read up to there."""
        ...

    @property
    def expects_more_output(self) -> bool:
        """Whether more is likely to be sent in this turn, so that what there is may wait for it."""
        ...

    @property
    def owes_answers(self) -> bool:
        """Whether the peer waits for an answer."""
        ...

    @property
    def is_stranger(self) -> bool:
        """Whether no valid message has come yet on a connection that was accepted."""
        ...

    @property
    def has_unread(self) -> bool:
        """Whether bytes have come that no event has told yet."""
        ...

    @property
    def has_read_behind_event(self) -> bool:
        """Whether a message has been read behind the one that caused the last event."""
        ...

    @property
    def deadline(self) -> float:
        """When `handle_deadline` is to be called; inf = never."""
        ...

    # --- bytes and time ------------------------------------------------------------------------------------------

    def start(self, now: float) -> None: ...

    def receive_one(self, data: bytes, now: float) -> Any:
        """Take in a read that is one plain message, and return its event.

        `NOTHING`, and nothing is done, when it is not that simple: then it is for `receive_data`.
        """
        ...

    def receive_first(self, data: bytes, now: float) -> Any:
        """As `receive_one`, while it is a stranger that nothing valid has come from."""
        ...

    def receive_data(self, data: bytes, now: float) -> Sequence[Any]: ...

    def next_events(self, now: float) -> Sequence[Any]: ...

    def receive_eof(self, now: float) -> Sequence[Any]: ...

    def handle_deadline(self, now: float) -> Sequence[Any]: ...

    def reading_resumed(self, now: float) -> None: ...

    def data_to_send(self) -> bytes: ...

    def sent_much(self) -> None:
        """Take note that what `data_to_send` gave was long."""
        ...

    def writing_paused(self, unsent: int, now: float) -> None: ...

    def writing_progressed(self, unsent: int, now: float) -> None: ...

    def writing_resumed(self) -> None: ...

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None: ...

    def answers_are_lost(self) -> None: ...

    def peer_vanished(self) -> None: ...

    def peer_violated(self, text: str, now: float) -> Sequence[Any]: ...

    def give_up_calls(self) -> Sequence[Any]: ...

    def sending_failed(self) -> None:
        """Nothing can be sent any more: what has come is about to be read, as far as it is wanted, before the end."""
        ...

    def connection_lost(self, error: BaseException | None, undelivered: Sequence[Any]) -> Sequence[Any]:
        """The transport is gone; return the last events, behind those of *undelivered* that still matter."""
        ...


class Sink(Protocol):
    """What a link reports to. Plain functions that must not fail and must not wait."""

    def link_made(self, link: Any, /) -> None:
        """The transport is there."""

    def never_made(self) -> None:
        """The transport will not come. Called instead of all else."""

    def handle_events(self, events: Sequence[Any], until: float, /) -> int:
        """Handle what one turn caused, in order, and return how many events that were.

        Once the host's clock is past *until* the others are left to the next turn. At least one is handled.
        """
        ...

    def handle_one(self, event: Any, /) -> bytes | None:
        """Handle the event that `receive_one` gave. Return its answer if that is to be written now, past the machine.

        None or empty when there is no answer yet, or it is queued.
        """
        ...

    def room_made(self) -> None:
        """The transport has room again, or never will."""

    def end_begun(self) -> None:
        """The connection ends as soon as what is being handled is done. May be called again."""

    def results_unsent(self, unsent: Sequence[tuple[Any, Exception]], /) -> None:
        """Results that had been accepted could not be encoded, for these reasons; the peer was told."""

    def link_lost(self, error: BaseException | None, /) -> None:
        """The transport is gone. Called once, after the last events."""


class Transport(Protocol):
    """The part of asyncio's transport contract that a link uses."""

    def write(self, data: bytes, /) -> object: ...

    def write_eof(self) -> object: ...

    def can_write_eof(self) -> bool: ...

    def pause_reading(self) -> object: ...

    def resume_reading(self) -> object: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> object: ...

    def get_write_buffer_size(self) -> int: ...

    def get_extra_info(self, name: str, default: object = None) -> object: ...

    def is_closing(self) -> bool: ...

    def close(self) -> object: ...

    def abort(self) -> object: ...
