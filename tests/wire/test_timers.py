# SPDX-License-Identifier: MIT
"""The times of a connection, and counting what is forgiven with time."""

from math import inf
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.wire.timers import NEVER, DecayingCount, TimerName


def test_times_are_not_changed_but_others_are_made() -> None:
    assert NEVER.changed("write", inf) is NEVER
    one = NEVER.changed("idle", 5.0)
    assert (one.idle, one.first, NEVER.first) == (5.0, 5.0, inf)
    assert one.changed("idle", inf) is NEVER
    two = one.changed("write", 7.0)
    assert (two.idle, two.write, two.first) == (5.0, 7.0, 5.0)
    assert two.changed("idle", inf).first == 7.0
    assert two.changed("idle", inf).changed("write", inf) is NEVER
    assert (one.changed("idle", 6.0).idle, one.changed("idle", 6.0).first) == (6.0, 6.0)
    assert one.changed("idle", 6.0).changed("idle", inf) is NEVER


NAMES: tuple[TimerName, ...] = get_args(TimerName)


@pytest.mark.parametrize("name", NAMES)
def test_a_time_that_is_set_or_lifted_leaves_the_others_as_they_are(name: TimerName) -> None:
    times = NEVER
    for when, each in enumerate(NAMES):
        times = times.changed(each, float(when))
    lifted = times.changed(name, inf)
    assert [getattr(times, each) for each in NAMES] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [getattr(lifted, each) for each in NAMES] == [inf if each == name else NAMES.index(each) for each in NAMES]


def test_what_comes_at_once_is_counted_in_full() -> None:
    count = DecayingCount(1.0)
    assert [count.add(100.0) for _ in range(5)] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_rate_is_forgiven_per_second() -> None:
    count = DecayingCount(2.0)
    for _ in range(10):
        count.add(100.0)
    assert count.add(101.5) == 8.0


def test_nothing_is_forgiven_below_zero() -> None:
    count = DecayingCount(1.0)
    count.add(100.0)
    assert count.add(1000.0) == 1.0
    assert count.add(1000.0) == 2.0


def test_a_rate_of_zero_forgives_nothing() -> None:
    count = DecayingCount(0.0)
    assert [count.add(now) for now in (0.0, 1e9)] == [1.0, 2.0]


@pytest.mark.row("J11")
def test_a_clock_that_stands_still_or_goes_back_forgives_nothing() -> None:
    count = DecayingCount(1.0)
    assert [count.add(now) for now in (100.0, 100.0, 50.0, -50.0)] == [1.0, 2.0, 3.0, 4.0]
    assert count.add(-49.0) == 4.0


@given(st.lists(st.floats(-1e6, 1e6), max_size=50), st.floats(0, 100))
def test_the_count_is_never_below_one_nor_over_what_came(times: list[float], rate: float) -> None:
    count = DecayingCount(rate)
    for number, now in enumerate(times, 1):
        assert 1.0 <= count.add(now) <= number
