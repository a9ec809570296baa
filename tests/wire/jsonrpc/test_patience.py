# SPDX-License-Identifier: MIT
"""How long a peer may take, what its requests weigh, and how a connection that is not wanted ends."""

from __future__ import annotations

import tracemalloc
from math import inf
from typing import Any

import msgspec
import pytest

from tests.wire.jsonrpc.driving import Driver, connection
from tests.wire.jsonrpc.tables import batch, call, note
from tieline.errors import ClosedError, StreamReset
from tieline.wire.jsonrpc.paths import HEAVY
from tieline.wire.jsonrpc.reading import estimated_size
from tieline.wire.states import State

CALL = call("1", "echo", "[7]") + b"\n"


def started(*, accepted: bool = True, now: float = 100.0, **limits: Any) -> Driver:
    """Return a driver whose connection has just been made, at the time *now*."""
    driver = Driver(connection(accepted=accepted, **limits), now=now)
    driver.machine.start(now)
    return driver


def at(driver: Driver, now: float) -> None:
    """Let the time be *now*."""
    driver.now = now
    driver.handle(driver.machine.handle_deadline(now))
    driver.run()


# --- idle_timeout ----------------------------------------------------------------------------------------------------


@pytest.mark.row("H50")
@pytest.mark.parametrize("by", [-1, 0, 1])
def test_idle_timeout(by: int) -> None:
    driver = started(idle_timeout=300.0)
    assert driver.machine.deadline == 400.0
    at(driver, 400.0 + by)
    assert driver.machine.state.name == ("OPEN" if by < 0 else "FINISHED")
    if by >= 0:
        assert str(driver.machine.close_reason) == "no valid message came within 300.0 s"
        assert (driver.sent, driver.machine.deadline) == (b"", inf)
        assert driver.machine.must_abort is False


@pytest.mark.row("H50")
@pytest.mark.parametrize("wire", [CALL, note("update") + b"\n", batch(call("1", "nothing")) + b"\n"])
def test_who_has_sent_one_valid_message_may_be_silent_for_ever(wire: bytes) -> None:
    driver = started(idle_timeout=300.0)
    seen = [driver.machine.is_stranger]
    driver.feed(wire)
    seen.append(driver.machine.is_stranger)
    assert seen == [True, False]
    assert driver.machine.deadline == inf


@pytest.mark.row("H50")
def test_an_answer_to_a_call_of_ours_is_a_valid_message() -> None:
    driver = Driver(connection(idle_timeout=300.0, call_timeout=None), calls=1)
    driver.machine.start(0.0)
    driver.feed(b'{"jsonrpc":"2.0","id":0,"result":1}\n')
    assert driver.machine.deadline == inf


@pytest.mark.parametrize("wire", [b"rubbish\n", b"\n\n\n", b'{"jsonrpc":"2.0","id":5,"result":1}\n', b'{"half'])
def test_rubbish_does_not_count_as_a_message(wire: bytes) -> None:
    driver = started(idle_timeout=300.0, message_timeout=None)
    driver.feed(wire)
    at(driver, 400.0)
    assert driver.machine.state is State.FINISHED


@pytest.mark.parametrize(("accepted", "timeout"), [(False, 300.0), (True, None)])
def test_only_strangers_are_hurried(accepted: bool, timeout: float | None) -> None:
    assert started(accepted=accepted, idle_timeout=timeout).machine.deadline == inf


def test_a_connection_that_is_ending_is_not_idle_as_well() -> None:
    driver = started(idle_timeout=5.0, linger=50.0, max_errors=0)
    driver.feed(b"rubbish\n")
    assert driver.machine.state is State.LINGERING
    assert driver.machine.deadline == 150.0
    other = started(idle_timeout=5.0)
    other.machine.receive_eof(101.0)
    assert other.machine.deadline == inf
    closed = started(idle_timeout=5.0)
    closed.machine.close()
    at(closed, 106.0)
    assert closed.machine.close_reason is None


# --- message_timeout -------------------------------------------------------------------------------------------------


@pytest.mark.row("H50")
@pytest.mark.parametrize("by", [-1, 0, 1])
def test_message_timeout(by: int) -> None:
    driver = started(message_timeout=30.0, idle_timeout=None)
    for number, byte in enumerate(CALL[:-1]):
        driver.now = 100.0 + number / 10  # each byte gives life, but no more time
        driver.feed(bytes([byte]))
        assert driver.machine.deadline == 130.0
    at(driver, 130.0 + by)
    if by < 0:
        driver.feed(b"\n")
        assert driver.seen.replies == [["=", 7, 1]]
        assert driver.machine.deadline == inf
    else:
        assert driver.seen.replies == [[-32600, None]]
        assert b"message not complete after 30.0 s" in driver.sent
        assert driver.machine.faults == 1
        assert driver.seen.violations == ["RemoteProtocolError"]
        assert driver.machine.state is State.LINGERING


@pytest.mark.parametrize("end", ["close", "fault"])
def test_a_message_that_nobody_waits_for_any_more_has_no_time(end: str) -> None:
    driver = started(message_timeout=30.0, idle_timeout=None, linger=100.0)
    driver.feed(CALL[:5])
    if end == "close":
        driver.machine.close()
    else:
        driver.machine.turn_away("go", 101.0)
    sent = driver.sent
    at(driver, 130.0)
    driver.flush()
    assert driver.seen.violations == []
    assert sent in driver.sent


def test_a_message_that_begins_behind_another_has_its_own_time() -> None:
    driver = started(message_timeout=30.0, idle_timeout=None)
    driver.feed(CALL[:5])
    driver.now = 120.0
    driver.feed(CALL[5:] + CALL[:5])
    assert driver.machine.deadline == 150.0
    driver.feed(CALL[5:])
    assert driver.machine.deadline == inf
    driver.now = 130.0  # now that nothing is held back
    driver.feed(CALL + CALL[:5])
    assert driver.machine.deadline == 160.0
    assert driver.seen.replies == [["=", 7, 1]] * 3


def test_time_in_which_we_do_not_read_does_not_count() -> None:
    driver = started(message_timeout=30.0, idle_timeout=None, max_pending=1)
    driver.feed(call("1", "hold") + b"\n" + CALL[:5])
    assert not driver.machine.wants_data
    at(driver, 130.0)
    assert driver.machine.state is State.OPEN
    assert driver.machine.deadline == 160.0
    driver.machine.reply(driver.held.pop(), None)
    driver.now = 155.0
    driver.machine.reading_resumed(155.0)
    assert driver.machine.deadline == 185.0
    driver.feed(CALL[5:])
    assert driver.seen.replies[-1] == ["=", 7, 1]
    driver.machine.reading_resumed(160.0)
    assert driver.machine.deadline == inf


@pytest.mark.parametrize(("accepted", "timeout"), [(False, 30.0), (True, None)])
def test_a_peer_that_we_dialled_may_take_its_time_for_a_message(accepted: bool, timeout: float | None) -> None:
    driver = started(accepted=accepted, message_timeout=timeout, idle_timeout=None)
    driver.feed(CALL[:5])
    assert driver.machine.deadline == inf


def test_the_end_of_the_stream_ends_the_wait_for_the_message() -> None:
    driver = started(message_timeout=30.0, idle_timeout=None)
    driver.feed(call("1", "hold") + b"\n" + CALL[:5])
    driver.machine.receive_eof(110.0)
    assert driver.machine.deadline == inf


# --- max_pending_size ------------------------------------------------------------------------------------------------


def heavy(request_id: int, size: int, method: str = "hold") -> bytes:
    """Return a call whose estimated size is *size*."""
    empty = call(str(request_id), method, '[[],""]')
    return call(str(request_id), method, '[[],"' + "x" * (size - estimated_size(empty)) + '"]')


@pytest.mark.row("H46")
@pytest.mark.parametrize("by", [-1, 0, 1])
@pytest.mark.parametrize("is_batch", [False, True])
def test_max_pending_size(by: int, is_batch: bool) -> None:
    driver = started(max_pending_size=100_000, idle_timeout=None)
    wire = [heavy(1, 50_000), heavy(2, 50_000 + by)]
    if is_batch:
        brackets = 2 + 88
        wire = [b"[%b]" % heavy(1, 50_000 - brackets), b"[%b]" % heavy(2, 50_000 - brackets + by)]
    for line in wire:
        driver.feed(line + b"\n")
    assert [estimated_size(line) for line in wire] == [50_000, 50_000 + by]
    assert len(driver.held) == 2
    assert driver.machine.wants_data is (by <= 0)
    driver.machine.reply(driver.held.pop(), None)
    assert driver.machine.wants_data


@pytest.mark.row("H46")
def test_requests_have_their_weight_where_no_other_limit_asks_for_a_closer_look() -> None:
    none: dict[str, Any] = {"max_id": None, "max_method": None, "max_nesting": None}
    for wire in (
        [heavy(1, 50_000) + b"\n", heavy(2, 50_001) + b"\n"],
        [heavy(1, 50_000) + b"\n" + heavy(2, 50_001) + b"\n"],
    ):
        driver = started(max_pending_size=100_000, idle_timeout=None, **none)
        for data in wire:
            driver.feed(data)
        assert not driver.machine.wants_data


@pytest.mark.parametrize(
    ("params", "flat"),
    [
        ('["%s"]', True),
        ('{"a":"%s","b":null}', True),
        ('["%s",[]]', False),
        ('{"a":"%s","b":{}}', False),
        ('["%s"' + ",1" * 63 + "]", True),
        ('["%s"' + ",1" * 64 + "]", False),
    ],
)
def test_a_long_text_weighs_what_it_is_long(params: str, flat: bool) -> None:
    driver = started(idle_timeout=None)
    line = call("1", "hold", params % ("," * HEAVY))  # commas in a text are no values
    driver.feed(line + b"\n")
    weighs = driver.machine.flow._size
    assert weighs == (len(line) if flat else estimated_size(line))


def test_one_request_is_always_accepted_however_large() -> None:
    driver = started(max_pending_size=0, idle_timeout=None)
    for number in range(3):
        driver.feed(heavy(number, HEAVY + 1000) + b"\n" + CALL)
        assert len(driver.held) == 1
        assert len(driver.seen.replies) == 2 * number
        driver.machine.reply(driver.held.pop(), None)
        driver.run()
    assert len(driver.seen.replies) == 6


def test_small_requests_weigh_nothing() -> None:
    driver = started(max_pending_size=0, idle_timeout=None)
    driver.feed(b"".join(call(str(number), "hold") + b"\n" for number in range(50)))
    assert len(driver.held) == 50
    assert driver.machine.wants_data


@pytest.mark.row("H46")
@pytest.mark.parametrize(("by", "weighs"), [(-1, False), (0, True)])
def test_the_requests_of_a_batch_are_large_when_they_are_so_on_average(by: int, weighs: bool) -> None:
    """As many as may be pending take no more memory than as many single ones that are not large."""
    driver = started(idle_timeout=None)
    small = call("1", "hold", '["x"]')
    padding = 2 * HEAVY + by - len(batch(small, call("2", "hold", '[""]')).rstrip())
    line = batch(small, call("2", "hold", f'["{"x" * padding}"]'))
    assert len(line.rstrip()) == 2 * HEAVY + by
    driver.feed(line)
    assert len(driver.held) == 2
    assert (driver.machine.flow._size > 0) is weighs


def test_while_we_wait_for_the_peer_large_requests_are_refused_and_not_kept() -> None:
    machine = connection(max_pending_size=10_000)
    driver = Driver(machine, calls=1)
    driver.feed(heavy(1, 20_000) + b"\n" + heavy(2, 20_000) + b"\n" + CALL)
    assert len(driver.held) == 1
    assert driver.seen.replies == [[-102, 2], [-102, 1]]
    assert machine.wants_data
    large = note("hold", '["' + "x" * 20_000 + '"]') + b"\n"
    driver.feed(large * 10)
    assert len(driver.held) == 2, "twice the size at most: then it stops all the same"
    assert not machine.wants_data


def test_a_lost_connection_weighs_nothing() -> None:
    driver = started(max_pending_size=10_000, idle_timeout=None)
    driver.feed(heavy(1, 20_000) + b"\n")
    assert not driver.machine.wants_data
    driver.machine.connection_lost(None)
    assert driver.machine.flow.bound == 64


@pytest.mark.parametrize(
    "text",
    [
        *(b"{}", b"[]", b'{"a":1}', b'"ab"', b"1.5", b"[1]", b"[{}]", b'{"":{}}', b"[[]]"),
        *(b"[" * 100 + b"]" * 100, b'{"":' * 100 + b"1" + b"}" * 100, b'{"":[' * 60 + b"1" + b"]}" * 60),
    ],
    ids=lambda text: text[:12].decode(),
)
def test_the_estimate_is_on_the_high_side(text: bytes) -> None:
    line = b"[" + b",".join([text] * (100_000 // len(text))) + b"]"
    decode = msgspec.json.Decoder().decode
    decode(line)  # what is made once for all is not counted
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        decoded = decode(line)
        real = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert decoded
    assert real <= estimated_size(line) <= 4 * real


# --- connections that are not wanted, or are gone --------------------------------------------------------------------


@pytest.mark.row("H53")
def test_who_is_turned_away_learns_why() -> None:
    driver = started(linger=1.0)
    driver.machine.send_request("ask", None, "a token", 100.0)
    driver.handle(driver.machine.turn_away("server busy (limit 5 connections)", 100.0))
    assert driver.seen.ended == [["a token", "ConnectionLost"]]
    driver.flush()
    assert driver.seen.replies == [[-102, None]]
    assert b'"server busy (limit 5 connections)"' in driver.sent
    assert isinstance(driver.machine.close_reason, ClosedError)
    driver.feed(CALL)
    assert (driver.seen.ran, driver.machine.state) == ([], State.LINGERING)
    at(driver, 101.0)
    assert driver.machine.state is State.FINISHED


@pytest.mark.row("H49")
def test_a_peer_that_vanished_is_a_reset_unless_more_is_known() -> None:
    machine = connection()
    machine.peer_vanished()
    machine.connection_lost(None)
    assert isinstance(machine.close_reason, StreamReset)
    other = connection()
    other.receive_eof(1.0)
    reason = other.close_reason
    other.peer_vanished()
    assert other.close_reason is reason


@pytest.mark.row("H48")
def test_calls_that_nobody_waits_for_any_more_are_counted() -> None:
    driver = started()
    driver.feed(call("1", "hold") + b"\n" + note("hold") + b"\n" + CALL.replace(b'"id":1', b'"id":2'))
    assert driver.machine.owes_answers
    assert driver.machine.messages_read == 3
    driver.machine.connection_lost(ConnectionResetError())
    assert driver.machine.abandoned == 1
    ours = started()
    ours.feed(call("1", "hold") + b"\n")
    ours.machine.close()
    ours.machine.connection_lost(None)
    assert ours.machine.abandoned == 0


# --- rules that somebody else watches --------------------------------------------------------------------------------


@pytest.mark.row("D6")
def test_a_rule_of_the_transport_that_the_peer_breaks_ends_the_connection_like_one_of_ours() -> None:
    driver = Driver(calls=1)
    driver.feed(call("1", "hold") + b"\n" + CALL[:5])
    driver.handle(driver.machine.peer_violated("data came in plain text behind what agreed on TLS", 5.0))
    driver.flush()
    assert driver.seen.violations == ["RemoteProtocolError"]
    assert driver.seen.ended == [["call 0", "ConnectionLost"]]
    assert driver.seen.replies == [[-32600, None]]
    driver.feed(CALL[5:])
    assert driver.seen.ran == []
    assert not driver.machine.peer_violated("and again", 5.0)
    at(driver, 6.0)
    assert driver.machine.state is State.FINISHED


@pytest.mark.parametrize(("wire", "unread"), [(CALL, False), (CALL + b"{", True), (b"", False)])
def test_a_message_that_has_begun_is_unread(wire: bytes, unread: bool) -> None:
    driver = started()
    driver.feed(wire)
    assert driver.machine.has_unread is unread


def test_it_is_known_which_answers_go_out_with_others() -> None:
    driver = started()
    driver.feed(call("1", "hold") + b"\n" + batch(call('"2"', "hold"), call("3.5", "hold"), note("hold")) + b"\n")
    assert [driver.machine.is_in_batch(request) for request in driver.held] == [False, True, True, False]


ANSWER = b'{"jsonrpc":"2.0","id":0,"result":1}\n'
ERROR = b'{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"m"}}\n'
NOTE = note("update") + b"\n"


@pytest.mark.row("D6")
@pytest.mark.parametrize(
    ("wire", "behind_event", "behind_answer"),
    [
        (b"", False, False),
        (CALL, False, False),
        (CALL + NOTE, False, False),
        (CALL + CALL, False, False),  # the second waits for a turn of its own, since it has the same id
        (CALL + b"junk\n", True, False),
        (CALL + b"\n", False, False),  # blank lines are no messages
        (ANSWER, False, False),
        (ERROR, False, False),
        (ANSWER + NOTE, False, True),
        (ERROR + CALL, False, True),
        (ANSWER + b"junk\n", True, True),
        (ANSWER + ANSWER, True, True),
        (NOTE + ANSWER, False, False),
        (batch(call("1", "nothing")) + b"\n" + ANSWER, False, False),
        (batch(ANSWER[:-1], NOTE[:-1]) + b"\n", False, True),  # in one array as well
        (batch(NOTE[:-1], ANSWER[:-1]) + b"\n", False, False),
    ],
)
def test_it_is_known_what_was_read_behind_what_counted(wire: bytes, behind_event: bool, behind_answer: bool) -> None:
    driver = Driver(connection(accepted=False), calls=1)
    driver.feed(wire)
    machine = driver.machine
    assert (machine.has_read_behind_event, machine.has_read_behind_answer) == (behind_event, behind_answer)
