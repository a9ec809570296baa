# SPDX-License-Identifier: MIT
"""Every row of the tables, replayed whole, byte by byte, at each cut, and with a good message behind it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.wire.jsonrpc import tables, tables_batches, tables_dialects
from tests.wire.jsonrpc.driving import Driver, Seen, connection, exactly, pieces
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.wire.jsonrpc.tables import Row

# Each table with the rows of the specs and the hostile cases that it shows.
TABLES = [
    (tables.SPECIFICATION, pytest.mark.row("J1", "J2", "J4", "J10")),
    (tables.ENVELOPES, pytest.mark.row("J2", "J4", "H24", "H29")),
    (tables.IDS, pytest.mark.row("J4", "J8", "H21", "H28", "H30", "H31")),
    (tables.NAMES, pytest.mark.row("H38")),
    (tables.VALUES, pytest.mark.row("J2", "J11", "H7", "H10", "H19", "H20", "H21", "H22", "H23", "H25", "H26")),
    (tables.RESULTS, pytest.mark.row("J9", "H20", "H22", "H23", "H26", "H44", "H59")),
    (tables_batches.BATCHES, pytest.mark.row("J10", "J11", "H40", "H41", "H42", "H43")),
    (tables_batches.MIXED, pytest.mark.row("J10", "H35", "H36")),
    (tables_batches.RESPONSES, pytest.mark.row("J4", "J8", "J10", "H32", "H33", "H34", "H35", "H36")),
    (tables_batches.ENDS, pytest.mark.row("H10", "H32", "H37")),
    (tables_dialects.V1_ROWS, pytest.mark.row("J5", "H33")),
    (tables_dialects.LOOSE_ROWS, pytest.mark.row("J6")),
    (tables_dialects.AUTO_ROWS, pytest.mark.row("J7", "H39")),
]
BEHIND = b'{"jsonrpc":"2.0","method":"echo","params":["behind"],"id":"behind"}\n'


ROWS = [pytest.param(row, id=str(row), marks=mark) for rows, mark in TABLES for row in rows]


def play(row: Row, chunks: Sequence[bytes]) -> Driver:
    machine = connection(row.protocol, accepted=row.accepted, **row.limits)
    driver = Driver(machine, calls=row.calls)
    for chunk in chunks:
        driver.feed(chunk)
    return driver


def expected(row: Row) -> Seen:
    return Seen(
        replies=[
            sorted(reply, key=exactly) if reply and isinstance(reply[0], list) else reply for reply in row.replies
        ],
        ran=row.ran,
        ended=[[f"call {number}", outcome] for number, outcome in row.ended],
        violations=["RemoteProtocolError"] * row.end,
    )


def check(driver: Driver, row: Row) -> None:
    seen, wanted = driver.seen, expected(row)
    # Requests that hold a chunk's place in between are answered when they are run, errors at once.
    assert sorted(map(exactly, seen.replies)) == sorted(map(exactly, wanted.replies))
    assert seen.ran == wanted.ran
    assert exactly(seen.ended) == exactly(wanted.ended)
    assert seen.violations == wanted.violations
    assert driver.machine.faults == row.faults
    assert driver.machine.state is (State.LINGERING if row.end else State.OPEN)


def some_cuts(length: int) -> list[int]:
    if length <= 200:
        return list(range(1, length))
    return sorted(random.Random(length).sample(range(1, length), 30 if length < 20_000 else 3))


@pytest.mark.parametrize("row", ROWS)
def test_a_row_causes_what_it_names_and_nothing_else(row: Row) -> None:
    check(play(row, [row.wire]), row)


@pytest.mark.row("H1")
@pytest.mark.parametrize("row", ROWS)
def test_cuts_change_nothing_and_a_good_message_behind_is_answered_unless_it_is_the_end(row: Row) -> None:
    for cut in some_cuts(len(row.wire)):
        check(play(row, pieces(row.wire, [cut])), row)
    if len(row.wire) < 3000:
        check(play(row, pieces(row.wire, range(1, len(row.wire)))), row)
    for chunks in ([row.wire, BEHIND], [row.wire + BEHIND]):
        driver = play(row, chunks)
        answers = [reply for reply in driver.seen.replies if reply[-1:] == ["behind"]]
        assert answers == ([] if row.end else [["=", "behind", "behind"]])
