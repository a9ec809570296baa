# SPDX-License-Identifier: MIT
"""wire/websocket: what reads most frames without the core of websockets finds what that finds, at every cut."""

from __future__ import annotations

import os
from typing import Any

import pytest
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tests.wire.websocket.pairs import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    close_code,
    frame,
    framed,
    opened,
    told,
)
from tieline.wire.websocket.plain import PlainWriter

MASK = b"\x37\xfa\x21\x3d"  # the example of RFC 6455, section 5.7
STREAMS = {
    "short": [frame(TEXT, b"[1]", mask=MASK), frame(BINARY, b"\xff", mask=MASK), frame(TEXT, b"")],
    "not ascii": [frame(TEXT, "grüße".encode(), mask=MASK), frame(TEXT, "ü".encode() * 100, mask=MASK)],
    "lengths": [frame(TEXT, b"x" * size, mask=MASK) for size in (124, 125, 126, 127, 200)],
    "fragments": [frame(TEXT, b"a", fin=False), frame(PING, b"p"), frame(CONTINUATION, b"b", mask=MASK), frame(TEXT)],
    "empty fragments": [frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False), frame(CONTINUATION)],
    "not masked": [frame(TEXT, b"a"), frame(TEXT, b"b", masked=False)],
    "not masked, long": [frame(TEXT, b"a"), frame(TEXT, b"b" * 130, masked=False)],
    "reserved": [frame(TEXT, b"a"), frame(TEXT, b"b", rsv=2)],
    "opcode": [frame(BINARY, b"a"), frame(5, b"b")],
    "message in message": [frame(TEXT, b"a", fin=False), frame(TEXT, b"b")],
    "too long": [frame(TEXT, b"a"), frame(TEXT, b"x" * 301, mask=MASK)],
    "too long, in fragments": [frame(TEXT, b"x" * 200, fin=False), frame(CONTINUATION, b"x" * 101)],
    "closed": [frame(TEXT, b"a"), frame(CLOSE, b"\x03\xe8"), frame(TEXT, b"b")],
    "closed amiss": [frame(CLOSE, b"\x03")],
}


def by_the_core(stream: bytes) -> tuple[list[bytes], int | None]:
    """Return the messages that websockets finds, and the code that it closes with; None = it does not."""
    core = ServerProtocol(state=OPEN, max_size=300)
    core.receive_data(stream)
    events: list[Any] = core.events_received()
    found, parts = [], b""
    for each in events:
        if each.opcode < CLOSE:
            parts += each.data
            if each.fin:
                found.append(parts)
                parts = b""
    return found, None if core.close_sent is None else int(core.close_sent.code)


@pytest.mark.parametrize("frames", STREAMS.values(), ids=STREAMS)
def test_both_find_the_same_at_every_cut(frames: list[bytes]) -> None:
    stream = b"".join(frames)
    messages, code = by_the_core(stream)
    for cut in range(0, len(stream), 1 + len(stream) // 100):
        _, server = opened(server={"max_message": 300})
        assert told(server, stream[:cut]) + told(server, stream[cut:]) == messages, cut
        assert server.is_over is (code is not None)
        if code is not None:
            assert close_code(server.data_to_send()) == code
    _, server = opened(server={"max_message": 300})
    assert [one for byte in stream for one in told(server, bytes([byte]))] == messages


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("is_binary", [False, True])
def test_what_is_written_is_read_by_the_core(size: int, *, is_binary: bool) -> None:
    contents = [b"x" * size, b"y"]
    for written in (
        PlainWriter(is_binary=is_binary, random_bytes=os.urandom).frames(contents),
        b"".join(map(PlainWriter(is_binary=is_binary, random_bytes=os.urandom).frame, contents)),
    ):
        core = ServerProtocol(state=OPEN, max_size=None)
        core.receive_data(written)
        events: list[Any] = core.events_received()
        assert [bytes(each.data) for each in events] == contents
        assert {int(each.opcode) for each in events} == {2 if is_binary else 1}


def test_no_mask_is_used_twice() -> None:
    writer = PlainWriter(is_binary=False, random_bytes=os.urandom)
    masks = {writer.frame(b"")[2:6] for _ in range(300)}
    assert len(masks) > 298  # of four random bytes, two may be alike once in a while


def test_masks_are_asked_for_many_at_once_and_none_before_they_are_used() -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    writer = PlainWriter(is_binary=False, random_bytes=random_bytes)
    for _ in range(64):
        writer.frame(b"x")
    assert asked == [256]
    for _ in range(8):
        writer.frames([b"x"] * 8)
    assert asked == [256, 256]
    writer.frames([b"x"] * 100)
    assert asked == [256, 256, 400]


def test_between_messages_nothing_is_held() -> None:
    client, server = opened()
    assert server.is_between
    whole = client.send(framed(b"x" * 1000))
    for cut in (1, 3, 7, 8, 500, len(whole) - 1):
        told(server, whole[:cut])
        assert (server.is_between, server.is_smooth) == (False, False), cut
        told(server, whole[cut:])
        assert (server.is_between, server.is_smooth) == (True, True), cut
    for begun in (frame(TEXT, b"a", fin=False), frame(PING, b"p")[:3]):
        _, other = opened()
        told(other, begun)
        assert not other.is_between
        other.give_up_message(30)
        assert close_code(other.data_to_send()) == 1008
        assert "not complete after 30 s" in str(other.error)
