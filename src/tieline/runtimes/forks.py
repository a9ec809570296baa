# SPDX-License-Identifier: MIT
"""Forked processes: what they must leave alone.

Two processes that read one connection would each get a part of what comes. So in the child all connections of blocking
code that were made before the fork count as lost, without a word to the peer; sockets of datagrams as well. Other
threads are not there: neither does anybody wait any more, nor is the lock free that one of them had. The thread of a
server counts as stopped. In the parent nothing changes. (`subprocess` does not come here: its children run other
programs, and inherit no sockets.)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from typing import Protocol

    class Staying(Protocol):
        def left_behind(self) -> None:
            """Take note, in a process that was just forked, that this stays with the other one."""
            ...


__all__ = ["ELSEWHERE", "STAYING"]

# Why a connection is lost.
ELSEWHERE: Final = "the connection belongs to the process that this one was forked from"

# All that stays with the process that made it.
STAYING: Final[WeakSet[Staying]] = WeakSet()


def _leave_behind() -> None:
    errors: list[BaseException] = []
    for one in list(STAYING):
        try:
            one.left_behind()
        except BaseException as exc:  # of a callback that was told; all others stay there as well
            errors.append(exc)
    if errors:
        raise BaseExceptionGroup("what was told of the fork has failed", errors)  # Python prints it


if hasattr(os, "register_at_fork"):  # Windows has none, and no fork
    os.register_at_fork(after_in_child=_leave_behind)
