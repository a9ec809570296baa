# SPDX-License-Identifier: MIT
"""Rows of bytes for dialogues with proxies, and the ways to play them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tieline.errors import HTTPConnectError, SOCKSError
from tieline.wire.proxies.dialogue import Dialogue

TUNNEL = b"\x05\x00\x00 what the target says\r\n\r\n"


@dataclass(frozen=True)
class Row:
    """One dialogue: what is sent and what comes back, step by step, and what that amounts to.

    With *is_cut* the proxy ends the connection behind its last bytes.
    """

    name: str
    make: Callable[[], Dialogue[Any]]
    steps: tuple[tuple[bytes, bytes], ...]
    result: Any = None
    error: type[Exception] | None = None
    says: str = ""
    code: int | None = None
    is_cut: bool = False

    def __str__(self) -> str:
        return self.name


def whole(data: bytes, _wanted: Callable[[], int]) -> Iterator[bytes]:
    yield data


BYTES = [bytes([byte]) for byte in range(256)]


def bytewise(data: bytes, _wanted: Callable[[], int]) -> Iterator[bytes]:
    return map(BYTES.__getitem__, data)


def as_wanted(data: bytes, wanted: Callable[[], int]) -> Iterator[bytes]:
    """Read as drivers of bare sockets do."""
    while data and wanted():
        size = wanted()
        yield data[:size]
        data = data[size:]


def cut_at(position: int) -> Callable[[bytes, Callable[[], int]], Iterator[bytes]]:
    def cut(data: bytes, _wanted: Callable[[], int]) -> Iterator[bytes]:
        yield from (data[:position], data[position:])

    return cut


WAYS = [whole, bytewise, as_wanted]


def play(row: Row, way: Callable[[bytes, Callable[[], int]], Iterator[bytes]] = whole, tail: bytes = b"") -> Any:
    """Have the dialogue of *row*, and see that it ends as it says; return the dialogue.

    *tail* follows the last reply at once; none of it may be taken.
    """
    dialogue = row.make()
    for number, (sent, reply) in enumerate(row.steps):
        assert dialogue.data_to_send() == sent
        assert dialogue.data_to_send() == b""
        assert dialogue.wanted > 0
        given = reply + (tail if number == len(row.steps) - 1 else b"")
        taken = sum(map(dialogue.receive_data, way(given, lambda: dialogue.wanted)))
        assert taken <= len(reply)
        if row.error is None:
            assert taken == len(reply)
    if row.is_cut:
        assert dialogue.wanted > 0
        dialogue.receive_eof()
    assert dialogue.wanted == 0
    assert dialogue.data_to_send() == b""
    ended(row, dialogue)
    return dialogue


def heard(dialogue: Dialogue[Any], data: bytes) -> int:
    """Have *dialogue* take what it takes of *data*, with all sent that it has to send; return how much that was."""
    taken = 0
    while True:
        dialogue.data_to_send()
        more = dialogue.receive_data(data[taken:])
        if not more:
            return taken
        taken += more


def ended(row: Row, dialogue: Dialogue[Any]) -> None:
    if row.error is None:
        assert dialogue.error is None
        assert dialogue.result() == row.result
        return
    with pytest.raises((SOCKSError, HTTPConnectError)) as caught:
        dialogue.result()
    error = caught.value
    assert dialogue.error is not None
    assert dialogue.error.__traceback__ is None  # each who asks gets an error of his own
    assert str(error) == str(dialogue.error)
    assert type(error) is row.error
    assert row.says in str(error)
    assert getattr(error, "code", getattr(error, "status", None)) == row.code
