# SPDX-License-Identifier: MIT
"""Lines that are no messages are sorted out, wherever the stream is cut; the others are left as they are."""

from __future__ import annotations

import pytest

from tieline import MessageTooLarge, NewlineFramer
from tieline.wire.framing.stray_lines import StrayLines

# What comes, the messages in it, and the stray lines.
CASES = [
    (b'{"a":1}\n', [b'{"a":1}'], []),
    (b"[1]\n", [b"[1]"], []),
    (b" \t{}\r\n", [b" \t{}\r"], []),
    (b"hello\n{}\nbye\r\n", [b"{}"], ["hello", "bye"]),
    (b"\n\r\n{}\n", [b"{}"], []),
    (b'"text"\n1\nnull\n', [], ['"text"', "1", "null"]),
    (b"\xff\n", [], ["\ufffd"]),
    (b"half", [], []),
]


@pytest.mark.parametrize(("wire", "messages", "stray"), CASES)
def test_a_cut_at_any_place_changes_nothing(wire: bytes, messages: list[bytes], stray: list[str]) -> None:
    for cut in range(len(wire) + 1):
        seen: list[str] = []
        framer = StrayLines(NewlineFramer(), seen.append)
        assert [*framer.messages(wire[:cut]), *framer.messages(wire[cut:])] == messages
        assert seen == stray


def test_what_is_held_is_told() -> None:
    framer = StrayLines(NewlineFramer(), pytest.fail)
    assert framer.take(b"half") == ([], None)
    assert framer.pending == 4


def test_faults_come_through_behind_what_came_before() -> None:
    framer = StrayLines(NewlineFramer(5), pytest.fail)
    lines, fault = framer.take(b"{}\n123456\n[]\n")
    assert lines == [b"{}"]
    assert isinstance(fault, MessageTooLarge)
    assert framer.take(b"") == ([b"[]"], None)
    with pytest.raises(MessageTooLarge):
        list(framer.messages(b"123456"))


def test_messages_go_out_as_lines() -> None:
    assert StrayLines(NewlineFramer(), pytest.fail).frame([b"{}", b"[]"]) == b"{}\n[]\n"
