# SPDX-License-Identifier: MIT
"""Limits for the machines of tests, which make tens of thousands of machines with the same few."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tieline.wire.limits import Limits


@lru_cache(maxsize=1024, typed=True)
def limited(*, accepted: bool, **limits: Any) -> Limits:
    """Return `Limits` with these fields, for an accepted or a dialled connection: to check 30 fields takes a while."""
    return Limits(**limits).resolved(accepted=accepted)
