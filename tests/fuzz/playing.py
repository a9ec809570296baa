# SPDX-License-Identifier: MIT
"""The corpus of the targets, and inputs that are spoiled at random, for where no fuzzer is."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.attacks.fuzzing import cut, flip, repeat
from tests.fuzz.targets import Target

__all__ = ["CORPUS", "corpus_of", "spoiled", "write_corpus"]

CORPUS = Path(__file__).with_name("corpus")


def corpus_of(target: Target) -> list[bytes]:
    """Return the inputs that fuzzing has found to be worth keeping: a line each, in hexadecimal digits."""
    path = CORPUS / f"{target.name}.txt"
    return [bytes.fromhex(text) for text in path.read_text("ascii").split()] if path.exists() else []


def write_corpus(target: Target, inputs: Sequence[bytes]) -> None:
    path = CORPUS / f"{target.name}.txt"
    path.write_text("".join(f"{data.hex()}\n" for data in sorted(inputs, key=lambda data: (len(data), data))), "ascii")


def spoiled(inputs: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Yield inputs, each one of *inputs* that was changed here and there; the same for the same seed, for ever."""
    rng = random.Random(seed)
    while True:
        data = rng.choice(inputs)
        for _ in range(rng.choice((1, 1, 2, 4))):
            if not data:
                break
            change = rng.choice((flip, cut, repeat, None))
            data = join(data, rng.choice(inputs), rng) if change is None else change(data, rng)
        yield data[:4000]


def join(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return the one input with a part of the other in it."""
    start, end = sorted((rng.randrange(len(other) + 1), rng.randrange(len(other) + 1)))
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at:]
