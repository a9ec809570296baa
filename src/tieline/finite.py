# SPDX-License-Identifier: MIT
"""What a number must be that users give, and that is reckoned with. Below all else: errors say what they cost."""

from __future__ import annotations

from math import inf

__all__ = ["check_finite_seconds", "check_seconds", "check_timeout", "finite_number", "time_after"]


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


def time_after(now: float, name: str, seconds: float | None) -> float:
    """Return when so many *seconds* from *now* are over; None = never, which is inf. Otherwise as `check_timeout`."""
    if seconds is None:
        return inf
    try:
        if (end := now + seconds) >= now:  # NaN is not
            return end
    except (ArithmeticError, TypeError, ValueError):
        pass
    raise _refusal(name, seconds, may_be_none=True) from None


def check_timeout(name: str, value: float | None) -> float | None:
    """Return the seconds that *value* is, as a float, or None for None; otherwise as `check_seconds`."""
    if value is None:
        return None
    if not _is_time(value):
        raise _refusal(name, value, may_be_none=True) from None
    return float(value)


def check_seconds(name: str, value: float) -> float:
    """Return the seconds that *value* is, as a float. They are 0 or more, and may be infinite.

    A number is what can be added to a float: a fraction is one, and what numpy has.

    Args:
        name: What is asked about.
        value: Its value.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, or NaN, or too large for a float.
    """
    if not _is_time(value):
        raise _refusal(name, value) from None
    return float(value)


def check_finite_seconds(name: str, value: float, *, over_zero: bool = False) -> float:
    """Return the seconds that *value* is, which are finite, and if need be over 0; otherwise as `check_seconds`."""
    if not _is_time(value) or value + 0.0 == inf or (over_zero and not value):
        raise _refusal(name, value, wanted=f"a finite number {'over 0' if over_zero else '>= 0'}") from None
    return float(value)


def _is_time(value: float) -> bool:
    try:
        return bool(value + 0.0 >= 0)  # NaN is not
    except (ArithmeticError, TypeError, ValueError):
        return False


def _refusal(name: str, value: float, *, may_be_none: bool = False, wanted: str = "0 or more seconds") -> Exception:
    """Return the error that says what *value* is not: by itself, since what failed in reckoning with it tells less."""
    besides = " or None" if may_be_none else ""
    try:
        _ = value + 0.0 >= 0
    except OverflowError:
        return ValueError(f"{name} must be {wanted}{besides}, not one beyond 1e308")
    except (ArithmeticError, TypeError, ValueError):
        return TypeError(f"{name} must be a number{besides}, not {type(value).__name__}")
    return ValueError(f"{name} must be {wanted}{besides}, not {value!r}")
