# SPDX-License-Identifier: MIT
"""Foreign programs that an attack needs. It knows nothing of pytest, since attacks are played without it too."""

import os
import shutil

__all__ = ["Missing", "program"]


class Missing(Exception):
    """A program that an attack needs is not there, so it was not played; the text is the reason."""


def program(name: str, how_to_get_it: str) -> str:
    """Return the path of a program. Raises `Missing`; where CI is set nothing is left out, and that is a failure."""
    if found := shutil.which(name):
        return found
    reason = f"{name} is missing: {how_to_get_it}"
    assert not os.environ.get("CI"), reason
    raise Missing(reason)
