# SPDX-License-Identifier: MIT
"""The short form of `make seeds`: some seeds by chance, and all that have found something.

TIELINE_SEED=... plays from that seed on, which a failure names.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from tests.seeds import calls
from tests.seeds.lossy import Scheduler
from tests.seeds.targets import TARGETS, Target

SEED = os.environ.get("TIELINE_SEED")
SEEDS = 10


@pytest.mark.row("J11", "S6", "S7", "S10", "S13")
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_whatever_happens_on_the_way_each_order_ends_once(target: Target) -> None:
    first = int(SEED) if SEED else random.SystemRandom().randrange(1 << 30)
    for seed in [*target.known, *range(first, first + SEEDS)]:
        try:
            target.play(seed)
        except Exception as exc:
            exc.add_note(f"TIELINE_SEED={seed} plays it again")
            raise


def test_the_seeds_reach_all_that_may_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    end_of_run = Scheduler.run

    def watched(scheduler: Scheduler) -> None:
        end_of_run(scheduler)
        seen[scheduler.ending] += 1
        for end in scheduler.ends:
            outcomes = [type(one).__name__ for several in end.ended.values() for one in several]
            seen.update(outcomes)

    monkeypatch.setattr(Scheduler, "run", watched)
    for seed in range(30):
        calls.play(seed)
    assert min(seen[ending] for ending in ("after all", "any time", "cut")) > 2
    assert {"list", "RPCError", "TimeoutError", "ConnectionLost", "ClosedError"} <= seen.keys()


@pytest.mark.parametrize("target", TARGETS[:2], ids=str)
def test_a_seed_is_the_same_run_again(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[float, list[int]]] = []
    end_of_run = Scheduler.run

    def watched(scheduler: Scheduler) -> None:
        end_of_run(scheduler)
        runs.append((scheduler.now, [end.machine.bytes_received for end in scheduler.ends]))

    monkeypatch.setattr(Scheduler, "run", watched)
    for seed in (1, 4) * 2:
        target.play(seed)
    assert runs[:2] == runs[2:]
    assert runs[0] != runs[1]
