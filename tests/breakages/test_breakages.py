# SPDX-License-Identifier: MIT
"""The short form of `make breakages`: two of them, and that all still fit the source."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.breakages.breaking import broken_text, play
from tests.breakages.rows import ROWS, Breakage

QUICK = {"TLS at a plain port is dropped", "the hard limit holds"}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_breakage_fits_the_source(row: Breakage) -> None:
    assert row.new in broken_text(row)


@pytest.mark.parametrize("row", [row for row in ROWS if row.promise in QUICK], ids=str)
def test_a_broken_promise_is_seen(row: Breakage) -> None:
    assert row.tests[0] in play(row)


def test_what_breaks_nothing_is_told() -> None:
    row = next(row for row in ROWS if row.promise == "TLS at a plain port is dropped")
    with pytest.raises(AssertionError, match="nobody has seen it"):
        play(replace(row, new=row.old + "  # the same"))


def test_a_row_that_does_not_fit_is_told() -> None:
    with pytest.raises(AssertionError, match="0 times, not once"):
        broken_text(replace(ROWS[0], old="nowhere in it"))
