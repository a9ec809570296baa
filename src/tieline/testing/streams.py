# SPDX-License-Identifier: MIT
"""The kit for stream transports: rows T1 to T4 and T7."""

from __future__ import annotations

from typing import Final

from tieline.testing.stream_ending import ENDING
from tieline.testing.stream_reading import READING
from tieline.testing.stream_writing import WRITING

__all__ = ["STREAM_CASES"]

STREAM_CASES: Final = READING + WRITING + ENDING
