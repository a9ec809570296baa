# SPDX-License-Identifier: MIT
"""How connections end: by our close, by the peer's EOF, by the loss of the transport."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest

from tests.wire.jsonrpc.driving import Driver, columns, connection, errors
from tests.wire.jsonrpc.tables import batch, call, line, note
from tieline.errors import (
    ClosedError,
    ConnectionLost,
    EndOfStream,
    RPCError,
    StreamReset,
    StreamTruncated,
    TLSTruncated,
    WebSocketClosed,
)
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.jsonrpc.connection import Connection

RESULT = b'{"jsonrpc":"2.0","result":5,"id":%d}\n'

ORDERS: list[Callable[[Connection], object]] = [
    lambda machine: machine.send_request("m", None, "token", 0.0),
    lambda machine: machine.send_notification("m", None),
    lambda machine: machine.send_batch(*columns([("m", None, "token")]), 0.0),
]


def test_closing_ends_at_once_what_owes_nothing() -> None:
    machine = connection()
    machine.send_request("m", None, "token", 0.0)
    states = []
    machine.close()
    states.append(machine.state)
    assert machine.has_output, "what was queued goes out"
    machine.close()
    (error,) = errors(machine.connection_lost(None))
    assert isinstance(error, ClosedError)
    machine.close()
    states.append(machine.state)
    assert states == [State.FINISHED, State.CLOSED]
    assert machine.close_reason is None


@pytest.mark.row("S13")
def test_closing_lets_running_handlers_answer_and_refuses_new_requests() -> None:
    driver = Driver(calls=2)
    driver.feed(line(call("1", "hold"), call("2", "hold")))
    driver.machine.close()
    driver.feed(line(call("3"), note("hold"), RESULT[:-1] % 0) + b"{\n")
    assert driver.seen.replies == [[-102, 3], [-32700, None]]
    assert b'"shutting down"' in driver.sent
    assert driver.seen.ended == [["call 0", ["=", 5]]]
    for number, request in enumerate(driver.held):
        driver.machine.reply(request, number)
    driver.flush()
    assert driver.seen.replies[2:] == [["=", 0, 1], ["=", 1, 2]]
    assert driver.machine.state is State.FINISHED
    driver.feed(line(call("4")))
    assert len(driver.seen.replies) == 4


@pytest.mark.row("S13")
def test_closing_refuses_requests_that_nothing_else_comes_with() -> None:
    driver = Driver()
    driver.feed(line(call("1", "hold")))
    driver.machine.close()
    driver.feed(line(call("2")))
    driver.feed(line(call("3"), call("4")))
    assert driver.seen.replies == [[-102, 2], [-102, 3], [-102, 4]]
    assert driver.seen.ran == []


@pytest.mark.row("S13")
def test_closing_refuses_batches_too() -> None:
    driver = Driver()
    driver.feed(line(call("1", "hold")))
    driver.machine.close()
    driver.feed(batch(call("2"), call("3")) + b"\n")
    assert driver.seen.replies == [[[-102, 2], [-102, 3]]]
    assert driver.seen.ran == []


@pytest.mark.row("S13", "H9")
@pytest.mark.parametrize("end", ["close", "eof"])
def test_an_error_is_an_answer_as_well_and_may_be_the_last(end: str) -> None:
    driver = Driver()
    driver.feed(line(call("1", "hold"), note("hold")))
    if end == "close":
        driver.machine.close()
    else:
        driver.machine.receive_eof(0.0)
    states = []
    for request in driver.held:
        states.append(driver.machine.state)
        driver.machine.fail(request, RPCError(7, "no"))
    driver.flush()
    assert driver.seen.replies == [[7, 1]]
    assert [*states, driver.machine.state] == [State.DRAINING, State.DRAINING, State.FINISHED]


def test_closing_does_not_wait_for_what_was_read_and_not_begun() -> None:
    driver = Driver(connection(max_pending=1))
    driver.feed(line(call("1", "hold"), call("2", "hold")))
    driver.machine.close()
    driver.machine.reply(driver.held[0], 1)
    assert driver.machine.state is State.FINISHED
    assert not driver.machine.has_more


@pytest.mark.row("H9")
def test_at_the_peers_eof_what_it_asked_is_still_answered() -> None:
    driver = Driver(connection(max_pending=1), calls=1)
    driver.machine.forget(0)
    driver.feed(line(call("1", "hold"), call("2", "hold"), note("hold")))
    assert driver.machine.receive_eof(5.0) == []
    assert driver.machine.last_received == 5.0
    for number in range(3):
        assert driver.machine.state is State.DRAINING
        driver.machine.reply(driver.held[number], number)
        driver.run()
    assert driver.seen.replies == [["=", 0, 1], ["=", 1, 2]]
    assert driver.machine.receive_eof(6.0) == ()


@pytest.mark.row("H9")
@pytest.mark.parametrize(("last", "code"), [(b"5\n", -32600), (line(call("2", "unknown")), -32601)])
def test_at_the_peers_eof_what_is_answered_at_once_may_be_the_last(last: bytes, code: int) -> None:
    driver = Driver(connection(max_pending=1))
    driver.feed(line(call("1", "hold")) + last)
    driver.machine.receive_eof(5.0)
    driver.machine.reply(driver.held[0], 1)
    states = [driver.machine.state]
    driver.run()
    assert [reply[0] for reply in driver.seen.replies] == ["=", code]
    assert [*states, driver.machine.state] == [State.DRAINING, State.FINISHED]


@pytest.mark.row("H8", "S7")
@pytest.mark.parametrize(
    ("wire", "kind"),
    [(b"", EndOfStream), (line(call("1")), EndOfStream), (call("1"), StreamTruncated), (b"{", StreamTruncated)],
)
def test_at_the_peers_eof_what_it_owes_has_failed(wire: bytes, kind: type[ConnectionLost]) -> None:
    driver = Driver(calls=2)
    driver.feed(wire)
    failed = errors(driver.machine.receive_eof(1.0))
    assert [type(error) for error in failed] == [ConnectionLost] * 2
    assert failed[0] is not failed[1], "a shared error would collect the tracebacks of all who raise it"
    reason = driver.machine.close_reason
    assert type(reason) is kind
    assert [error.__cause__ for error in failed if error] == [reason, reason]
    if isinstance(reason, StreamTruncated):
        assert reason.pending == len(wire)
        assert driver.seen.ran == []
    assert driver.machine.state is State.FINISHED


def test_the_peers_eof_after_our_close_is_no_loss() -> None:
    driver = Driver(calls=1)
    driver.feed(line(call("1", "hold")))
    driver.machine.close()
    (error,) = errors(driver.machine.receive_eof(1.0))
    assert isinstance(error, ClosedError)
    assert driver.machine.close_reason is None
    driver.machine.reply(driver.held[0], 1)
    assert driver.machine.state is State.FINISHED


BROKEN = OSError("no route")
RESET = ConnectionResetError("reset")
OURS = EndOfStream("ours")


@pytest.mark.row("S7", "H8", "H54")
@pytest.mark.parametrize(
    ("error", "kind"),
    [(BROKEN, ConnectionLost), (RESET, StreamReset), (BrokenPipeError(), ConnectionLost), (OURS, EndOfStream)],
    ids=repr,
)
def test_a_connection_that_breaks_fails_every_call_with_the_cause(error: Exception, kind: type[Exception]) -> None:
    driver = Driver(calls=3)
    driver.feed(line(call("1", "hold")))
    driver.machine.send_notification("m", None)
    failed = errors(driver.machine.connection_lost(error))
    assert [type(each) for each in failed] == [ConnectionLost] * 3
    reason = driver.machine.close_reason
    assert type(reason) is kind
    assert all(each is not None and each.__cause__ is reason for each in failed)
    assert reason is error or reason.__cause__ is error
    machine = driver.machine
    assert (machine.state, machine.unanswered, machine.open_calls) == (State.CLOSED, 0, 0)
    assert (machine.has_output, machine.output_size, machine.deadline) == (False, 0, inf)
    assert machine.reply(driver.held[0], 1) is None
    assert machine.receive_data(line(call("2")), 0.0) == ()
    assert machine.receive_eof(0.0) == ()
    assert machine.connection_lost(None) == []


@pytest.mark.row("S7")
@pytest.mark.parametrize("order", ORDERS)
def test_after_the_end_orders_fail_at_once(order: Callable[[Connection], object]) -> None:
    closed, lost, ended, violated = (connection(max_errors=0) for _ in range(4))
    closed.close()
    lost.connection_lost(RESET)
    ended.receive_eof(0.0)
    violated.receive_data(b"{\n", 0.0)
    with pytest.raises(ClosedError, match="the session is closed"):
        order(closed)
    for machine in (lost, ended, violated):
        with pytest.raises(ConnectionLost, match="the connection is down") as caught:
            order(machine)
        assert caught.value.__cause__ is machine.close_reason
    assert not lost.has_output
    assert not ended.has_output


@pytest.mark.row("S7")
def test_of_what_was_not_handed_over_when_the_connection_went_only_answers_are() -> None:
    driver = Driver(calls=2)
    events = driver.machine.receive_data(line(call("1", "hold")) + RESULT % 0, 0.0)
    assert len(events) == 2
    driver.handle(driver.machine.connection_lost(RESET, events))
    assert driver.held == []
    assert driver.seen.ended == [["call 0", ["=", 5]], ["call 1", "ConnectionLost"]]


def test_a_transport_that_is_aborted_by_this_side_is_closed_not_lost() -> None:
    driver = Driver(calls=1)
    assert [type(error) for error in errors(driver.machine.connection_lost(None))] == [ClosedError]
    assert driver.machine.close_reason is None


@pytest.mark.parametrize("order", ORDERS)
def test_who_comes_after_our_close_is_told_of_it_whatever_broke_since(order: Callable[[Connection], object]) -> None:
    driver = Driver(calls=1)
    driver.feed(line(call("1", "hold")))
    driver.machine.close()
    driver.machine.connection_lost(ConnectionResetError())
    assert isinstance(driver.machine.close_reason, StreamReset)
    with pytest.raises(ClosedError, match="the session is closed"):
        order(driver.machine)


@pytest.mark.parametrize("state", [State.OPEN, State.DRAINING, State.LINGERING, State.CLOSED])
def test_from_an_abort_on_every_order_is_refused(state: State) -> None:
    driver = Driver(calls=1)
    machine = driver.machine
    match state:
        case State.DRAINING:
            driver.feed(line(call("1", "hold")))
            machine.close()
        case State.LINGERING:
            machine.peer_violated("no", 1.0)
        case State.CLOSED:
            machine.connection_lost(None)
    assert machine.state is state
    machine.abort()
    assert machine.state is (State.CLOSED if state is State.CLOSED else State.FINISHED)
    assert not machine.has_output
    assert machine.deadline == inf or state is not State.LINGERING
    for order in ORDERS:
        with pytest.raises((ClosedError, ConnectionLost)):
            order(machine)
    if state is not State.CLOSED:
        machine.connection_lost(None)
    assert machine.state is State.CLOSED


def test_a_second_eof_says_nothing_new() -> None:
    driver = Driver(calls=1)
    driver.feed(line(call("1", "hold")))
    assert len(driver.machine.receive_eof(1.0)) == 1
    reason = driver.machine.close_reason
    assert driver.machine.receive_eof(2.0) == []
    assert driver.machine.close_reason is reason
    assert driver.machine.state is State.DRAINING


@pytest.mark.row("H9")
def test_what_the_peer_asked_for_before_its_eof_may_come_with_notifications() -> None:
    driver = Driver()
    driver.feed(line(call("1", "hold")))
    driver.machine.receive_eof(1.0)
    driver.machine.send_notification("progress", [50])
    for order in (ORDERS[0], ORDERS[2]):
        with pytest.raises(ConnectionLost):
            order(driver.machine)
    driver.machine.reply(driver.held[0], "done")
    driver.flush()
    assert [request["method"] for request in driver.requests] == ["progress"]
    assert driver.seen.replies == [["=", "done", 1]]
    with pytest.raises(ConnectionLost):
        driver.machine.send_notification("late", None)


@pytest.mark.row("H55")
def test_after_our_own_close_the_handlers_that_are_waited_for_may_notify() -> None:
    driver = Driver()
    driver.feed(line(call("1", "hold")))
    driver.machine.close()
    driver.machine.send_notification("progress", [50])
    driver.machine.receive_eof(1.0)
    driver.machine.send_notification("progress", [99])
    driver.machine.reply(driver.held[0], "done")
    driver.flush()
    assert [request["params"] for request in driver.requests] == [[50], [99]]
    assert driver.seen.replies == [["=", "done", 1]]
    with pytest.raises(ClosedError):
        driver.machine.send_notification("late", None)


@pytest.mark.row("H9")
def test_where_the_peers_eof_ends_both_directions_its_requests_are_given_up() -> None:
    driver = Driver()
    driver.feed(line(call("1", "hold")) + line(note("hold")))
    driver.machine.receive_eof(1.0)
    driver.machine.answers_are_lost()
    states = [driver.machine.state]
    driver.machine.reply(driver.held[1], None)
    states.append(driver.machine.state)
    assert states == [State.DRAINING, State.FINISHED]  # a notification expects no answer
    with pytest.raises(ConnectionLost):
        driver.machine.send_notification("progress", [50])
    assert driver.machine.reply(driver.held[0], "too late") is None
    assert not driver.machine.has_output
    driver.machine.answers_are_lost()
    driver.machine.connection_lost(None)
    assert driver.machine.abandoned == 1


@pytest.mark.parametrize("half", [b"", b"{"])
def test_what_the_driver_knows_of_the_end_is_told_to_each_caller(half: bytes) -> None:
    machine = connection(accepted=False)
    for token in ("one", "two"):
        machine.send_request("m", None, token, 0.0)
    machine.receive_data(half, 0.5)
    machine.ended_by = ConnectionLost("it died")
    failed = errors(machine.receive_eof(1.0))
    assert len(failed) == 2
    for error in failed:
        assert str(error).startswith("the connection went down before the reply came: ")
        assert str(error).endswith(": it died")
    reason = machine.close_reason
    assert reason is not None
    if half:
        assert isinstance(reason, StreamTruncated)
        assert reason.__cause__ is machine.ended_by
    else:
        assert reason is machine.ended_by


@pytest.mark.row("H9")
@pytest.mark.parametrize(
    ("error", "has_ended"),
    [(WebSocketClosed(1001, ""), True), (TLSTruncated("cut"), True), (ConnectionResetError(), False), (None, False)],
)
def test_an_end_of_the_stream_is_told_from_what_breaks_it(error: Exception | None, *, has_ended: bool) -> None:
    machine = connection(accepted=True)
    machine.connection_lost(error)
    assert machine.peer_has_ended is has_ended
