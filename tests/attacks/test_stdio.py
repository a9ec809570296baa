# SPDX-License-Identifier: MIT
"""The hostile cases of bytes and messages against a server on standard input and output: 3-5, 8-38 and 42-44.

What has to come of each is written once, in the tables of the attack program.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.cases import CASES
from tests.attacks.stdio_victim import PipePeer, StdioVictim, victim
from tests.attacks.table import Case, Error, Outcome, check_answers, check_drop, check_end, check_keep
from tests.loops import runtimes

LOOPS = [*(str(runtime) for runtime in runtimes()), "trio"]
MEGA = 1 << 20
# Beside those that are bytes alone. What counts sessions, resets, or goes on in other connections is of sockets.
PLAYED = {4, 5, 11, 12, 13, 14, 15, 16, 18}
OF_SOCKETS = ("half", "then EOF")

KEPT = [case for case in CASES if case.outcome is Outcome.KEEP and isinstance(case.play, bytes) and not case.is_alone]
ENDED = [
    case
    for case in CASES
    if case.outcome in (Outcome.END, Outcome.DROP)
    and (isinstance(case.play, bytes) or case.number in PLAYED)
    and case.number < 45
    and not any(word in case.name for word in OF_SOCKETS)
]


# Each case that ends a server needs one of its own. `make test` plays one for each number, TIELINE_LONG=1 all of them.
if not os.environ.get("TIELINE_LONG"):
    ENDED = list({case.number: case for case in ENDED}.values())


def play(case: Case, peer: PipePeer, server: StdioVictim) -> None:
    """Play a case and check all that it asks for, but for what several connections are needed for."""
    if isinstance(case.play, bytes):
        peer.send(case.play)
    else:
        case.play(peer, server)  # type: ignore[arg-type]  # it tells what these ask
    check_answers(peer, *case.answers, kind=case.kind, patience=60)
    if case.outcome is Outcome.KEEP:
        check_keep(peer, case.kind)
    elif case.outcome is Outcome.END:
        check_end(peer)
    else:
        check_drop(peer)


@pytest.mark.row("H10", "H19", "H21", "H25", "H29", "H30", "H42", "H43")
@pytest.mark.parametrize(
    ("kind", "loop"), [*(("v2", loop) for loop in LOOPS), ("strict", "trio"), ("decimal", "uvloop"), ("stdlib", "trio")]
)
def test_what_it_survives(kind: str, loop: str, tmp_path: Path) -> None:
    """One behind the other over one connection: after each it answers a good call."""
    cases = [case for case in KEPT if case.kind == kind]
    assert len(cases) >= 4
    with victim(kind, loop, tmp_path, is_lenient=True) as (peer, server):
        before = server.memory()
        for case in cases:
            play(case, peer, server)
        assert server.memory() - before < max(case.growth for case in cases)


def loop_of(index: int) -> str:
    return LOOPS[index % len(LOOPS)]


ROWS: list[Any] = [
    pytest.param(case, loop_of(index), id=f"{loop_of(index)}-{case}") for index, case in enumerate(ENDED)
]


@pytest.mark.row("H3")
@pytest.mark.parametrize("loop", LOOPS)
def test_a_message_without_an_end(loop: str, tmp_path: Path) -> None:
    """It is told when the limit is passed; what comes behind is not kept."""
    with victim("v2", loop, tmp_path) as (peer, server):
        before = server.memory()
        peer.send(b"x" * 20_000_000, patience=60)
        check_answers(peer, Error(-32600, text="message too large (limit 1048576)"), patience=60)
        check_end(peer)
        assert server.memory() - before < 8 * MEGA


@pytest.mark.row("H4", "H5", "H11", "H12", "H13", "H14", "H15", "H16", "H18")
@pytest.mark.parametrize(("case", "loop"), ROWS)
def test_what_ends_it(case: Case, loop: str, tmp_path: Path) -> None:
    """It says why, where the case wants that, closes its output, and the process ends in order."""
    with victim(case.kind, loop, tmp_path) as (peer, server):
        before = server.memory()
        play(case, peer, server)
        assert server.memory() - before < max(case.growth, 8 * MEGA)


def test_there_is_much_to_play() -> None:
    assert len(KEPT) > 100
    assert {case.number for case in ENDED} >= {4, 5, 11, 12, 13, 14, 15, 16, 18}
