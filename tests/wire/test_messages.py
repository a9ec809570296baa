# SPDX-License-Identifier: MIT
"""The machine of message sessions (row S14): bytes in, messages out, and how its connections end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Any

import pytest

from tieline import FramerBase, Limits, NewlineFramer
from tieline.errors import (
    ClosedError,
    ConnectionLost,
    EndOfStream,
    OutgoingMessageTooLarge,
    RemoteProtocolError,
    StreamReset,
    StreamTruncated,
)
from tieline.wire.framing.bitcoin import BitcoinFramer
from tieline.wire.messages import MESSAGES_PER_TURN, ConnectionEnded, MessageConnection, MessageReceived
from tieline.wire.states import State

pytestmark = pytest.mark.row("S14")

PING = (b"ping", b"12345678")


def machine_of(framer: FramerBase[Any] | None = None, *, accepted: bool = True, **limits: Any) -> MessageConnection:
    resolved = Limits(**limits).resolved(accepted=accepted)
    machine = MessageConnection(framer or NewlineFramer(), resolved, accepted=accepted)
    machine.start(0.0)
    return machine


# Asked by functions, since a type checker takes an attribute for what it was when it was last looked at.


def state_of(machine: MessageConnection) -> State:
    return machine.state


def has_more(machine: MessageConnection) -> bool:
    return machine.has_more


def wants_data(machine: MessageConnection) -> bool:
    return machine.wants_data


def is_smooth(machine: MessageConnection) -> bool:
    return machine.is_smooth


def has_room(machine: MessageConnection) -> bool:
    return machine.has_room


def is_stranger(machine: MessageConnection) -> bool:
    return machine.is_stranger


def has_output(machine: MessageConnection) -> bool:
    return machine.has_output


def messages(events: Sequence[MessageReceived | ConnectionEnded]) -> list[Any]:
    return [event.message if isinstance(event, MessageReceived) else event.error for event in events]


def all_events(machine: MessageConnection, data: bytes, now: float = 1.0) -> list[MessageReceived | ConnectionEnded]:
    """Feed *data* and take all that comes of it, each message done at once."""
    events = [*machine.receive_data(data, now)]
    done = 0
    while True:
        for event in events[done:]:
            if isinstance(event, MessageReceived):
                machine.done(event)
        done = len(events)
        if not has_more(machine):
            return events
        events += machine.next_events(now)


STREAM = b"a\nbb\n\nccc\n"


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_messages_come_in_order_wherever_the_stream_is_cut(cut: int) -> None:
    machine = machine_of()
    assert messages([*all_events(machine, STREAM[:cut]), *all_events(machine, STREAM[cut:])]) == [b"a", b"bb", b"ccc"]
    assert (machine.messages_received, machine.bytes_received, machine.taken_up) == (3, len(STREAM), 3)
    assert machine.unanswered == 0
    assert is_smooth(machine)


def test_a_read_of_many_is_given_out_turn_by_turn() -> None:
    machine = machine_of(max_pending=1000)
    first = machine.receive_data(b"x\n" * (MESSAGES_PER_TURN + 1), 1.0)
    assert len(first) == MESSAGES_PER_TURN
    assert has_more(machine)
    assert machine.has_unread
    assert not wants_data(machine)
    assert not is_smooth(machine)
    assert len(machine.next_events(1.0)) == 1
    assert not has_more(machine)
    assert wants_data(machine)


def test_reading_stops_while_as_many_are_at_work_as_may_be() -> None:
    machine = machine_of(max_pending=2)
    first, second = machine.receive_data(b"a\nb\nc\n", 1.0)
    assert not has_more(machine)
    assert not wants_data(machine)
    assert isinstance(first, MessageReceived)
    machine.done(first)
    assert has_more(machine)
    assert messages(machine.next_events(1.0)) == [b"c"]
    assert not wants_data(machine)
    assert isinstance(second, MessageReceived)
    machine.done(second)
    assert wants_data(machine)


def test_what_they_take_in_memory_counts_as_well() -> None:
    machine = machine_of(max_pending_size=100)
    (large,) = machine.receive_data(b"a" * 101 + b"\nb\n", 1.0)
    assert isinstance(large, MessageReceived)
    assert not has_more(machine)
    machine.done(large)
    assert messages(machine.next_events(1.0)) == [b"b"]


def test_reading_goes_on_while_senders_wait_else_both_ends_could_wait_for_each_other() -> None:
    machine = machine_of(max_pending=1)
    machine.receive_data(b"a\n", 1.0)
    assert not wants_data(machine)
    machine.flow.senders_waiting = 1
    assert wants_data(machine)
    assert messages(machine.receive_data(b"b\n", 1.0)) == [b"b"]


# --- sending -------------------------------------------------------------------------------------------------------


def test_what_is_sent_in_one_turn_is_one_write() -> None:
    machine = machine_of()
    machine.send_message(b"a")
    assert has_output(machine)
    assert machine.output_size == 2
    machine.send_message(b"b")
    assert machine.data_to_send() == b"a\nb\n"
    assert (machine.messages_sent, machine.bytes_sent, machine.output_size) == (2, 4, 0)
    assert not has_output(machine)
    machine.send_message(b"c")
    assert machine.data_to_send() == b"c\n"


def test_the_peers_of_one_another_understand_pairs() -> None:
    one, other = machine_of(BitcoinFramer(), accepted=False), machine_of(BitcoinFramer())
    one.send_message(PING)
    assert messages(all_events(other, one.data_to_send())) == [PING]


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
def test_a_message_over_the_limit_is_refused_and_nothing_is_queued(size: int, fits: bool) -> None:
    machine = machine_of(max_message=10)
    if fits:
        machine.send_message(b"x" * size)
        assert machine.data_to_send() == b"x" * size + b"\n"
        return
    with pytest.raises(OutgoingMessageTooLarge) as caught:
        machine.send_message(b"x" * size)
    assert (caught.value.limit, caught.value.size) == (10, 11)
    assert not has_output(machine)


@pytest.mark.parametrize(("message", "error"), [("text", TypeError), (b"two\nlines", ValueError)])
def test_what_the_framer_cannot_carry_is_the_callers_fault(message: Any, error: type[Exception]) -> None:
    machine = machine_of()
    with pytest.raises(error):
        machine.send_message(message)
    assert not has_output(machine)
    assert state_of(machine) is State.OPEN


def test_output_that_is_not_taken_ends_the_connection_in_time() -> None:
    machine = machine_of(write_timeout=10, idle_timeout=None)
    assert has_room(machine)
    machine.writing_paused(100, 1.0)
    assert not has_room(machine)
    assert machine.deadline == 3.5
    machine.handle_deadline(3.5)
    machine.writing_progressed(100, 3.5)
    assert machine.handle_deadline(11.0) == []
    assert machine.must_abort
    assert str(machine.close_reason) == "the peer took no byte for 10 s"
    machine.writing_resumed()
    assert has_room(machine)


# --- faults of the peer --------------------------------------------------------------------------------------------


class Fragile(NewlineFramer):
    """Fails at a line "bug", as a user's framer may, and drops lines "bad" as damaged."""

    def messages(self, data: bytes) -> Iterator[bytes]:
        for line in super().messages(data):
            if line == b"bug":
                raise KeyError(line)
            if line == b"bad":
                self.damaged += 1
            else:
                yield line


@pytest.mark.row("H16")
@pytest.mark.parametrize(
    ("framer", "data", "text"),
    [
        (NewlineFramer(5), b"ok\n123456\nnever\n", "message too large (limit 5): at least 6 bytes received"),
        (Fragile(), b"ok\nbug\nnever\n", "the framing is broken: KeyError"),
        (NewlineFramer(), b"\x16\x03\x01\x02\x00", "the peer speaks TLS"),
        (
            BitcoinFramer(),
            BitcoinFramer().frame([PING]) + b"GET / HTTP/1.1\r\n",
            "wrong magic: 0x47455420, expected 0xf9beb4d9",
        ),
    ],
)
def test_a_broken_stream_ends_the_connection_behind_what_came_before(
    framer: FramerBase[Any], data: bytes, text: str
) -> None:
    machine = machine_of(framer)
    machine.send_message(PING if isinstance(framer, BitcoinFramer) else b"goodbye")
    *before, end = all_events(machine, data)
    assert messages(before) in ([b"ok"], [PING], [])
    assert isinstance(end, ConnectionEnded)
    assert isinstance(end.error, RemoteProtocolError)
    assert str(end.error) == text
    assert machine.close_reason is end.error
    assert state_of(machine) is State.FINISHED
    assert machine.faults == 1
    assert has_output(machine), "what was queued goes out"
    assert machine.receive_data(b"more\n", 2.0) == ()
    assert machine.receive_eof(2.0) == ()
    assert wants_data(machine)
    assert not has_more(machine)
    with pytest.raises(ConnectionLost):
        machine.send_message(b"late")


def test_the_fault_waits_until_what_came_before_has_been_taken() -> None:
    machine = machine_of(Fragile(), max_pending=1)
    (first,) = machine.receive_data(b"a\nb\nbug\n", 1.0)
    assert not has_more(machine)
    assert machine.receive_data(b"behind it\n", 1.0) == ()
    assert isinstance(first, MessageReceived)
    machine.done(first)
    (second,) = machine.next_events(1.0)
    assert isinstance(second, MessageReceived)
    assert has_more(machine)
    assert machine.has_unread
    machine.close_reason = None
    (end,) = machine.next_events(1.0)
    assert isinstance(end, ConnectionEnded)
    machine.done(second)


@pytest.mark.row("H16")
def test_damaged_messages_are_dropped_and_counted_up_to_a_limit() -> None:
    machine = machine_of(Fragile(), max_errors=2, error_decay=0.0)
    assert messages(all_events(machine, b"bad\nok\nbad\n")) == [b"ok"]
    assert machine.faults == 2
    assert state_of(machine) is State.OPEN
    (end,) = all_events(machine, b"bad\nbad\n")
    assert isinstance(end, ConnectionEnded)
    assert str(end.error) == "more than 2 damaged messages"
    assert machine.faults == 3
    assert state_of(machine) is State.FINISHED


# --- time ----------------------------------------------------------------------------------------------------------


def test_a_stranger_has_its_time_for_a_first_message() -> None:
    machine = machine_of(idle_timeout=7)
    assert is_stranger(machine)
    assert machine.deadline == 7
    assert machine.handle_deadline(6.9) == []
    assert state_of(machine) is State.OPEN
    machine.handle_deadline(7.0)
    assert state_of(machine) is State.FINISHED
    assert str(machine.close_reason) == "no message came within 7 s"


def test_one_that_has_spoken_has_all_the_time() -> None:
    machine = machine_of()
    all_events(machine, b"hello\n")
    assert not is_stranger(machine)
    assert machine.deadline == inf
    assert not machine_of(accepted=False).is_stranger


def test_a_message_that_has_begun_has_its_time() -> None:
    machine = machine_of(message_timeout=31)
    all_events(machine, b"first\nsec", 1.0)
    assert machine.deadline == 32.0
    assert messages(all_events(machine, b"ond\nthird", 20.0)) == [b"second"]
    assert machine.deadline == 51.0
    all_events(machine, b"...", 40.0)
    assert machine.deadline == 51.0, "one timer a message, not a byte"
    (end,) = machine.handle_deadline(51.0)
    assert messages([end]) == [machine.close_reason]
    assert str(machine.close_reason) == "message not complete after 31 s"
    assert state_of(machine) is State.FINISHED


def test_a_complete_message_takes_the_timer_back() -> None:
    machine = machine_of()
    all_events(machine, b"ha", 1.0)
    all_events(machine, b"lf\n", 2.0)
    assert machine.deadline == inf


def test_time_in_which_this_side_does_not_read_does_not_count() -> None:
    machine = machine_of(message_timeout=30, max_pending=1)
    machine.receive_data(b"a\nb", 1.0)
    assert machine.handle_deadline(31.0) == []
    assert machine.deadline == 61.0
    machine.reading_resumed(40.0)
    assert machine.deadline == 70.0


def test_nobody_waits_for_the_rest_of_a_message_once_the_connection_has_ended() -> None:
    machine = machine_of(message_timeout=30)
    machine.receive_data(b"a", 1.0)
    machine.close()
    machine.reading_resumed(2.0)
    assert machine.handle_deadline(32.0) == []
    assert state_of(machine) is State.FINISHED
    fresh = machine_of(accepted=False)
    fresh.reading_resumed(1.0)
    assert fresh.deadline == inf


def test_the_time_of_a_stranger_that_leaves_is_over() -> None:
    machine = machine_of(idle_timeout=300, max_pending=1)
    machine.receive_data(b"", 1.0)
    machine.close()
    machine.handle_deadline(300.0)
    assert machine.close_reason is None


# --- the end -------------------------------------------------------------------------------------------------------


def test_at_the_peers_end_what_it_has_said_is_still_handled() -> None:
    machine = machine_of(max_pending=1)
    (first,) = machine.receive_data(b"a\nb\n", 1.0)
    assert machine.receive_eof(1.0) == ()
    assert state_of(machine) is State.DRAINING
    assert isinstance(machine.close_reason, EndOfStream)
    machine.send_message(b"an answer of sorts")
    assert isinstance(first, MessageReceived)
    machine.done(first)
    assert state_of(machine) is State.DRAINING
    (second,) = machine.next_events(1.0)
    assert isinstance(second, MessageReceived)
    machine.done(second)
    assert state_of(machine) is State.FINISHED
    assert has_output(machine)


def test_an_end_in_the_middle_of_a_message_is_told() -> None:
    machine = machine_of()
    machine.receive_data(b"hal", 1.0)
    machine.receive_eof(1.0)
    assert isinstance(machine.close_reason, StreamTruncated)
    assert machine.close_reason.pending == 3
    assert state_of(machine) is State.FINISHED


def test_closing_takes_no_more_and_waits_for_what_is_at_work() -> None:
    machine = machine_of(max_pending=1)
    (first,) = machine.receive_data(b"a\nb\n", 1.0)
    machine.close()
    assert state_of(machine) is State.DRAINING
    assert machine.receive_data(b"c\n", 2.0) == []
    machine.send_message(b"last words")
    machine.receive_eof(2.0)
    assert machine.close_reason is None, "it was this side that closed"
    assert isinstance(first, MessageReceived)
    machine.done(first)
    assert state_of(machine) is State.FINISHED
    with pytest.raises(ClosedError):
        machine.send_message(b"too late")
    assert machine.connection_lost(None, ()) == []
    assert machine.close_reason is None


def test_over_tls_the_peers_end_is_that_of_both_directions() -> None:
    machine = machine_of(max_pending=1)
    machine.receive_data(b"a\nb\n", 1.0)
    machine.receive_eof(1.0)
    machine.answers_are_lost()
    assert state_of(machine) is State.FINISHED
    machine.answers_are_lost()
    assert messages(machine.connection_lost(None, ())) == [b"b"], "nothing that came is lost"


@pytest.mark.parametrize(("error", "kind"), [(ConnectionResetError(), StreamReset), (OSError("cable"), ConnectionLost)])
def test_a_lost_connection_still_gives_out_what_came_before(error: OSError, kind: type[Exception]) -> None:
    machine = machine_of(max_pending=2)
    first, second = machine.receive_data(b"a\nb\nc\n", 1.0)
    machine.send_message(b"never sent")
    assert messages(machine.connection_lost(error, [second])) == [b"b", b"c"]
    assert type(machine.close_reason) is kind
    assert state_of(machine) is State.CLOSED
    assert not has_output(machine)
    assert isinstance(first, MessageReceived)
    machine.done(first)
    assert machine.deadline == inf


def test_what_this_side_has_cut_is_dropped() -> None:
    machine = machine_of(max_pending=1)
    (first,) = machine.receive_data(b"a\nb\n", 1.0)
    assert machine.connection_lost(None, [first]) == []


def test_a_vanished_peer_is_a_reset() -> None:
    machine = machine_of()
    machine.peer_vanished()
    assert isinstance(machine.close_reason, StreamReset)


def test_who_is_turned_away_is_told_nothing() -> None:
    machine = machine_of()
    machine.turn_away("server busy", 0.0)
    assert state_of(machine) is State.FINISHED
    assert not has_output(machine)
    assert str(machine.close_reason) == "server busy"


def test_a_broken_rule_of_the_transport_ends_it() -> None:
    machine = machine_of()
    (end,) = machine.peer_violated("injected", 1.0)
    assert str(end.error) == "injected"
    assert machine.peer_violated("again", 1.0) == []


def test_there_are_no_calls() -> None:
    machine = machine_of()
    assert machine.give_up_calls() == ()
    assert (machine.open_calls, machine.abandoned, machine.owes_answers) == (0, 0, False)
    assert not machine.has_read_behind_event
    assert machine.expects_more_output
    assert machine.replies == ()


class Objects(FramerBase[object]):
    """Makes something else than bytes of each byte."""

    def frame(self, messages: Iterable[object]) -> bytes:
        return b"." * len([*messages])

    def messages(self, data: bytes) -> Iterator[object]:
        yield from ((number, "two") for number in data)


def test_messages_of_any_type_are_counted_as_far_as_they_have_a_size() -> None:
    machine = machine_of(Objects())
    (event,) = machine.receive_data(b"\x07", 1.0)
    assert isinstance(event, MessageReceived)
    assert (event.message, event.size) == ((7, "two"), 3)
    machine.send_message(object())
    assert machine.data_to_send() == b"."
