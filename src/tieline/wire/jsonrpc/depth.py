# SPDX-License-Identifier: MIT
"""How deep a JSON text is nested, for texts that are about to leave.

Encoders in C stop where the stack of the interpreter does: at 1000 levels on CPython 3.11, at 10 000 on 3.13. From 3.14
on that is as much as the thread's memory holds, which is several times what any decoder reads; so there is a bound of
our own. Most texts are too short to reach it, or have too few brackets.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DEEP_FROM", "MAX_DEPTH", "check_depth", "is_too_deep"]

MAX_DEPTH: Final = 10_000
# Shorter texts, in bytes, cannot be nested deeper than that.
DEEP_FROM: Final = 2 * MAX_DEPTH + 2

_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
# Trees of real data are gone after a few steps.
_STEPS: Final = 32
# What is no bracket of the structure: strings, and all else up to the next string or bracket.
_NO_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[^"\[\]{}]+')


def check_depth(text: bytes) -> None:
    """Refuse a JSON text that `is_too_deep`.

    Raises:
        ValueError: It is.
    """
    if len(text) >= DEEP_FROM and is_too_deep(text):
        raise ValueError(f"nested too deep: more than {MAX_DEPTH} levels")


def is_too_deep(text: bytes) -> bool:
    """Return whether more than `MAX_DEPTH` brackets of a JSON text are open at once."""
    if _opened(text) <= MAX_DEPTH:
        return False
    # Each step takes away the innermost brackets. Those in strings do not matter as long as few are left.
    brackets = text.translate(None, _NO_BRACKETS)
    for step in range(1, _STEPS):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if step + _opened(brackets) <= MAX_DEPTH:
            return False
    depth = 0
    for bracket in _NO_STRUCTURE.sub(b"", text):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _opened(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")
