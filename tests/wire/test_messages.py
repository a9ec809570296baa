# SPDX-License-Identifier: MIT
"""The machine of message sessions (row S14): bytes in, messages out; faults and time."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from tests.wire.message_machines import (
    PING,
    Fragile,
    all_events,
    has_more,
    has_output,
    is_smooth,
    is_stranger,
    machine_of,
    messages,
    state_of,
    wants_data,
)
from tieline import FramerBase, NewlineFramer
from tieline.errors import (
    ConnectionLost,
    RemoteProtocolError,
)
from tieline.wire.framing.bitcoin import BitcoinFramer
from tieline.wire.messages import MESSAGES_PER_TURN, MessageReceived
from tieline.wire.one_way import ConnectionEnded
from tieline.wire.states import State

pytestmark = pytest.mark.row("S14")


STREAM = b"a\nbb\n\nccc\n"


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_messages_come_in_order_wherever_the_stream_is_cut(cut: int) -> None:
    machine = machine_of()
    assert messages([*all_events(machine, STREAM[:cut]), *all_events(machine, STREAM[cut:])]) == [b"a", b"bb", b"ccc"]
    assert (machine.messages_received, machine.bytes_received, machine.taken_up) == (3, len(STREAM), 3)
    assert machine.unanswered == 0
    assert is_smooth(machine)


def test_what_comes_while_messages_are_held_stands_behind_them() -> None:
    """A layer below may give what it has deciphered although reading is paused."""
    machine = machine_of(max_pending=1000)
    numbers = [b"%d" % number for number in range(MESSAGES_PER_TURN + 3)]
    stream = b"".join(number + b"\n" for number in numbers)
    events = [*machine.receive_data(stream, 1.0)]
    events += machine.receive_data(b"last\n", 1.0)
    while has_more(machine):
        events += machine.next_events(1.0)
    assert messages(events) == [*numbers, b"last"]


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


# --- faults of the peer --------------------------------------------------------------------------------------------


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
    assert machine.faults == 1
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
