# SPDX-License-Identifier: MIT
"""Forked processes: which connections they must leave alone.

Two processes that read one connection would each get a part of what comes. So in the child all connections that were
made before the fork count as lost, without a word to the peer; in the parent nothing changes. (`subprocess` does not
come here: its children run other programs, and inherit no sockets.)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from typing import Protocol

    class Pump(Protocol):
        def left_behind(self) -> None: ...


__all__ = ["PUMPS"]

# All that there are.
PUMPS: Final[WeakSet[Pump]] = WeakSet()


def _leave_behind() -> None:
    for pump in list(PUMPS):
        pump.left_behind()


if hasattr(os, "register_at_fork"):  # Windows has none, and no fork
    os.register_at_fork(after_in_child=_leave_behind)
