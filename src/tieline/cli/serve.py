# SPDX-License-Identifier: MIT
"""`tieline serve`: serve what is in a Python file."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Annotated

import typer

from tieline.cli.announcing import announcement, example
from tieline.cli.exits import Exit, Failure
from tieline.cli.loops import Loop, run
from tieline.cli.names import Framing, Protocol
from tieline.cli.options import PROCESS, TLS, DialectOption, FramingOption, LoopOption, ProtocolOption
from tieline.cli.serving import Ending, Plan, Service, set_up_logging, started
from tieline.cli.showing import say

__all__ = ["Level", "serve"]

_DEFAULT_URL = "tcp://127.0.0.1:4000"


class Level(StrEnum):
    """What is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _option(
    help_text: str, panel: str = PROCESS, *names: str, metavar: str | None = None, least: float | None = None
) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(
        *names, help=help_text, rich_help_panel=panel, metavar=metavar, min=least
    )
    return info


def serve(
    target: Annotated[
        str,
        typer.Argument(metavar="MODULE:ATTRIBUTE", help="What to serve; also FILE.py:ATTRIBUTE.", show_default=False),
    ],
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            "-l",
            metavar="URL",
            help="tcp://HOST:PORT, tls://HOST:PORT, unix:PATH, ws://HOST:PORT/PATH, or only stdio:; may be repeated.",
            show_default=_DEFAULT_URL,
        ),
    ] = None,
    factory: Annotated[bool, typer.Option("--factory", help="Call ATTRIBUTE, and serve what it returns.")] = False,
    discover: Annotated[bool, typer.Option(help="Let clients list the methods (for `tieline methods`).")] = True,
    stats: Annotated[
        bool, typer.Option("--stats", help="Let clients read the server's statistics (for `tieline top`).")
    ] = False,
    public: Annotated[bool, typer.Option("--public", help="Use the limits for servers on the internet.")] = False,
    framing: FramingOption = Framing.NEWLINE,
    protocol: ProtocolOption = Protocol.V2,
    dialect: DialectOption = None,
    tls_cert: Annotated[
        str | None, _option("The certificate for tls:// URLs, with its chain.", TLS, metavar="FILE")
    ] = None,
    tls_key: Annotated[str | None, _option("Its key, if it is in a separate file.", TLS, metavar="FILE")] = None,
    tls_client_ca: Annotated[
        str | None, _option("Accept only clients with a certificate of these authorities.", TLS, metavar="PATH")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="How many processes to run.", rich_help_panel=PROCESS)] = 1,
    grace: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Time for running requests at shutdown.", rich_help_panel=PROCESS),
    ] = 10.0,
    loop: LoopOption = Loop.AUTO,
    log_level: Annotated[
        Level, typer.Option(help="The lowest level that is logged, to standard error.", rich_help_panel=PROCESS)
    ] = Level.WARNING,
) -> None:
    """Serve the methods in a Python file.

    ATTRIBUTE is a registry (tieline.Methods), an object or a class with public methods, a function, or a class
    derived from tieline.ServerSession. Without :ATTRIBUTE it is the only registry in the module. Modules in the
    current directory can be imported.

    Ctrl+C or SIGTERM stops the server: it accepts no more connections, and answers the requests that it has accepted.
    A second signal closes all connections at once.

    Examples:

        tieline serve service.py
        tieline serve service:methods --listen tcp://127.0.0.1:0
        tieline serve shop.stock:Stock --listen tcp://:4000 --listen unix:stock.sock
        tieline serve service:methods --listen stdio:
        tieline serve service:methods -l tls://:4000 --tls-cert chain.pem --tls-key key.pem --workers 4
    """
    set_up_logging(log_level)
    plan = Plan(
        target=target,
        is_factory=factory,
        listen=tuple(listen or [_DEFAULT_URL]),
        framing=framing,
        protocol=protocol,
        dialect=dialect,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        is_public=public,
        discover=discover,
        stats=stats,
        grace=grace,
        loop=loop,
        log_level=log_level,
    )
    if "stdio:" in plan.listen and (workers > 1 or len(plan.listen) > 1):
        raise Failure(
            Exit.USAGE, "stdio: is one connection, for one process: without --workers, and without another URL"
        )
    if workers > 1:
        from tieline.cli.workers import supervise

        code = supervise(plan, workers)
    else:
        code = run(_serve(plan), loop)
    if code:
        raise typer.Exit(code)


async def _serve(plan: Plan) -> int:
    """Serve in this process; return its exit code."""
    service = Service(plan)
    async with AsyncExitStack() as stack:
        servers = await started(stack, service)
        ending = Ending(servers, plan.grace, say)
        ending.at_signals(signal.SIGTERM, signal.SIGINT)
        urls = [endpoint.url for server in servers for endpoint in server.get_addresses()]
        if urls != ["stdio:"]:  # whoever started us knows
            for text in announcement(plan, service.names(), urls, example(service.methods)):
                say(text)
        await ending.wait()
    return int(ending.was_cut)
