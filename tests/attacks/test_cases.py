# SPDX-License-Identifier: MIT
"""Every case that a bare socket can play; loops take turns, and so do transports: one for each case here.

`make test-wide` plays the others, and `python -m tests.attacks` all of them everywhere, and larger.
"""

import re
import select

import pytest

from tests.attacks.attacked import ROOT
from tests.attacks.by_pytest import FILES
from tests.attacks.cases import CASES
from tests.attacks.conftest import LOOPS, Servers
from tests.attacks.programs import Missing
from tests.attacks.table import Case, exactly, loop_of, play_case
from tests.promptness import is_slow_box

NUMBERS = {number for case in CASES for number in case.numbers}
# By number and transport; the second are for `make test-wide`. A number with several cases is on several transports.
PLAYED: dict[tuple[int, str], list[Case]] = {}
REST: dict[tuple[int, str], list[Case]] = {}
for turn, case in enumerate(sorted(CASES, key=lambda case: case.number)):
    # A server of its own takes long to start: such a case is played over one transport here, over the others by CI.
    names = ("tcp",) if case.is_alone or case.ends_server else case.transports
    for index, name in enumerate(names):
        played = PLAYED if index == turn % len(names) else REST
        played.setdefault((case.number, name), []).append(case)
ROWS = [
    *(pytest.param(*key, cases, id="{}-{}".format(*key)) for key, cases in PLAYED.items()),
    *(pytest.param(*key, cases, id="{}-{}-rest".format(*key), marks=pytest.mark.wide) for key, cases in REST.items()),
]


@pytest.mark.row("H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8", "H9", "H10")
@pytest.mark.row("H11", "H12", "H13", "H14", "H15", "H16", "H17", "H18")
@pytest.mark.row("H19", "H20", "H21", "H22", "H23", "H24", "H25", "H26", "H27", "H28")
@pytest.mark.row("H29", "H30", "H31", "H32", "H33", "H37", "H38", "H39")
@pytest.mark.row("H40", "H41", "H42", "H43", "H44", "H45", "H46", "H47", "H48", "H49", "H50", "H51", "H52", "H53")
@pytest.mark.row("H54", "H55", "H56", "H57", "H58", "H59", "H61", "H62", "H68", "H69", "H70", "H71", "H72")
@pytest.mark.row("H73", "H74", "H75", "H76", "H77", "H78", "H80")
@pytest.mark.parametrize(("number", "transport", "cases"), ROWS)
def test_the_server_bears_case(number: int, transport: str, cases: list[Case], servers: Servers) -> None:
    server = servers[loop_of(number, transport, [*LOOPS, "trio"])]
    failures, missing = [], []
    for case in cases:
        try:
            play_case(case, server, transport)
        except Missing as exc:
            missing.append(f"{case}: {exc}")
        except (AssertionError, OSError) as exc:
            failures.append(f"{case}: {exc!r}")
    assert not failures, "\n".join(failures)
    if missing:
        pytest.skip("all but " + "; ".join(missing))


def test_the_marks_name_the_cases_that_are_played() -> None:
    marks = getattr(test_the_server_bears_case, "pytestmark", [])
    marked = {name for mark in marks for name in mark.args if mark.name == "row"}
    assert marked == {f"H{number}" for number in NUMBERS}


def test_the_table_has_every_case_that_crosses_a_socket_of_a_server() -> None:
    of_others = {63, 64, 65, 66, 67, 79}
    marked = {int(number) for file in FILES for number in re.findall('"H([0-9]+)"', (ROOT / file).read_text())}
    assert NUMBERS | marked == set(range(1, 81)) - of_others


@pytest.mark.row("S6")
def test_after_all_cases_the_servers_rest(servers: Servers) -> None:
    before = {loop: server.figures()["cpu"] for loop, server in servers.items()}
    select.select([], [], [], 0.5)
    for loop, server in servers.items():
        spent = server.figures()["cpu"] - before[loop]
        assert spent < (0.2 if is_slow_box() else 0.1), f"{spent} s of CPU in 0.5 s on {loop}"


@pytest.mark.parametrize(
    ("seen", "wanted"), [(1, 1.0), (1, True), (0, False), ("1", 1), ([1], [1, 1]), ({"a": 1}, {"a": 1.0})]
)
def test_answers_are_compared_with_their_types(seen: object, wanted: object) -> None:
    assert exactly(seen, seen)
    assert not exactly(seen, wanted)
