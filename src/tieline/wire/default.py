# SPDX-License-Identifier: MIT
"""What stands for "as the limits say"."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["DEFAULT", "Default"]


class Default(Enum):
    """The type of `DEFAULT`, which stands for "what the limits say" in signatures."""

    DEFAULT = "DEFAULT"

    def __repr__(self) -> str:
        return self.value


DEFAULT: Final = Default.DEFAULT
