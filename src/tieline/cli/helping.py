# SPDX-License-Identifier: MIT
"""From the docstring of a command to the text of its --help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Final

from tieline.cli.exits import table

__all__ = ["help_of"]

_EXIT_CODES: Final = "{exit codes}"


def help_of(command: Callable[..., None]) -> str:
    """Return the help text: paragraphs as one line each, for the terminal to break; indented ones as they are.

    A paragraph that ends with a colon is a heading; ``{exit codes}`` stands for the table of them.
    """
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(_paragraph(text) for text in paragraphs)


def _paragraph(text: str) -> str:
    if text == _EXIT_CODES:
        return "\n".join(f"  {line}" for line in table().splitlines())
    if text.startswith(" "):
        return text.replace("[", r"\[")  # no markup
    joined = text.replace("\n", " ")
    return f"[bold]{joined}[/]" if joined.endswith(":") and "\n" not in text else joined.replace("[", r"\[")
