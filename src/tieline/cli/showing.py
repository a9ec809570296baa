# SPDX-License-Identifier: MIT
"""What peers say, on a terminal: readable, and unable to do anything there."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any, Final

from tieline.cli.exits import Exit

__all__ = ["as_json", "is_terminal", "line", "need_output", "out", "printed", "put", "readable", "say", "show", "warn"]

_NARROW: Final = 88  # a value that fits in so many characters stays on one line
_SHOWN: Final = 400  # of a value within a line of text


def out(text: str) -> None:
    """Print a line to standard output, at once: a program may wait for it.

    Raises:
        SystemExit: Nobody reads it any more (`| head`), or it cannot be written, of which a line tells. It ends the
            program from within a handler, too.
    """
    need_output()
    code = put(text)
    if code is not Exit.DONE:
        raise SystemExit(code)


def need_output() -> None:
    """Go on only where there is a standard output.

    Raises:
        SystemExit: There is none, of which a line tells.
    """
    if not _has_output():
        warn("standard output is closed")
        raise SystemExit(Exit.UNPRINTED)


def say(text: str) -> None:
    """Print a line to standard output, at once, if that can be: servers go on without."""
    if _has_output():
        put(text)


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return _has_output() and sys.stdout.isatty()


def _has_output() -> bool:
    """Return whether there is a standard output: it may be closed from the start (`>&-`), and is None then."""
    output: object = sys.stdout
    return output is not None


def put(text: str) -> Exit:
    """Print a line to standard output, at once; when that is impossible, return by which exit code it is told."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        code = Exit.UNREAD
    except OSError as exc:
        code = Exit.UNPRINTED
        warn(f"standard output cannot be written: {(exc.strerror or str(exc)).lower()}")
    else:
        return Exit.DONE
    # Else what is left in the buffer is tried again, each time and at the very end, and fails there.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return code


def warn(text: str) -> None:
    """Print a line to standard error. Where that cannot be, the exit code has to tell it."""
    with suppress(OSError, AttributeError):  # the latter where it is closed from the start
        sys.stderr.write(f"tieline: {line(text)}\n")
        sys.stderr.flush()


def printed(text: str, *, lines: bool = True) -> str:
    """Return *text* with all that is not printable escaped: a peer must not move the cursor, nor turn text around.

    With *lines*, tabs and line breaks stay.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(each if each.isprintable() or each in kept else _escaped(each) for each in text)


def line(text: str) -> str:
    """Return *text* as one line, and not a very long one."""
    text = printed(text, lines=False)
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}..."


def readable(value: Any) -> str:
    """Return a value for people: a text as it is, anything else as JSON, on several lines when it is long."""
    if isinstance(value, str):
        return printed(value)
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > _NARROW and isinstance(value, list | dict):
        text = json.dumps(value, ensure_ascii=False, indent=2)
    return printed(text)


def show(value: Any) -> None:
    """Print a value for people, in colours where there are any."""
    if isinstance(value, str) or not is_terminal():
        out(readable(value))
        return
    from rich.console import Console  # lazily: programs that read our output need no colours
    from rich.highlighter import JSONHighlighter

    console = Console()
    with console.capture() as printed_text:
        console.print(JSONHighlighter()(readable(value)), soft_wrap=True, end="")
    out(printed_text.get())


def as_json(value: Any) -> str:
    """Return a value for programs, and for the inside of a line: one line of JSON in ASCII."""
    return json.dumps(value, separators=(",", ":"))


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
