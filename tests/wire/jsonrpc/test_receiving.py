# SPDX-License-Identifier: MIT
"""How a connection reads: turns, when it parks, what ends it, and the answers to our own calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.wire.jsonrpc.driving import Driver, connection, errors
from tests.wire.jsonrpc.tables import batch, call, line, note
from tieline.errors import MessageTooLarge, RemoteProtocolError
from tieline.wire.framing.base import FramerBase
from tieline.wire.jsonrpc.connection import Connection
from tieline.wire.jsonrpc.events import PlainCalls, ProtocolViolation
from tieline.wire.jsonrpc.protocols import JSONRPC, JSONRPCLoose, JSONRPCv1, JSONRPCv2
from tieline.wire.jsonrpc.receiving import MESSAGES_PER_TURN
from tieline.wire.limits import Limits
from tieline.wire.states import State

RESULT = b'{"jsonrpc":"2.0","result":5,"id":%d}'


def calls(first: int, count: int, method: str = "hold") -> bytes:
    return line(*(call(str(number), method) for number in range(first, first + count)))


# --- turns -----------------------------------------------------------------------------------------------------------


@pytest.mark.row("H2")
def test_a_turn_has_64_messages_and_the_machine_says_when_there_are_more() -> None:
    machine = connection(max_pending=1000)
    sizes = [len(machine.receive_data(calls(0, 200), 0.0))]
    while machine.has_more:
        assert not machine.wants_data, "what was read is handled first"
        sizes.append(len(machine.next_events(0.0)))
    assert sizes == [MESSAGES_PER_TURN] * 3 + [200 - 3 * MESSAGES_PER_TURN]
    assert machine.wants_data
    assert machine.next_events(0.0) == []
    assert machine.messages_received == 200


@pytest.mark.row("H2")
def test_2000_calls_in_one_write_are_answered_once_each() -> None:
    driver = Driver()
    driver.feed(calls(0, 2000, "echo"))
    assert driver.seen.replies == [["=", 1, number] for number in range(2000)]


def test_bytes_that_come_before_the_last_turn_is_over_wait_in_line() -> None:
    machine = connection(max_pending=1000)
    seen = list(machine.receive_data(calls(0, 100), 0.0))
    seen += machine.receive_data(calls(100, 100) + b"{", 0.0)
    while machine.has_more:
        seen += machine.next_events(0.0)
    assert [event.id for event in seen if not isinstance(event, tuple | ProtocolViolation)] == list(range(200))


def test_what_came_in_is_counted() -> None:
    driver = Driver()
    assert (driver.machine.bytes_received, driver.machine.last_received) == (0, None)
    driver.now = 7.0
    wire = batch(call("1"), call("2")) + b"\r\n\n" + line(call("3")) + b'{"half'
    driver.feed(wire)
    machine = driver.machine
    assert (machine.bytes_received, machine.messages_received, machine.last_received) == (len(wire), 2, 7.0)


@pytest.mark.row("J2")
@pytest.mark.parametrize("accepted", [False, True])
def test_an_object_that_is_no_json_rpc_is_an_event_of_a_server_or_a_fault_of_a_client(accepted: bool) -> None:
    """Whichever it is may be said, for one who is trusted and calls: the program that has started this one."""
    for bears_events in (None, False, True):
        driver = Driver(connection(accepted=accepted))
        if bears_events is not None:
            driver.machine.bears_events = bears_events
        driver.feed(line(b"{}", b'{"notification":"tick"}', b'{"jsonrpc":"2.0","id":"a"}'))
        told = (not accepted) if bears_events is None else bears_events
        assert [reply[-1] for reply in driver.seen.replies] == ([] if told else [None, None, "a"])
        assert driver.machine.faults == 3


# --- parking ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("S10", "J11")
def test_a_machine_that_has_enough_requests_reads_on_when_one_is_answered() -> None:
    driver = Driver(connection(max_pending=2))
    driver.feed(calls(0, 5))
    for answered in range(5):
        assert len(driver.held) == min(5, answered + 2)
        assert driver.machine.has_more is False
        assert driver.machine.wants_data is (answered > 3)
        driver.machine.reply(driver.held[answered], answered)
        driver.run()
    assert driver.seen.replies == [["=", number, number] for number in range(5)]


@pytest.mark.row("S10")
def test_running_notifications_count_as_requests_do() -> None:
    driver = Driver(connection(max_pending=2))
    driver.feed(line(*[note("hold")] * 3))
    assert len(driver.held) == 2
    assert not driver.machine.wants_data
    driver.machine.reply(driver.held[0], None)
    driver.run()
    assert len(driver.held) == 3


@pytest.mark.parametrize("framed", [line, batch])
def test_requests_of_which_all_are_to_be_answered_are_told_as_that(framed: Callable[..., bytes]) -> None:
    """Drivers do not ask each of them whether it is a notification then."""
    for messages, are_calls in (
        ((call("1"), call('"2"')), True),
        ((call("1"), note()), False),
        ((note(), call("1")), False),
        ((note(), note()), False),
    ):
        machine = connection()
        events = machine.receive_data(framed(*messages), 0.0)
        assert len(events) == 2
        assert (events.__class__ is PlainCalls) is are_calls


@pytest.mark.row("S10", "J10")
def test_a_batch_is_accepted_whole_when_there_is_room_for_one() -> None:
    driver = Driver(connection(max_pending=2))
    driver.feed(calls(0, 1) + batch(*(call(str(number), "hold") for number in range(1, 6))) + calls(6, 1))
    assert len(driver.held) == 6
    assert not driver.machine.wants_data
    for request in driver.held[:4]:
        driver.machine.reply(request, None)
        driver.run()
    assert len(driver.held) == 6
    driver.machine.reply(driver.held[4], None)
    driver.run()
    assert len(driver.held) == 7


@pytest.mark.row("S10")
def test_while_this_side_has_calls_open_requests_over_the_bound_are_refused_instead() -> None:
    driver = Driver(connection(max_pending=2), calls=1)
    driver.feed(calls(0, 3) + line(note("hold")) + batch(call("3", "hold"), note("hold"), b"7") + line(RESULT % 0))
    assert len(driver.held) == 4, "two calls, and the notifications, which nobody could refuse"
    assert driver.seen.replies == [[-102, 2], [[-102, 3], [-32600, None]]]
    assert b"(limit 2)" in driver.sent
    assert driver.seen.ended == [["call 0", ["=", 5]]]
    driver.feed(calls(4, 1))  # no call is open any more: park
    assert len(driver.held) == 4
    assert not driver.machine.wants_data


@pytest.mark.row("S10", "J10")
@pytest.mark.parametrize("room", [0, 1])
def test_a_batch_is_refused_when_there_is_no_room_for_one(room: int) -> None:
    driver = Driver(connection(max_pending=2 + room), calls=1)
    driver.feed(calls(0, 2))
    driver.feed(batch(call("2"), call("3")) + b"\n")
    assert driver.seen.replies == [[["=", 1, 2], ["=", 1, 3]] if room else [[-102, 2], [-102, 3]]]


@pytest.mark.row("S10")
@pytest.mark.parametrize("protocol", [JSONRPCv1, JSONRPCv2, JSONRPCLoose])
def test_what_is_answered_at_once_is_never_over_the_bound_however_much_comes_in_one_read(
    protocol: type[JSONRPC],
) -> None:
    driver = Driver(connection(protocol, max_pending=2), calls=1)
    driver.feed(line(*(b'{"method":"echo","params":[7],"id":%d,"jsonrpc":"2.0"}' % number for number in range(9))))
    assert driver.seen.replies == [["=", 7, number] for number in range(9)]
    if protocol.dialect.batches:
        driver.feed(calls(0, 2, "echo") + batch(call("2"), call("3"), call("4")) + calls(5, 1, "echo"))
        answers = [["=", 1, number] for number in range(6)]
        assert driver.seen.replies[9:] == [answers[0], answers[1], answers[2:5], answers[5]]


@pytest.mark.row("S10")
def test_while_senders_wait_for_room_reading_goes_on_too() -> None:
    driver = Driver(connection(max_pending=1))
    driver.feed(calls(0, 2))
    assert not driver.machine.wants_data
    driver.machine.flow.senders_waiting = 1
    assert driver.machine.has_more
    driver.run()
    assert driver.seen.replies == [[-102, 1]]
    assert driver.machine.wants_data


@pytest.mark.row("S10", "H45")
def test_replies_that_wait_to_be_written_park_the_reader() -> None:
    driver = Driver(connection(max_pending=10, write_high_water=1000, write_low_water=100))
    machine = driver.machine
    machine.writing_paused(5000, 0.0)
    driver.feed(line(*(call(str(number), params='["' + "x" * 400 + '"]') for number in range(9))))
    assert len(driver.seen.replies) == 9, "what one turn began is carried through"
    reading = [machine.wants_data]
    driver.feed(calls(9, 1, "echo"))
    counts = [len(driver.seen.replies)]
    machine.writing_resumed()
    assert machine.has_more
    driver.run()
    assert [*counts, len(driver.seen.replies)] == [9, 10]
    assert [*reading, machine.wants_data] == [False, True]


@pytest.mark.row("S10", "H45")
@pytest.mark.parametrize(
    "message",
    [call("%d", "hold"), call("%d", params="7"), call("%d", "x" * 300), b"[" + call("%d", "hold") + b"]"],
    ids=["calls", "bad params", "long names", "batches"],
)
def test_a_mute_peer_is_not_refused_without_end_though_calls_are_open(message: bytes) -> None:
    driver = Driver(connection(max_pending=1), calls=1)
    driver.machine.writing_paused(100_000, 0.0)
    for number in range(3000):
        if not driver.machine.wants_data:
            break
        driver.feed(message.replace(b"%d", b"%d" % number) + b"\n")
    assert 1000 < len(driver.seen.replies) < 1100
    driver.machine.writing_resumed()
    assert driver.machine.wants_data


@pytest.mark.row("S10")
def test_a_peer_that_takes_its_refusals_gets_as_many_as_it_likes() -> None:
    driver = Driver(connection(max_pending=1), calls=1)
    for number in range(3000):
        driver.feed(calls(number, 1))
    assert len(driver.seen.replies) == 2999
    assert driver.machine.wants_data


@pytest.mark.row("S10")
def test_no_notification_is_lost_and_too_many_stop_the_reader() -> None:
    driver = Driver(connection(max_pending=1), calls=1)
    driver.machine.writing_paused(100_000, 0.0)
    driver.feed(line(*[note("hold")] * 1024))
    assert len(driver.held) == 1024
    # At first it reads on: both ends may be in this place, and would wait for each other.
    reading = [driver.machine.wants_data]
    driver.feed(line(*[note("hold")] * 3000))
    assert len(driver.held) == 1025
    reading.append(driver.machine.wants_data)
    assert driver.seen.replies == []
    while driver.held:
        driver.machine.reply(driver.held.pop(), None)
        driver.run()
    assert [*reading, driver.machine.wants_data] == [True, False, True]
    assert driver.machine.messages_received == 1024 + 3000


# --- the end by the peer's fault -------------------------------------------------------------------------------------


def test_a_violation_comes_last_and_what_comes_behind_it_is_thrown_away() -> None:
    driver = Driver(connection(max_errors=0, linger=2.0), calls=1, now=10.0)
    events = list(driver.machine.receive_data(line(call("1", "hold")) + b"{\n" + calls(2, 3), 10.0))
    assert len(events) == 1, "what came before can be answered first"
    reading = [driver.machine.wants_data]
    assert driver.machine.receive_data(calls(5, 1), 10.0) == ()
    driver.handle(events)
    last = driver.machine.next_events(10.0)
    assert [str(error) for error in errors(last)] == ["the connection went down before the reply came"]
    driver.handle(last)
    driver.run()
    state = driver.machine.state
    assert driver.seen.ended == [["call 0", "ConnectionLost"]]
    assert driver.seen.violations == ["RemoteProtocolError"]
    assert driver.seen.replies == [[-32700, None]]
    assert [*reading, driver.machine.wants_data] == [False, True]
    driver.feed(calls(6, 1))
    assert len(driver.held) == 1
    assert driver.machine.deadline == 12.0
    assert driver.machine.handle_deadline(11.9) == []
    assert driver.machine.handle_deadline(12.0) == []
    assert driver.machine.deadline == float("inf")
    assert [state, driver.machine.state] == [State.LINGERING, State.FINISHED]
    assert isinstance(driver.machine.close_reason, RemoteProtocolError)
    assert str(driver.machine.close_reason) == "more than 0 faults, the last: invalid JSON"


def test_a_foreign_peer_gets_no_answer_and_no_time() -> None:
    driver = Driver(connection())
    driver.machine.start(0.0)
    driver.feed(b"GET / HTTP/1.1\r\n")
    assert (driver.sent, driver.seen.violations, driver.machine.faults) == (b"", ["RemoteProtocolError"], 1)
    assert (driver.machine.state, driver.machine.deadline) == (State.FINISHED, float("inf"))


def test_the_eof_of_the_peer_ends_the_lingering() -> None:
    driver = Driver(connection(max_errors=0))
    driver.feed(b"{\n")
    assert driver.machine.receive_eof(0.5) == []
    assert (driver.machine.state, driver.machine.deadline) == (State.FINISHED, float("inf"))


@pytest.mark.parametrize("order", ["close", "eof"])
def test_an_order_between_the_fault_and_the_end_does_not_get_in_its_way(order: str) -> None:
    machine = connection(max_errors=0)
    (request,) = machine.receive_data(line(call("1", "hold")) + b"{\n", 0.0)
    if order == "close":
        machine.close()
    else:
        machine.receive_eof(0.0)
    machine.reply(request, 1)  # type: ignore[arg-type]  # it is a message
    assert machine.has_more
    (violation,) = machine.next_events(0.0)
    assert isinstance(violation, ProtocolViolation)
    assert machine.state is State.LINGERING
    assert machine.data_to_send().count(b"\n") == 2


def test_a_connection_that_is_lost_before_its_end_is_lost() -> None:
    machine = connection(max_errors=0)
    machine.receive_data(line(call("1", "hold")) + b"{\n", 0.0)
    assert machine.connection_lost(None) == []
    assert not machine.has_more
    assert machine.next_events(0.0) == []


@pytest.mark.row("F3", "J11")
def test_a_message_too_large_ends_the_connection_behind_the_good_ones() -> None:
    driver = Driver(connection(max_message=100), calls=1)
    driver.feed(line(call("1")) + b"x" * 101)
    assert driver.seen.replies == [[-32600, None], ["=", 1, 1]]
    assert driver.seen.violations == ["MessageTooLarge"]
    assert driver.seen.ended == [["call 0", "ConnectionLost"]]
    assert isinstance(driver.machine.close_reason, MessageTooLarge)
    assert driver.machine.faults == 1


def test_a_framing_fault_waits_until_the_messages_before_it_were_read() -> None:
    driver = Driver(connection(max_message=100, max_pending=1, linger=1.0))
    driver.feed(calls(0, 2) + b"x" * 101 + b"\n" + b"y" * 101)
    driver.now = 50.0
    assert driver.seen.violations == []
    for number in range(2):
        driver.machine.reply(driver.held[number], None)
        driver.run()
    assert driver.seen.violations == ["MessageTooLarge"]
    assert driver.machine.deadline == 51.0, "it lingers from now on, not from when the bytes came"


class Broken(FramerBase):
    """Finds fault with everything."""

    def frame(self, messages: Iterable[bytes | bytearray | memoryview]) -> bytes:
        return b"".join(bytes(message) + b"\n" for message in messages)

    def messages(self, data: bytes) -> Iterator[bytes]:
        yield from [data[:-1]] if data.endswith(b"\n") else []
        raise KeyError("secret")


@pytest.mark.row("J2")
def test_what_comes_behind_a_fault_that_waits_for_its_turn_makes_no_difference() -> None:
    driver = Driver(connection(max_message=200))
    driver.handle(driver.machine.receive_data(calls(0, MESSAGES_PER_TURN + 1, "echo") + b"x" * 201, 0.0))
    driver.handle(driver.machine.receive_data(b"x" * 300 + b"\n" + b"y" * 300 + calls(99, 1), 0.0))
    driver.run()
    assert driver.seen.replies[:MESSAGES_PER_TURN] == [["=", 1, number] for number in range(MESSAGES_PER_TURN)]
    assert driver.seen.replies[MESSAGES_PER_TURN:] == [[-32600, None], ["=", 1, MESSAGES_PER_TURN]]
    assert driver.seen.violations == ["MessageTooLarge"]


def test_whatever_a_framer_raises_ends_the_connection_with_a_parse_error() -> None:
    machine = Connection(JSONRPCv2, Broken(), Limits().resolved(accepted=True), accepted=True)
    driver = Driver(machine)
    driver.feed(line(call("1")))
    assert driver.seen.replies == [[-32700, None], ["=", 1, 1]]
    assert driver.seen.violations == ["RemoteProtocolError"]
    assert str(machine.close_reason) == "the framing is broken: KeyError"
    assert machine.close_reason is not None
    assert isinstance(machine.close_reason.__cause__, KeyError)


@pytest.mark.row("J5")
def test_an_invalid_message_of_1_0_says_what_was_wrong_with_it() -> None:
    driver = Driver(connection(JSONRPCv1))
    driver.feed(b'{"id":1}\n')
    assert str(driver.machine.close_reason) == "the method must be a string, it is absent"
