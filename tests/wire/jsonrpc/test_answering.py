# SPDX-License-Identifier: MIT
"""What a connection owes: one answer to each request, one array to each batch, and output that is counted."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.wire.jsonrpc.driving import Driver, answer_of, connection, exactly
from tests.wire.jsonrpc.tables import batch, call, line, note
from tieline.errors import LocalProtocolError, RPCError
from tieline.wire.jsonrpc.paths import HEAVY
from tieline.wire.jsonrpc.protocols import JSONRPCv2
from tieline.wire.jsonrpc.writing import Reply
from tieline.wire.states import State

INTERNAL = -32603


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


@pytest.mark.row("H59", "S5")
def test_what_the_peer_was_told_instead_of_an_answer_is_known_until_the_next_one() -> None:
    driver = holding(line(call("1", "hold"), call("2", "hold"), call("3", "hold"), call("4", "hold")), max_response=200)
    machine = driver.machine
    codes = []
    for request, result in zip(driver.held, [object(), "whole", "x" * 300, RPCError(5, "no")], strict=True):
        if isinstance(result, RPCError):
            machine.fail(request, result)
        else:
            machine.reply(request, result)
        codes.append(machine.instead and machine.instead.code)
    assert codes == [INTERNAL, None, -32600, None]
    driver.flush()
    assert driver.seen.replies == [[INTERNAL, 1], ["=", "whole", 2], [-32600, 3], [5, 4]]


class Own(JSONRPCv2):
    """A class of a user's, which writes by its own methods."""

    @classmethod
    def error_message(cls, item: RPCError) -> bytes:
        return super().error_message(item)


class Code(int):
    """A code as programs of many have it."""


class Text(str):
    """A text as templates give it."""

    __slots__ = ()

    def __str__(self) -> str:
        return "not what it holds"


@pytest.mark.row("H59")
@pytest.mark.parametrize(
    ("name", "value"),
    [("code", "bad"), ("code", 1.5), ("code", None), ("code", True), ("message", 5), ("message", None)],
)
@pytest.mark.parametrize("protocol", [JSONRPCv2, Own], ids=["stock", "own"])
def test_an_error_that_has_become_none_is_an_internal_error(
    protocol: type[JSONRPCv2], name: str, value: object
) -> None:
    driver = holding(line(call("1", "hold")), protocol=protocol)
    error = RPCError(5, "no")
    setattr(error, name, value)
    problem = driver.machine.fail(driver.held[0], error)
    assert isinstance(problem, TypeError)
    assert f"{name} must be " in str(problem)
    driver.flush()
    assert driver.seen.replies == [[-32603, 1]]


def test_codes_and_texts_of_derived_classes_are_written_as_what_they_hold() -> None:
    driver = holding(line(call("1", "hold")))
    assert driver.machine.fail(driver.held[0], RPCError(Code(5), Text("no"))) is None
    driver.flush()
    assert b'{"code":5,"message":"no"}' in driver.sent


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


@pytest.mark.row("S10")
def test_batches_that_are_answered_narrow_no_bound_while_the_peer_takes_them() -> None:
    driver = Driver(connection(max_pending=4))
    for _ in range(9):
        driver.feed(batch(call("1", "hold"), call("2", "hold")) + b"\n")
        while driver.held:
            driver.machine.reply(driver.held.pop(), 1)
        driver.flush()
    assert len(driver.seen.replies) == 9
    assert (driver.machine.flow.bound, driver.machine.wants_data) == (4, True)


def test_batches_in_flight_do_not_mix() -> None:
    driver = holding(batch(call("1", "hold"), call("2", "hold")), batch(call("3", "hold"), call("4", "hold")))
    for number in (3, 0, 2, 1):
        driver.machine.reply(driver.held[number], number)
    driver.flush()
    assert driver.seen.replies == [[["=", 2, 3], ["=", 3, 4]], [["=", 0, 1], ["=", 1, 2]]]


# --- answers that are encoded together -------------------------------------------------------------------------------


def queued(driver: Driver, *results: object) -> None:
    """Queue plain results for the first requests that are held."""
    for result in results:
        request = driver.held.pop(0)
        driver.machine.replies.append(Reply(result, request.id))


def texts(driver: Driver) -> list[str]:
    """Return what is to be sent: methods of what we ask, results and codes of answers."""
    told: list[str] = []
    for text in driver.machine.data_to_send().splitlines():
        message = json.loads(text)
        if isinstance(message, list):
            told.append(str([member.get("result", member.get("error", {}).get("code")) for member in message]))
        else:
            told.append(str(message.get("method", message.get("result", message.get("error", {}).get("code")))))
    return told


HELD = [call(str(number), "hold") for number in range(6)]


@pytest.mark.row("S9")
@pytest.mark.parametrize("is_batch", [False, True])
def test_the_order_on_the_wire_is_that_of_the_orders(is_batch: bool) -> None:
    driver = holding(batch(*HELD) if is_batch else line(*HELD))
    machine = driver.machine
    queued(driver, 0)
    machine.send_notification("a", None)
    queued(driver, 1, 2)
    machine.send_request("b", None, "token", 0.0)
    queued(driver, 3)
    machine.send_notification("c", [])
    machine.reply(driver.held.pop(0), "4")
    queued(driver, 5)
    said = texts(driver)
    wanted = ["0", "a", "1", "2", "b", "3", "c", "4", "5"]
    assert said == (["a", "b", "c", "[0, 1, 2, 3, '4', 5]"] if is_batch else wanted)
    assert machine.messages_sent == (4 if is_batch else 9)
    assert machine.unanswered == machine.requests.calls == 0
    assert (machine.output_size, machine.has_output) == (0, False)


def test_a_request_with_a_queued_answer_is_not_unanswered_and_its_id_is_free_once_that_is_sent() -> None:
    driver = holding(line(*HELD[:3]))
    machine = driver.machine
    queued(driver, 1, 2)
    assert (machine.unanswered, machine.owes_answers, machine.has_output) == (1, True, True)
    driver.flush()
    driver.feed(line(call("0"), call("2"), call("1")))
    assert driver.seen.replies == [["=", 1, 0], ["=", 2, 1], ["=", 1, 0], [-32600, None], ["=", 1, 1]]


@pytest.mark.row("S5", "J9")
@pytest.mark.parametrize("is_batch", [False, True])
def test_one_result_that_cannot_be_encoded_spoils_no_other_and_is_told(is_batch: bool) -> None:
    driver = holding(batch(*HELD[:4]) if is_batch else line(*HELD[:4]))
    machine, requests = driver.machine, list(driver.held)
    queued(driver, 1, 10**5000, 2, -(10**5000))
    driver.flush()
    answers = [["=", 1, 0], [INTERNAL, 1], ["=", 2, 2], [INTERNAL, 3]]
    assert driver.seen.replies == ([sorted(answers, key=exactly)] if is_batch else answers)
    assert machine.unsent is not None
    assert [request for request, _ in machine.unsent] == [requests[1], requests[3]]
    assert all(isinstance(problem, ValueError) for _, problem in machine.unsent)
    assert machine.unanswered == machine.requests.calls == 0
    assert machine.messages_sent == (1 if is_batch else 4)


@pytest.mark.row("S10")
@pytest.mark.parametrize(("answered", "is_enough"), [(1, False), (3, True), (6, True)])
@pytest.mark.parametrize("is_batch", [False, True])
def test_when_enough_is_answered_nothing_is_left_to_be_looked_at(
    answered: int, is_enough: bool, is_batch: bool
) -> None:
    driver = holding(batch(*HELD), max_pending=4) if is_batch else holding(line(*HELD), line(*HELD), max_pending=6)
    machine = driver.machine
    assert (machine.is_smooth, machine.wants_data) == (False, False)
    if is_batch:
        queued(driver, *range(answered))
        driver.flush()
        assert (machine.unanswered, machine.is_smooth, machine.wants_data) == (6 - answered, is_enough, is_enough)
    else:
        assert machine.has_more is False
        queued(driver, *range(answered))
        driver.flush()
        assert (machine.is_smooth, machine.has_more) == (False, True)  # what waits has to be read


@pytest.mark.row("J11")
def test_the_last_answer_of_a_batch_does_not_leave_alone_when_those_before_were_too_long() -> None:
    driver = holding(batch(call("1", "hold"), call("1", "hold")), max_response=90)  # the second is refused at once
    queued(driver, 1)
    driver.flush()
    assert driver.seen.replies == [[-32600, None]]


@pytest.mark.parametrize("case", ["in part", "closing", "charged", "looked at", "paused"])
def test_where_something_is_left_to_be_looked_at_answers_change_nothing(case: str) -> None:
    driver = holding(batch(*HELD), max_pending=4)
    machine = driver.machine
    match case:
        case "in part":
            driver.feed(b"[")
        case "closing":
            machine.close()
        case "charged":
            machine.charge(1.0)
        case "paused":
            machine.writing_paused(100_000, 0.0)
        case _:
            machine.look_again()
    if case == "closing":
        for request in driver.held:
            machine.reply(request, 1)
        driver.held.clear()
    else:
        queued(driver, *range(6))
    driver.flush()
    assert not machine.is_smooth


@pytest.mark.row("S10")
@pytest.mark.parametrize("is_batch", [False, True])
def test_replies_that_are_queued_while_writing_is_paused_narrow_the_bound(is_batch: bool) -> None:
    careful, plain = (holding(batch(*HELD) if is_batch else line(*HELD), max_pending=8) for _ in range(2))
    for driver in (careful, plain):
        driver.machine.writing_paused(100_000, 0.0)
    for number in range(6):
        careful.machine.reply(careful.held[number], number)
    queued(plain, *range(6))
    for driver in (careful, plain):
        driver.flush()
        assert driver.machine.flow.bound == (7 if is_batch else 2)
        assert not driver.machine.is_smooth
        driver.machine.writing_resumed()
        assert driver.machine.flow.bound == 8


@pytest.mark.row("S10")
def test_replies_narrow_the_bound_as_well_while_a_batch_is_open() -> None:
    driver = holding(line(*HELD[:2]), batch(*HELD[2:]), max_pending=8)
    driver.machine.writing_paused(100_000, 0.0)
    queued(driver, 0, 1, 2)
    driver.flush()
    assert (driver.machine.flow.bound, driver.machine.unanswered) == (6, 3)


@pytest.mark.parametrize("end", ["close", "eof", "violation", "turned away", "abandoned"])
def test_queued_answers_go_out_before_the_end(end: str) -> None:
    driver = holding(line(*HELD[:3], note("hold")))
    machine = driver.machine
    first, notification = driver.held[0], driver.held[-1]
    driver.held.remove(first)
    queued(driver, 1, 2)
    match end:
        case "close":
            machine.close()
        case "eof":
            machine.receive_eof(0.0)
        case "violation":
            machine.peer_violated("no", 0.0)
        case "turned away":
            machine.turn_away("no", 0.0)
        case _:
            machine.abandon(first)
            machine.close()
    assert not machine.plain_results
    assert not machine.replies
    if machine.state is State.DRAINING:
        machine.reply(notification, None)
        if end != "abandoned":
            assert machine.state is State.DRAINING
            machine.reply(first, 0)
    assert machine.state in (State.FINISHED, State.LINGERING)
    assert texts(driver)[:2] == ["1", "2"]


def test_queued_answers_are_no_abandoned_requests_when_the_connection_is_lost() -> None:
    driver = holding(line(*HELD[:3]))
    queued(driver, 1, 2)
    driver.machine.connection_lost(ConnectionResetError())
    assert (driver.machine.abandoned, driver.machine.has_output, driver.machine.unanswered) == (1, False, 0)


def test_answers_to_large_requests_and_to_members_of_batches_are_sorted() -> None:
    large = call('"large"', "hold", f'["{"x" * HEAVY}"]')
    driver = holding(line(HELD[0], large), batch(*HELD[1:3]), line(HELD[3]), batch(*HELD[4:6]))
    machine = driver.machine
    size = machine.flow._size
    assert size > HEAVY
    queued(driver, *range(6))
    assert texts(driver) == ["0", "1", "4", "[2, 3]"]
    assert (machine.flow._size, machine.requests.is_simple, machine.unanswered) == (0, False, 1)
    queued(driver, 6)
    assert texts(driver) == ["[5, 6]"]
    assert (machine.requests.is_simple, machine.unanswered, machine.messages_sent) == (True, 0, 5)


def test_an_answer_that_is_given_by_itself_stands_in_its_batch_behind_those_that_wait() -> None:
    driver = holding(batch(*HELD[:3]))
    queued(driver, 0, 1)
    driver.machine.reply(driver.held.pop(), 2)
    assert texts(driver) == ["[0, 1, 2]"]


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


def test_replies_that_stand_in_a_row_with_other_output_are_counted_with_it() -> None:
    driver = holding(line(*HELD[:3]))
    queued(driver, "x" * 100, "y" * 100, "z" * 100)
    driver.machine.send_notification("a", None)
    size = driver.machine.output_size
    assert 0 <= len(driver.machine.data_to_send()) - size <= 4  # a newline each
    assert answer_of({"jsonrpc": "2.0", "result": 1, "id": 0}) == ["=", 1, 0]
