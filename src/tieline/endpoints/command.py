# SPDX-License-Identifier: MIT
"""Child processes and the process's own standard streams, as endpoints."""

from __future__ import annotations

import os
import shlex  # not lazily: a client that is forgotten to the very end, when nothing is imported, shows its command
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from tieline.finite import check_finite_seconds
from tieline.wire.values import dataclass

__all__ = ["Command", "StderrPolicy", "Stdio", "StrayPolicy", "parse_command", "parse_stdio"]

StderrPolicy: TypeAlias = Literal["keep", "inherit", "discard"] | Callable[[str], object]
StrayPolicy: TypeAlias = Literal["refuse", "skip"] | Callable[[str], object]

_STDERR: Final = ("keep", "inherit", "discard")
_STRAY: Final = ("refuse", "skip")


@dataclass(frozen=True, slots=True)
class Command:
    """A child process that is started, and used over its standard input and output. Unix only.

    It gets its own session (and so its own process group), which is stopped as a whole: its input is closed; after
    *grace* seconds the whole session receives SIGTERM; after as many again, SIGKILL. Processes that it has started
    belong to that session, unless they have left it (setsid(2)), as daemons do; outside of Linux, to its process group.

    Attributes:
        argv: The program, which is searched for in PATH, and its arguments. No shell is involved. Kept as a tuple of
            strings.
        env: Its whole environment; None = that of this process. Kept as a tuple of pairs.
        cwd: Its working directory; None = that of this process.
        stderr: What happens to its standard error. ``"keep"``: it is read, and its end is reported when the child
            exits. A function: the same, and each line is also passed to it, without its newline (a logger's method
            works); in blocking code it is called in a thread of its own. ``"inherit"``: it is that of this process.
            ``"discard"``: it is dropped.
        stray_lines: What happens to lines of its output that are not messages, which do not begin with ``{`` or ``[``.
            ``"refuse"``: they are treated as messages, so they are answered with an error, and too many end the
            session. ``"skip"``: they are skipped, with a warning in the log for the first. A function: each is passed
            to it. Only for newline-delimited messages.
        grace: Seconds that the child gets at each step of stopping it.

    Raises:
        ValueError: No program, a NUL in a string, or a value that does not exist.
        TypeError: A value of the wrong type.
    """

    argv: Sequence[str | os.PathLike[str]]
    env: Mapping[str, str] | Sequence[tuple[str, str]] | None = None
    cwd: str | os.PathLike[str] | None = None
    stderr: StderrPolicy = "keep"
    stray_lines: StrayPolicy = "refuse"
    grace: float = 2.0

    def __post_init__(self) -> None:
        argv: object = self.argv
        if isinstance(argv, str | bytes | os.PathLike):
            raise TypeError("argv must be a sequence: the program and its arguments, each a string of its own")
        words = tuple(os.fspath(word) for word in self.argv)
        if not words or not words[0]:
            raise ValueError("argv must begin with a program")
        _check_strings("argv", words)
        object.__setattr__(self, "argv", words)
        if self.env is not None:
            pairs = tuple(sorted(self.env.items() if isinstance(self.env, Mapping) else self.env))
            _check_strings("env", [text for pair in pairs for text in pair])
            object.__setattr__(self, "env", pairs)
        if self.cwd is not None:
            object.__setattr__(self, "cwd", os.fspath(self.cwd))
        _check_policy("stderr", self.stderr, _STDERR)
        _check_policy("stray_lines", self.stray_lines, _STRAY)
        check_finite_seconds("grace", self.grace)

    @property
    def tls(self) -> None:
        """None: a pipe is not encrypted."""
        return

    @property
    def program(self) -> str:
        """The program's name, without its folder."""
        return os.path.basename(str(self.argv[0])) or str(self.argv[0])

    @property
    def environment(self) -> dict[str, str] | None:
        """The environment as a dict; None = ours."""
        return None if self.env is None else dict(cast("Any", self.env))

    @property
    def url(self) -> str:
        """The URL that `parse` reads back; it holds the program with its arguments, and no other settings."""
        return "cmd:" + shlex.join(map(str, self.argv))

    def __str__(self) -> str:
        # Without the arguments, among which people put passwords.
        return "cmd:" + shlex.quote(str(self.argv[0])) + (" ..." if len(self.argv) > 1 else "")

    def __repr__(self) -> str:
        return f"<Command {self}>"  # neither arguments nor environment: either may hold secrets


@dataclass(frozen=True, slots=True)
class Stdio:
    """The standard input and output of this process, to serve on: the peer is whatever started this process. Unix only.

    While it is served, descriptor 1 is redirected to standard error, and descriptor 0 reads nothing: what the program,
    or a library in it, prints cannot get between the messages. Afterwards both are restored.
    """

    @property
    def tls(self) -> None:
        """None: a pipe is not encrypted."""
        return

    @property
    def url(self) -> str:
        """The URL that `parse` reads back."""
        return "stdio:"

    def __str__(self) -> str:
        return self.url


def parse_command(rest: str) -> Command:
    """Return the command behind ``cmd:``: words as a POSIX shell splits and quotes them, with nothing expanded."""
    try:
        words = shlex.split(rest)
    except ValueError as exc:
        raise ValueError(f"the command of a cmd: URL is quoted wrongly: {exc}") from exc
    if not words:
        raise ValueError("a cmd: URL needs a program; expected cmd:PROGRAM ARGUMENTS, quoted as in a shell")
    return Command(words)


def parse_stdio(rest: str) -> Stdio:
    """Return what ``stdio:`` means, behind which there is nothing."""
    if rest:
        raise ValueError("a stdio: URL ends after its colon")
    return Stdio()


def _check_strings(name: str, texts: Sequence[object]) -> None:
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} must hold strings, not {type(text).__name__}")
        if "\0" in text:
            raise ValueError(f"{name} must hold no NUL")


def _check_policy(name: str, value: object, known: Sequence[str]) -> None:
    if callable(value):
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(known)} or a function, not {type(value).__name__}")
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)} or a function, not {value!r}")
