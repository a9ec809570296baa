# SPDX-License-Identifier: MIT
"""Arguments and options that several commands have. (Workers load no typer, so this is a file of its own.)"""

from __future__ import annotations

from typing import Annotated, Final

import typer

from tieline.cli.loops import Loop
from tieline.cli.names import DialectName, Framing, Protocol

__all__ = [
    "CONNECTION", "PROCESS", "TLS", "ArgsArgument", "DialectOption", "FramingOption", "JSONOption", "LoopOption",
    "ProtocolOption",
]  # fmt: skip

# The headings under which --help lists options.
CONNECTION: Final = "Connection"
TLS: Final = "TLS"
PROCESS: Final = "Process"

ArgsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ARGS", help="JSON, plain words, or NAME=VALUE.", show_default=False)
]

FramingOption = Annotated[
    Framing,
    typer.Option(
        help=f"How messages are separated: {', '.join(Framing)}.",
        rich_help_panel=CONNECTION,
        metavar="NAME",
    ),
]
ProtocolOption = Annotated[
    Protocol,
    typer.Option(help=f"The version of JSON-RPC: {', '.join(Protocol)}.", rich_help_panel=CONNECTION, metavar="NAME"),
]
DialectOption = Annotated[
    DialectName | None,
    typer.Option(
        help=f"The conventions of a known protocol, including its framing: {', '.join(DialectName)}.",
        rich_help_panel=CONNECTION,
        metavar="NAME",
        show_default=False,
    ),
]

LoopOption = Annotated[
    Loop, typer.Option(help="The event loop; auto: uvloop if it is installed.", rich_help_panel=PROCESS)
]


JSONOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON, for use by programs.")]
