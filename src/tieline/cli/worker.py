# SPDX-License-Identifier: MIT
"""One worker of `tieline serve --workers`: `python -m tieline.cli.worker DESCRIPTOR PLAN`, started by its parent."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress
from typing import Any

from tieline.cli.announcing import example
from tieline.cli.exits import Failure
from tieline.cli.loops import run
from tieline.cli.serving import Ending, Plan, Service, set_up_logging, started
from tieline.cli.showing import warn

__all__ = ["main"]


def main(descriptor: str, text: str) -> int:
    """Serve what the parent's plan says until the parent closes its end of the sockets; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches all processes at the terminal; the parent acts
    plan = _plan(json.loads(text))
    set_up_logging(plan.log_level)
    try:
        return run(_serve(plan, socket.socket(fileno=int(descriptor))), plan.loop)
    except Failure as exc:
        warn(exc.text)
        return exc.code


def _plan(values: dict[str, Any]) -> Plan:
    values["listen"] = tuple(values["listen"])
    values["descriptors"] = {int(place): descriptor for place, descriptor in values["descriptors"].items()}
    return Plan(**values)


async def _serve(plan: Plan, parent: socket.socket) -> int:
    reader, writer = await asyncio.open_connection(sock=parent)
    service = Service(plan)
    async with AsyncExitStack() as stack:
        stack.callback(writer.close)
        servers = await started(stack, service)
        ending = Ending(servers, plan.grace)
        ending.at_signals(signal.SIGTERM)  # so that workers can be renewed one by one
        urls = [endpoint.url for server in servers for endpoint in server.get_addresses()]
        told = {"names": service.names(), "urls": urls, "example": example(service.methods)}
        writer.write(json.dumps(told).encode() + b"\n")
        watching = asyncio.ensure_future(_end_with_parent(reader, ending))
        await ending.wait()
        watching.cancel()
    return int(ending.was_cut)


async def _end_with_parent(reader: asyncio.StreamReader, ending: Ending) -> None:
    # Nothing ever comes but the end. It is an error where the parent had gone before it was told that we listen.
    with suppress(OSError):
        await reader.read()
    ending.begin()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
