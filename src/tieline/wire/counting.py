# SPDX-License-Identifier: MIT
"""Counting what is forgiven with time."""

from __future__ import annotations

__all__ = ["DecayingCount"]


class DecayingCount:
    """A count that goes down by itself at a steady rate, never below zero.

    A clock that stands still or goes back forgives nothing.
    """

    __slots__ = ("_at", "_rate", "_value")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._value = 0.0
        self._at = 0.0

    def add(self, now: float) -> float:
        """Count one more and return the count as it stands at *now* (seconds)."""
        forgiven = max(0.0, now - self._at) * self._rate
        self._value = max(0.0, self._value - forgiven) + 1.0
        self._at = now
        return self._value
