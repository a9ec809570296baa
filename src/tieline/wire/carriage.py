# SPDX-License-Identifier: MIT
"""How a machine, which knows streams, wants messages that something below it keeps apart itself: a WebSocket's.

None of this leaves the process. For type checkers alone.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["Carriage"]

# How messages pass between a machine and the carrier below it:
#
# - counted: each behind its length, so they may hold anything;
# - lines: each with a newline behind it, as texts of JSON, in which a newline is a blank like others;
# - stream: one behind the other. Where one ends is nothing to the machine, which has a framing of its own.
Carriage: TypeAlias = Literal["counted", "lines", "stream"]
