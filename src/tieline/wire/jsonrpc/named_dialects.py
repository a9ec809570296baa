# SPDX-License-Identifier: MIT
"""Known dialects by their names, as `dialect="lsp"` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.wire.jsonrpc import known_dialects
from tieline.wire.jsonrpc.dialects import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIALECTS", "chosen_dialect"]

DIALECTS: Final[Mapping[str, Dialect]] = {name: getattr(known_dialects, name) for name in known_dialects.__all__}


def chosen_dialect(chosen: Any) -> Dialect:
    """Return the dialect that a user means by a `Dialect`, or by the name of a known one.

    Raises:
        TypeError: It is neither.
        ValueError: No known dialect has that name.
    """
    if isinstance(chosen, Dialect):
        return chosen
    if not isinstance(chosen, str):
        raise TypeError(f"dialect must be a Dialect or the name of one, not {type(chosen).__name__}")
    if chosen not in DIALECTS:
        raise ValueError(f"unknown dialect {chosen!r}: it must be one of {', '.join(DIALECTS)}")
    return DIALECTS[chosen]
