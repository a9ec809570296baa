# SPDX-License-Identifier: MIT
"""Errors that are kept and told to more than one, or told with another text."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["told_anew", "with_text"]

ErrorT = TypeVar("ErrorT", bound=BaseException)
OSErrorT = TypeVar("OSErrorT", bound=OSError)


def told_anew(error: ErrorT) -> ErrorT:
    """Return an error like *error*, which is kept and may be told again, for one who is told it now.

    So frames are those of whoever was told; and what keeps the error is in no circle with them, which would stay for
    the garbage collector. Nor are those told where it was found: secrets may stand in these frames.

    It is made without the constructor of its class, which may want something else than what the error tells.
    """
    builtin = _builtin_of(error)
    # What its kind keeps by itself is told when it is pickled: `OSError.filename`, `ImportError.name`.
    _, args, *kept = builtin.__reduce__(error)
    told = _made(error, builtin, args, kept)
    told.__cause__ = error.__cause__
    told.__suppress_context__ = error.__suppress_context__
    return told


def with_text(error: OSErrorT, text: str) -> OSErrorT:
    """Return an error like *error*, but for its text; made as `told_anew` makes one, and with no cause."""
    args = (text,) if error.errno is None else (error.errno, text)
    return _made(error, _builtin_of(error), args, [])


def _builtin_of(error: BaseException) -> Any:
    kind: Any = error.__class__
    while kind.__module__ != "builtins":
        kind = kind.__base__
    return kind


def _made(error: ErrorT, builtin: Any, args: tuple[Any, ...], kept: list[Any]) -> ErrorT:
    """Return an error of the kind of *error*, with *args*, with what is *kept*, and with what else it knows."""
    told: ErrorT = builtin.__new__(error.__class__, *args)
    builtin.__init__(told, *args)
    own: Any = object.__getstate__(error)
    if isinstance(own, tuple):
        kept.append(own[1])  # what is in slots
    for values in kept:
        for name, value in values.items():
            if name not in error.__dict__:
                object.__setattr__(told, name, value)
    told.__dict__.update(error.__dict__)
    return told
