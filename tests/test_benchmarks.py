# SPDX-License-Identifier: MIT
"""The benchmarks run: every workload of the peers that are installed, in the smoke form. No timing is judged here."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import tieline
from benchmarks import bytecodes, framing, interpreters, iofree, proxies
from benchmarks.__main__ import ALL, main
from benchmarks.cases import CASES
from benchmarks.gates import GATES, Gate
from benchmarks.harness import Figure, Pair
from benchmarks.imports import IMPORTS
from benchmarks.plot import svg
from benchmarks.report import markdown, tables
from benchmarks.results import Key, Results
from benchmarks.running import Plan, smoke, steps

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
MODULES = sorted(BENCHMARKS.rglob("*.py"))
QUANTITIES = ("rate", "server", "client", "cpu", "traced", "rss", "held", "base", "import", "busiest")


# All workloads are among those of a few peers; each peer is a program of its own to start.
FEW = ["tieline", "tieline-trio", "aiorpcx", "blocking", "tieline-ws", "tieline-stdio", "tieline-packets"]
OTHERS = ["tieline-unix-uvloop", "streams-msgspec", "buffered", "trio-streams", "anyio-streams", "aiorpcx-ws"]
OTHERS += ["tieline-mcp", "tieline-packets-trio", "tieline-packets-blocking", "easynetwork", "packets-streams"]
OTHERS += ["packets-protocol", "packets-blocking"]


@pytest.mark.parametrize(
    "peers", [pytest.param(FEW, id="few"), pytest.param(FEW + OTHERS, id="all", marks=pytest.mark.wide)]
)
def test_the_smoke_form_plays_every_workload(peers: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if sys.platform == "win32":
        pytest.skip("needs uvloop and Unix sockets")
    assert main(["--smoke", "--peers", *peers]) == 0
    shown = capsys.readouterr().out
    for text in (
        "W2-1000:",
        "s2:",
        "W5-ping:",
        "W5-stream:",
        "W6:",
        "W6-raw:",
        "W7:",
        "Scaling:",
        "Memory of a server",
        "W8: imports",
        "The I/O-free path",
    ):
        assert text in shown
    for peer in peers:
        assert CASES[peer].title in shown


@pytest.mark.peers
def test_the_smoke_form_over_standard_streams(need: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the official MCP SDK and pygls, in one run."""
    need("mcp", "pip install mcp, or make test-peers")
    need("pygls", "pip install pygls, or make test-peers")
    peers = ["tieline-stdio", "pygls-stdio", "tieline-mcp", "mcp"]
    assert main(["--smoke", "--peers", *peers]) == 0
    shown = capsys.readouterr().out
    for workload in ("W1:", "W2-64:"):
        table = shown.partition(workload)[2].partition("W2-64:" if workload == "W1:" else "Scaling:")[0]
        assert all(CASES[peer].title in table for peer in peers)


def test_the_smoke_form_of_the_framers_measures_each_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert framing.main(["--smoke"]) == 0
    shown = capsys.readouterr().out
    for text in ("65536 bytes", "100 bytes", "1 byte", "Written", "largest / smallest"):
        assert text in shown
    public = {name for name in tieline.__all__ if name.endswith("Framer")}
    assert set(framing.FRAMERS) == public
    assert all(shown.count(name) == 4 for name in public)


def test_the_smoke_form_of_proxies_measures_all_that_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert proxies.main(["--smoke"]) == 0
    shown = capsys.readouterr().out
    if shutil.which("microsocks") is None:
        assert "nothing was measured: microsocks is not installed" in shown
        return
    assert all(name in shown for name in {*proxies.CONNECTS, *proxies.MESSAGES})
    assert all(text in shown for text in ("Connections", "Messages, one at a time", "through the proxy"))


def test_interpreters_are_compared_by_the_gates(capsys: pytest.CaptureFixture[str]) -> None:
    """Each is asked for what it is; here one is asked twice, for a single round of batches."""
    short = ["--workloads", "W4", "--rounds", "1", "--seconds", "0"]
    assert interpreters.main([sys.executable, sys.executable, *short]) == 0
    shown = capsys.readouterr().out
    version = sys.version.partition(" ")[0]
    for text in ("tieline / aiorpcx", ">= 15x", "CPU of tieline, us a request"):
        assert text in shown
    header = next(line for line in shown.splitlines() if "must" in line)
    assert header.count(version) == 2


def test_an_interpreter_without_what_is_measured_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert interpreters.main([str(tmp_path / "python")]) == 2
    assert "an interpreter that has what `make bench` installs is needed" in capsys.readouterr().out


def test_what_is_measured_with_each_interpreter_is_what_the_gates_compare() -> None:
    """And only what all of them have installed."""
    every = [interpreters.Interpreter("python", version, "", [*CASES]) for version in ("3.12.1", "3.13.0")]
    found = {(step.workload, step.peer) for step in interpreters.plan_of(every, ["W1", "W5-ping"], 1, 0.1)}
    compared = [key for gate in interpreters.gates() for key in interpreters.keys_of(gate)]
    assert found == {(key.workload, key.peer) for key in compared if key.workload in {"W1", "W5-ping"}}
    assert {("W1", "tieline"), ("W1", "uvloop"), ("W5-ping", "easynetwork-trio")} <= found
    assert all(workload in {"W1", "W5-ping"} for workload, _ in found)
    lacking = replace(every[0], peers=[name for name in CASES if name != "uvloop"])
    left = {(step.workload, step.peer) for step in interpreters.plan_of([lacking, every[1]], ["W1", "W5-ping"], 1, 0.1)}
    assert left == found - {("W1", "uvloop")}


def test_figures_of_proxies_are_medians_and_ratios_of_rounds() -> None:
    def rounds(*values: float) -> list[proxies.Figure]:
        return [proxies.Figure(value, value / 10) for value in values]

    figures = {
        ("connects", "tieline"): rounds(100, 200, 400),
        ("connects", "aiorpcX"): rounds(200, 800, 600),
        ("messages", "tieline"): rounds(60, 50),
        ("messages", "tieline, straight"): rounds(50, 50),
    }
    connects, messages, added = proxies.tables(figures)
    assert connects.rows[0] == ["tieline", "5000", "150 %", "200", "20.0", "2.00x", "2.00x"]
    assert [row[0] for row in messages.rows] == ["tieline", "tieline, straight"]
    assert added.rows == [["tieline", "1.10x", "1.00x", "1.20x"]]


def test_a_message_is_not_cut_into_more_pieces_than_can_be_waited_for() -> None:
    plan = list(framing.steps(["NewlineFramer"], framing.SIZES))
    assert max(step.size // step.piece for step in plan if step.piece) <= 1 << 20
    assert {step.piece for step in plan if step.size == framing.SIZES[-1]} == {0, 100, 65536}
    assert [framing.message("BitcoinFramer", size)[0] for size in framing.SIZES[:2]] == [b"block"] * 2
    for size in framing.SIZES[:3]:
        assert 0.8 * size < len(framing.document(size)) <= size
        assert json.loads(framing.document(size))["id"] == 1


def test_a_framer_that_loses_a_message_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Losing(tieline.NewlineFramer):
        def take(self, data: bytes) -> tuple[list[bytes], Exception | None]:
            return super().take(data)[0][1:], None

    monkeypatch.setitem(framing.FRAMERS, "Losing", Losing)
    with pytest.raises(ValueError, match=r"Losing gave \d+ of \d+ messages"):
        framing.measure(framing.Step("Losing", 1024, 65536), 1)


def test_what_fails_is_told_and_ends_nothing_else() -> None:
    broken = replace(CASES["buffered"], module="nothing")
    plan = Plan([broken, CASES["buffered"]], ["W1"])
    results = Results()
    smoke(plan, results)
    (failure,) = results.failures
    assert "nothing has ended" in failure
    assert "No module named" in failure  # what it said last
    assert results.peers("W1") == ["buffered"]


def test_an_interrupt_leaves_no_process_behind() -> None:
    """That none is left is what conftest.py sees to, behind every test."""
    with pytest.raises(KeyboardInterrupt), Pair.start(CASES["buffered"], "W1"):
        raise KeyboardInterrupt


def test_rounds_go_from_peer_to_peer_before_the_next_workload() -> None:
    plan = Plan([CASES["tieline"], CASES["aiorpcx"], CASES["blocking"]], ["W1", "memory", "W4"], rounds=2)
    found = [(number, workload, peer) for number, workload, peer in steps(plan)]
    first = [(0, "W1", "tieline"), (0, "W1", "aiorpcx"), (0, "W1", "blocking")]
    memory = [(0, "memory", "tieline"), (0, "memory", "aiorpcx")]
    batches = [(0, "W4", "tieline"), (0, "W4", "aiorpcx")]
    again = [(1, *step[1:]) for step in (*first, *batches)]
    assert found == [*first, *memory, *batches, *again]


def test_each_form_of_scaling_is_measured_in_each_round_if_its_case_takes_part() -> None:
    plan = Plan([CASES["aiorpcx"], CASES["tieline"]], ["scaling"], rounds=2)
    names = ["tieline*1", "tieline*2"]
    assert list(steps(plan)) == [(number, "scaling", name) for number in (0, 1) for name in names]


def test_scaling_is_compared_with_one_worker_round_by_round() -> None:
    results = Results()
    for number, (one, two) in enumerate([(100, 150), (50, 80), (200, 280)]):
        for name, rate, busiest in (("tieline*1", one, 8), ("tieline*2", two, 4 + number)):
            results.add_figure("scaling", name, number, Figure(rate, seconds=1.0, client_cpu=0.1, server_cpu=0.5))
            results.add(Key("scaling", name, "busiest"), number, busiest)
    (table,) = [table for table in tables(results) if table.title.startswith("Scaling")]
    assert [(row[1], row[3], row[-1]) for row in table.rows] == [("100", "1.00x", "8 to 8"), ("150", "1.50x", "4 to 6")]


# --- judging ---------------------------------------------------------------------------------------------------------


def results_of(**values: list[float]) -> Results:
    results = Results()
    for peer, rounds in values.items():
        for number, value in enumerate(rounds):
            results.add(Key("W1", peer), number, value)
    return results


@pytest.mark.parametrize(
    ("mine", "theirs", "verdict"),
    [
        ([40.0, 50.0, 60.0], [10.0, 10.0, 10.0], "met"),
        ([40.0, 49.0, 60.0], [10.0, 10.0, 10.0], "MISSED"),
        ([70.0], [10.0], "ambition"),
        ([25.0, 50.0, 100.0], [5.0, 10.0, 20.0], "met"),  # the machine was slow for both, then quick for both
        ([50.0], [], "not measured"),
    ],
)
def test_a_gate_is_judged_by_the_median_of_the_rounds(mine: list[float], theirs: list[float], verdict: str) -> None:
    gate = Gate("W1", "a / b", Key("W1", "a"), Key("W1", "b"), must=5, ambition=7)
    assert str(gate.judge(results_of(a=mine, b=theirs))) == verdict


def test_a_bare_echo_shows_how_far_one_could_get() -> None:
    gate = Gate("W1", "a / b", Key("W1", "a"), Key("W1", "b"), must=5, ambition=7, bare=Key("W1", "echo"))
    results = results_of(a=[40.0, 30.0, 20.0], b=[10.0, 10.0, 10.0], echo=[44.0, 45.0, 48.0])
    assert gate.by_bare(results) == (4.5, 4.4, 4.8)
    assert gate.by_bare(results_of(a=[40.0], b=[10.0])) is None
    compared = [gate for gate in GATES if gate.bare is not None]
    assert {gate.workload for gate in compared} == {"W1", "W3", "W5-ping", "W7"}
    assert all(gate.other is not None for gate in compared)


@pytest.mark.parametrize(("value", "verdict"), [(3.0, "ambition"), (4.0, "met"), (4.1, "MISSED")])
def test_a_gate_can_be_a_most(value: float, verdict: str) -> None:
    gate = Gate("W1", "a", Key("W1", "a"), None, must=4, ambition=3, at_most=True, unit="KiB")
    assert str(gate.judge(results_of(a=[value]))) == verdict


def test_gates_ask_for_what_is_measured() -> None:
    for gate in GATES:
        for key in filter(None, (gate.mine, gate.other, gate.bare)):
            assert key.workload in ALL
            assert key.quantity in QUANTITIES
            assert key.peer in IMPORTS if key.workload == "W8" else key.workload in CASES[key.peer].workloads


def test_the_page_and_the_plot_name_no_machine_and_no_path() -> None:
    results = Results()
    for peer in CASES:
        cpu = 0.01 if peer == "aiorpcx" else 0.005
        results.add_figure("W1", peer, 0, Figure(requests=1000, seconds=1.0, client_cpu=cpu, server_cpu=cpu))
    page, plot = markdown(results, tables(results), "once"), svg(results)
    assert "| W1 | tieline / aiorpcx | >= 5x | >= 7x | MISSED | 1.00x | 1.00x | 1.00x | 2.00x | 1.00x |" in page
    assert all(case.title in page and case.title in plot for case in CASES.values())
    for private in (os.uname().nodename, str(Path.cwd()), sys.prefix):
        assert private not in page + plot


def test_no_module_of_the_benchmarks_needs_one_that_needs_it() -> None:
    """Nor within a function, or for types."""
    files = {"benchmarks." + ".".join(path.relative_to(BENCHMARKS).with_suffix("").parts): path for path in MODULES}
    needed = {name: files.keys() & set(imported(path)) for name, path in files.items()}
    assert "benchmarks.iofree" in needed["benchmarks.bytecodes"]
    TopologicalSorter(needed).prepare()


def imported(path: Path) -> Iterator[str]:
    """Yield the full names of all that a module imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# --- the guard -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "speed", "code"),
    [(1.2, 2.0, 0), (1.21, 2.0, 1), (1.21, 2.2, 0), (1.21, 1.0, 1)],
    ids=["at the edge", "over it", "over it on a slower machine", "over it on a quicker machine"],
)
def test_the_guard_fails_for_what_is_a_fifth_slower(figure: float, speed: float, code: int) -> None:
    name = "lone async request"
    assert iofree.guard({name: figure, iofree.SPEED: speed}, {name: 1.0, iofree.SPEED: 2.0}) == code


def test_the_guard_passes_where_nothing_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    assert iofree.guard({"lone async request": 9.9, iofree.SPEED: 2.0}, None) == 0
    assert "nothing to compare with" in capsys.readouterr().out


def test_stored_figures_are_of_work_that_is_measured() -> None:
    names = set(iofree.measure(0.0))
    assert set(iofree.BUDGETS) <= names
    for figures in iofree.stored().values():
        assert set(figures) <= names


@pytest.mark.skipif(not bytecodes.CAN_COUNT, reason="instructions can be counted from CPython 3.12 on")
def test_the_io_free_path_takes_no_more_instructions_than_are_stored() -> None:
    """No timing: the count is the same each time. `python -m benchmarks.bytecodes --store` stores others."""
    known = bytecodes.stored()
    if sys.version_info >= (3, 14):
        pytest.skip("figures are kept for CPython 3.12 and 3.13")
    found = bytecodes.count()
    assert set(found) == set(known)
    too_many = {
        name: (figure, known[name]) for name, figure in found.items() if figure > bytecodes.MARGIN * known[name]
    }
    assert too_many == {}


# --- what is told of it ----------------------------------------------------------------------------------------------

TOLD = {
    "one call at a time": "W1",
    "1000 calls at a time": "W2-1000",
    "batches of 100 calls": "W4",
    "1 MB each way": "W6",
    "connect, call, close": "W7",
}
COLUMNS = ("tieline", "aiorpcx", "grpc", "pjrpc", "buffered")


def number(cell: str) -> float:
    """Return the first number of a cell, whose thousands are apart."""
    found = re.match(r"[0-9][0-9 .]*", cell)
    assert found is not None, cell
    return float(found[0].replace(" ", ""))


def test_the_readme_says_what_the_results_say() -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (ROOT / "README.md").read_text(encoding="utf-8").partition("## Performance")[2].splitlines()
        if line.startswith("| ")
    ][1:]
    assert [row[0] for row in rows] == list(TOLD)
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    for title, *cells in rows:
        table = results.partition(f"\n## {TOLD[title]}: ")[2].partition("\n## ")[0]
        for peer, cell in zip(COLUMNS, cells, strict=True):
            if cell:
                (line,) = [line for line in table.splitlines() if line.startswith(f"| {CASES[peer].title} |")]
                measured = line.split("|")
                assert number(cell) == pytest.approx(number(measured[2].strip()), rel=0.03), (title, peer)
                if "(" in cell:
                    told = float(cell.partition("(")[2].rstrip("x)"))
                    assert told == pytest.approx(float(measured[7].strip().rstrip("x")), rel=0.05), title
