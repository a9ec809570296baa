# SPDX-License-Identifier: MIT
"""What peers say, on a terminal."""

import json

import pytest

from tieline.cli.showing import as_json, line, printed, readable

READABLE = [
    ("hello", "hello"),
    ("two\nlines\tand a tab", "two\nlines\tand a tab"),
    ("größer \u2264 🙂", "größer \u2264 🙂"),
    ("\x1b[2Jgone \x07 \x9b1m", "\\u001b[2Jgone \\u0007 \\u009b1m"),
    ("safe\u202etxt.exe", "safe\\u202etxt.exe"),
    ("\ud800", "\\ud800"),
    ("\U000e0001", "\\U000e0001"),
    (1, "1"), (1.0, "1.0"), (None, "null"), (True, "true"), ([], "[]"), ({"ä": "\x9b"}, '{"ä": "\\u009b"}'),
    (list(range(3)), "[0, 1, 2]"),
    (["x" * 50] * 2, '[\n  "' + "x" * 50 + '",\n  "' + "x" * 50 + '"\n]'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), READABLE, ids=lambda value: ascii(value)[:20])
def test_values_for_people_cannot_move_the_cursor(value: object, text: str) -> None:
    assert readable(value) == text


def test_a_line_is_one_line_and_not_endless() -> None:
    assert line("a\nb\rc") == "a\\u000ab\\u000dc"
    assert len(line("x" * 100_000)) < 1000
    assert printed("a\nb") == "a\nb"


@pytest.mark.parametrize("value", [{"a": ["ä", "\x1b", "\ud800"]}, 1, None, "x\ny"])
def test_values_for_programs_are_one_line_of_ascii(value: object) -> None:
    text = as_json(value)
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text) == value
