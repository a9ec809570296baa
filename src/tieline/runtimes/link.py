# SPDX-License-Identifier: MIT
"""The link: the protocol object that drives one machine over one transport, written once for all runtimes.

Bytes in, events to a synchronous sink, one write out per turn, one timer, flow control; how it ends is in
`link_closing.py`. No rule of a wire protocol is here, and no runtime: a link calls only its machine, its transport, its
sink and its host.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes.hangups import is_deaf
from tieline.runtimes.link_closing import LinkClosing, MachineT
from tieline.runtimes.memory import LONG, keep_memory
from tieline.wire.default import NOTHING
from tieline.wire.flow import MUCH_OUTPUT
from tieline.wire.states import DRAINING, FINISHED, OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.runtimes.host import Host, Timer
    from tieline.runtimes.ports import Sink, Transport

__all__ = ["Link"]

# A turn that has taken longer than this writes what there is and lets others run.
TURN_SECONDS: Final = 0.02


class _Silent:
    """The sink of a link that is over."""

    def link_made(self, link: Any, /) -> None: ...

    def never_made(self) -> None: ...

    def handle_events(self, events: Sequence[Any], until: float, /) -> int:
        return len(events)

    def handle_one(self, event: Any, /) -> bytes | None: ...

    def room_made(self) -> None: ...

    def end_begun(self) -> None: ...

    def results_unsent(self, unsent: Sequence[tuple[Any, Exception]], /) -> None: ...

    def link_lost(self, error: BaseException | None, /) -> None: ...


_SILENT: Final = _Silent()


class Link(LinkClosing[MachineT]):
    """Drives one machine. Its methods without underscore are asyncio's protocol callbacks, then orders.

    Attributes:
        in_turn: What was read, or a part of it, is being handled, and what is queued meanwhile leaves behind that. A
            sink may end the turn early: what it does then is written as if it came by itself.
        is_corked: What is queued leaves in the next turn of the loop.
        last_sent: When something was last written, by the host's clock; None before the first time. What answers at
            once counts as written when it was asked. Sessions alone tell it, so what goes by `write` does not count.
    """

    __slots__ = (
        "_armed_for",
        "_delivering",
        "_is_new",
        "_last_event",
        "_rest",
        "_timer",
        "in_turn",
        "is_corked",
        "last_sent",
    )

    in_turn: bool
    is_corked: bool
    _is_new: bool  # no valid message has come yet on a connection that was accepted

    # What nearly no link has is the class's, until one has it.
    _is_breathing: bool = False  # reading has stopped for the sake of others alone
    _turn_planned: bool = False

    def __init__(self, machine: MachineT, sink: Sink, host: Host) -> None:
        self.machine = machine
        self._sink = sink
        self._host = host
        self.last_sent: float | None = None
        self._timer: Timer | None = None
        self._rest: Sequence[Any] = ()  # events that the sink had no time for
        self._delivering: Sequence[Any] = ()  # what the sink is handling
        self._last_event = 0  # the identity of the event that came last
        self._armed_for = inf  # when the timer goes off
        self.is_lost = self.in_turn = self.is_corked = self._is_new = self._is_calm = False
        self._paused = self._reading_over = self._closing = False

    # --- callbacks of the transport ------------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        machine = self.machine
        limits = machine.limits
        transport.set_write_buffer_limits(limits.write_high_water, limits.write_low_water)
        machine.start(self._host.now())
        self._is_new = machine.is_stranger
        self._sink.link_made(self)
        if self._unwanted:
            transport.abort()
        elif machine.is_smooth and not (machine.queued or self._paused or self._closing):
            self._is_calm = not self._is_new
            self.arm_anew()  # there is nothing else to settle
        else:
            self._is_calm = not (self._is_new or self._paused or self._closing)
            self.settle()

    def never_made(self) -> None:
        if not hasattr(self, "transport"):  # harmless when it has come
            sink, self._sink = self._sink, _SILENT  # as in `connection_lost`
            sink.never_made()

    def data_received(self, data: bytes) -> None:
        machine = self.machine
        now = self._host.now()
        if self._is_calm:
            event = machine.receive_one(data, now)
        else:
            event = machine.receive_first(data, now) if self._is_new else NOTHING
        if event is NOTHING:
            self._receive(data, now)
            return
        # One plain message, which needs nothing of what many or large ones need.
        self._last_event = id(event)
        self.in_turn = True
        try:
            answer = self._sink.handle_one(event)
        finally:
            self.in_turn = False
        if answer:
            self.last_sent = now
            self.transport.write(answer)
        if machine.queued or not (self._is_calm and machine.is_smooth):
            self.settle()

    def _receive(self, data: bytes, now: float) -> None:
        """Have the machine read *data*, whatever it is, and do all that it causes."""
        machine, until = self.machine, now + TURN_SECONDS
        self.in_turn = True
        try:
            events = machine.receive_data(data, now)
            count = len(events)
            if count == 1 and not self._rest:
                self._last_event = id(events[0])
                self._sink.handle_events(events, until)  # a sink handles at least one
            elif count:
                self._deliver(events, until)
                # `violated` may have thrown them away; and who went on at once has sent what there was to send.
                if self.in_turn and events and isinstance(events[-1], tuple):
                    self._cork()
            if not machine.is_smooth and machine.has_more:
                self._go_on(self._host.now(), until)
        finally:
            self.in_turn = False
        if machine.replies and not machine.queued:
            self._write(now)  # plain answers are all that there is to say, nearly always; they change nothing else
        if machine.queued or not (self._is_calm and machine.is_smooth):
            self.settle()

    def overhead_received(self, count: int) -> None:
        """Count bytes that have come in and hold no messages; a transport calls it that unpacks messages itself."""
        self.machine.bytes_received += count

    def eof_received(self) -> bool:
        """Return whether the transport is to stay open for what we still have to say."""
        now = self._host.now()
        ended_by: Any = self.transport.get_extra_info("ended_by")
        if ended_by is not None:
            self.machine.ended_by = ended_by
        self._is_calm = False
        self._reading_over = True  # the transport must not be told to read again
        events = self.machine.receive_eof(now)
        if not self.transport.can_write_eof():
            self.machine.answers_are_lost()  # before others hear of the end, who may go on at once, and send
        if events:
            self.in_turn = True
            try:
                self._deliver(events, now + TURN_SECONDS)
            finally:
                self.in_turn = False
        if self.machine.state < FINISHED:
            self._watch_peer(now)
        self.settle()
        return self.machine.state < FINISHED

    def pause_writing(self) -> None:
        self.machine.writing_paused(self.transport.get_write_buffer_size(), self._host.now())
        self._arm()

    def resume_writing(self) -> None:
        self.machine.writing_resumed()
        if self._closing or self._lingering is not None:
            self._watch_rest()
        self._sink.room_made()
        self.settle()

    def connection_lost(self, exc: BaseException | None) -> None:
        if isinstance(exc, BrokenPipeError):
            exc = self._read_rest() or exc
        self.is_lost = True
        self._is_calm = False
        if self._timer is not None:
            self._disarm()
        rest, self._rest = self._rest, ()
        last_events = self.machine.connection_lost(exc, rest)
        if last_events:
            self._sink.handle_events(last_events, inf)
        sink, self._sink = self._sink, _SILENT  # the two would keep each other alive until the garbage is collected
        sink.link_lost(exc)

    # --- turns ---------------------------------------------------------------------------------------------------

    def _deliver(self, events: Sequence[Any], until: float) -> None:
        """Hand events to the sink, behind those that it had no time for."""
        if events:
            self._last_event = id(events[-1])
        if self._rest:
            self._rest = [*self._rest, *events]
            return
        self._delivering = events
        handled = self._sink.handle_events(events, until)
        self._delivering = ()
        if handled < len(events):
            self._rest = list(events[handled:])
            self._is_calm = False

    def _go_on(self, now: float, until: float) -> None:
        """Handle what waits; what is left at *until* gets turns of its own, which `settle` plans, so that other
        connections get theirs.

        Of a turn that has just begun, something is handled, however late it is when the clock is looked at again.
        """
        machine = self.machine
        if self._rest:
            rest, self._rest = self._rest, ()
            self._deliver(rest, until)
            now = self._host.now()
        while now < until and not self._rest and machine.has_more:
            self._deliver(machine.next_events(now), until)
            now = self._host.now()

    def take_breath(self) -> None:
        """Read nothing more in this turn of the loop, for the sake of other connections."""
        if not (self._paused or self._reading_over or self._closing or self.is_lost):
            self._is_breathing = True
            self._toggle_reading()
            self._host.call_soon(self.settle)

    def _take_turn(self) -> None:
        self._turn_planned = False
        if self.is_lost or self.transport.is_closing():
            return  # cut in this very turn: what waits is told by `connection_lost`, and answers would go nowhere
        self.in_turn = True
        try:
            now = self._host.now()
            self._go_on(now, now + TURN_SECONDS)
        finally:
            self.in_turn = False
        self.settle()

    # --- output --------------------------------------------------------------------------------------------------

    def flush_soon(self, *, is_alone: bool = False) -> None:
        """Write what is queued: now, or with what others are about to queue in this turn of the loop.

        Args:
            is_alone: No others are to be expected, since nothing was going on before it was queued.
        """
        if self.in_turn or self.is_corked:
            if self.machine.output_size > MUCH_OUTPUT and not self.is_lost:
                self._write()
                self._is_calm = False  # what was written may have a deadline, which `settle` has yet to see
                self.check_deaf()
            return
        if self.machine.expects_more_output and not is_alone:
            self._cork()
        else:
            self.settle()

    def check_deaf(self) -> None:
        """Let nobody send on whose transport takes nothing more, as it does from a failed write on: they have to wait.

        The end is told in another turn of the loop, and whoever only sends, on and on, would leave none to it.
        """
        if is_deaf(self.transport):
            self.pause_writing()

    def _cork(self) -> None:
        """Let what is queued from now on wait for the next turn of the loop.

        So too behind a read that has ended several calls: those who wake up for it may have more to ask, which then
        leaves in one write.
        """
        if not self.is_corked:
            self.is_corked = True
            self._host.call_soon(self._flush)

    def _flush(self) -> None:
        self.is_corked = False
        self.settle()

    def write(self, data: bytes) -> None:
        """Write *data* at once, past the machine: for what comes alone, when nothing is queued."""
        size = len(data)
        self.machine.bytes_sent += size
        if size >= LONG:
            keep_memory()
        self.transport.write(data)

    def _write(self, now: float | None = None) -> None:
        machine = self.machine
        data = machine.data_to_send()
        if data:  # else all that was queued is part of answers to batches that are not complete
            self.last_sent = self._host.now() if now is None else now
            if len(data) >= LONG:
                keep_memory()
                machine.sent_much()
            self.transport.write(data)
        if machine.unsent is not None:
            self._tell_unsent()

    def _tell_unsent(self) -> None:
        """Hand on what could not be sent. Not in `_write`, to whose frame those errors refer by their tracebacks."""
        unsent, self.machine.unsent = self.machine.unsent, None
        self._sink.results_unsent(unsent)

    # --- in line with the machine --------------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring the transport in line with the machine: output, reading, timer, and how far the end has come."""
        if self.is_lost:
            return
        machine = self.machine
        if machine.replies or machine.queued:
            self._write()
        if self._is_new and not machine.is_stranger:
            self._is_new = False
            self._disarm()  # nothing is to look after it any more
            self._is_calm = not (self._rest or self._paused or self._reading_over or self._closing)
        if self._is_calm and machine.is_smooth:
            if machine.timers.first < self._armed_for:
                self._arm()
            return  # so it is nearly always: there is nothing else to do
        if machine.state is not OPEN:
            if machine.state is DRAINING:
                self._sink.end_begun()  # that may have been all that it waited for
                if machine.queued:  # what that completed of a batch: corked, it would come behind the close
                    self._write()
            if machine.state > DRAINING:
                if not self._closing:
                    self._follow_end()
                if self._closing and not machine.flow.paused:
                    return  # all is out: nothing comes any more but `connection_lost`
        wants_data = machine.is_smooth or machine.wants_data
        if (wants_data and not self._rest) is self._paused and not self._reading_over:
            self._toggle_reading()
            if self._paused:
                self._watch_peer(self._host.now())
        if (self._rest or machine.has_more) and not self._turn_planned:
            self._turn_planned = True
            self._host.call_soon(self._take_turn)
        if machine.timers.first < self._armed_for or self._look_at < self._armed_for:
            self._arm()
        self._is_calm = not (self._rest or self._paused or self._is_new or self._reading_over or self._closing)

    def _toggle_reading(self) -> None:
        if self._closing:
            return
        self._paused = not self._paused
        self._is_calm = False
        if self._paused:
            self.transport.pause_reading()
            return
        if self._is_breathing:
            self._is_breathing = False
        else:
            self.machine.reading_resumed(self._host.now())
        self.transport.resume_reading()

    # --- time ----------------------------------------------------------------------------------------------------

    def arm_anew(self) -> None:
        """Have the timer go off earlier, if the machine has a deadline before that."""
        if self.machine.timers.first < self._armed_for:
            self._arm()

    def _arm(self) -> None:
        """Have the one timer go off at the next deadline, or earlier."""
        deadline = min(self.machine.timers.first, self._look_at)
        if deadline < self._armed_for:
            if self._timer is not None:
                self._timer.cancel()
            self._armed_for = deadline
            self._timer = self._host.call_at(deadline, self._on_timer)

    def _disarm(self) -> None:
        self._armed_for = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self._armed_for = inf
        now = self._host.now()
        machine = self.machine
        if machine.flow.paused:
            machine.writing_progressed(self.transport.get_write_buffer_size(), now)
        self.in_turn = True
        try:
            self._deliver(machine.handle_deadline(now), now + TURN_SECONDS)
        finally:
            self.in_turn = False
        if machine.must_abort or (now >= self._look_at and self._peer_is_gone(now)):
            self.transport.abort()
        else:
            self.settle()

    # --- start TLS -----------------------------------------------------------------------------------------------

    @property
    def has_unread(self) -> bool:
        """Whether anything has come that nobody has handled yet, part of a message included."""
        return bool(self._rest) or self.machine.has_unread

    def is_last(self, event: object) -> bool:
        """Return whether nothing has come behind *event*, which somebody must still hold."""
        return self._last_event == id(event) and not self.has_unread and not self.machine.has_read_behind_event

    def violated(self, text: str) -> None:
        """End the connection because the peer broke a rule of the transport: it is told *text*, then it is closed.

        What has come and is not handled yet is thrown away.
        """
        self.break_off(self.machine.peer_violated(text, self._host.now()))

    def break_off(self, last_events: Sequence[Any]) -> None:
        """Hand *last_events* on, with which the machine has ended the connection, and throw away all before them."""
        self._rest = ()
        if isinstance(self._delivering, list):
            self._delivering.clear()  # so ends the sink's walk over it; `_deliver` finds nothing left to hand on
        self._sink.handle_events(last_events, inf)
        self.settle()

    @property
    def host(self) -> Host:
        """The port to the runtime on which it lives."""
        return self._host

    def change_transport(self, change: Callable[[Transport], Transport]) -> None:
        """Go on with the transport that *change* makes of the present one; what is queued leaves by that before."""
        if self.machine.has_output:
            self._write()
        transport = self.transport
        if self._paused:
            transport.resume_reading()
        self.transport = change(transport)
        if self._paused:
            self.transport.pause_reading()
