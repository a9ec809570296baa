# SPDX-License-Identifier: MIT
"""What stands for what is not said: "as the limits say", and "nothing yet"."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["DEFAULT", "NOTHING", "Default", "Nothing"]


class Default(Enum):
    """The type of `DEFAULT`, which stands for "what the limits say" in signatures."""

    DEFAULT = "DEFAULT"

    def __repr__(self) -> str:
        return self.value


DEFAULT: Final = Default.DEFAULT


class Nothing(Enum):
    """The type of `NOTHING`, which stands for "no packet yet": None may be a packet."""

    NOTHING = "NOTHING"

    def __repr__(self) -> str:
        return self.value


NOTHING: Final = Nothing.NOTHING
