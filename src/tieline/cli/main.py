# SPDX-License-Identifier: MIT
"""Run the command line: from arguments to an exit code, with one line of text for whatever goes wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import BufferedWriter, RawIOBase, TextIOWrapper
from typing import Any

import typer.main

from tieline.cli.app import app
from tieline.cli.exits import Exit, Failure
from tieline.cli.showing import put, warn

__all__ = ["run"]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run what *arguments* say (None = those of the process), and return the exit code."""
    if None in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        _fill_gaps()
    if isinstance(getattr(sys.stdout, "buffer", None), RawIOBase):
        _buffer_output(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a peer's text need not fit the terminal's encoding
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        result: Any = typer.main.get_command(app)(args=given, prog_name="tieline", standalone_mode=False)
    except Failure as exc:
        warn(exc.text)
        return exc.code
    except SystemExit as exc:  # typer has printed what was asked for
        if isinstance(exc.__context__, BrokenPipeError):
            return Exit.UNREAD
        return exc.code if isinstance(exc.code, int) else Exit.DONE
    except OSError:  # typer has failed to print what was asked for, or else there is a fault in a command
        code = put("")
        if code is Exit.DONE:
            raise
        return code
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except Exception as exc:
        text = _usage_text(exc)
        if text is None:
            raise
        warn(text)
        return Exit.USAGE
    return result if isinstance(result, int) else Exit.DONE


def _buffer_output(stream: Any) -> None:
    """Put a buffer into standard output that has none, by PYTHONUNBUFFERED; each line is flushed all the same.

    Without one, what follows the part that a full disk took, or a reader who has gone, is lost, and nobody tells.
    """
    encoding = stream.encoding
    sys.stdout = TextIOWrapper(BufferedWriter(stream.detach()), encoding, line_buffering=True)


def _fill_gaps() -> None:
    """Let no socket have the number of a standard stream that is closed: with one, uvloop aborts the whole program."""
    fd = 0
    while fd <= 2:
        fd = os.open(os.devnull, os.O_RDWR)
    os.close(fd)


def _usage_text(exc: Exception) -> str | None:
    """Return what typer has to say about the command line, as one line; None for any other exception.

    Its classes are private: by version they are click's or its own. What they have in common is asked for.
    """
    tell = getattr(exc, "format_message", None)
    if tell is None:
        return None
    text = str(tell()).strip().rstrip(".")
    path = getattr(getattr(exc, "ctx", None), "command_path", "tieline")
    return f"{text[:1].lower()}{text[1:]}; see {path} --help"
