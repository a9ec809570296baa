# SPDX-License-Identifier: MIT
"""Commands whose arguments may look like options: -5 is a number, and --tiemout a mistake."""

from __future__ import annotations

import difflib
from typing import Any

from typer.core import TyperCommand

from tieline.cli.words import is_number

__all__ = ["TakesWords"]


class TakesWords(TyperCommand):
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
