# SPDX-License-Identifier: MIT
"""How the connections of message sessions end (row S14)."""

from __future__ import annotations

from math import inf

import pytest

from tests.wire.message_machines import (
    Fragile,
    has_more,
    has_output,
    machine_of,
    messages,
    state_of,
    wants_data,
)
from tieline import NewlineFramer
from tieline.errors import (
    ClosedError,
    ConnectionLost,
    EndOfStream,
    RemoteProtocolError,
    StreamReset,
    StreamTruncated,
    TLSTruncated,
    WebSocketClosed,
)
from tieline.wire.messages import MessageReceived
from tieline.wire.one_way import ConnectionEnded
from tieline.wire.states import State

pytestmark = pytest.mark.row("S14")


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
    assert machine.has_unread
    machine.receive_eof(2.0)
    assert machine.last_received == 2.0
    assert isinstance(machine.close_reason, StreamTruncated)
    assert machine.close_reason.pending == 3
    assert state_of(machine) is State.FINISHED


def test_closing_takes_no_more_and_waits_for_what_is_at_work() -> None:
    machine = machine_of(max_pending=1)
    (first,) = machine.receive_data(b"a\nb\n", 1.0)
    machine.close()
    assert machine.refuses
    assert state_of(machine) is State.DRAINING
    assert machine.receive_data(b"c\n", 2.0) == ()
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


def test_who_comes_after_our_close_is_told_of_it_whatever_broke_since() -> None:
    machine = machine_of(max_pending=1)
    machine.receive_data(b"a\n", 1.0)
    machine.close()
    machine.connection_lost(ConnectionResetError(), ())
    assert isinstance(machine.close_reason, StreamReset)
    with pytest.raises(ClosedError):
        machine.send_message(b"too late")


def test_over_tls_the_peers_end_is_that_of_both_directions() -> None:
    machine = machine_of(max_pending=1)
    machine.receive_data(b"a\nb\n", 1.0)
    machine.receive_eof(1.0)
    machine.answers_are_lost()
    assert state_of(machine) is State.FINISHED
    machine.answers_are_lost()
    assert messages(machine.connection_lost(None, ())) == [b"b"], "nothing that came is lost"


def test_so_it_is_where_the_end_of_a_websocket_is_that_of_the_stream() -> None:
    machine = machine_of(max_pending=1)
    machine.receive_data(b"a\nb\n", 1.0)
    assert messages(machine.connection_lost(WebSocketClosed(1001, ""), ())) == [b"b"], "nothing that came is lost"


def test_what_comes_while_this_side_closes_is_thrown_away_unread() -> None:
    machine = machine_of(NewlineFramer(5), message_timeout=30)
    machine.receive_data(b"a\nhal", 1.0)
    machine.close()
    assert machine.deadline == inf, "nobody waits for the other half"
    assert machine.receive_data(b"far too long", 2.0) == ()
    assert machine.handle_deadline(40.0) == []
    assert state_of(machine) is State.DRAINING
    assert (machine.faults, machine.close_reason) == (0, None)
    assert machine.bytes_received == 17


@pytest.mark.parametrize("ends_itself", [True, False])
def test_the_peer_gets_time_to_read_our_last_word(ends_itself: bool) -> None:
    machine = machine_of(linger=2.0, idle_timeout=None)
    machine.send_message(b"last word")
    machine.close()
    assert state_of(machine) is State.LINGERING
    assert wants_data(machine), "unread input would reset the connection, and the last word be lost"
    assert machine.receive_data(b"never heard\n", 9.0) == ()
    with pytest.raises(ClosedError):
        machine.send_message(b"too late")
    assert machine.deadline <= 10.0, "the machine is to be told the time"
    machine.handle_deadline(10.0)
    assert machine.deadline == 12.0
    assert state_of(machine) is State.LINGERING
    if ends_itself:
        machine.receive_eof(11.0)
    else:
        machine.handle_deadline(12.0)
    assert state_of(machine) is State.FINISHED
    assert machine.deadline == inf
    assert machine.connection_lost(ConnectionResetError()) == []
    assert machine.close_reason is None, "it was this side that closed"


def test_after_the_last_handler_too() -> None:
    machine = machine_of(idle_timeout=None)
    (event,) = machine.receive_data(b"a\n", 1.0)
    machine.close()
    machine.send_message(b"last word")
    machine.data_to_send()
    assert isinstance(event, MessageReceived)
    machine.done(event)
    assert state_of(machine) is State.LINGERING


def test_nobody_lingers_who_has_said_nothing() -> None:
    machine = machine_of()
    machine.close()
    assert state_of(machine) is State.FINISHED


def test_cutting_it_is_the_end_at_once() -> None:
    machine = machine_of(max_pending=2)
    first, second = machine.receive_data(b"a\nb\nc\n", 1.0)
    machine.send_message(b"never sent")
    machine.abort()
    assert state_of(machine) is State.FINISHED
    assert not has_output(machine)
    assert not has_more(machine)
    with pytest.raises(ClosedError):
        machine.send_message(b"too late")
    assert isinstance(first, MessageReceived)
    machine.done(first)
    assert machine.connection_lost(None, [second]) == []
    assert machine.close_reason is None
    assert machine.unanswered == 0


def test_cutting_it_ends_lingering() -> None:
    machine = machine_of(idle_timeout=None)
    machine.send_message(b"last word")
    machine.close()
    machine.abort()
    assert state_of(machine) is State.FINISHED
    assert not has_output(machine)
    assert machine.deadline == inf


def test_a_connection_that_has_gone_waits_for_nothing() -> None:
    machine = machine_of(idle_timeout=5, write_timeout=2)
    machine.writing_paused(100, 1.0)
    machine.connection_lost(None)
    assert machine.deadline == inf
    assert machine.handle_deadline(1000.0) == []
    assert (machine.must_abort, machine.close_reason) == (False, None)


@pytest.mark.parametrize(("error", "kind"), [(ConnectionResetError(), StreamReset), (OSError("cable"), ConnectionLost)])
def test_a_broken_connection_takes_along_what_nobody_has_handled(error: OSError, kind: type[Exception]) -> None:
    machine = machine_of(max_pending=2)
    first, second = machine.receive_data(b"a\nb\nc\n", 1.0)
    machine.send_message(b"never sent")
    fault = ConnectionEnded(RemoteProtocolError("to be logged"))
    assert machine.connection_lost(error, [second, fault]) == [fault]
    assert type(machine.close_reason) is kind
    assert state_of(machine) is State.CLOSED
    assert not has_output(machine)
    assert machine.unanswered == 0
    assert isinstance(first, MessageReceived)
    machine.done(first)
    assert machine.unanswered == 0
    assert machine.deadline == inf


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_what_the_peer_said_before_its_end_outlives_the_connection(error: OSError | None) -> None:
    machine = machine_of(max_pending=2)
    first, second = machine.receive_data(b"a\nb\nc\nhal", 1.0)
    machine.receive_eof(1.0)
    late = machine.connection_lost(error, [second])
    assert messages(late) == [b"b", b"c"]
    assert isinstance(machine.close_reason, StreamTruncated)
    for left, event in zip((2, 1, 0), (first, *late), strict=True):
        assert isinstance(event, MessageReceived)
        machine.done(event)
        assert machine.unanswered == left


def test_until_this_side_cuts_it() -> None:
    machine = machine_of()
    (event,) = machine.receive_data(b"a\n", 1.0)
    machine.receive_eof(1.0)
    machine.connection_lost(None)
    assert (machine.unanswered, machine.peer_has_ended) == (1, True)
    machine.abort()
    assert (machine.unanswered, machine.peer_has_ended) == (0, False)
    assert isinstance(event, MessageReceived)
    machine.done(event)
    assert machine.unanswered == 0
    assert state_of(machine) is State.CLOSED


@pytest.mark.parametrize("error", [WebSocketClosed(1000), TLSTruncated("cut")])
def test_what_this_side_has_cut_is_cut_whatever_the_transport_tells_of_the_peer(error: ConnectionLost) -> None:
    machine = machine_of(max_pending=1)
    machine.receive_data(b"a\nb\n", 1.0)
    machine.abort()
    assert machine.connection_lost(error) == []
    assert not machine.peer_has_ended
    assert machine.unanswered == 0


def test_a_fault_before_the_end_of_the_stream_is_what_ended_it() -> None:
    machine = machine_of(Fragile(), max_pending=1)
    machine.receive_data(b"a\nbug\n", 1.0)
    machine.receive_eof(1.0)
    (end,) = machine.next_events(1.0)
    assert isinstance(end, ConnectionEnded)
    assert not machine.peer_has_ended
    assert machine.close_reason is end.error


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


def test_what_the_driver_knows_of_the_end_is_the_reason() -> None:
    machine = machine_of()
    machine.ended_by = ConnectionLost("it died")
    machine.receive_eof(1.0)
    assert machine.close_reason is machine.ended_by
