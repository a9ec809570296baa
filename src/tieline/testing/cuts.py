# SPDX-License-Identifier: MIT
"""Streams in pieces: the ways in which a network may cut what was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["TURNS", "cuts_of", "in_pieces"]

# Streams up to this length are cut at each place and into single bytes; longer ones at both ends and here and there.
SHORT: Final = 300
ENDS: Final = 60
LONGEST_BYTE_BY_BYTE: Final = 10_000
# How many bytes come at once of each of two streams that come in turns: so that now they are at the same place of what
# they say, and now at others.
TURNS: Final = ((1, 1), (1, 3), (3, 2))


def in_pieces(data: bytes, size: int) -> list[bytes]:
    """Return *data* in pieces of *size* bytes; the last one may be shorter."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def cuts_of(data: bytes) -> Iterator[list[bytes]]:
    """Yield *data* in various pieces: whole, byte by byte, by two and three bytes, and split once at each position.

    If *data* is long, it is only split once, at some positions.
    """
    yield [data]
    places: Iterable[int] = range(1, len(data))
    if len(data) < LONGEST_BYTE_BY_BYTE:
        yield from (in_pieces(data, size) for size in (1, 2, 3))
    if len(data) > SHORT:
        step = len(data) // ENDS + 1
        places = [*range(1, ENDS), *range(ENDS, len(data), step), *range(len(data) - ENDS, len(data))]
    yield from ([data[:place], data[place:]] for place in places)
