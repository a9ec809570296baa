# SPDX-License-Identifier: MIT
"""--help of every command, completion, and what is said where typer is missing."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from tests.cli.programs import PATIENCE, CommandLine, plain
from tieline.cli.app import app
from tieline.cli.exits import MEANINGS

COMMANDS = ["serve", "methods", "call", "notify", "listen", "bench", "top", "proxy-check", "demo", "version"]
TALKING = ["methods", "call", "notify", "listen", "bench", "top"]


def help_of(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "100"}, prog_name="tieline")
    assert done.exit_code == 0
    return plain(done.output)


def test_the_commands_are_listed(tieline: CommandLine) -> None:
    text = help_of()
    assert all(re.search(rf" {name} [A-Z]", text) for name in COMMANDS)
    done = tieline()
    assert (done.code, done.err) == (0, "")
    assert plain(done.out).count(" bench ") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_does_by_examples(name: str) -> None:
    text = help_of(name)
    assert f"Usage: tieline {name}" in text
    if name not in {"demo", "version"}:
        assert f"Examples: tieline {name} " in text
    assert "\\[" not in text


@pytest.mark.parametrize("name", TALKING)
def test_commands_that_talk_have_the_same_options(name: str) -> None:
    text = help_of(name)
    for option in ("framing", "protocol", "timeout", "proxy", "tls-ca", "tls-cert", "tls-key", "server-hostname"):
        assert f"--{option}" in text
    assert "content-length" in text


def test_the_exit_codes_are_listed() -> None:
    text = help_of("call")
    assert all(f" {code.value} {meaning}" in text for code, meaning in MEANINGS.items())


REFERENCE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")


def test_the_reference_has_the_same_exit_codes() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", REFERENCE, re.MULTILINE))
    assert [int(code) for code in rows] == [code.value for code in MEANINGS]
    for code, meaning in MEANINGS.items():
        assert rows[str(code.value)].replace("`", "").startswith(meaning)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_every_command_and_every_option(name: str) -> None:
    assert f"| `tieline {name}" in REFERENCE
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # it is a group
    for param in command.params:
        for option in (*param.opts, *param.secondary_opts):
            assert not option.startswith("-") or f"`{option}" in REFERENCE, option


EXAMPLE = re.compile(r"^ {4}(?:echo .* \| )?tieline (?P<words>.*?)(?: \| jq .*)?$", re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_what_the_command_takes(name: str) -> None:
    """They are parsed as they are written: each option in them is there, and takes what it is given."""
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # it is a group
    for match in EXAMPLE.finditer(command.help):
        first, *words = shlex.split(match["words"])
        assert first == name
        context = command.make_context(name, words)
        assert context.params


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(tieline: CommandLine, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"_TYPER_COMPLETE_ARGS": "tieline ca", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}  # zsh, fish
    asked |= {"COMP_WORDS": "tieline ca", "COMP_CWORD": "1"}  # bash
    for name, value in {**asked, "_TIELINE_COMPLETE": f"complete_{shell}"}.items():
        monkeypatch.setenv(name, value)
    printed = tieline().out
    assert "call" in printed
    assert "serve" not in printed


def test_the_script_for_completion_is_shown(tieline: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = tieline("--show-completion", "bash")
    assert (done.code, done.err) == (0, "")
    assert "_TIELINE_COMPLETE=complete_bash" in done.out


WITHOUT = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
runpy.run_module("tieline", run_name="__main__")
"""


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_line_says_how_to_get_it(missing: str, tmp_path: Path) -> None:
    code = WITHOUT.format(missing=missing)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    expected = f"tieline: the command line needs {missing}: pip install 'tieline[cli]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_another_missing_module_is_not_blamed_on_the_extra(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(missing="difflib")],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search("ModuleNotFoundError: .*'difflib'", done.stderr)  # its other words are those of CPython
