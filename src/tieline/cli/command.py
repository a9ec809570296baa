# SPDX-License-Identifier: MIT
"""What typer is given of a command: its help, which is seen, and that arguments may look like options.

-5 is a number, and --tiemout a mistake.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any, Final

from typer.core import TyperCommand, TyperGroup

from tieline.cli.exits import table
from tieline.cli.showing import need_output
from tieline.cli.words import is_number

__all__ = ["Command", "Commands", "TakesWords", "help_of"]


class Command(TyperCommand):
    """A command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # Any: these classes are private, or click's
        """Print the help; typer itself is content with no output at all."""
        need_output()
        super().format_help(ctx, formatter)


class Commands(TyperGroup):
    """All of them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # Any: as above
        """Print the help, as `Command` does."""
        need_output()
        super().format_help(ctx, formatter)


class TakesWords(Command):
    """A command that takes negative numbers for arguments, and anything at all behind ``--``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ignore_unknown_options = True  # what typer does not know goes on to the arguments: checked below

    def parse_args(self, ctx: Any, args: list[str]) -> Any:  # Any: the classes of contexts are private, or click's
        """Parse the command line, as typer does; refuse what is neither an option nor a number."""
        known = {name for option in self.get_params(ctx) for name in (*option.opts, *option.secondary_opts)}
        for word in args:
            if word == "--":
                break
            name = word.partition("=")[0]
            if word.startswith("-") and word != "-" and name not in known and not is_number(word):
                close = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]}?" if close else "an argument that begins with - goes behind --"
                ctx.fail(f"no such option: {name} ({hint})")
        return super().parse_args(ctx, args)


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
