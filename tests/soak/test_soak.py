# SPDX-License-Identifier: MIT
"""The short form of `make soak`, a few seconds on each loop, and that its ledger sees what it is there to see."""

from __future__ import annotations

import math
import random

import pytest

from tests.soak.figures import floors, slope
from tests.soak.ledger import End, Ledger
from tests.soak.running import Plan, soak
from tieline.runtimes.trio.turns import MANY_CANCELLED

SECONDS, CLIENTS, PAUSE = 2.0, 30, 0.1
# What stays for a while, and how many of it at most. One each for every address that has come. A cancelled timer
# waits on trio until its nursery, which each of the five servers has for itself, holds 64 of them; on asyncio, with the
# context of the handler that slept, until it is due or until there are 100 of them.
SERVERS = 5
BOUNDED = {
    "tieline.wire.governance.Account": 1024,
    "tieline.runtimes.admission._Past": 1024,
    "tieline.runtimes.trio.turns._Timer": SERVERS * MANY_CANCELLED,
    "tieline.rpc.walking.Walk": 100,
}


@pytest.mark.row("S11", "S7")
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_nothing_is_lost_or_doubled_or_left_behind_among_hostile_clients(loop: str) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    plan = Plan(loop, CLIENTS, SECONDS, seed, PAUSE)
    outcome = soak(plan, lambda *_: None)
    assert not outcome.faults(), f"seed {seed}"
    assert outcome.ledger.ends[End.ANSWERED] > CLIENTS
    assert outcome.ledger.ends[End.CUT] > 0  # some orders had not been answered when the server was killed
    assert outcome.kills > 0
    # All clients have left in between and at the end. Each has had a connection since then, most of them one.
    assert len(outcome.ebbs) > 1
    ours = {name: more for name, more in outcome.grown.items() if name.startswith("tieline.")}
    grown = {name: more for name, more in ours.items() if more > BOUNDED.get(name, CLIENTS // 2 - 1)}
    assert not grown, f"seed {seed}, more objects than before: {grown}"


def test_the_ledger_sees_what_is_lost_doubled_or_wrong() -> None:
    ledger = Ledger()
    for number in range(6):
        ledger.enter(("ann", number), number * 10)
    assert not ledger.is_balanced
    ledger.answer(("ann", 0), 0)
    ledger.end(("ann", 1), End.GIVEN_UP)
    assert (ledger.lost, ledger.doubled, ledger.wrong, ledger.open_orders) == (0, 0, 0, 4)
    ledger.answer(("ann", 0), 0)
    ledger.answer(("bob", 0), 0)
    assert ledger.doubled == 2
    ledger.answer(("ann", 2), 30)
    assert ledger.wrong == 1
    ledger.lose(("ann", 3), TimeoutError("never"))
    assert ledger.lost == 1
    ledger.check("notes", 3, 2)
    ledger.check("notes", 2, 3)
    assert (ledger.lost, ledger.doubled, ledger.open_orders) == (2, 3, 2)
    assert len(ledger.faults) == 6
    with pytest.raises(AssertionError, match="made twice"):
        ledger.enter(("ann", 4), 0)


@pytest.mark.parametrize("faulty", ["open", "lost", "doubled", "wrong"])
def test_each_of_them_alone_is_told(faulty: str) -> None:
    ledger = Ledger()
    ledger.enter(("ann", 1), "answer")
    if faulty == "lost":
        ledger.lose(("ann", 1), "no reason")
    elif faulty != "open":
        ledger.answer(("ann", 1), "answer" if faulty == "doubled" else "another")
    if faulty == "doubled":
        ledger.answer(("ann", 1), "answer")
    assert not ledger.is_balanced


def test_the_slope_is_that_of_nearly_all_points() -> None:
    straight = [(float(at), 5.0 + 2.0 * at) for at in range(1000)]
    assert slope(straight) == pytest.approx(2.0)
    assert slope([*straight, (1000.0, 1e9)]) == pytest.approx(2.0)
    assert math.isnan(slope([(1.0, 1.0)]))


def test_the_floors_are_what_memory_comes_down_to() -> None:
    points = [(float(at), 100.0 + at + (50 if at % 3 else 0)) for at in range(240)]
    assert all(size == 100.0 + at for at, size in floors(points))
    assert len(floors(points)) == 12
    assert slope(floors(points)) == pytest.approx(1.0)
    assert floors([]) == []
