# SPDX-License-Identifier: MIT
"""The server of the soak: `python -m tests.soak.server_process --folder F --certificate C --loop trio`.

It has the default limits, governance included, but for those of time that a busy machine makes honest clients run into.
It listens on TCP, TLS, a Unix socket and for WebSockets, prints the URLs as one JSON line, and ends when its standard
input does.
"""

import argparse
import gc
import json
import logging
import sys
import zlib
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import tieline
from tests import aio
from tests.attacks.server_process import Watched
from tests.soak.memory import Grown, memory

methods = tieline.Methods()
worked: dict[str, int] = {}  # how often each client had `work` or `note` done
LONGEST = 600_000
LIMITS = tieline.Limits(handshake_timeout=120.0, write_timeout=120.0)


def count(name: str) -> None:
    """Take note of what a client had done. Names that others make up are not kept: that would be growth of the test."""
    if name.startswith("client "):
        worked[name] = worked.get(name, 0) + 1


@methods.method
def work(name: str, number: int, text: str) -> list[Any]:
    """Answer with what only this call can have as its answer."""
    count(name)
    return [name, number, zlib.crc32(text.encode())]


@methods.method
async def work_later(name: str, number: int, text: str, seconds: float) -> list[Any]:
    await aio.sleep(min(seconds, 10.0))
    return work(name, number, text)


@methods.method
def note(name: str) -> None:
    count(name)


@methods.method
def tally(name: str) -> int:
    """Return how often a client had something done since it last asked."""
    return worked.pop(name, 0)


@methods.method
def echo(value: Any = None) -> Any:
    return value


@methods.method
async def hold(seconds: float) -> str:
    await aio.sleep(min(seconds, 60.0))
    return "held"


@methods.method
async def ask_back(session: tieline.SessionBase, name: str, number: int) -> Any:
    return await session.call("answer", name, number)


@methods.method
async def count_up(session: tieline.SessionBase, name: str, number: int, most: int) -> int:
    """Notify the caller of each number below *most*, in order, before the answer."""
    for index in range(min(most, 1000)):
        await session.notify("progress", name, number, index)
    return most


@methods.method
def text_of(size: int) -> str:
    return "x" * min(size, LONGEST)


async def main(folder: Path, certificate: Path, limits: tieline.Limits) -> None:
    watched = Watched()
    logging.getLogger().addHandler(watched.records)
    methods.method(watched.figures)
    methods.method(watched.trimmed)
    methods.method(name="memory")(lambda: {"untrimmed": watched.figures()["rss"], **watched.trimmed(), **memory()})
    methods.method(name="grown")(Grown().since_last)
    methods.method(name="records")(watched.records_since)
    tls = tieline.TLS(certificate=certificate)
    websocket = tieline.WebSocket(tieline.TCP("127.0.0.1", 0), "/rpc", compression=True, ping_timeout=300.0)
    servers = {
        "tcp": tieline.serve(methods, "tcp://127.0.0.1:0", limits=limits),
        "tls": tieline.serve(methods, "tls://127.0.0.1:0", tls=tls, limits=limits),
        "unix": tieline.serve(methods, f"unix://{folder / 'soaked'}", limits=limits),
        "ws": tieline.serve(methods, websocket, limits=limits),
        "control": tieline.serve(methods, f"unix://{folder / 'control'}"),
    }
    async with AsyncExitStack() as stack:
        for server in servers.values():
            await stack.enter_async_context(server)
        watched.servers += servers.values()
        gc.freeze()
        print(json.dumps({name: server.url for name, server in servers.items()}), flush=True)
        async with aio.when_readable(sys.stdin.fileno(), watched.close):
            await aio.gather(*(server.serve_forever(grace=5) for server in servers.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the Unix sockets go")
    parser.add_argument("--certificate", type=Path, required=True, help="a PEM file with the key in it")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "trio"), default="asyncio")
    parser.add_argument("--ungoverned", action="store_true", help="nobody is cut for what has been cost before")
    options = parser.parse_args()
    limits = LIMITS
    if options.ungoverned:
        limits = replace(limits, governance=tieline.Governance(cost_hard_limit=0))
    aio.run(main, options.folder, options.certificate, limits, loop=options.loop)
