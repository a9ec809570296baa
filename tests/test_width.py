# SPDX-License-Identifier: MIT
"""What `make test` leaves to `make test-wide` is the rest of products, and nothing that only one test shows."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.width import diagonal

pytest_plugins = ["pytester"]

SIZES = [sizes for count in range(4) for sizes in itertools.product(range(1, 6), repeat=count)]

PRODUCT = """
import pytest

@pytest.fixture(params=["tcp", "tls"])
def transport(request):
    return request.param

@pytest.mark.parametrize("framing", ["lines", "lengths", "braces"])
async def test_product(framing, transport): ...

@pytest.mark.parametrize(("method", "answer"), [("add", 3), ("add", 4), ("sub", 3), ("sub", 4)])
async def test_table(method, answer): ...

@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("again", [1, 2])
def test_blocking(number, again): ...

def test_alone(): ...
"""


@pytest.mark.parametrize("shift", range(3))
def test_each_number_of_each_axis_is_on_the_diagonal(shift: int) -> None:
    for sizes in SIZES:
        places = diagonal(sizes, shift)
        assert len(places) == max(sizes, default=1)
        for axis, size in enumerate(sizes):
            assert {place[axis] for place in places} == set(range(size)), sizes


def test_numbers_meet_others_on_each_runtime() -> None:
    pairs = diagonal((3, 3)) | diagonal((3, 3), 1) | diagonal((3, 3), 2)
    assert pairs == set(itertools.product(range(3), repeat=2))
    assert {place[1:] for place in diagonal((4, 2, 2))} == set(itertools.product(range(2), repeat=2))


def test_products_are_played_in_part_and_tables_whole(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent.parent))
    pytester.makepyfile(PRODUCT)
    pytester.makeini("[pytest]\nmarkers =\n    wide")
    played: dict[str, set[str]] = {}
    for chosen in ("wide", "not wide"):
        result = pytester.runpytest_subprocess("-p", "tests.conftest", "--collect-only", "-q", "-m", chosen)
        played[chosen] = {line.partition("::")[2] for line in result.outlines if "::" in line}
    assert not played["wide"] & played["not wide"]
    part = {name for name in played["not wide"] if name.startswith("test_product")}
    for runtime in ("asyncio", "trio"):
        seen = [set(name[:-1].split("[")[1].split("-")) for name in part if runtime in name]
        assert len(seen) == 3
        assert set.union(*seen) == {runtime, "tcp", "tls", "lines", "lengths", "braces"}
    assert len({name for name in played["wide"] if name.startswith("test_product")}) == len(part)
    assert not [name for name in played["wide"] if name.startswith(("test_table", "test_alone"))]
    assert {name for name in played["wide"] if name.startswith("test_blocking")} == {
        "test_blocking[1-2]",
        "test_blocking[2-1]",
    }
