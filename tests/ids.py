# SPDX-License-Identifier: MIT
"""Names of parameters that are the same in every process: tests that run side by side are told apart by them."""

import re

ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")


def plain_repr(value: object) -> str:
    """Return the repr of a parameter without addresses; for `ids=`."""
    return ADDRESS.sub("", repr(value))
