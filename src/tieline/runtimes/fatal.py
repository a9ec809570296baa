# SPDX-License-Identifier: MIT
"""What ends a program, whoever raises it: it goes on to do so, by `tieline.runtimes.host.Host.end_program`."""

from __future__ import annotations

from typing import cast

__all__ = ["fatal_in"]


def fatal_in(error: BaseException) -> BaseException | None:
    """Return the KeyboardInterrupt or SystemExit that *error* is, or that is in it, a group; else None.

    Nurseries wrap what their tasks raise in groups.
    """
    to_look_at = [error]
    while to_look_at:
        each = to_look_at.pop()
        if isinstance(each, KeyboardInterrupt | SystemExit):
            return each
        if isinstance(each, BaseExceptionGroup) and not isinstance(each, Exception):  # such ones hold nothing of it
            to_look_at += reversed(cast("BaseExceptionGroup[BaseException]", each).exceptions)
    return None
