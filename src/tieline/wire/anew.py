# SPDX-License-Identifier: MIT
"""Errors that are kept, and told to more than one."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["told_anew"]

ErrorT = TypeVar("ErrorT", bound=BaseException)


def told_anew(error: ErrorT) -> ErrorT:
    """Return an error like *error*, which is kept and may be told again, for one who is told it now.

    So frames are those of whoever was told; and what keeps the error is in no circle with them, which would stay for
    the garbage collector. Nor are those told where it was found: secrets may stand in these frames.

    It is made without the constructor of its class, which may want something else than what the error tells.
    """
    kind = error.__class__
    builtin: Any = kind
    while builtin.__module__ != "builtins":
        builtin = builtin.__base__
    # What its kind keeps by itself is told when it is pickled: `OSError.filename`, `ImportError.name`.
    _, args, *kept = builtin.__reduce__(error)
    told: ErrorT = builtin.__new__(kind, *args)
    builtin.__init__(told, *args)
    own: Any = object.__getstate__(error)
    if isinstance(own, tuple):
        kept.append(own[1])  # what is in slots
    for values in kept:
        for name, value in values.items():
            if name not in error.__dict__:
                object.__setattr__(told, name, value)
    told.__dict__.update(error.__dict__)
    told.__cause__ = error.__cause__
    told.__suppress_context__ = error.__suppress_context__
    return told
