# SPDX-License-Identifier: MIT
"""How framers hold what has come of an unfinished message, and how they take what is to be framed.

The pieces are joined once, when the message is complete. So the work is linear however the stream is cut, and the
memory about what has come, never what a peer says is to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["add_piece", "as_bytes"]

# Pieces below this size are gathered in a bytearray: as objects of their own, pieces of two bytes would take thirty
# times their size. Larger ones are kept as they came, which is cheaper than to copy them twice.
_SMALL: Final = 4096


def add_piece(held: list[bytes | bytearray], piece: bytes) -> None:
    """Add *piece*, which the stream had next, to those *held*."""
    if len(piece) >= _SMALL:
        held.append(piece)
    elif held and isinstance(last := held[-1], bytearray):
        last += piece
    else:
        held.append(bytearray(piece))


def as_bytes(messages: Iterable[bytes | bytearray | memoryview]) -> list[bytes]:
    """Return *messages* as bytes.

    Raises:
        TypeError: Something in *messages* is not bytes-like.
    """
    # bytes(memoryview(x)), since bytes(5) would be five NULs, and frame(b"text") a row of such.
    return [message if type(message) is bytes else bytes(memoryview(message)) for message in messages]
