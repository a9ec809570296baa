# SPDX-License-Identifier: MIT
"""How a connection reads: from bytes to lines, from lines to messages, from messages to events.

The third of the four layers of the machine. Good 2.0 traffic takes the fast path at the top of the loop in
`next_events`: one decode to a `Message`, whose types are the validation. Everything else (other dialects, users'
protocol classes and codecs, and all that is odd) goes through `read_message` and comes to the same end.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, cast

from msgspec import UNSET

from tieline.wire.jsonrpc.judging import Judging
from tieline.wire.jsonrpc.paths import fast_decoder, read_items, reads_items, refuse_size
from tieline.wire.jsonrpc.protocols import detected_protocol
from tieline.wire.jsonrpc.reading import (
    BadResponse,
    Message,
    Refusal,
    estimated_size,
    is_clean,
    is_flat,
    is_nested_deeper,
    read_batch,
    read_message,
)
from tieline.wire.jsonrpc.states import Cause, State
from tieline.wire.jsonrpc.strangers import foreign_line, foreign_start
from tieline.wire.jsonrpc.writing import writer_for
from tieline.wire.limits import ceiling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.events import Event
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Limits

__all__ = ["HEAVY", "MESSAGES_PER_TURN", "Receiving"]

# After so many messages a driver gets the chance to look at the clock and to let others run.
MESSAGES_PER_TURN: Final = 64

# From this size on it is counted what a request takes in memory. Below, `max_pending` of them are no burden: JSON of
# 8 KiB grows to 200 KiB at most.
HEAVY: Final = 8192


class Receiving(Judging):
    """The reading side of a connection.

    Attributes:
        bytes_received: How many bytes came in.
        last_received: When the last bytes came in, by the driver's clock; None before the first.
    """

    __slots__ = (
        "_answered_at",
        "_careful_from",
        "_decode",
        "_is_stranger",
        "_message_timeout",
        "_nesting",
        "_reads_items",
        "_take",
        "_told_at",
        "bytes_received",
        "last_received",
    )

    def __init__(self, protocol: type[JSONRPC], framer: FramerBase, limits: Limits, *, accepted: bool) -> None:
        super().__init__(protocol, framer, limits, accepted=accepted)
        self.bytes_received = 0
        self.last_received: float | None = None
        self._told_at = self._answered_at = 0  # `messages_read` as of the last event, and of the last answer to a call
        self._take: Callable[[bytes], tuple[list[bytes], Exception | None]] = framer.take
        self._nesting = ceiling(limits.max_nesting)
        # A line shorter than this can hold no too deep nesting and no too long id or method.
        self._careful_from = min(2 * self._nesting + 1, ceiling(limits.max_id), ceiling(limits.max_method))
        self._message_timeout = ceiling(limits.message_timeout) if accepted else inf
        self._is_stranger = accepted  # no valid message has come from it yet
        self._decode = fast_decoder(protocol)
        self._reads_items = reads_items(protocol)

    # --- bytes in ------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> Sequence[Event]:
        """Take in bytes of the peer's and return the first events that they cause; see `has_more`."""
        is_first = self.last_received is None
        self.bytes_received += len(data)
        self.last_received = now
        if self.state > State.DRAINING or self._violation is not None:
            return ()  # what comes behind the fault is thrown away
        if is_first and self._framer.is_text and (name := foreign_start(data)) is not None:
            return self._drop(f"the peer speaks {name}, not JSON-RPC")
        messages, fault = self._take(data)
        self.messages_received += len(messages)
        if self._at < len(self._held):
            self._held = self._held[self._at :] + messages
        else:
            self._held = messages
        self._at = 0
        self._fault = self._fault or fault
        if self._framer.pending or self._timers.message != inf:
            self._time_message(bool(messages), now)
        return self.next_events(now)

    def _time_message(self, is_new: bool, now: float) -> None:
        """Give the unfinished message its time; one timer a message, however many pieces it comes in."""
        if not self._framer.pending:
            self._timers.set("message")
        elif is_new or self._timers.message == inf:
            self._timers.set("message", now + self._message_timeout)

    def start(self, now: float) -> None:
        """The connection stands: from here on the peer has its time for a first valid message."""
        if self._is_stranger:
            self._timers.set("idle", now + ceiling(self.limits.idle_timeout))

    def reading_resumed(self, now: float) -> None:
        """The driver reads on after it had stopped: the message that has come in part gets its time anew."""
        if self._timers.message != inf:
            self._timers.set("message", now + self._message_timeout)

    @property
    def is_stranger(self) -> bool:
        """Whether no valid message has come yet on a connection that was accepted."""
        return self._is_stranger

    @property
    def has_more(self) -> bool:
        """Whether `next_events` has anything to do."""
        if self._violation is not None:
            return True
        return (
            self.state < State.LINGERING
            and not self._is_parked()
            and (self._at < len(self._held) or self._fault is not None)
        )

    @property
    def has_unread(self) -> bool:
        """Whether bytes have come that no event has told yet, a message that is not complete included."""
        return self._at < len(self._held) or self._fault is not None or self._framer.pending > 0

    @property
    def has_read_behind_event(self) -> bool:
        """Whether a message has been read behind the one that caused the last event."""
        return self.messages_read != self._told_at

    @property
    def has_read_behind_answer(self) -> bool:
        """Whether a message has been read behind the last answer to a call of ours; if there was one."""
        return self._answered_at != 0 and self.messages_read != self._answered_at

    @property
    def wants_data(self) -> bool:
        """Whether the driver is to read on."""
        if self.state >= State.LINGERING:
            return True
        return self._violation is None and self._at >= len(self._held) and not self._is_parked()

    def _is_parked(self) -> bool:
        return self.flow.is_parked(self._requests.count, len(self._calls.open))

    def next_events(self, now: float) -> Sequence[Event]:
        """Return the events of the next `MESSAGES_PER_TURN` messages at most."""
        events: list[Event] = []
        if self._violation is not None:
            self._end(self._violation, events, now)
            return events
        held = self._held
        at = self._at
        told = answered = 0
        stop = min(len(held), at + MESSAGES_PER_TURN)
        requests = self._requests
        while at < stop:
            if requests.count >= self.flow.parks_at and self._is_parked():
                break
            line = held[at]
            at += 1
            if self._decode is not None:
                try:
                    message = self._decode(line)
                except (ValueError, RecursionError):
                    message = None
                if (
                    message is not None
                    and is_clean(message)
                    and ((size := len(line)) < self._careful_from or self._is_harmless(message, line))
                ):
                    if message.method is UNSET:
                        token = self._calls.pop(cast("int", message.id))
                        if token is not None:
                            events.append((token, message.result, None))
                            told = answered = at
                            continue
                    elif requests.count < self.flow.bound and not self._refuses and requests.enter(message):
                        if size >= HEAVY:
                            requests.weigh(message, size if is_flat(message.params) else estimated_size(line))
                        events.append(message)
                        told = at
                        continue
            self._at = at
            count = len(events)
            self._read(line, events, now)
            if len(events) > count:
                told = at
                if isinstance(events[-1], tuple):
                    answered = at
            if self._again:
                self._again = False
                at -= 1
                break
            if self._is_ending():
                return events
        self._at = at
        if told:
            self._told_at = self.messages_read - at + told
            if answered:
                self._answered_at = self.messages_read - at + answered
        if at >= len(held):
            self._held = []
            self._at = 0
            if self._fault is not None:
                self._framing_fault(self._fault, events, now)
            else:
                self._after_reply()
        if self._is_stranger and events:
            self._is_stranger = False
            self._timers.set("idle")
        return events

    def _after_reply(self) -> None:
        """Finish a connection that is draining, once nothing is left to answer or, after the peer's EOF, to read."""
        if self.state is not State.DRAINING or self._requests.count or self._violation is not None:
            return
        if self._refuses or self._at >= len(self._held):
            self._move(Cause.LAST_REPLY)

    def _is_harmless(self, message: Message, line: bytes) -> bool:
        """Return whether a long message that is clean is within the limits on nesting, names and ids as well."""
        content = message.result if message.method is UNSET else message.params
        # The message itself is a bracket. To look at a few values is cheaper than to count brackets, that than to walk.
        if (
            not (self._nesting >= 2 and is_flat(content))
            and line.count(b"[") + line.count(b"{") > self._nesting
            and is_nested_deeper(content, int(self._nesting) - 1)
        ):
            return False
        if message.method is UNSET:
            return True
        return len(message.method) <= ceiling(self.limits.max_method) and self._id_problem(message.id) is None

    # --- one line ------------------------------------------------------------------------------------------------

    def _read(self, line: bytes, events: list[Event], now: float) -> None:
        """Read one line by the rules of the dialect, whatever it holds."""
        if self.messages_read == 1 and (name := foreign_line(line)) is not None:
            events += self._drop(f"the peer speaks {name}, not JSON-RPC")
            return
        protocol = self.protocol
        self._share = estimated_size(line) if len(line) >= HEAVY else 0
        if self._reads_items:
            read = read_items(protocol, line, self._largest_batch)
            if isinstance(read, list):
                self._take_in_batch(read, events, now)
            else:
                self._take_in(read, None, events, now)
            return
        payload = protocol.decode_payload(line, self.limits.max_nesting, self._largest_batch)
        if isinstance(payload, Refusal | BadResponse):
            self._take_in(payload, None, events, now)
            return
        if protocol.dialect.detects:
            protocol = self._adopt(detected_protocol(protocol, payload))
        if isinstance(payload, list):
            self._read_batch(cast("list[object]", payload), events, now)
            return
        self._take_in(read_message(payload, protocol.dialect), None, events, now)

    def _adopt(self, protocol: type[JSONRPC]) -> type[JSONRPC]:
        """Speak *protocol* from now on."""
        self.protocol = protocol
        self._writer = writer_for(protocol)
        self._decode = fast_decoder(protocol)
        self._reads_items = reads_items(protocol)
        return protocol

    def _read_batch(self, payload: list[object], events: list[Event], now: float) -> None:
        """Read an array: the good members become events, the bad ones answers in the same array."""
        refusal = self.protocol.refuse_batch(payload) or refuse_size(len(payload), self._largest_batch)
        if refusal is not None:
            self._refuse(refusal, None, events, now)
        else:
            self._take_in_batch(read_batch(payload, self.protocol.dialect), events, now)
