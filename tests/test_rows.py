# SPDX-License-Identifier: MIT
"""Each row and hostile case of a finished issue is shown by a test; and the check for it cannot pass by accident."""

from functools import cache
from pathlib import Path

import pytest

from tests.rows import EXCEPTIONS, FINISHED, KNOWN, missing, read_marks

TESTS = Path(__file__).resolve().parent

MARKED = """
import pytest
pytestmark = [pytest.mark.peers, pytest.mark.row("J1")]
CASES = [pytest.param(1, marks=pytest.mark.row("H1", "H2")), pytest.param(2, marks=[pytest.mark.row("H7")])]

@pytest.mark.row("J2")
@pytest.mark.parametrize("case", [pytest.param(3, marks=(pytest.mark.row("H8"),))])
def test_one(case): ...

@pytest.mark.row("J3", "S1")
async def test_two(): ...

@pytest.mark.row("S2")
class TestMore:
    pytestmark = pytest.mark.row("S3")

    @pytest.mark.row("S4")
    def test_three(self): ...
"""

TABLED = """
import pytest
TABLES = [([1, 2], pytest.mark.row("J1", "J2")), ([3], pytest.mark.row("H7"))]
ROWS = [pytest.param(case, marks=mark) for cases, mark in TABLES for case in cases]
"""

WRONG = [
    ('@pytest.mark.row("J4")\ndef helper(): ...', "test_x.py:1: this row mark is on no test"),
    ('unused = pytest.mark.row("J4")', "test_x.py:1: this row mark is on no test"),
    ('@pytest.mark.row("J99")\ndef test_a(): ...', "test_x.py:1: 'J99' is no row of the specs and no hostile case"),
    ("@pytest.mark.row(J4)\ndef test_a(): ...", "test_x.py:1: J4: rows are named by plain strings"),
    ("shows = []\n@pytest.mark.row(*shows)\ndef test_a(): ...", "test_x.py:2: *shows: rows are named by plain strings"),
    ("@pytest.mark.row()\ndef test_a(): ...", "test_x.py:1: a row mark names its rows, and nothing else"),
    (
        '@pytest.mark.wide\n@pytest.mark.row("J4")\ndef test_a(): ...',
        "test_x.py:2: rows are shown by tests that `make test` plays, and this one is wide",
    ),
    (
        'CASES = [pytest.param(1, marks=[pytest.mark.wide, pytest.mark.row("J4")])]',
        "test_x.py:1: rows are shown by tests that `make test` plays, and this one is wide",
    ),
]


@cache
def marks() -> tuple[dict[str, list[str]], list[str]]:
    return read_marks(TESTS)


def test_all_that_is_finished_is_shown() -> None:
    shown, _faults = marks()
    if owed := missing(shown, FINISHED, EXCEPTIONS):
        pytest.fail("\n".join(owed), pytrace=False)


def test_all_marks_are_right() -> None:
    _shown, faults = marks()
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


def test_finished_rows_are_known() -> None:
    assert {row for rows in FINISHED.values() for row in rows} <= KNOWN


def test_marks_are_found_wherever_pytest_sees_them(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "test_x.py").write_text(MARKED)
    shown, faults = read_marks(tmp_path)
    assert faults == []
    assert set(shown) == {"J1", "J2", "J3", "S1", "S2", "S3", "S4", "H1", "H2", "H7", "H8"}
    assert shown["H8"] == ["deep/test_x.py:7"]


def test_marks_in_a_table_count_where_parameters_take_them(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(TABLED)
    assert read_marks(tmp_path) == ({"J1": ["test_x.py:3"], "J2": ["test_x.py:3"], "H7": ["test_x.py:3"]}, [])


@pytest.mark.parametrize(("body", "told"), WRONG)
def test_wrong_marks_are_told_and_show_nothing(tmp_path: Path, body: str, told: str) -> None:
    (tmp_path / "test_x.py").write_text(body)
    assert read_marks(tmp_path) == ({}, [told])


def test_what_has_no_test_is_told() -> None:
    finished: dict[str, tuple[str, ...]] = {"2": ("J1", "J2", "J3")}
    assert missing({"J1": ["here"]}, finished, {"J2": "shown by the demo"}) == ["J3 of finished issue 2 has no test"]


def test_an_exception_needs_a_reason_and_ends_with_the_first_test() -> None:
    assert missing({}, {}, {"J1": " "}) == ["exception J1 has no reason"]
    assert missing({}, {}, {"X1": "why"}) == ["exception X1 is no row of the specs and no hostile case"]
    assert missing({"J1": ["here:1"]}, {}, {"J1": "why"}) == [
        "exception J1 has a test (here:1): strike it off the list"
    ]
