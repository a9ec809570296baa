# SPDX-License-Identifier: MIT
"""The link: the protocol object that drives one machine over one transport, written once for all runtimes.

Bytes in, events to a synchronous sink, one write out per turn, one timer, flow control. No rule of a wire protocol is
here, and no runtime: a link calls only its machine, its transport, its sink and its host.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final, Generic

from tieline.runtimes.contract import OurProtocol
from tieline.runtimes.hangups import peer_of, rest_of
from tieline.runtimes.lingering import Lingering
from tieline.runtimes.memory import LONG, keep_memory
from tieline.wire.default import NOTHING
from tieline.wire.flow import MUCH_OUTPUT
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import TypeVar  # type checkers know it, and it is not asked for at run time

    from tieline.runtimes.host import Host, Timer
    from tieline.runtimes.ports import Machine, Sink, Transport

    MachineT = TypeVar("MachineT", bound=Machine, default=Any)
else:
    from typing import TypeVar

    MachineT = TypeVar("MachineT")

__all__ = ["Link"]

# A turn that has taken longer than this writes what there is and lets others run.
TURN_SECONDS: Final = 0.02
# While nothing is read, the system is asked after the peer: first after so many seconds, then after twice as many,
# and so on up to the last. A peer that leaves soon after it asked much is missed soon; one that stays costs little.
FIRST_LOOK: Final = 0.05
LAST_LOOK: Final = 0.8


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


class Link(OurProtocol, Generic[MachineT]):
    """Drives one machine. Its methods without underscore are asyncio's protocol callbacks, then orders.

    Attributes:
        machine: The machine that it drives.
        transport: The transport; only there from `connection_made` on, and of use until `connection_lost`.
        in_turn: What was read, or a part of it, is being handled, and what is queued meanwhile leaves behind that. A
            sink may end the turn early: what it does then is written as if it came by itself.
        is_corked: What is queued leaves in the next turn of the loop.
        is_lost: The transport is gone.
        last_sent: When something was last written, by the host's clock; None before the first time. What answers at
            once counts as written when it was asked. Sessions alone tell it, so what goes by `write` does not count.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_armed_for",
        "_closing",
        "_delivering",
        "_host",
        "_is_calm",
        "_is_new",
        "_last_event",
        "_paused",
        "_reading_over",
        "_rest",
        "_sink",
        "_timer",
        "in_turn",
        "is_corked",
        "is_lost",
        "last_sent",
        "machine",
        "transport",
    )

    transport: Transport

    is_lost: bool
    in_turn: bool
    is_corked: bool
    _is_calm: bool  # the transport is read from, the peer is known, and no event is left over

    # What nearly no link has is the class's, until one has it.
    _is_breathing: bool = False  # reading has stopped for the sake of others alone
    _lingering: Lingering | None = None  # all is said, and the peer may not have it yet
    _look_at: float = inf  # when to look after the peer
    _look_pause: float = FIRST_LOOK
    _turn_planned: bool = False
    _unwanted: bool = False
    _eof_written: bool = False

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
        if self.machine.state < State.FINISHED:
            self._watch_peer(now)
        self.settle()
        return self.machine.state < State.FINISHED

    def pause_writing(self) -> None:
        self.machine.writing_paused(self.transport.get_write_buffer_size(), self._host.now())
        self._arm()

    def resume_writing(self) -> None:
        self.machine.writing_resumed()
        if self._closing or self._lingering is not None:
            self._watch_rest()
        self._sink.room_made()
        self.settle()

    def sending_failed(self) -> None:
        self.machine.sending_failed()
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
            return
        if self.machine.expects_more_output and not is_alone:
            self._cork()
        else:
            self.settle()

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
        if machine.state is not State.OPEN:
            if machine.state is State.DRAINING:
                self._sink.end_begun()  # that may have been all that it waited for
                if machine.queued:  # what that completed of a batch: corked, it would come behind the close
                    self._write()
            if machine.state > State.DRAINING:
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

    # --- the peer, while nothing is read -------------------------------------------------------------------------

    def _watch_peer(self, now: float) -> None:
        """Nothing is read from now on: look after the peer instead."""
        self._look_pause = FIRST_LOOK
        self._look_at = now + FIRST_LOOK

    def _peer_is_gone(self, now: float) -> bool:
        """Look whether the peer has gone and left us with its work; otherwise plan the next look."""
        if self._lingering is not None or not (self._paused or self._reading_over):
            self._look_at = inf
            return False
        peer = peer_of(self.transport)
        # One that closed without waiting for its answers has gone. One that only sent notifications has been heard.
        if peer == "reset" and self.machine.keeps_unread and not self._reading_over:
            pass  # what has come is read when somebody wants it, and the reset behind it
        elif peer == "reset" or (peer == "closed" and self.machine.owes_answers):
            self.machine.peer_vanished()
            return True
        self._look_pause = min(2 * self._look_pause, LAST_LOOK)
        self._look_at = now + self._look_pause
        return False

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Begin to close: what is being handled is still answered, nothing else."""
        self.machine.close()
        self._sink.room_made()  # who waits for it is to find out
        self.settle()

    def abort(self) -> None:
        """Close at once; what is queued is dropped. A transport that is still to come is closed when it comes."""
        if not hasattr(self, "transport"):
            self._unwanted = True
        elif not self.is_lost:
            self.transport.abort()

    @property
    def is_told_last(self) -> bool:
        """Whether nothing is left of the transport, its socket included, when it tells of its end."""
        return getattr(self.transport, "is_bare", False)

    def end_at_once(self) -> None:
        """Let `Sink.link_lost` come now where it would come behind the read that is being handled, and all is said.

        For who waits for it, within that read.
        """
        if self._closing:
            end: Callable[[], object] | None = getattr(self.transport, "end_at_once", None)
            if end is not None:
                end()

    def fail_sending(self, error: OSError) -> bool:
        """End the connection because a send past the transport has failed; behind what the peer has said before.

        Return whether the transport will tell of *error*.
        """
        fail: Callable[[OSError], object] | None = getattr(self.transport, "fail_sending", None)
        if fail is not None:
            fail(error)
            return True
        self._read_rest()
        self.transport.abort()
        return False

    def _read_rest(self) -> OSError | None:
        """Take in what the peer has said before a send failed, where the transport has left that to the system.

        Returns what broke the connection, if that is told now: not all sends are.
        """
        self.sending_failed()
        rest = rest_of(self.transport, lambda: not (self._paused or self._reading_over))
        while True:
            try:
                data = next(rest, None)
            except OSError as exc:
                return exc
            if data is None:
                return None
            if data:
                Link.data_received(self, data)  # what a buffered link inherits, and hides from its transport
            else:
                self.eof_received()

    def _follow_end(self) -> None:
        """The machine has nothing more to say: half-close while the peer may not have heard all, then close."""
        if self.machine.state is State.LINGERING and self.transport.can_write_eof():
            self._write_eof()
        elif not self._lingers():
            self._closing = True
            self._is_calm = False
            if self.transport.get_write_buffer_size():
                self._watch_rest()
            self._end_calls()
            self.transport.close()

    def _write_eof(self) -> None:
        if not self._eof_written:
            self._eof_written = True
            try:
                self.transport.write_eof()
            except OSError:  # stock asyncio: the peer has reset the connection, and no read has told yet
                self.transport.abort()

    def _end_calls(self) -> None:
        """End the open calls now, and not when the transport is gone: a peer that reads nothing can put that off."""
        events = self.machine.give_up_calls()
        if events:
            self._sink.handle_events(events, inf)

    def _lingers(self) -> bool:
        """Return whether to go on reading before the transport is closed, for the sake of what was sent."""
        transport = self.transport
        if self._lingering is None:
            # A peer that sends no more resets nothing; and a machine that has lingered has given it its time.
            if self._reading_over or self._eof_written or transport.is_closing() or not Lingering.is_needed(transport):
                return False
            self._lingering = Lingering(self.machine.limits.linger, self.machine.bytes_received)
            self._watch_rest()
            self._end_calls()
            self._write_eof()
        if self._reading_over or transport.is_closing():
            return False
        if self._lingering.is_over(transport, self.machine.bytes_received, self._host.now()):
            return False
        self._look_at = self._lingering.look_at
        return True

    def _watch_rest(self) -> None:
        """The transport closes when its output is out, which a peer that reads nothing could put off for ever."""
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            self.machine.writing_paused(unsent, self._host.now())

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
