# SPDX-License-Identifier: MIT
"""Arguments as people type them: JSON where it is JSON, plain words else, and ``name=value``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from math import isfinite
from typing import Any, Final

from tieline.cli.exits import Exit, Failure

__all__ = ["arguments", "is_number", "json_value", "value_of"]

_NAMED: Final = re.compile(r"(?P<name>[^\W\d][\w.-]*)=(?P<value>.*)", re.DOTALL)
_NUMBER: Final = re.compile(r"-?[0-9]")


def arguments(words: Sequence[str]) -> list[Any] | dict[str, Any]:
    """Return what *words* mean: a list, or a dict when they are ``name=value``.

    Raises:
        Failure: Some are named and some are not, or a name comes twice.
    """
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for word in words:
        match = _NAMED.fullmatch(word)
        if match is None:
            positional.append(value_of(word))
        elif match["name"] in named:
            raise Failure(Exit.USAGE, f"the argument {match['name']!r} is given twice")
        else:
            named[match["name"]] = value_of(match["value"])
    if positional and named:
        by_name, by_position = _first(words, named=True), _first(words, named=False)
        raise Failure(
            Exit.USAGE,
            f"arguments go by name or by position, not both: {by_name} has a name, {by_position} has none "
            f"(a text with an = in it is written as JSON: '\"a=b\"')",
        )
    return named or positional


def value_of(word: str) -> Any:
    """Return the JSON value that *word* is, or *word* itself."""
    try:
        return json_value(word)
    except ValueError:
        return word


def json_value(text: str) -> Any:
    """Return the value that *text* is in JSON, of which Python takes more than there is.

    Raises:
        ValueError: It is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("too many brackets are open at once") from None  # one frame for each of them


def is_number(word: str) -> bool:
    """Return whether *word* is a number, such as may begin with the sign that options begin with."""
    return _NUMBER.match(word) is not None and isinstance(value_of(word), int | float)


def _first(words: Sequence[str], *, named: bool) -> str:
    return next(word for word in words if (_NAMED.fullmatch(word) is not None) == named)


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON, although Python accepts it")


def _finite(word: str) -> float:
    number = float(word)
    if not isfinite(number):
        raise ValueError(f"{word} is not a number that a float can hold")
    return number
