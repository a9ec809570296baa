# SPDX-License-Identifier: MIT
"""How a connection reads: from bytes to lines, from lines to messages, from messages to events.

The fourth of the six layers of the machine. What is not plain (`plain.py`) goes through here message by message: other
dialects, users' protocol classes and codecs, long lines, and all that is odd.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, cast

from tieline.wire.default import NOTHING
from tieline.wire.jsonrpc.paths import HEAVY, read_items, refuse_size
from tieline.wire.jsonrpc.plain import PlainReading
from tieline.wire.jsonrpc.protocols import detected_protocol
from tieline.wire.jsonrpc.reading import (
    REQUEST_DECODER,
    RESULT_DECODER,
    BadResponse,
    PlainRequest,
    PlainResult,
    Refusal,
    estimated_size,
    is_flat,
    is_nested_deeper,
    read_batch,
    read_message,
)
from tieline.wire.limits import ceiling
from tieline.wire.states import DRAINING, LINGERING, OPEN, Cause
from tieline.wire.strangers import foreign_line, foreign_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.events import Event
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits

__all__ = ["MESSAGES_PER_TURN", "TAKEN", "Receiving"]

# After so many messages a driver gets the chance to look at the clock and to let others run.
MESSAGES_PER_TURN: Final = 64
# In the place of a message that was dealt with before its turn; told by its identity, and no JSON.
TAKEN: Final = b"\0taken"


class Receiving(PlainReading):
    """The reading side of a connection.

    Attributes:
        last_received: When the last bytes came in, by the driver's clock; None before the first.
    """

    __slots__ = ("_is_stranger", "last_received")

    _is_unheard: bool = False  # the peer takes no answer any more

    def __init__(self, protocol: type[JSONRPC], framer: FramerBase, limits: Limits, *, accepted: bool) -> None:
        super().__init__(protocol, framer, limits, accepted=accepted)
        self.last_received: float | None = None
        self._is_stranger = accepted  # no valid message has come from it yet

    # --- bytes in ------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> Sequence[Event]:
        """Take in bytes of the peer's and return the first events that they cause; see `has_more`."""
        self.bytes_received += len(data)
        if not self.is_smooth or self.bytes_received > self._look_received or self.last_received is None:
            return self._receive_carefully(data, now)
        self.last_received = now
        # What comes is plain and there is room for it, nearly always. The longer ways come to the same.
        messages, fault = self._framer.take(data)
        count = len(messages)
        self.messages_received += count
        events = None  # where another codec decodes, once is enough: in `_read_turn`
        if fault is None and not self._framer.pending and self._ways.decode is None:
            if count == 1:
                events = self._read_single(messages[0])
            elif 0 < count <= MESSAGES_PER_TURN and self.requests.count + count <= self.flow.parks_at:
                events = self._read_plain(messages)
        return self._go_through(messages, fault, now) if events is None else events

    def _receive_carefully(self, data: bytes, now: float) -> Sequence[Event]:
        """As `receive_data`, whatever state the connection is in."""
        is_first = self.last_received is None
        self.last_received = now
        if self.state > DRAINING or self._violation is not None:
            return ()  # what comes behind the fault is thrown away
        if is_first and self._framer.is_text and (name := foreign_start(data)) is not None:
            return self._drop(f"the peer speaks {name}, not JSON-RPC")
        if self._is_look_due:
            events: list[Event] = []
            self._look_at_cost(events, now)
            if self._is_ending():
                return events
        messages, fault = self._framer.take(data)
        self.messages_received += len(messages)
        return self._go_through(messages, fault, now)

    def _go_through(self, messages: list[bytes], fault: Exception | None, now: float) -> Sequence[Event]:
        """Queue what was framed, and return the events of the first of it."""
        self.is_smooth = False
        if self._framer.pending or self.timers.message != inf:
            self._time_message(bool(messages), now)
        self._held = [*self._held[self._at :], *messages] if self._held else messages
        self._at = 0
        if self._fault is None:
            self._fault = fault
        return self.next_events(now)

    def _time_message(self, is_new: bool, now: float) -> None:
        """Give the unfinished message its time; one timer a message, however many pieces it comes in."""
        if not self._framer.pending:
            self._set_timer("message")
        elif is_new or self.timers.message == inf:
            self._set_timer("message", now + self._message_timeout())

    def _message_timeout(self) -> float:
        """Return how many seconds a message may take from its first byte to its last. Servers may take their time."""
        return ceiling(self.limits.message_timeout) if self.accepted else inf

    def start(self, now: float) -> None:
        """The connection stands: from here on the peer has its time for a first valid message."""
        self._counted_since = now
        if self._is_stranger:
            self._set_timer("idle", now + ceiling(self.limits.idle_timeout))
        self.is_smooth = self._is_plain and self.state is OPEN  # what comes first may be plain as well

    def reading_resumed(self, now: float) -> None:
        """The driver reads on after it had stopped: the message that has come in part gets its time anew."""
        if self.timers.message != inf:
            self._set_timer("message", now + self._message_timeout())

    def _is_known(self) -> None:
        """Take note that a valid message has come: the peer is no stranger any more."""
        self._is_stranger = False
        self._set_timer("idle")

    @property
    def is_stranger(self) -> bool:
        """Whether no valid message has come yet on a connection that was accepted."""
        return self._is_stranger

    @property
    def has_more(self) -> bool:
        """Whether `next_events` has anything to do."""
        if self.is_smooth:
            return False
        if self._violation is not None or (self._owed and self._may_be_excessive):
            return True
        is_there = self._at < len(self._held) or self._fault is not None
        return is_there and self.state < LINGERING and not self._is_parked()

    @property
    def has_unread(self) -> bool:
        """Whether bytes have come that no event has told yet, a message that is not complete included."""
        return self._at < len(self._held) or self._fault is not None or self._framer.pending > 0

    @property
    def has_read_behind_event(self) -> bool:
        """Whether a message has been read behind the one that caused the last event."""
        return self._silent_at == self.messages_read

    @property
    def has_read_behind_answer(self) -> bool:
        """Whether a message has been read behind the last answer to a call of ours; if there was one."""
        return 0 <= self._answered_at != self.messages_read

    @property
    def wants_data(self) -> bool:
        """Whether the driver is to read on."""
        if self.state >= LINGERING:
            return True
        if self._violation is not None or self._at < len(self._held):
            return False
        return self.requests.count < self.flow.parks_at or not self._is_parked()  # the second takes longer to tell

    def _is_parked(self) -> bool:
        return self.flow.is_parked(self.unanswered, len(self.calls.open))

    def next_events(self, now: float) -> Sequence[Event]:
        """Return the events of the next `MESSAGES_PER_TURN` messages at most."""
        if self._violation is not None:
            last: list[Event] = []
            self._end(self._violation, last, now)
            return last
        if self.replies:
            self._settle_replies()  # their requests make room
        events = self._read_turn(now)
        if not self._is_ending() and self._is_look_due:
            events = [*events]
            self._look_at_cost(events, now)
        if self._is_ending():
            return events
        if self._is_stranger and events:
            self._is_known()
        if self._at >= len(self._held):
            self._held = ()
            self._at = 0
            if self._fault is not None:
                events = [*events]
                self._framing_fault(self._fault, events, now)
            elif self.state is not OPEN:
                self._after_reply()
            else:
                self.is_smooth = self._is_at_rest()
        return events

    def _is_at_rest(self) -> bool:
        """Return what `is_smooth` is to be, where it was not and there was something to be looked at."""
        flow, meter = self.flow, self.meter
        return (
            self._is_plain
            and self.requests.count < flow.parks_at
            and self.state is OPEN
            and not (self._held or self._fault or self._violation)
            and not (flow.paused or self._is_stranger or self._owed or self._looks_again)
            and self.timers.message == inf
            and self.bytes_received <= self._look_received
            and (meter is None or not meter.fraction)
        )

    def _after_output(self) -> None:
        # Where requests that were too many for one read are answered now, what comes next need not be looked at.
        self.is_smooth = self._is_at_rest()

    def _read_turn(self, now: float) -> Sequence[Event]:
        """Read what there may be read in one turn, and return its events."""
        held, at = self._held, self._at
        # Of so many requests none can be too many, nor be the reason to stop reading.
        count = min(MESSAGES_PER_TURN, len(held) - at, self.flow.parks_at - self.requests.count)
        if self._is_plain and count > 0:
            self._at += count
            lines = held[at : at + count]
            plain = self._read_single(lines[0]) if count == 1 else self._read_plain(lines)
            if plain is not None:
                self._decoded = ()
                return plain
            self._at = at
        events: list[Event] = []
        stop = min(len(held), at + MESSAGES_PER_TURN)
        decoded, self._decoded = self._decoded, ()
        while self._at < stop and not self._is_ending():
            if self.requests.count >= self.flow.parks_at and self._is_parked():
                break
            index = self._at - at
            self._read_next(events, now, decoded[index] if index < len(decoded) else NOTHING)
            if self._again:
                self._again = False
                self._at -= 1
                break
        return events

    # --- messages one by one -------------------------------------------------------------------------------------

    def _read_next(self, events: list[Event], now: float, decoded: object) -> None:
        """Read the next line, whatever it holds; *decoded* is what a codec has made of it, `NOTHING` = it has not."""
        line = self._held[self._at]
        self._at += 1
        if line is TAKEN:
            self._silent_at = self.messages_read
            return
        count = len(events)
        message = self._decode_plain(line) if self._is_plain and self._ways.decode is None else None
        if message is None or not (len(line) < self._careful_from or self._is_harmless(message, line)):
            self._read(line, events, now, decoded)
        elif isinstance(message, PlainResult):
            self._end_call(message.id, message.result, None, events, now)
        else:
            self._share = 0
            if len(line) >= HEAVY:
                self._share = len(line) if is_flat(message.params) else estimated_size(line)
            self._accept(message, None, events, now)
        if len(events) == count:
            if not self._again:  # else it may have its event yet
                self._silent_at = self.messages_read
        elif isinstance(events[-1], tuple):
            self._answered_at = self.messages_read
        elif len(events) > count + 1 and any(isinstance(event, tuple) for event in events[count:]):
            self._answered_at = self.messages_read - 1  # requests stand behind it, in the same array

    def _decode_plain(self, line: bytes) -> PlainRequest | PlainResult | None:
        """Return the plain message that *line* is; None when it is none."""
        try:
            return RESULT_DECODER.decode(line) if self._expects_results else REQUEST_DECODER.decode(line)
        except (ValueError, RecursionError):
            pass
        try:
            other = REQUEST_DECODER.decode(line) if self._expects_results else RESULT_DECODER.decode(line)
        except (ValueError, RecursionError):
            return None
        self._expects_results = not self._expects_results
        return other

    def _after_reply(self) -> None:
        """Finish a connection that is draining, once nothing is left to answer or, after the peer's EOF, to read."""
        if self.state is not DRAINING or self._violation is not None:
            return
        requests = self.requests
        if requests.count > (requests.calls if self._is_unheard else 0):
            return
        if self._refuses or self._at >= len(self._held):
            self._move(Cause.LAST_REPLY)

    def _is_harmless(self, message: PlainRequest | PlainResult, line: bytes) -> bool:
        """Return whether a long plain message is within the limits on nesting as well."""
        content = message.result if isinstance(message, PlainResult) else message.params
        nesting = ceiling(self.limits.max_nesting)
        # The message itself is a bracket. To look at a few values is cheaper than to count brackets, that than to walk.
        return (
            (nesting >= 2 and is_flat(content))
            or line.count(b"[") + line.count(b"{") <= nesting
            or not is_nested_deeper(content, int(nesting) - 1)
        )

    # --- one line ------------------------------------------------------------------------------------------------

    def _read(self, line: bytes, events: list[Event], now: float, decoded: object) -> None:
        """Read one line by the rules of the dialect, whatever it holds; *decoded* as for `_read_next`."""
        if self.messages_read == 1 and (name := foreign_line(line)) is not None:
            events += self._drop(f"the peer speaks {name}, not JSON-RPC")
            return
        protocol = self.protocol
        self._share = estimated_size(line) if len(line) >= HEAVY else 0
        if self._ways.reads_items:
            read = read_items(protocol, line, self._largest_batch)
            if isinstance(read, list):
                self._take_in_batch(read, events, now)
            else:
                self._take_in(read, None, events, now)
            return
        payload = decoded
        if decoded is NOTHING:
            payload = protocol.decode_payload(line, self.limits.max_nesting, self._largest_batch)
        if isinstance(payload, Refusal | BadResponse):
            if payload.id is None:
                self._note_unread(payload.text, now)
            self._take_in(payload, None, events, now)
            return
        if protocol.dialect.detects:
            protocol = detected_protocol(protocol, payload)
            self._speak(protocol)
        if isinstance(payload, list):
            self._read_batch(cast("list[object]", payload), events, now)
            return
        self._take_in(read_message(payload, protocol.dialect), None, events, now)

    def _read_batch(self, payload: list[object], events: list[Event], now: float) -> None:
        """Read an array: the good members become events, the bad ones answers in the same array."""
        refusal = self.protocol.refuse_batch(payload) or refuse_size(len(payload), self._largest_batch)
        if refusal is not None:
            self._refuse(refusal, None, events, now)
        else:
            self._take_in_batch(read_batch(payload, self.protocol.dialect), events, now)
