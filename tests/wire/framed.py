# SPDX-License-Identifier: MIT
"""Streams through framers, in pieces of any size: what comes of them, and how much work that was."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tieline.errors import MessageTooLarge, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tieline.wire.framing.base import FramerBase

# How a framer is made, the bytes, the messages that come of them, then the text of the fault that ends the stream or
# how many bytes stay pending.
Row = tuple["Callable[[], FramerBase[Any]]", bytes, list[Any], str | int]


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def played(framer: FramerBase[Any], pieces: Iterable[bytes]) -> tuple[list[Any], str | int]:
    """Return the messages of a stream, and its fault or what stays pending, as rows have them.

    Checks what holds for every framer that cannot go on behind a fault: it holds nothing then, and says the same again.
    """
    seen: list[Any] = []
    end: str | None = None
    for piece in pieces:
        taken, fault = framer.take(piece)
        seen += taken
        if end is not None:
            assert taken == []
            assert str(fault) == end
        elif fault is not None:
            assert isinstance(fault, RemoteProtocolError)
            assert fault.__traceback__ is None
            assert framer.pending == 0
            end = str(fault)
    return seen, framer.pending if end is None else end


def cuts_of(data: bytes) -> Iterator[list[bytes]]:
    """Yield *data* whole, byte by byte, in twos and threes, and cut once at each place (at some, if it is long)."""
    yield [data]
    places: Iterable[int] = range(1, len(data))
    if len(data) < 10_000:
        yield from (in_pieces(data, size) for size in (1, 2, 3))
    if len(data) > 300:
        places = [*range(1, 60), *range(60, len(data), len(data) // 60 + 1), *range(len(data) - 60, len(data))]
    yield from ([data[:place], data[place:]] for place in places)


def without_progress(end: str | int) -> str | int:
    """Return the end of a stream without how much of a message had come, which depends on the cuts."""
    return end.split(": at least")[0] if isinstance(end, str) else end


def check_row(row: Row, behind: bytes = b"") -> None:
    """Play a row in all pieces; with *behind*, where it ends between two messages, a good one behind it as well."""
    make, data, messages, end = row
    for pieces in cuts_of(data):
        seen, seen_end = played(make(), pieces)
        assert (seen, without_progress(seen_end)) == (messages, end), pieces if len(data) < 300 else len(pieces[0])
    # As a generator it gives the same, and raises what `take` returns, as often as it is asked.
    framer = make()
    got: list[Any] = []
    for piece in (data, b""):
        fault = None
        try:
            for message in framer.messages(piece):
                got.append(message)  # noqa: PERF402  # what came before a fault is kept by this alone
        except RemoteProtocolError as exc:
            fault = exc
        assert end == (framer.pending if fault is None else without_progress(str(fault)))
        assert isinstance(fault, MessageTooLarge) is str(end).startswith("message too large")
    assert got == messages
    if end == 0 and behind:
        good, _ = make().take(behind)
        assert good
        for pieces in cuts_of(data + behind):
            assert played(make(), pieces) == ([*messages, *good], 0)


def calls_made_for(framer: FramerBase[Any], pieces: list[bytes]) -> int:
    """Return how many Python and C functions were called to take *pieces* to the last fault."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for piece in pieces:
            framer.take(piece)
    finally:
        sys.setprofile(before)
    return calls
