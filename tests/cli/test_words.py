# SPDX-License-Identifier: MIT
"""What typed arguments mean."""

import pytest

from tieline.cli.exits import Exit, Failure
from tieline.cli.words import arguments, is_number, value_of

VALUES = [
    ("1", 1), ("-5", -5), ("1.5", 1.5), ("-1e2", -100.0), ("true", True), ("null", None), ("[1, 2]", [1, 2]),
    ('{"a": "b=c"}', {"a": "b=c"}), ('"12"', "12"), ('"a=b"', "a=b"), (" 7 ", 7),
    ("hello", "hello"), ("hello world", "hello world"), ("", ""), ("True", "True"), ("None", "None"), ("01", "01"),
    ("NaN", "NaN"), ("-Infinity", "-Infinity"), ("1e999", "1e999"), ("[1,", "[1,"), ("'a'", "'a'"),
    ("[" * 100_000, "[" * 100_000), ("1" * 5000, "1" * 5000), ("12345678901234567890123", 12345678901234567890123),
]  # fmt: skip


@pytest.mark.parametrize(("word", "value"), VALUES, ids=lambda value: str(value)[:20])
def test_a_word_is_json_or_a_text(word: str, value: object) -> None:
    found = value_of(word)
    assert (found, type(found)) == (value, type(value))


ARGUMENTS: list[tuple[list[str], object]] = [
    ([], []),
    (["1", "two"], [1, "two"]),
    (["a=1", "b=two", "c="], {"a": 1, "b": "two", "c": ""}),
    (["key=a=b"], {"key": "a=b"}),
    (["with-dash.and.dot=[1]"], {"with-dash.and.dot": [1]}),
    (["größe=1"], {"größe": 1}),
    (["http://x/?a=b"], ["http://x/?a=b"]),
    (["=a", "1=2", "-a=1"], ["=a", "1=2", "-a=1"]),
    (["text=a\nb"], {"text": "a\nb"}),
]


@pytest.mark.parametrize(("words", "value"), ARGUMENTS)
def test_words_are_arguments_by_position_or_by_name(words: list[str], value: object) -> None:
    assert arguments(words) == value


@pytest.mark.parametrize(
    ("words", "text"),
    [(["a=1", "2"], "not both: a=1 has a name, 2 has none"), (["a=1", "a=2"], "'a' is given twice")],
)
def test_names_and_positions_do_not_mix(words: list[str], text: str) -> None:
    with pytest.raises(Failure, match=text) as caught:
        arguments(words)
    assert caught.value.code is Exit.USAGE


@pytest.mark.parametrize(
    ("word", "answer"), [("-5", True), ("-0.5e3", True), ("7", True), ("--5", False), ("-x", False), ("-", False)]
)
def test_a_negative_number_is_told_from_an_option(word: str, answer: bool) -> None:
    assert is_number(word) == answer
