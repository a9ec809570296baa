# SPDX-License-Identifier: MIT
"""The kit for framers: all of ours pass it, and each deliberate fault fails it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.testing.failing import failing
from tieline import (
    ContentLengthFramer,
    FramerBase,
    JSONStreamFramer,
    LengthPrefixedFramer,
    NetstringFramer,
    NewlineFramer,
    RecordSeparatorFramer,
    VarintFramer,
)
from tieline.exceptions import MessageTooLarge
from tieline.testing import FRAMER_CASES, Case, FramerRig

TEXTS = [b'{"a": 1}', b"[]", b'"' + b"x" * 400 + b'"', b"17"]
ANY = [b"", b"x", b"\0\n:,", b"y" * 400]
LIMIT = 1000

RIGS = {
    "newline": FramerRig(lambda: NewlineFramer(max_size=LIMIT), [*TEXTS, b"x"], limit=LIMIT),
    "content-length": FramerRig(
        lambda: ContentLengthFramer(max_size=LIMIT),
        ANY,
        [b"Nonsense\r\n\r\n", b"Content-Length: -1\r\n\r\n"],
        limit=LIMIT,
        overhead=9000,
    ),
    "length-prefixed": FramerRig(lambda: LengthPrefixedFramer(max_size=LIMIT), ANY, [b"\xff\xff\xff\xff"], limit=LIMIT),
    "varint": FramerRig(lambda: VarintFramer(max_size=LIMIT), ANY, [b"\xff" * 10], limit=LIMIT),
    "netstring": FramerRig(lambda: NetstringFramer(max_size=LIMIT), ANY, [b"1;x,", b"1:xx", b"01:x,"], limit=LIMIT),
    "json stream": FramerRig(lambda: JSONStreamFramer(max_size=LIMIT), TEXTS[:3], [b"}", b"]"]),
    "record separator": FramerRig(lambda: RecordSeparatorFramer(max_size=LIMIT), TEXTS, limit=LIMIT),
}


@pytest.mark.row("F1", "F2", "F3", "F4", "F5", "F6")
@pytest.mark.parametrize("case", FRAMER_CASES, ids=str)
@pytest.mark.parametrize("name", RIGS)
def test_our_framers(name: str, case: Case) -> None:
    case.run(RIGS[name])


class Line(FramerBase):
    """A right one, to be broken."""

    def __init__(self) -> None:
        self._held = b""

    def frame(self, messages: Iterable[bytes]) -> bytes:
        return b"".join(message + b"\n" for message in messages)

    def messages(self, data: bytes) -> Iterator[bytes]:
        *lines, self._held = (self._held + data).split(b"\n")
        self.pending = len(self._held)
        yield from lines


class ForgetsTheRest(Line):
    def messages(self, data: bytes) -> Iterator[bytes]:
        yield from super().messages(data)
        self._held = b""


class KeepsTheNewline(Line):
    def messages(self, data: bytes) -> Iterator[bytes]:
        return (line + b"\n" for line in super().messages(data))


class Shares(Line):
    held = b""

    def messages(self, data: bytes) -> Iterator[bytes]:
        *lines, type(self).held = (type(self).held + data).split(b"\n")
        yield from lines


class SharesOneSize(FramerBase):
    """Knows but one size, that of the message which has begun last, on whatever connection."""

    size = 0

    def __init__(self) -> None:
        self._held = b""
        self._begun = False

    def frame(self, messages: Iterable[bytes]) -> bytes:
        return b"".join(bytes([len(message)]) + message for message in messages)

    def messages(self, data: bytes) -> Iterator[bytes]:
        self._held += data
        while self._held or self._begun:
            if not self._begun:
                type(self).size, self._held, self._begun = self._held[0], self._held[1:], True
            if len(self._held) < self.size:
                break
            message, self._held, self._begun = self._held[: self.size], self._held[self.size :], False
            yield message
        self.pending = len(self._held) + self._begun


class GivesViews(Line):
    def messages(self, data: bytes) -> Iterator[bytes]:
        return map(memoryview, super().messages(data))  # type: ignore[arg-type]  # that is the point


class OneTooMany(Line):
    """Takes one byte more than it says."""

    def messages(self, data: bytes) -> Iterator[bytes]:
        for line in super().messages(data):
            self._check(len(line))
            yield line
        self._check(self.pending)

    def _check(self, size: int) -> None:
        if size > 101:
            self.pending = 0
            raise MessageTooLarge(101, size)


class NeverTells(Line):
    def messages(self, data: bytes) -> Iterator[bytes]:
        yield from super().messages(data)
        self.pending = 0


class ShowsPieces(Line):
    """Gives what has come of a line when it was told nothing."""

    def messages(self, data: bytes) -> Iterator[bytes]:
        if not data and self._held:
            data = b"\n"
        return super().messages(data)


class Stumbles(Line):
    """Raises what depends on the cut."""

    def messages(self, data: bytes) -> Iterator[bytes]:
        if data.startswith(b"\xff") or (data and max(data) > 127 and len(data) < 3):
            raise ValueError("a byte that no piece may begin with")
        return super().messages(data)


class Unbounded(Line):
    """Takes what is far over the limit."""


BROKEN: list[tuple[Any, str, dict[str, Any]]] = [
    (ForgetsTheRest, "every_cut", {}),
    (KeepsTheNewline, "round_trip", {}),
    (Shares, "framers_are_apart", {}),
    (SharesOneSize, "framers_are_apart", {}),
    (GivesViews, "round_trip", {}),
    (OneTooMany, "the_limit", {"limit": 100}),
    (NeverTells, "part_of_a_message", {}),
    (ShowsPieces, "part_of_a_message", {}),
    (Stumbles, "any_bytes[*]", {}),
    (Line, "garbage_is_told", {"garbage": [b"\x00"]}),
    (Unbounded, "the_limit", {"limit": 100, "overhead": 10}),
]


def test_a_right_framer_of_a_user_passes() -> None:
    assert failing(FRAMER_CASES, FramerRig(Line, [b"one", b"two", b"", b"x" * 400])) == set()


@pytest.mark.parametrize(("make", "case", "settings"), BROKEN, ids=[make.__name__ for make, _, _ in BROKEN])
def test_a_broken_framer_fails(make: Any, case: str, settings: dict[str, Any]) -> None:
    found = failing(FRAMER_CASES, FramerRig(make, [b"one", b"two", b"x" * 100], **settings))
    assert case in found
