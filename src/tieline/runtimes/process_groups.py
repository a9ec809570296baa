# SPDX-License-Identifier: MIT
"""What a child of ours has started: the groups of its session, and what is left of them when it has ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["groups_of_session", "has_living_members", "reap_members"]

# The states of `/proc/N/stat` in which a process does nothing any more.
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


def groups_of_session(session: int) -> set[int]:
    """Return the process groups of a session that have a living member; none where the system does not tell.

    A shell with job control, and programs such as `timeout`, give groups of their own to what they start.
    """
    return {group for group, its_session in _living() if its_session == session}


def has_living_members(group: int) -> bool:
    """Return whether any process of the group still does something.

    One that has ended and that nobody waits for, as orphans of a container may be left, counts for the system as a
    member all the same. Where the system does not tell, True.
    """
    is_told = False
    for its_group, _ in _living():
        is_told = True
        if its_group == group:
            return True
    return not is_told


def _living() -> Iterator[tuple[int, int]]:
    """Yield the group and the session of each process that still does something; nothing where there is no /proc."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if not name.isdecimal():
            continue
        try:
            # Behind the name in brackets: the state, the parent, the group, the session.
            state, _, group, session, *_ = _read(f"/proc/{name}/stat").rpartition(b")")[2].split(maxsplit=4)
        except (OSError, ValueError):  # it has gone meanwhile
            continue
        if state.decode() not in _DEAD:
            yield int(group), int(session)


def _read(path: str) -> bytes:
    """Return how a file begins. `open` is gone already where a client is forgotten until the interpreter ends."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)
