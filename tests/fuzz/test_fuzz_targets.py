# SPDX-License-Identifier: MIT
"""The short form of `make fuzz`: the corpus, the seeds, and inputs spoiled at random for a moment.

TIELINE_SEED=... plays one seed again, which a failure names.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.fuzz.playing import corpus_of, spoiled
from tests.fuzz.targets import TARGETS, Target

SEED = os.environ.get("TIELINE_SEED")
INPUTS = 3000 if os.environ.get("TIELINE_LONG") else 150


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_what_was_found_before_is_still_dealt_with(target: Target) -> None:
    for data in [b"", b"\0", *target.seeds, *corpus_of(target)]:
        try:
            target.play(data)
        except Exception as exc:
            raise AssertionError(f"{target}: {data.hex()}") from exc


@pytest.mark.row("J2", "S6", "P8", "H77")
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_whatever_comes_is_dealt_with_alike_whole_and_in_pieces(target: Target) -> None:
    seed = int(SEED) if SEED else random.SystemRandom().randrange(1 << 32)
    inputs = spoiled([*target.seeds, *corpus_of(target)], seed)
    for _ in range(INPUTS):
        data = next(inputs)
        try:
            target.play(data)
        except Exception as exc:
            raise AssertionError(f"TIELINE_SEED={seed} {target}: {data.hex()}") from exc
