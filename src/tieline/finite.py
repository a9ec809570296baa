# SPDX-License-Identifier: MIT
"""What a number must be that users give, and that is reckoned with. Below all else: errors say what they cost."""

from __future__ import annotations

from math import inf

__all__ = ["finite_number"]


def finite_number(name: str, value: object) -> float:
    """Return *value* as a float.

    Raises:
        TypeError: It is no int and no float.
        ValueError: It is NaN or infinite, or too large for a float.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a finite number, not one over 1e308") from None
    if not -inf < number < inf:
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return number
