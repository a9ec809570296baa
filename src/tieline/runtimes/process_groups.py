# SPDX-License-Identifier: MIT
"""What is left of a process group whose leader, a child of ours, has ended and was waited for."""

from __future__ import annotations

import os

__all__ = ["has_living_members", "reap_members"]

# Of `/proc/N/stat`, behind the name in brackets: the state, the parent, the group.
_DEAD = frozenset("ZXx")


def reap_members(group: int) -> None:
    """Have the system forget those that have ended and have become children of ours.

    So it is where this process is the first of a container, or has made itself the one who inherits orphans. Nobody
    else could do it, and nobody else knows of them.
    """
    try:
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    except OSError:  # none of them is a child of ours
        pass


def has_living_members(group: int) -> bool:
    """Return whether any process of the group still does something.

    One that has ended and that nobody waits for, as orphans of a container may be left, counts for the system as a
    member all the same. Where the system does not tell, True.
    """
    try:
        names = os.listdir("/proc")
    except OSError:
        return True
    is_told = False
    for name in names:
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, _, its_group, *_ = file.read().rpartition(b")")[2].split(maxsplit=3)
        except (OSError, ValueError):  # it has gone meanwhile
            continue
        is_told = True
        if int(its_group) == group and state.decode() not in _DEAD:
            return True
    return not is_told
