# SPDX-License-Identifier: MIT
"""What a number must be that users give, and that is reckoned with. Below all else: errors say what they cost."""

from __future__ import annotations

from math import inf

__all__ = ["check_seconds", "check_timeout", "finite_number"]


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


def check_timeout(name: str, value: float | None) -> None:
    """Refuse what is neither None nor a number of seconds, 0 or more; otherwise as `check_seconds`."""
    if value is not None:
        check_seconds(name, value, " or None")


def check_seconds(name: str, value: float, besides: str = "") -> None:
    """Refuse what is no number of seconds, 0 or more.

    Where much goes by, reckon with the value first, and ask here when that fails, or gives a time that has been.

    Args:
        name: What is asked about.
        value: Its value.
        besides: What else it may be, for the text.

    Raises:
        TypeError: It is no number that can be added to a float.
        ValueError: It is negative, or NaN.
    """
    try:
        if value + 0.0 >= 0:  # NaN is not
            return
    except TypeError:
        raise TypeError(f"{name} must be a number{besides}, not {type(value).__name__}") from None
    raise ValueError(f"{name} must be 0 or more seconds{besides}, not {value!r}")
