# SPDX-License-Identifier: MIT
"""Exit codes, and the one exception by which a command ends without success."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["MEANINGS", "Exit", "Failure", "table"]


class Exit(IntEnum):
    """How a command ended, as its exit code."""

    DONE = 0
    ANSWERED_ERROR = 1
    USAGE = 2
    UNREACHABLE = 3
    UNTRUSTED = 4
    TIMEOUT = 5
    LOST = 6
    NO_METHOD = 7
    ARGUMENTS = 8
    UNPRINTED = 9
    INTERRUPTED = 130  # this and the next as shells say it
    UNREAD = 141


MEANINGS: Final = {
    Exit.DONE: "success",
    Exit.ANSWERED_ERROR: "the peer answered with an error",
    Exit.USAGE: "the command line, or a file named in it, is invalid: nothing was sent",
    Exit.UNREACHABLE: "cannot connect; for serve: cannot listen",
    Exit.UNTRUSTED: "TLS: one side does not trust the other, or does not speak TLS",
    Exit.TIMEOUT: "no reply in time",
    Exit.LOST: "the connection was lost, or the peer violated the protocol",
    Exit.NO_METHOD: "the peer has no such method (-32601)",
    Exit.ARGUMENTS: "the arguments do not match the method (-32602)",
    Exit.UNPRINTED: "the output cannot be printed: standard output is closed, or its disk is full",
    Exit.INTERRUPTED: "Ctrl+C",
    Exit.UNREAD: "the reader of the output has gone (broken pipe)",
}


class Failure(Exception):
    """Ends a command. *text* is one line: what was seen, and what to do about it."""

    def __init__(self, code: Exit, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def table() -> str:
    """Return the exit codes with their meanings, a line each."""
    return "\n".join(f"{code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())
