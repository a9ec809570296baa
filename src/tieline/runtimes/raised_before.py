# SPDX-License-Identifier: MIT
"""Exceptions that are one value, which a program raises again and again."""

from __future__ import annotations

__all__ = ["forget_raised_before"]


def forget_raised_before(error: BaseException) -> None:
    """Cut off from the traceback of *error*, which its catcher has dealt with, what is left of the time before.

    Each time that a value is raised, the frames that it passes are put before those that it has passed already. These
    refer to all that the code had which raised it: where that is a handler, a peer says how often it runs and what it
    gets. So the traceback ends where it comes to the catcher for a second time.
    """
    first = entry = error.__traceback__
    while first is not None and entry is not None:
        behind = entry.tb_next
        if behind is not None and behind.tb_frame.f_code is first.tb_frame.f_code:
            entry.tb_next = None
            return
        entry = behind
