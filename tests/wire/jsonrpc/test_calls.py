# SPDX-License-Identifier: MIT
"""The table of our own calls: ids, timeouts, and the batches that calls went out in."""

from __future__ import annotations

import random
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.wire.default import DEFAULT
from tieline.wire.jsonrpc.calls import CallTable


def test_ids_count_from_zero_whatever_became_of_the_calls() -> None:
    table = CallTable(30.0)
    assert [table.add("a", 0.0), table.add_with_timeout("b", 0.0, 1.0), table.add("c", 0.0)] == [0, 1, 2]
    table.pop(1)
    table.clear()
    assert table.add("d", 0.0) == 3


def test_a_call_is_taken_out_once() -> None:
    table = CallTable(30.0)
    table.add("a", 0.0)
    assert [table.pop(0), table.pop(0), table.pop(7)] == ["a", None, None]


@given(
    explicit=st.lists(st.booleans(), min_size=1, max_size=6),
    asked=st.lists(st.integers(0, 7), min_size=1, max_size=7),
)
def test_calls_taken_out_together_are_as_if_taken_one_by_one(explicit: list[bool], asked: list[int]) -> None:
    together, singly = CallTable(30.0), CallTable(30.0)
    for table in together, singly:
        for number, has_own in enumerate(explicit):
            token = f"call {number}"
            table.add_with_timeout(token, 0.0, 1.0) if has_own else table.add(token, 0.0)
        table.note_batch(range(len(explicit)))
    tokens = together.pop_all(asked)
    if len({*asked}) == len(asked) and all(call_id < len(explicit) for call_id in asked):
        assert tokens == [singly.pop(call_id) for call_id in asked]
    else:
        assert tokens is None
    assert together.open == singly.open
    assert together.expire(1.0) == singly.expire(1.0)
    assert together.refused_batch() == singly.refused_batch()
    assert together.expire(60.0) == singly.expire(60.0)


@pytest.mark.row("J8")
def test_only_integers_that_were_issued_name_a_call() -> None:
    table = CallTable(30.0)
    table.add("a", 0.0)
    table.pop(0)
    others: list[object] = [1, -1, False, 0.0, "0", None, [0], {}, 2**64]
    assert table.was_issued(0)
    assert not any(table.was_issued(call_id) for call_id in others)


# --- timeouts --------------------------------------------------------------------------------------------------------


def test_calls_that_keep_coming_put_no_look_off() -> None:
    table = CallTable(8.0)
    table.add_all(["old"], 0.0)
    ended: list[object] = []
    now = 0.0
    while not ended and now < 20.0:
        now += 0.25
        for call_id in table.add_all(["new", "newer"], now):
            table.pop(call_id)
        ended += table.expire(now)
    assert ended == ["old"]
    assert 8.0 <= now <= 9.0  # up to one eighth later


@pytest.mark.parametrize("timeout", [0.0, 0.001, 1.0, 1e9])
def test_a_timeout_of_its_own_is_exact(timeout: float) -> None:
    table = CallTable(30.0)
    table.add_with_timeout("a", 100.0, timeout)
    assert table.deadline == 100.0 + timeout
    assert table.expire(100.0 + timeout - 1e-6) == []
    assert table.expire(100.0 + timeout) == ["a"]
    assert table.deadline == inf
    assert not table.open


def test_a_timeout_of_0_ends_the_call_at_once() -> None:
    table = CallTable(30.0)
    table.add_with_timeout("a", 100.0, 0.0)
    assert table.deadline <= 100.0
    assert table.expire(100.0) == ["a"]


@pytest.mark.parametrize(
    ("timeout", "error", "seen"),
    [
        (-5.0, ValueError, "-5.0"),
        (nan, ValueError, "nan"),
        (10**400, ValueError, "one beyond 1e308"),
        ("1", TypeError, "str"),
        ([], TypeError, "list"),
        (1j, TypeError, "complex"),
    ],
    ids=lambda value: repr(value)[:9],
)
def test_a_timeout_that_is_no_time_is_told_and_enters_nothing(timeout: Any, error: type[Exception], seen: str) -> None:
    table = CallTable(30.0)
    with pytest.raises(error, match=f"^timeout must be .* or None, not {seen}$"):
        table.add_with_timeout("a", 100.0, timeout)
    assert not table.open
    assert table.next_id == 0
    assert table.deadline == inf


def test_a_call_without_a_timeout_waits_for_ever() -> None:
    table = CallTable(30.0)
    table.add_with_timeout("a", 0.0, None)
    assert table.deadline == inf
    assert table.expire(1e12) == []


def test_no_default_timeout_is_for_ever() -> None:
    table = CallTable(None)
    table.add("a", 0.0)
    assert table.deadline == inf
    table.add_with_timeout("b", 0.0, 1.0)
    assert table.expire(1e12) == ["b"]
    assert table.deadline == inf


def sweep(table: CallTable, until: float) -> dict[object, float]:
    """Let a driver's clock run to *until*, calling `expire` at each deadline; return when each call ended."""
    ended: dict[object, float] = {}
    while table.deadline <= until:
        now = table.deadline
        for token in table.expire(now):
            ended[token] = now
    return ended


@pytest.mark.parametrize("seed", range(20))
def test_default_timeouts_end_up_to_an_eighth_late_and_never_early(seed: int) -> None:
    rng = random.Random(seed)
    timeout = rng.choice([0.5, 8.0, 30.0])
    table = CallTable(timeout)
    made: dict[object, float] = {}
    ended: dict[object, float] = {}
    answered: set[object] = set()
    now = 1000.0
    for number in range(300):
        now += rng.expovariate(20 / timeout)
        ended |= sweep(table, now)
        made[number] = now
        assert table.add(number, now) == number
        if rng.random() < 0.3:
            answered.add(number)
            assert table.pop(number) == number
    ended |= sweep(table, now + 2 * timeout)
    assert set(ended) == set(made) - answered
    for token, when in ended.items():
        late = when - made[token] - timeout
        assert -1e-9 <= late <= timeout / 8 + 1e-9
    assert table.deadline == inf, "an empty table needs no timer"
    assert not table._notes


def test_a_table_whose_calls_are_answered_soon_needs_a_timer_no_more() -> None:
    table = CallTable(8.0)
    table.add("a", 0.0)
    table.pop(0)
    assert table.deadline == 1.0
    assert table.expire(1.0) == []
    assert table.deadline == inf
    table.add("b", 5.0)
    assert table.deadline == 6.0


def test_default_and_own_timeouts_live_side_by_side() -> None:
    table = CallTable(8.0)
    table.add("default", 0.0)
    table.add_with_timeout("short", 0.0, 2.5)
    table.add_with_timeout("long", 0.0, 100.0)
    table.add_with_timeout("for ever", 0.0, None)
    assert sweep(table, 50.0) == {"short": 2.5, "default": 9.0}
    assert sweep(table, 200.0) == {"long": 100.0}
    assert list(table.open.values()) == ["for ever"]


def test_calls_that_are_made_together_end_in_time() -> None:
    table = CallTable(8.0)
    assert (table.add_all([], 0.0), table.deadline) == (range(0), inf)
    assert table.add_all(["a", "b"], 0.0) == range(2)
    assert table.deadline == 1.0
    assert sweep(table, 50.0) == {"a": 9.0, "b": 9.0}


def test_a_call_that_gets_its_time_later_puts_off_no_other() -> None:
    table = CallTable(8.0)
    table.add("first", 0.0)
    table.open[1] = "last"  # it is entered without a time, as the short ways to call do
    table.next_id = 2
    table.give_time(1, 0.5, DEFAULT)
    assert sweep(table, 50.0) == {"first": 9.0, "last": 9.0}


def test_looks_at_times_of_their_own_leave_no_notes() -> None:
    table = CallTable(8.0)
    table.add("default", 0.0)
    for number in range(100):
        table.add_with_timeout(number, 0.0, 0.05 * (number + 1))
    assert len(sweep(table, 6.0)) == 100
    assert table._notes is not None
    assert len(table._notes) == 6


def test_calls_that_are_late_are_counted_by_the_last_look_before() -> None:
    table = CallTable(8.0)
    for number in range(3):
        table.add(number, number)
        table.add_with_timeout("has its own", number, 50.0)
        if number < 2:
            table.expire(number + 1)
    assert [table.count_late(since) for since in (0.5, 1.0, 1.9, 2.0)] == [(3, 0), (3, 1), (3, 1), (3, 2)]


def test_what_times_out_at_the_same_moment_comes_oldest_first() -> None:
    table = CallTable(8.0)
    table.add("a", 0.0)
    table.add_with_timeout("b", 0.0, 9.0)
    table.add("c", 0.5)
    table.add_with_timeout("d", 0.5, 8.5)
    for now in (1.0, 2.0):
        assert table.expire(now) == []
    assert table.expire(9.0) == ["a", "b", "c", "d"]


def test_a_driver_that_comes_late_ends_all_that_is_due() -> None:
    table = CallTable(8.0)
    table.add("a", 0.0)
    table.expire(1.0)
    table.add("b", 1.5)
    assert table.expire(1000.0) == ["a"]  # b came after the last note: nothing says when
    assert table.expire(1000.0) == []
    assert sweep(table, 1010.0) == {"b": 1008.0}


@pytest.mark.row("J11")
@given(
    st.lists(st.tuples(st.floats(-100, 100), st.sampled_from(["default", "own", "none", "pop", "expire"])), max_size=60)
)
def test_a_clock_may_stand_still_and_go_back(steps: list[tuple[float, str]]) -> None:
    table = CallTable(10.0)
    made: dict[object, float] = {}
    latest, back = -inf, 0.0
    for now, step in steps:
        latest = max(latest, now)
        back = max(back, latest - now)
        match step:
            case "default":
                made[table.add(table.next_id, now)] = now + 10.0
            case "own":
                made[table.add_with_timeout(table.next_id, now, 5.0)] = now + 5.0
            case "none":
                made[table.add_with_timeout(table.next_id, now, None)] = inf
            case "pop":
                table.pop(table.next_id - 1)
            case _:
                for token in table.expire(now):
                    # No call ends early by more than the clock went back.
                    assert made.pop(token) <= now + back
    later = 1000.0
    for _ in range(20):
        table.expire(later)
        later += 10.0
    assert all(made[token] == inf for token in table.open)


# --- batches ---------------------------------------------------------------------------------------------------------


def batches(*sizes: int) -> CallTable:
    table = CallTable(8.0)
    for size in sizes:
        first = table.next_id
        for _ in range(size):
            table.add(f"call {table.next_id}", 0.0)
        table.note_batch(range(first, table.next_id))
    return table


@pytest.mark.row("J10")
def test_the_oldest_batch_without_an_answer_is_the_one_that_is_refused() -> None:
    table = batches(2, 2, 2)
    table.pop(1)
    assert table.refused_batch() == [2, 3]
    assert table.refused_batch() == [4, 5]
    assert table.refused_batch() is None


@pytest.mark.row("J10", "H60")
def test_several_members_may_be_given_up_and_those_that_were_answered_may_not() -> None:
    table = batches(3, 2)
    table.give_up(0)
    table.give_up(1)
    table.pop(3)
    assert table.give_up(3) is None
    assert table.refused_batch() == [2]
    assert table.refused_batch() is None  # of the other one a member was answered


@pytest.mark.row("J10", "H60")
def test_members_that_were_given_up_do_not_keep_the_refusal_from_the_others() -> None:
    table = batches(3, 1)
    assert table.give_up(1) == "call 1"
    assert table.give_up(1) is None
    assert table.refused_batch() == [0, 2]
    table.give_up(3)
    assert table.refused_batch() is None


def test_what_was_given_up_is_remembered_no_longer_than_its_batch() -> None:
    table = batches(3)
    table.add("no member", 0.0)
    table.give_up(3)
    assert not table._given_up
    table.give_up(1)
    table.note_batch(range(4, 4))
    assert table._given_up == {1}
    table.pop(0)
    table.pop(2)
    table.note_batch(range(4, 4))
    assert not table._given_up


def test_members_that_timed_out_are_given_up() -> None:
    table = batches(2)
    table.add_with_timeout("short", 0.0, 1.0)
    table.note_batch(range(1, 3))
    table.pop(0)
    assert table.expire(1.0) == ["short"]
    assert table.refused_batch() == [1]


def test_batches_that_are_answered_are_forgotten() -> None:
    table = batches(2)
    for call_id in (0, 1):
        table.pop(call_id)
    table.add("later", 0.0)
    table.note_batch(range(2, 3))
    assert table._batches == [range(2, 3)]


@given(
    asked=st.lists(st.lists(st.integers(2, 7), max_size=4) | st.just([3, 4, 5]) | st.just([5, 4, 3]), max_size=3),
    given_up=st.lists(st.integers(2, 7), max_size=2),
)
def test_a_batch_that_is_all_that_is_open_is_as_any_other(asked: list[list[int]], given_up: list[int]) -> None:
    whole, other = batches(3), batches(3)
    tokens = ["a", "b", "c"]
    for table in (whole, other):
        table.give_up(0)
        table.pop_all([1, 2])
    whole.add_whole(tokens, [3, 4, 5])
    other.note_batch(other.add_untimed(tokens))
    assert whole.next_id == other.next_id == 6
    for call_ids in asked:
        assert whole.pop_all(call_ids) == other.pop_all(call_ids)
    for call_id in given_up:
        assert whole.give_up(call_id) == other.give_up(call_id)
    assert whole.add("later", 0.0) == other.add("later", 0.0)
    for take in (CallTable.refused_batch, CallTable.clear):
        assert take(whole) == take(other)


def test_a_table_of_one_batch_has_what_others_have_and_nothing_else() -> None:
    table = CallTable(30.0)
    table.add_whole(["a"], [0])
    with pytest.raises(AttributeError, match="a table of calls has no 'opened'"):
        _ = table.opened  # type: ignore[attr-defined]  # no such name: the mistake that is shown
    assert table.open == {0: "a"}


def test_clear_takes_out_everything() -> None:
    table = batches(2)
    table.add_with_timeout("own", 0.0, 1.0)
    table.expire(0.9)
    assert table.clear() == ["call 0", "call 1", "own"]
    assert (table.open, table.deadline, table.refused_batch()) == ({}, inf, None)
    assert not table._explicit
    assert not table._notes
    assert table.clear() == []
    table.add("again", 5.0)
    assert table.deadline == 6.0


def test_open_calls_are_counted_without_a_change() -> None:
    table = CallTable(30.0)
    assert table.count == 0
    tokens = ["a", "b"]
    table.add_whole(tokens, [0, 1])
    assert table.count == 2
    assert table.pop_all([0, 1]) is tokens  # as they were entered: nobody has made a table of them
    assert table.count == 0
    table.add_whole(tokens, [2, 3])
    table.give_up(2)
    assert table.count == 1
