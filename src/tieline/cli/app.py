# SPDX-License-Identifier: MIT
"""The commands, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from tieline.cli.bench import bench
from tieline.cli.call import call
from tieline.cli.command import Command, Commands, TakesWords, help_of
from tieline.cli.demo import demo
from tieline.cli.listen import listen
from tieline.cli.methods import methods
from tieline.cli.notify import notify
from tieline.cli.proxy_check import proxy_check
from tieline.cli.serve import serve
from tieline.cli.top import top
from tieline.cli.version import show_version

__all__ = ["app"]

app = typer.Typer(
    name="tieline",
    cls=Commands,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        show_version()
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Serve and call JSON-RPC methods, over TCP, TLS, Unix sockets, WebSocket and pipes.

    New here? Run `tieline demo`. Then put some functions into a file, and run `tieline serve FILE.py`.
    """


def _add(name: str, command: Callable[..., None], *, takes_words: bool = False) -> None:
    app.command(name, help=help_of(command), cls=TakesWords if takes_words else Command)(command)


_add("serve", serve)
_add("methods", methods)
_add("call", call, takes_words=True)
_add("notify", notify, takes_words=True)
_add("listen", listen, takes_words=True)
_add("bench", bench, takes_words=True)
_add("top", top)
_add("proxy-check", proxy_check)
_add("demo", demo)
_add("version", show_version)
