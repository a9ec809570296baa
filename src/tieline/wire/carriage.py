# SPDX-License-Identifier: MIT
"""How a machine, which knows streams, wants messages that something below it keeps apart itself: a WebSocket's."""

from __future__ import annotations

from enum import Enum

__all__ = ["Carriage"]


class Carriage(Enum):
    """How messages pass between a machine and the carrier below it. None of these leaves the process."""

    COUNTED = 0  # each behind its length: they may hold anything
    LINES = 1  # each with a newline behind it: texts of JSON, in which a newline is a blank like others
    STREAM = 2  # one behind the other: where one ends is nothing to the machine, which has a framing of its own
