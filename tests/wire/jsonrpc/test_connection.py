# SPDX-License-Identifier: MIT
"""Orders to a connection, its time, its flow control and its ends."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.jsonrpc.driving import columns, connection, errors
from tests.wire.jsonrpc.tables import call, line, note
from tieline.errors import (
    ConnectionLost,
    LocalProtocolError,
)
from tieline.wire.jsonrpc.dialects import V2, CancelRule
from tieline.wire.jsonrpc.protocols import JSONRPCLoose, JSONRPCv1, JSONRPCv2
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.wire.jsonrpc.connection import Connection

RESULT = b'{"jsonrpc":"2.0","result":5,"id":%d}\n'


def sent(machine: Connection) -> list[Any]:
    return [json.loads(text) for text in machine.data_to_send().splitlines()]


# --- orders ----------------------------------------------------------------------------------------------------------


@pytest.mark.row("J8", "J10")
def test_orders_queue_messages_and_ids_count_on_through_batches() -> None:
    machine = connection()
    assert machine.send_request("a", [1], "a", 0.0) == 0
    machine.send_notification("n", None)
    assert machine.send_batch(*columns([("b", [2], "b"), ("n", {"x": 1}, None), ("c", None, "c")]), 0.0) == range(1, 3)
    assert machine.send_request("d", None, "d", 0.0, timeout=None) == 3
    assert machine.send_batch(*columns([("n", None, None)]), 0.0) == range(4, 4)
    assert machine.open_calls == 4
    assert sent(machine) == [
        {"jsonrpc": "2.0", "method": "a", "params": [1], "id": 0},
        {"jsonrpc": "2.0", "method": "n", "params": []},
        [
            {"jsonrpc": "2.0", "method": "b", "params": [2], "id": 1},
            {"jsonrpc": "2.0", "method": "n", "params": {"x": 1}},
            {"jsonrpc": "2.0", "method": "c", "params": [], "id": 2},
        ],
        {"jsonrpc": "2.0", "method": "d", "params": [], "id": 3},
        [{"jsonrpc": "2.0", "method": "n", "params": []}],
    ]


class Touchy(list[int]):
    """Arguments that do not like to be compared, as arrays do not."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None


def test_the_arguments_of_a_batch_are_encoded_and_never_compared() -> None:
    machine = connection()
    machine.send_batch(*columns([("m", Touchy([1]), "a"), ("n", None, None)]), 0.0)
    assert [message["params"] for message in sent(machine)[0]] == [[1], []]


def test_an_order_that_cannot_be_carried_out_leaves_nothing_behind() -> None:
    machine = connection()
    orders: list[Callable[[], object]] = [
        lambda: machine.send_request("m", [object()], "token", 0.0),
        lambda: machine.send_request("m", 5, "token", 0.0),
        lambda: machine.send_request("m", None, "token", 0.0, timeout=float("nan")),
        lambda: machine.send_request("m", None, "token", 0.0, timeout="5"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: machine.send_notification("\ud800", None),
        lambda: machine.send_batch(*columns([("m", None, "a"), ("m", [object()], "b")]), 0.0),
        lambda: machine.send_batch(*columns([("m", None, "a"), ("m", None, "b")]), 0.0, float("nan")),
        lambda: machine.send_batch((), (), (), 0.0),
        lambda: machine.send_batch(("m", "m"), ([1],), ("a", "b"), 0.0),
    ]
    for order in orders:
        with pytest.raises((TypeError, ValueError, LocalProtocolError)):
            order()
        assert (machine.has_output, machine.open_calls, machine.deadline) == (False, 0, inf)
    assert machine.send_request("m", None, "token", 0.0) == 0


@pytest.mark.row("J5")
def test_1_0_refuses_what_it_cannot_express_before_anything_is_sent() -> None:
    machine = connection(JSONRPCv1)
    orders: list[tuple[Callable[[], object], str]] = [
        (lambda: machine.send_batch(*columns([("m", None, "token")]), 0.0), "no batches"),
        (lambda: machine.send_request("m", {"a": 1}, "token", 0.0), "no named arguments"),
        (lambda: machine.send_notification("m", {"a": 1}), "no named arguments"),
    ]
    for order, what in orders:
        with pytest.raises(LocalProtocolError, match=what):
            order()
    assert (machine.has_output, machine.open_calls) == (False, 0)
    with pytest.raises(LocalProtocolError, match="must not be empty"):
        connection(JSONRPCLoose).send_batch((), (), (), 0.0)


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.row("S7", "S8")
def test_calls_end_with_a_timeout_and_the_connection_lives_on() -> None:
    machine = connection(call_timeout=8.0)
    machine.send_request("m", None, "default", 100.0)
    machine.send_request("m", None, "short", 100.0, timeout=2.5)
    machine.send_request("m", None, "for ever", 100.0, timeout=None)
    machine.send_batch(*columns([("m", None, "batch"), ("m", None, None)]), 100.0, timeout=3.0)
    ended: dict[object, float] = {}
    while machine.deadline < 200.0:
        now = machine.deadline
        events = machine.handle_deadline(now)
        ended |= {event[0]: now for event in events if isinstance(event, tuple)}
        assert all(isinstance(error, TimeoutError) for error in errors(events))
    assert ended == {"short": 102.5, "batch": 103.0, "default": 109.0}
    assert machine.open_calls == 1
    assert machine.state is State.OPEN
    assert machine.handle_deadline(1e9) == []


@pytest.mark.row("H60", "S7")
def test_ten_thousand_calls_that_timed_out_or_were_forgotten_leave_nothing() -> None:
    machine = connection(max_calls=10_000)
    for number in range(10_000):
        call_id = machine.send_request("m", None, number + 1, 0.0, timeout=number % 7 if number % 2 else 5.0)
        if number % 3 == 0:
            machine.forget(call_id)
    machine.data_to_send()
    ended = len(machine.handle_deadline(7.0))
    assert ended == 10_000 - len(range(0, 10_000, 3))
    assert (machine.open_calls, machine.deadline) == (0, inf)
    assert not machine.calls._explicit
    assert not machine.has_output


def test_forgetting_twice_or_what_never_was_does_nothing() -> None:
    machine = connection()
    machine.send_request("m", None, "token", 0.0)
    machine.data_to_send()
    for call_id in (0, 0, 7):
        machine.forget(call_id)
    assert (machine.open_calls, machine.has_output) == (0, False)


class Cancelling(JSONRPCv2):
    dialect = replace(V2, cancel=CancelRule(method="$/cancelRequest"))


@pytest.mark.row("S7")
def test_where_the_dialect_has_a_message_for_it_a_call_is_taken_back() -> None:
    machine = connection(Cancelling)
    for number in range(2):
        machine.send_request("m", None, number + 1, 0.0)
    machine.data_to_send()
    machine.forget(1)
    machine.forget(1)
    assert sent(machine) == [{"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 1}}]
    machine.receive_data(line(call("1", "hold")), 0.0)
    machine.close()
    machine.forget(0)
    assert not machine.has_output, "nothing is asked for any more"


# --- flow control ----------------------------------------------------------------------------------------------------


def test_there_is_room_while_output_flows_and_calls_are_few() -> None:
    machine = connection(max_calls=2)
    rooms = [machine.has_room]
    for order in (
        lambda: machine.writing_paused(1, 0.0),
        machine.writing_resumed,
        lambda: machine.send_request("m", None, "a", 0.0),
        lambda: machine.send_request("m", None, "b", 0.0),
        lambda: machine.receive_data(RESULT % 0, 0.0),
    ):
        order()
        rooms.append(machine.has_room)
    assert rooms == [True, False, True, True, False, True]
    frees = [machine.has_free_room]
    for order in (
        lambda: setattr(machine.flow, "senders_waiting", 1),
        lambda: setattr(machine.flow, "senders_waiting", 0),
        lambda: machine.writing_paused(1, 0.0),
        machine.writing_resumed,
        lambda: machine.send_request("m", None, "c", 0.0),
    ):
        order()
        frees.append(machine.has_free_room)
    assert frees == [True, False, True, False, True, False]


def written(machine: Connection, size: int) -> None:
    """Have the machine give so many bytes to its driver."""
    machine.send_notification("m", ["x" * (size - len(note("m", '[""]')) - 1)])
    assert len(machine.data_to_send()) == size


@pytest.mark.row("S10")
def test_a_peer_that_takes_nothing_for_write_timeout_is_given_up() -> None:
    machine = connection(write_timeout=20.0)
    machine.send_request("m", None, "token", 0.0, timeout=None)
    machine.data_to_send()
    written(machine, 100_000)
    machine.writing_paused(90_000, 10.0)
    looks = []
    while not machine.must_abort:
        now = machine.deadline
        looks.append(now)
        machine.writing_progressed(90_000, now)
        assert machine.handle_deadline(now) == []
    assert looks == [15.0, 20.0, 25.0, 30.0]
    assert machine.deadline == inf
    ((_, _, lost),) = machine.connection_lost(None)  # type: ignore[misc]  # it is a tuple
    assert isinstance(lost, ConnectionLost)
    assert isinstance(lost.__cause__, TimeoutError)
    assert str(lost.__cause__) == "the peer took no byte for 20.0 s"


@pytest.mark.row("S10")
def test_a_peer_that_takes_a_byte_now_and_then_is_borne() -> None:
    machine = connection(write_timeout=20.0)
    written(machine, 100_000)
    unsent = 90_000
    machine.writing_paused(unsent, 0.0)
    for step in range(1, 41):
        now = machine.deadline
        assert now == step * 5.0
        unsent -= step % 4 == 0  # one byte in 20 s
        machine.writing_progressed(unsent, now)
        machine.handle_deadline(now)
    assert not machine.must_abort
    machine.writing_resumed()
    assert machine.deadline == inf


def test_a_peer_that_has_taken_it_all_has_its_time_back() -> None:
    machine = connection(write_timeout=10.0, idle_timeout=300.0)
    machine.start(0.0)
    machine.writing_paused(100_000, 0.0)
    machine.writing_resumed()
    machine.handle_deadline(300.0)
    assert not machine.must_abort
    assert str(machine.close_reason) == "no valid message came within 300.0 s"


def test_what_is_written_meanwhile_is_no_progress() -> None:
    machine = connection(write_timeout=20.0)
    written(machine, 1000)
    machine.writing_paused(1000, 0.0)
    written(machine, 1000)
    machine.writing_progressed(2000, 20.0)
    machine.handle_deadline(20.0)
    assert machine.must_abort


def test_a_transport_that_holds_more_than_it_was_given_is_watched_too() -> None:
    machine = connection(write_timeout=20.0)
    written(machine, 1000)
    machine.writing_paused(1500, 0.0)  # encrypted bytes are more
    assert machine.deadline == 5.0
    machine.writing_progressed(1500, 20.0)
    machine.handle_deadline(20.0)
    assert machine.must_abort


def test_no_write_timeout_waits_for_ever() -> None:
    machine = connection(write_timeout=None)
    machine.writing_paused(10, 0.0)
    machine.writing_progressed(10, 1e6)
    assert machine.deadline == inf
    assert machine.handle_deadline(1e9) == []
    assert not machine.must_abort


def test_the_first_cause_of_an_end_is_kept() -> None:
    machine = connection(max_errors=0, write_timeout=5.0, linger=100.0)
    machine.receive_data(b"{\n", 0.0)
    reason = machine.close_reason
    assert reason is not None
    machine.writing_paused(10, 0.0)
    machine.handle_deadline(5.0)
    assert machine.must_abort
    machine.connection_lost(ConnectionResetError())
    assert machine.close_reason is reason


def test_more_output_is_likely_while_others_wait_for_answers_or_work_on_some() -> None:
    machine = connection()
    likely = []
    for token in ("first", "second"):
        likely.append(machine.expects_more_output)
        machine.send_request("m", [], token, 0.0)
    assert [*likely, machine.expects_more_output] == [False, False, True]
    machine = connection()
    machine.receive_data(b'{"jsonrpc":"2.0","method":"m","id":1}\n', 0.0)
    assert machine.expects_more_output
