# SPDX-License-Identifier: MIT
"""The link: one write a turn, turns that leave time for others, when it reads, and its one timer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runtimes.link_scene import request, scene
from tieline.runtimes.link import TURN_SECONDS
from tieline.wire.flow import MUCH_OUTPUT

# --- writing ---------------------------------------------------------------------------------------------------------


def test_the_transport_gets_the_limits_and_the_sink_is_told() -> None:
    s = scene(write_high_water=5000, write_low_water=50)
    assert s.transport.limits == (5000, 50)
    assert s.sink.told == ["made"]
    assert s.host.timers == []  # an idle connection has none


def test_all_that_one_chunk_causes_leaves_in_one_write() -> None:
    s = scene()
    s.receive(*map(request, range(50)), [request(50), request(51)])
    assert s.transport.orders == ["write"]
    assert len(s.transport.messages()) == 51
    assert s.link.last_sent == 100.0


def test_a_lone_call_leaves_at_once_and_several_in_one_turn_together() -> None:
    s = scene()
    s.call("a")
    assert len(s.transport.writes) == 1
    for token in "bcd":
        s.call(token)
    assert len(s.transport.writes) == 1
    s.host.turn()
    assert len(s.transport.writes) == 2
    assert [message["id"] for message in s.transport.messages()] == [0, 1, 2, 3]


def test_a_large_amount_does_not_wait_for_the_end_of_the_turn() -> None:
    s = scene()
    s.receive(*(request(number, "large") for number in range(10)))
    assert len(s.transport.writes) > 1
    assert max(map(len, s.transport.writes)) < MUCH_OUTPUT + 31_000
    assert [message["id"] for message in s.transport.messages()] == list(range(10))


def test_an_answer_that_comes_later_leaves_when_it_comes() -> None:
    s = scene()
    s.receive(request(0, "hold"))
    assert s.transport.writes == []
    s.machine.reply(s.sink.held[0], "late")
    s.link.flush_soon()
    s.host.turn()
    assert [message["result"] for message in s.transport.messages()] == ["late"]


def test_a_call_that_leaves_in_the_midst_of_a_turn_has_its_deadline_all_the_same() -> None:
    s = scene()
    s.receive(request(0))
    assert s.link._is_calm
    s.sink.asks_back = ["x" * MUCH_OUTPUT], 5.0
    s.receive(request(1, "hold"))
    assert s.host.armed() == [105.0]
    s.host.move_to(105.0)
    assert s.sink.told[1:] == ["asked back: TimeoutError"]


# --- turns -----------------------------------------------------------------------------------------------------------


def test_a_long_chunk_is_handled_in_turns_so_that_others_get_theirs() -> None:
    s = scene()
    s.host.tick = TURN_SECONDS / 3
    s.receive(*map(request, range(1000)))
    turns = 1
    answered = [len(s.transport.messages())]
    while s.host.soon:
        assert len(s.host.soon) == 1
        s.host.turn()
        turns += 1
        answered.append(len(s.transport.messages()))
    assert turns > 2
    assert len(s.transport.writes) == turns  # what each turn caused left in one write
    assert answered[-1] == 1000
    assert max(b - a for a, b in zip([0, *answered], answered, strict=False)) < 400
    assert [message["id"] for message in s.transport.messages()] == list(range(1000))
    # While it held messages, nothing more was read.
    assert s.transport.orders.count("pause_reading") == s.transport.orders.count("resume_reading") == 1


def test_turns_that_were_planned_for_a_connection_that_is_gone_do_nothing() -> None:
    s = scene()
    s.host.tick = TURN_SECONDS
    s.receive(*map(request, range(500)))
    s.call("a")
    assert s.host.soon
    s.link.connection_lost(None)
    told = list(s.sink.told)
    s.host.turn()
    assert s.sink.told == told
    s.link.flush_soon()
    s.link.settle()
    s.link.abort()
    assert not s.host.armed()


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("S10")
def test_reading_stops_at_the_bound_and_goes_on_below_it() -> None:
    s = scene(max_pending=2)
    s.receive(request(0, "hold"))
    assert s.transport.orders == []
    s.receive(request(1, "hold"))
    assert s.transport.orders == ["pause_reading"]
    s.link.settle()
    assert s.transport.orders == ["pause_reading"]
    s.machine.reply(s.sink.held[0], 1)
    s.link.settle()
    assert s.transport.orders == ["pause_reading", "write", "resume_reading"]


@pytest.mark.row("S10")
def test_an_own_call_sets_a_parked_reader_going() -> None:
    s = scene(max_pending=1)
    s.receive(request(0, "hold"), request(1, "hold"))
    assert s.transport.orders == ["pause_reading"]
    s.call("a")
    while s.host.soon:
        s.host.turn()
    assert s.transport.orders[1:].count("resume_reading") == 1
    assert [message.get("method", message.get("id")) for message in s.transport.messages()] == ["m", 1]


def test_behind_the_end_of_the_stream_reading_is_never_resumed() -> None:
    s = scene(max_pending=1)
    s.receive(request(0, "hold"))
    assert s.transport.orders == ["pause_reading"]
    assert s.link.eof_received() is True
    s.machine.reply(s.sink.held[0], 1)
    s.link.flush_soon()
    while s.host.soon:
        s.host.turn()
    assert "resume_reading" not in s.transport.orders
    assert s.transport.orders[-1] == "close"


# --- deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.row("S8")
def test_there_is_one_timer_at_most_and_it_is_early_enough() -> None:
    s = scene(call_timeout=80.0)
    s.call("default")
    assert s.host.armed() == [110.0]
    s.call("sooner", 5.0)
    s.call("later", 50.0)
    s.call("never", None)
    s.host.turn()
    assert s.host.armed() == [105.0]
    s.host.move_to(105.0)
    assert s.sink.told[1:] == ["sooner: TimeoutError"]
    assert len(s.host.armed()) == 1
    s.host.move_to(100.0 + 80.0 * 9 / 8)
    assert s.sink.told[2:] == ["later: TimeoutError", "default: TimeoutError"]
    assert s.host.armed() == []
    assert s.machine.open_calls == 1


@pytest.mark.row("S8")
def test_a_timer_for_a_call_that_was_answered_goes_off_once_and_for_nothing() -> None:
    s = scene()
    s.call("a", 5.0)
    s.receive({"jsonrpc": "2.0", "id": 0, "result": 1})
    assert s.sink.told[1:] == ["a: 1"]
    s.host.move_to(1000.0)
    assert s.host.armed() == []
    assert s.sink.told[1:] == ["a: 1"]


def test_a_loss_cancels_the_timer_and_tells_calls_before_the_sink() -> None:
    s = scene()
    s.call("a", 5.0)
    s.link.connection_lost(ConnectionResetError())
    assert s.host.armed() == []
    assert s.sink.told[1:] == ["a: ConnectionLost", "lost: ConnectionResetError()"]
    assert s.link.is_lost


# --- plain answers ---------------------------------------------------------------------------------------------------

# What one read holds, and how many requests are answered in the one write that it causes.
PLAIN_READS: list[tuple[list[Any], int]] = [
    ([request(1, "plain")], 1),
    ([request(number, "plain") for number in range(64)], 64),
    ([request(number, "plain") for number in range(200)], 200),
    ([request(1, "plain"), request(2, "echo"), request(3, "plain"), request(4, "hold"), request(5, "plain")], 4),
    ([[request(1, "plain"), request(2, "plain")]], 1),
    ([request(1, "plain"), [request(2, "plain"), request(3, "hold")], request(4, "plain")], 2),
    ([request(1, "plain"), request(1, "plain")], 2),
]


@pytest.mark.row("S9")
@pytest.mark.parametrize(("messages", "count"), PLAIN_READS)
def test_plain_answers_of_a_read_leave_in_one_write(messages: list[Any], count: int) -> None:
    s = scene()
    for reads in (1, 2):
        s.receive(*messages)
        while s.host.soon:
            s.host.turn()
        assert s.transport.orders.count("write") == reads
        assert len(s.transport.messages()) == count * reads
        assert not s.machine.replies
        for held in s.sink.held:
            s.machine.abandon(held)
        s.sink.held.clear()
        if s.machine.has_output:  # what a batch was waiting for
            s.machine.data_to_send()


def test_members_of_a_batch_that_is_not_complete_cause_no_write() -> None:
    s = scene()
    s.receive([request(1, "plain"), request(2, "hold")])
    s.link.settle()
    assert s.transport.orders == []
    assert s.link.last_sent is None
    s.machine.reply(s.sink.held[0], 2)
    s.link.flush_soon()
    s.host.turn()
    assert s.transport.orders == ["write"]
    assert [answer["result"] for answer in s.transport.messages()[0]] == [1, 2]


@pytest.mark.row("S5")
def test_a_plain_result_that_cannot_be_encoded_is_told_once() -> None:
    s = scene()
    s.receive(request(1, "plain"), request(2, "digits"), request(3, "plain"))
    assert [message["id"] for message in s.transport.messages() if "result" in message] == [1, 3]
    assert [message["error"]["code"] for message in s.transport.messages() if "error" in message] == [-32603]
    s.receive(request(4, "plain"))
    assert s.sink.told == ["made", "unsent: digits"]


@pytest.mark.row("S10")
@pytest.mark.parametrize("method", ["plain", "echo"])
def test_answers_that_a_peer_does_not_take_stop_the_reading_and_it_goes_on_when_it_takes_them(method: str) -> None:
    s = scene(max_pending=4, write_timeout=20.0)
    s.receive(request(0, method))
    assert s.link._is_calm
    s.transport.takes = False
    s.transport.pauses = s.link.pause_writing  # from within `write`, as asyncio does it
    for number in range(1, 9):
        if "pause_reading" not in s.transport.orders:
            s.receive(request(number, method))
    assert len(s.transport.messages()) == 1 + 1 + 4  # the second paused the writing, four more are owed
    assert s.transport.orders.count("pause_reading") == 1
    assert s.host.armed(), "nobody watches whether the peer takes anything"
    s.transport.pauses = None
    s.transport.takes, s.transport.unsent = True, 0
    s.link.resume_writing()
    assert s.transport.orders[-1] == "resume_reading"
    s.receive(request(9, method))
    assert len(s.transport.messages()) == 7
    assert s.link._is_calm


@pytest.mark.row("S10")
def test_a_link_at_rest_stops_at_the_bound_and_goes_on_by_whatever_way_the_requests_come() -> None:
    reads: list[list[Any]] = [
        [request(1, "hold"), request(2, "hold")],
        [[request(1, "hold"), request(2, "hold")]],
        [request(1, "hold"), request(2, "plain"), request(3, "hold"), request(4, "plain")],
    ]
    for messages in reads:
        s = scene(max_pending=2)
        s.receive(request(0, "plain"))
        assert s.link._is_calm
        s.receive(*messages)
        while s.host.soon:
            s.host.turn()
        assert s.transport.orders[-1] == "pause_reading"
        for held in list(s.sink.held):
            s.machine.reply(held, 1)
        s.link.flush_soon()
        while s.host.soon:
            s.host.turn()
        assert s.transport.orders[-1] == "resume_reading"
        s.receive(request(9, "plain"))
        assert s.transport.messages()[-1]["id"] == 9
        assert s.link._is_calm


@pytest.mark.parametrize("end", ["close", "abort", "eof", "lost", "violated"])
def test_no_plain_answer_is_lost_whatever_ends_the_connection_in_its_turn(end: str) -> None:
    s = scene()
    s.receive(request(0, "plain"))
    ends = {
        "close": s.link.close,
        "abort": s.link.abort,
        "violated": lambda: s.link.violated("no"),
    }
    s.sink.ends = ends.get(end)
    s.receive(request(1, "plain"), request(2, "plain"), request(3, "end"))
    if end == "eof":
        s.link.eof_received()
    elif end == "lost":
        s.link.connection_lost(None)
    while s.host.soon:
        s.host.turn()
    assert [message["id"] for message in s.transport.messages()][:3] == [0, 1, 2]
    assert not s.machine.replies
    if end in ("close", "eof"):
        assert s.transport.orders[-1] == "close"
        assert s.transport.messages()[-1]["id"] == 3
