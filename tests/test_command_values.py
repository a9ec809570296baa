# SPDX-License-Identifier: MIT
"""Commands and standard streams as endpoints: what they may be, how URLs name them, and what their texts tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tieline
from tieline import Command, Stdio, parse

PARSED = [
    ("cmd:clangd", ("clangd",)),
    ("cmd:clangd --log=error", ("clangd", "--log=error")),
    ("cmd: clangd  --log=error ", ("clangd", "--log=error")),
    (
        "CMD:/usr/bin/env 'two words' \"and 'more'\" back\\ slash",
        ("/usr/bin/env", "two words", "and 'more'", "back slash"),
    ),
    ("cmd:echo $HOME * ''", ("echo", "$HOME", "*", "")),
    ("cmd:grüße ä", ("grüße", "ä")),
]


@pytest.mark.row("D4")
@pytest.mark.parametrize(("url", "argv"), PARSED)
def test_commands_are_split_as_in_a_shell(url: str, argv: tuple[str, ...]) -> None:
    endpoint = parse(url)
    assert isinstance(endpoint, Command)
    assert endpoint.argv == argv
    assert parse(endpoint.url) == endpoint


@pytest.mark.row("D4")
def test_stdio_has_nothing_behind_its_colon() -> None:
    assert parse("stdio:") == Stdio()
    assert str(Stdio()) == Stdio().url == "stdio:"
    assert Stdio().tls is None


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("cmd:", "needs a program"),
        ("cmd:   ", "needs a program"),
        ("cmd:'open", "quoted wrongly: No closing quotation"),
        ("cmd:a \\", "quoted wrongly"),
        ("cmd:''", "must begin with a program"),
        ("cmd:a\0b", "must hold no NUL"),
        ("stdio:x", "ends after its colon"),
        ("stdio://", "ends after its colon"),
    ],
)
def test_what_is_no_command_is_told(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse(url)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"argv": []}, ValueError, "must begin with a program"),
        ({"argv": "clangd --log"}, TypeError, "a sequence"),
        ({"argv": b"clangd"}, TypeError, "a sequence"),
        ({"argv": Path("clangd")}, TypeError, "a sequence"),
        ({"argv": ["a", b"b"]}, TypeError, "must hold strings, not bytes"),
        ({"argv": ["a\0"]}, ValueError, "no NUL"),
        ({"argv": ["a"], "env": {"A": 1}}, TypeError, "env must hold strings, not int"),
        ({"argv": ["a"], "env": {"A": "\0"}}, ValueError, "env must hold no NUL"),
        ({"argv": ["a"], "stderr": "pipe"}, ValueError, "keep, inherit, discard or a function, not 'pipe'"),
        ({"argv": ["a"], "stderr": None}, TypeError, "or a function, not NoneType"),
        ({"argv": ["a"], "stray_lines": "error"}, ValueError, "refuse, skip or a function"),
        ({"argv": ["a"], "grace": -1}, ValueError, "grace must be"),
        ({"argv": ["a"], "grace": float("inf")}, ValueError, "grace must be"),
        ({"argv": ["a"], "grace": "5"}, TypeError, "^grace must be a number, not str"),
        ({"argv": ["a"], "grace": 1j}, TypeError, "^grace must be a number, not complex"),
        ({"argv": ["a"], "grace": 10**400}, ValueError, "^grace must be a finite number >= 0, not one beyond 1e308"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(given: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Command(**given)


def test_commands_are_values() -> None:
    one = Command(["prog", Path("file")], env={"B": "2", "A": "1"}, cwd=Path("/tmp"))
    other = Command(("prog", "file"), env=(("A", "1"), ("B", "2")), cwd="/tmp")
    assert one == other
    assert hash(one) == hash(other)
    assert one.environment == {"A": "1", "B": "2"}
    assert Command(["/usr/bin/prog"]).environment is None
    assert Command(["/usr/bin/prog"]).program == "prog"


@pytest.mark.row("H80")
def test_texts_tell_neither_arguments_nor_environment() -> None:
    secret = Command(["/bin/prog", "--token=hunter2"], env={"PASSWORD": "hunter3"})
    session = tieline.connect(secret)
    for text in (str(secret), repr(secret), repr(session)):
        assert "hunter" not in text
        assert "cmd:/bin/prog ..." in text
    assert str(Command(["two words"])) == "cmd:'two words'"
