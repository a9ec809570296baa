# SPDX-License-Identifier: MIT
"""The commands, put together."""

from __future__ import annotations

import typer

from tieline.cli import call, methods, serve

__all__ = ["app"]

app = typer.Typer(
    name="tieline",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Calls over any connection (JSON-RPC over TCP, TLS and Unix sockets), both ways.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve.serve)
app.command()(call.call)
app.command()(methods.methods)
