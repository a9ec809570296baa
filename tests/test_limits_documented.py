# SPDX-License-Identifier: MIT
"""Every limit stands in the documentation as it is in the code, and has a test at its very edge.

Which tests those are is read from their files, not from a run: what was selected changes nothing.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tieline import TCP, Governance, Limits, UnixStream
from tieline.rpc import handling, outcomes, statistics
from tieline.runtimes import admission, link, link_closing, listening, tcp_sockets
from tieline.runtimes.asyncio import host
from tieline.runtimes.layers import layer
from tieline.wire import flow, governance
from tieline.wire.jsonrpc import other_codecs, paths, receiving

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "limits.md"
FIGURES = ROOT / "docs" / "explanation" / "proof.md"
FIELDS = dataclasses.fields(Limits)
POLICY = dataclasses.fields(Governance)
# What is no limit: rates, and how much of something.
UNLIMITED = {"governance", "bw_cost_per_byte", "cost_decay_per_sec", "cost_sleep", "error_base_cost", "group"}
UNLIMITED |= {"target_response_time", "processing_timeout"}  # the latter is `handler_timeout`, under another name


def rows_of(path: Path, first_cell: str) -> list[list[str]]:
    """Return the rows of the table on a page whose heading begins with *first_cell*."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_table_has_every_limit_with_its_default_and_no_others() -> None:
    rows = rows_of(PAGE, "limit")
    defaults = [[f"`{field.name}`", f"`{field.default!r}`"] for field in FIELDS]
    assert [row[:2] for row in rows] == [*defaults[:-1], ["`governance`", "`Governance()`"]]
    assert all(len(row) == 4 and all(row) for row in rows)


def test_the_table_of_the_policy_has_every_setting_with_its_default() -> None:
    rows = rows_of(PAGE, "setting")
    assert [row[:2] for row in rows] == [[f"`{field.name}`", f"`{field.default!r}`"] for field in POLICY]
    assert Limits().governance == Governance()


def test_what_the_page_says_of_presets_and_of_limits_for_servers_is_so() -> None:
    text = PAGE.read_text(encoding="utf-8")
    public = Limits.public()
    changed = {one.name: getattr(public, one.name) for one in FIELDS if getattr(public, one.name) != one.default}
    assert changed == {"max_connections_per_peer": 100}
    assert "`max_connections_per_peer` is 100 in `Limits.public()`" in text
    accepted, dialled = Limits().resolved(accepted=True), Limits().resolved(accepted=False)
    assert (accepted.max_message, dialled.max_message) == (1 << 20, 64 << 20)
    assert accepted.max_response == accepted.max_message
    assert TCP(None, 0).backlog == UnixStream("s").backlog == 1024
    assert UnixStream("s").mode == 0o600


def test_the_table_of_what_is_fixed_is_that_of_the_code() -> None:
    keepalive = dict(tcp_sockets._KEEPALIVE)
    asks = (keepalive["TCP_KEEPIDLE"], keepalive["TCP_KEEPINTVL"], keepalive["TCP_KEEPCNT"])
    assert [row[1] for row in rows_of(PAGE, "what")] == [
        f"{receiving.MESSAGES_PER_TURN}",
        f"{link.TURN_SECONDS * 1000:g} ms",
        f"{other_codecs.MAX_DIGITS}",
        f"{flow.MAX_EXCESS}",
        f"{paths.HEAVY}",
        f"{host.RECEIVE_BUFFER // 1024} KiB",
        "{} s, {} s, {}".format(*asks),
        f"{link_closing.LAST_LOOK} s",
        f"{admission.ABANDONED_OF}",
        f"{admission.HALF_LIFE:g} s",
        f"{admission.FORGOTTEN_AFTER:g} s",
        f"{admission.MAX_REMEMBERED}",
        f"{admission.MAX_TOLD}",
        f"{listening.MAX_WAITING}",
        f"{listening.RETRY_AFTER:g} s",
        f"{layer.MAX_ANSWERS}",
        f"{handling.MAX_BOUND}",
        f"1 in {outcomes.SECONDS_BETWEEN:g} s".replace("1 in 1 s", "1 a second"),
        f"{outcomes.PEERS_AT_ONCE} at once, 1 a second",
        f"{outcomes.MAX_METHODS}",
        "64",  # shown by tests of the rows H38: there is no constant for it
        f"{governance.SPARE_TIME:g} s",
        f"{statistics.MOST_METHODS}, {statistics.MOST_GROUPS}",
        f"1 in {listening.TOLD_EVERY:g} s",
    ]
    assert admission.TOLD_EVERY == listening.TOLD_EVERY
    assert outcomes.PEERS_WITHIN == outcomes.PEERS_AT_ONCE


def test_the_limits_on_the_page_of_figures_are_those_of_the_code() -> None:
    usual, public, policy = Limits(), Limits.public(), Governance().resolved(accepted=True)
    assert [row[1:] for row in rows_of(FIGURES, "what")] == [
        [f"{usual.max_connections}", f"{public.max_connections}, of one peer {public.max_connections_per_peer}"],
        ["1 MiB", "1 MiB"],
        [f"{usual.max_pending}, and {(usual.max_pending_size or 0) >> 20} MiB", "the same"],
        [f"{policy.initial_concurrent}", "the same"],
        [f"{policy.cost_soft_limit:g}", "the same"],
        [f"{policy.hard_limit:g}, forgiven in an hour", "the same"],
    ]
    assert usual.resolved(accepted=True).max_message == 1 << 20
    assert policy.cost_decay_per_sec == policy.hard_limit / 3600
    assert public.governance == usual.governance


# --- the register of tests -------------------------------------------------------------------------------------------

NAMES = [field.name for field in (*FIELDS, *POLICY) if field.name not in UNLIMITED]
AROUND = "[-1, 0, 1]"  # one below, at, and one above


def limit_of(test: str) -> str | None:
    """Return the limit after which a test is named: the longest whose name it begins with."""
    found = [name for name in NAMES if test == f"test_{name}" or test.startswith(f"test_{name}_")]
    return max(found, key=len, default=None)


def named_around(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a module's tests that run with `by` as -1, 0 and 1 and look at it."""
    values = {
        ast.unparse(node.targets[0]): ast.unparse(node.value) for node in tree.body if isinstance(node, ast.Assign)
    }
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for mark in node.decorator_list:
            if not isinstance(mark, ast.Call) or ast.unparse(mark.func) != "pytest.mark.parametrize":
                continue
            name, given = map(ast.unparse, mark.args[:2])
            if name == "'by'" and values.get(given, given) == AROUND and "by" in names_in(node.body):
                yield node.name


def names_in(body: list[ast.stmt]) -> set[str]:
    return {part.id for one in body for part in ast.walk(one) if isinstance(part, ast.Name)}


@cache
def register() -> dict[str, list[str]]:
    """Return the tests of each limit, as ``file::test``."""
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "by" not in text:
            continue
        for test in named_around(ast.parse(text)):
            if (name := limit_of(test)) is not None:
                found[name].append(f"{path.relative_to(ROOT)}::{test}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_limit_has_a_test_one_below_at_and_one_above_it(name: str) -> None:
    assert register()[name]


TESTS = """
AROUND = [-1, 0, 1]
ELSE = [-1, 1]

@pytest.mark.parametrize("by", AROUND)
def test_linger(by): assert by

@pytest.mark.parametrize("by", [-1, 0, 1])
async def test_max_pending_size_of_batches(by): assert by

@pytest.mark.parametrize("by", AROUND)
def test_max_id(by): pass

@pytest.mark.parametrize("by", ELSE)
def test_max_batch(by): assert by

@pytest.mark.parametrize("name", AROUND)
def test_max_calls(by, name): assert by

def test_max_method(by): assert by
"""


def test_the_register_takes_only_what_it_should() -> None:
    seen = list(named_around(ast.parse(TESTS)))
    assert seen == ["test_linger", "test_max_pending_size_of_batches"]
    assert [*map(limit_of, seen)] == ["linger", "max_pending_size"]
    assert limit_of("test_max_idle") is None
