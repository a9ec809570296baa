# SPDX-License-Identifier: MIT
"""What a connection owes: one answer to each request, one array to each batch, and output that is counted."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.wire.jsonrpc.driving import Driver, answer_of, connection, exactly
from tests.wire.jsonrpc.tables import batch, call, line, note
from tieline.errors import LocalProtocolError, RPCError
from tieline.wire.jsonrpc.states import State


def holding(*lines: bytes, **limits: Any) -> Driver:
    """Return a driver that has taken in *lines* and holds their requests."""
    driver = Driver(connection(**limits))
    driver.feed(b"".join(lines))
    return driver


def test_each_request_is_answered_once() -> None:
    driver = holding(line(call("1", "hold"), call("2", "hold"), note("hold")))
    first, second, notification = driver.held
    assert driver.machine.unanswered == 3
    assert driver.machine.reply(second, "b") is None
    assert driver.machine.fail(first, RPCError(5, "a")) is None
    assert driver.machine.reply(notification, "ignored") is None
    assert driver.machine.unanswered == 0
    driver.flush()
    assert driver.seen.replies == [["=", "b", 2], [5, 1]]


def test_a_second_answer_is_the_callers_fault() -> None:
    driver = holding(line(call("1", "hold")))
    (request,) = driver.held
    driver.machine.reply(request, 1)
    with pytest.raises(LocalProtocolError, match="answered before"):
        driver.machine.reply(request, 1)
    with pytest.raises(LocalProtocolError, match="answered before"):
        driver.machine.fail(request, RPCError(1, "x"))
    driver.flush()
    assert driver.seen.replies == [["=", 1, 1]]


def test_an_id_may_come_again_once_it_is_answered() -> None:
    driver = holding(line(call("1")))
    driver.feed(line(call("1")))
    assert driver.seen.replies == [["=", 1, 1]] * 2


@pytest.mark.row("H59", "S5", "J9")
def test_what_the_codec_has_against_an_answer_is_returned_and_the_peer_gets_an_internal_error() -> None:
    driver = holding(line(call("1", "hold"), call('"b"', "hold")))
    first, second = driver.held
    assert isinstance(driver.machine.reply(first, object()), TypeError)
    assert isinstance(driver.machine.fail(second, RPCError(5, "no", data=10**5000)), ValueError)
    driver.flush()
    assert driver.seen.replies == [[-32603, 1], [-32603, "b"]]
    assert driver.machine.unanswered == 0


def test_an_error_of_a_notification_says_nothing() -> None:
    driver = holding(line(note("hold")))
    assert driver.machine.fail(driver.held[0], RPCError(5, "no")) is None
    assert not driver.machine.has_output
    assert driver.machine.unanswered == 0


# --- batches ---------------------------------------------------------------------------------------------------------

MIXED = batch(call("1", "hold"), note("hold"), b"7", call("2", "hold"), note(params="7"), call("3", params="7"))


@pytest.mark.row("J10")
@pytest.mark.parametrize("seed", range(10))
def test_a_batch_is_answered_once_when_its_last_answer_is_there(seed: int) -> None:
    driver = holding(MIXED)
    first, notification, second = driver.held
    requests = [first, second]
    random.Random(seed).shuffle(requests)
    for request in requests:
        assert driver.seen.replies == []
        driver.machine.reply(request, "done")
        driver.flush()
    wanted = [["=", "done", 1], ["=", "done", 2], [-32600, None], [-32602, 3]]
    assert list(map(exactly, driver.seen.replies)) == [exactly(sorted(wanted, key=exactly))]
    driver.machine.reply(notification, None)
    driver.flush()
    assert len(driver.seen.replies) == 1
    assert driver.machine.messages_sent == 1


@pytest.mark.row("J10")
def test_a_batch_of_notifications_is_never_answered() -> None:
    driver = holding(batch(note("hold"), note("hold")))
    for request in driver.held:
        driver.machine.reply(request, 1)
    driver.flush()
    assert driver.seen.replies == []
    assert driver.sent == b""


@pytest.mark.row("J10")
def test_what_is_wrong_with_a_batch_does_not_wait_for_its_notifications() -> None:
    driver = holding(batch(note("hold"), b"7"))
    assert driver.seen.replies == [[[-32600, None]]]


@pytest.mark.row("H44")
def test_a_member_that_fails_leaves_the_others_alone() -> None:
    driver = holding(batch(call("1", "hold"), call("2", "hold"), call("3", "hold")))
    first, second, third = driver.held
    driver.machine.reply(first, object())
    driver.machine.fail(second, driver.machine.protocol.internal_error(None))  # its handler was cancelled
    driver.machine.reply(third, "c")
    driver.flush()
    (answers,) = driver.seen.replies
    assert sorted(map(exactly, answers)) == sorted(map(exactly, [[-32603, 1], [-32603, 2], ["=", "c", 3]]))


def test_batches_in_flight_do_not_mix() -> None:
    driver = holding(batch(call("1", "hold"), call("2", "hold")), batch(call("3", "hold"), call("4", "hold")))
    for number in (3, 0, 2, 1):
        driver.machine.reply(driver.held[number], number)
    driver.flush()
    assert driver.seen.replies == [[["=", 2, 3], ["=", 3, 4]], [["=", 0, 1], ["=", 1, 2]]]


# --- the end ---------------------------------------------------------------------------------------------------------


def test_answers_to_a_connection_that_has_ended_are_dropped() -> None:
    driver = holding(line(call("1", "hold"), call("2", "hold"), call("3", "hold")), max_errors=0)
    first, second, third = driver.held
    driver.feed(b"{\n")
    assert driver.machine.state is State.LINGERING
    assert driver.machine.unanswered == 0
    assert driver.machine.reply(first, 1) is None
    assert driver.machine.fail(second, RPCError(1, "x")) is None
    driver.machine.abandon(third)
    assert not driver.machine.has_output
    assert driver.seen.replies == [[-32700, None]]


@pytest.mark.row("J10")
def test_a_batch_that_is_incomplete_at_the_end_tells_what_it_has() -> None:
    driver = holding(batch(call("1", "hold"), call("2", "hold"), b"7"), max_errors=1)
    driver.machine.reply(driver.held[0], "a")
    driver.feed(b"{\n")
    assert sorted(map(exactly, driver.seen.replies)) == sorted(
        map(exactly, [[-32700, None], sorted([["=", "a", 1], [-32600, None]], key=exactly)])
    )


def test_an_abandoned_request_is_owed_no_more() -> None:
    driver = holding(line(call("1", "hold"), note("hold")))
    driver.machine.close()
    states = [driver.machine.state]
    for request in driver.held:
        driver.machine.abandon(request)
        states.append(driver.machine.state)
    assert states == [State.DRAINING, State.DRAINING, State.FINISHED]
    assert driver.machine.unanswered == 0


def test_a_batch_does_not_wait_for_a_member_that_was_abandoned() -> None:
    driver = holding(batch(call("1", "hold"), call("2", "hold")))
    first, second = driver.held
    driver.machine.close()
    driver.machine.reply(first, "a")
    driver.machine.abandon(second)
    driver.flush()
    assert driver.seen.replies == [[["=", "a", 1]]]
    assert driver.machine.state is State.FINISHED


# --- output ----------------------------------------------------------------------------------------------------------


def test_output_is_given_once_and_counted() -> None:
    machine = connection()
    assert (machine.output_size, machine.has_output) == (0, False)
    machine.send_notification("a", None)
    machine.send_request("b", [1], "token", 0.0)
    assert (machine.output_size > 0, machine.has_output) == (True, True)
    size = machine.output_size
    data = machine.data_to_send()
    assert data.count(b"\n") == 2
    assert size == len(data) - 2  # the framing is not counted
    assert (machine.output_size, machine.has_output) == (0, False)
    assert (machine.bytes_sent, machine.messages_sent) == (len(data), 2)
    assert machine.data_to_send() == b""
    assert answer_of({"jsonrpc": "2.0", "result": 1, "id": 0}) == ["=", 1, 0]
