# SPDX-License-Identifier: MIT
"""How deep a JSON text is nested, for texts that are about to leave.

Encoders in C stop where the stack of the interpreter does: at 1000 levels on CPython 3.11, at 10 000 on 3.13. From 3.14
on that is as much as the thread's memory holds, which is several times what any decoder reads; so there is a bound of
our own. Most texts are too short to reach it, or have too few brackets.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

__all__ = ["DEEP_FROM", "MAX_DEPTH", "check_depth", "is_too_deep"]

MAX_DEPTH: Final = 10_000
# Shorter texts, in bytes, cannot be nested deeper than that.
DEEP_FROM: Final = 2 * MAX_DEPTH + 2

_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_DELTAS: Final = tuple(1 if byte in b"[{" else -1 for byte in range(256))
# Trees of real data are nearly gone after a few steps.
_STEPS: Final = 8
# What a part of it has taken it never gives back: so each character is looked at once, and none is remembered. (To
# compile it takes 0.4 ms; it is seldom needed, and then kept by `re`.)
_STRINGS: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


def check_depth(text: bytes) -> None:
    """Refuse a JSON text that `is_too_deep`.

    Raises:
        ValueError: It is.
    """
    if len(text) >= DEEP_FROM and is_too_deep(text):
        raise ValueError(f"nested too deep: more than {MAX_DEPTH} levels")


def is_too_deep(text: bytes) -> bool:
    """Return whether more than `MAX_DEPTH` brackets of a JSON text are open at once."""
    # Those in strings do not matter as long as few are left.
    if _opened(text) <= MAX_DEPTH or _is_shallow(text.translate(None, _NO_BRACKETS)):
        return False
    brackets = re.sub(_STRINGS, b"", text).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_DELTAS.__getitem__, brackets)), default=0) > MAX_DEPTH


def _is_shallow(brackets: bytes) -> bool:
    """Return whether *brackets* are certainly not too deep: a few times the innermost ones are taken away."""
    for step in range(_STEPS):
        if 2 * step + _opened(brackets) <= MAX_DEPTH:  # a step takes one level away, or two
            return True
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    return False


def _opened(text: bytes) -> int:
    """Return how many brackets *text* opens; when it is more than `MAX_DEPTH`, some number over that."""
    # To replace looks for them by memchr(3), to count goes byte by byte: ten times as long where there are few.
    return sum(len(text) - len(text.replace(bracket, b"", MAX_DEPTH + 1)) for bracket in (b"[", b"{"))
