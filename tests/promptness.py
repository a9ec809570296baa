# SPDX-License-Identifier: MIT
"""How promptly things have to happen: as promised on a quiet machine, and with a stall allowed for on a busy one."""

from __future__ import annotations

import os

__all__ = ["is_slow_box", "prompt"]

# Seconds for which a busy machine may stop a process that has all it needs.
STALL = 2.0


def is_slow_box() -> bool:
    """Return whether times are judged with the patience that the spec grants to a loaded box.

    One is where other tests run beside these: strict are `make attack` and `make test JOBS=0`, on a quiet machine.
    """
    is_shared = bool(os.environ.get("CI") or os.environ.get("PYTEST_XDIST_WORKER"))
    return is_shared or os.getloadavg()[0] > (os.cpu_count() or 1)


def prompt(seconds: float) -> float:
    """Return how many seconds something may take here that is promised within *seconds*."""
    return seconds + (STALL if is_slow_box() else 0.0)
