# SPDX-License-Identifier: MIT
"""Percentiles and histograms: right to about one hundredth, in little memory."""

import random

import pytest

from tieline.cli.latencies import Latencies, shown


@pytest.mark.parametrize("percent", [1, 50, 90, 99, 99.9, 100])
def test_percentiles_are_right_to_two_hundredths(percent: float) -> None:
    chance = random.Random(1)
    values = sorted(chance.lognormvariate(-7, 1) for _ in range(20_000))
    found = Latencies()
    for value in chance.sample(values, len(values)):
        found.add(value)
    exact = values[max(0, int(len(values) * percent / 100) - 1)]
    assert found.percentile(percent) == pytest.approx(exact, rel=0.02)
    assert (found.count, found.shortest, found.longest) == (len(values), values[0], values[-1])
    assert found.mean() == pytest.approx(sum(values) / len(values))
    assert sum(count for _, _, count in found.histogram(12)) == len(values)


@pytest.mark.parametrize("values", [[0.001], [0.0], [0.0, 0.0], [1e-9, 1e3], [0.002] * 1000])
def test_odd_ones_are_counted_too(values: list[float]) -> None:
    found = Latencies()
    for value in values:
        found.add(value)
    rows = list(found.histogram(5))
    assert len(rows) == (5 if max(values) > 1 else 1)
    assert sum(count for _, _, count in rows) == len(values)
    assert rows[0][0] == min(values)
    assert rows[-1][1] == max(values)
    assert all(found.percentile(percent) <= max(values) for percent in (50, 99, 100))


@pytest.mark.parametrize("spread", [0.0, 0.005, 0.02, 0.06, 0.11, 0.13, 2.0])
def test_no_row_of_a_histogram_ends_before_it_begins(spread: float) -> None:
    chance = random.Random(2)
    values = [0.0113 * (1 + spread * chance.random()) for _ in range(500)]
    found = Latencies()
    for value in values:
        found.add(value)
    rows = list(found.histogram(12))
    edges = [edge for start, end, _ in rows for edge in (start, end)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (min(values), max(values))
    assert [end for _, end, _ in rows[:-1]] == [start for start, _, _ in rows[1:]]
    assert sum(count for _, _, count in rows) == len(values)
    assert 1 <= len(rows) <= 12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 us"), (1.234e-6, "1.23 us"), (0.0012, "1.2 ms"), (0.9999, "1000 ms"), (2.5, "2.5 s"), (1234.0, "1234 s")],
)
def test_durations_are_shown_in_a_unit_that_suits(seconds: float, text: str) -> None:
    assert shown(seconds) == text
