# SPDX-License-Identifier: MIT
"""`tieline bench`, `tieline demo`, `tieline version`."""

import json
import re

import pytest

import tieline as library
from tests.cli.conftest import Served
from tests.cli.programs import CommandLine, program
from tieline.cli import demo_service


def test_so_many_calls_are_measured(tieline: CommandLine, served: Served) -> None:
    done = tieline("bench", served.tcp, "add", "1", "2", "--count", "300", "-c", "7", "--connections", "3")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert re.fullmatch(r"300 calls of add in [\d.]+ s: [\d,]+ calls/s", lines[0])
    assert re.fullmatch(r"p50 .+  p90 .+  p99 .+  p99\.9 .+  max .+", lines[2])
    assert len(lines[4:]) == 12
    shares = [float(line.split()[-1].rstrip("%")) for line in lines[4:]]
    assert sum(shares) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("loop", ["auto", "asyncio"])
def test_for_some_time(tieline: CommandLine, served: Served, loop: str) -> None:
    done = tieline("bench", served.unix, "--duration", "0.1", "--json", "--loop", loop)
    figures = json.loads(done.out)
    assert (done.code, figures["method"], figures["errors"]) == (0, "rpc.discover", 0)
    assert 0.1 <= figures["seconds"] < 5
    assert figures["calls"] == pytest.approx(figures["calls_per_second"] * figures["seconds"], rel=0.01)
    times = figures["latency_seconds"]
    assert list(times) == ["min", "mean", "p50", "p90", "p99", "p99.9", "max"]
    assert times["min"] <= times["p50"] <= times["p90"] <= times["p99"] <= times["p99.9"] <= times["max"]


BENCH_ERRORS = [
    (("nothing",), 7, 'unknown method "nothing"'),
    (("add", "x"), 8, "expected `int`"),
    (("hang", "--timeout", "0.1"), 5, "no reply from"),
    (("hang_up",), 6, "the connection went down"),
]


@pytest.mark.parametrize(("words", "code", "text"), BENCH_ERRORS)
def test_what_cannot_work_is_told_before_anything_is_measured(
    tieline: CommandLine, served: Served, words: tuple[str, ...], code: int, text: str
) -> None:
    done = tieline("bench", served.tcp, *words, "-n", "3")
    assert (done.code, done.out) == (code, "")
    assert text in done.error


def test_the_demo_is_right_and_says_what_comes_next() -> None:
    done = program("demo")
    assert (done.code, done.err) == (0, "")
    assert len(re.findall(r"^    -> ", done.out, re.MULTILINE)) == 10
    assert "WRONG" not in done.out
    assert "tieline serve tieline.cli.demo_service" in done.out


def test_the_demo_notices_what_is_wrong(tieline: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = library.Methods()
    wrong.method(name="add")(lambda a, b=0: a - b)
    monkeypatch.setattr("tieline.cli.demo.methods", wrong)
    done = tieline("demo")
    assert done.code == 1
    assert 'await session.call("add", 1, 2)\n    WRONG: -1' in done.out
    assert done.out.endswith("10 steps went wrong\n")
    assert len(demo_service.methods) > 0


def test_the_version_is_told(tieline: CommandLine) -> None:
    for words in (("version",), ("--version",)):
        done = tieline(*words)
        assert done.code == 0
        assert re.match(r"tieline \d+\.\d+\S*\nCPython [\d.]+ on \w+ \w+\nmsgspec \d", done.out)
