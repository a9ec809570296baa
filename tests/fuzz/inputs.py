# SPDX-License-Identifier: MIT
"""The input of a target: two bytes that choose, and what a stranger sends."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["chosen", "in_pieces", "split"]

T = TypeVar("T")


def split(data: bytes) -> tuple[int, int, bytes]:
    """Return the variant that *data* asks for, how what is sent is to be cut, and what is sent."""
    return data[0] if data else 0, data[1] if len(data) > 1 else 0, data[2:]


def chosen(variants: Sequence[T], choice: int) -> T:
    return variants[choice % len(variants)]


def in_pieces(data: bytes, cut: int) -> list[bytes]:
    """Return *data* byte by byte for 0, else cut as the number says; always the same for the same number."""
    if cut == 0:
        return [data[at : at + 1] for at in range(len(data))]
    rng = random.Random(cut)
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((1, 2, 5))))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
