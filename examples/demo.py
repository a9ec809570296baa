# SPDX-License-Identifier: MIT
"""A tour of tieline: a server process, and client processes that call it over TCP and over a Unix socket.

`python demo.py [FOLDER]` indexes LICENSE and README.md of FOLDER (by default this tree) and searches them. It ends by
itself; the exit code is 0 if every step had the expected result, else 1.
"""

import asyncio
import json
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

HERE = Path(__file__).resolve().parent
PATIENCE = 20.0  # seconds for any one answer of a process of ours


class Stage:
    """Shows what happens, and remembers whether all of it was right."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.steps = self.failures = 0

    def heading(self, text: str) -> None:
        self.console.print(f"\n[bold]{escape(text)}[/]")

    def show(self, title: str, done: str, seen: str, good: bool, ms: float | None = None) -> None:
        self.steps += 1
        self.failures += not good
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(width=2)
        row.add_column(width=18, style="cyan")
        row.add_column(ratio=1)
        row.add_column(width=9, justify="right", style="dim")
        mark = "[green]ok[/]" if good else "[bold red]NO[/]"
        took = "" if ms is None else f"{ms:.1f} ms"
        row.add_row(mark, title, f"{escape(done)}\n[dim]->[/] {escape(seen)}", took)
        self.console.print(row)


@asynccontextmanager
async def process(name: str, *args: str, stderr: Any = None) -> AsyncIterator[Process]:
    """Run a program of this folder; it does not outlive the block."""
    started = await asyncio.create_subprocess_exec(sys.executable, str(HERE / name), *args, stdout=PIPE, stderr=stderr)
    try:
        yield started
        await asyncio.wait_for(started.communicate(), PATIENCE)
    except BaseException:
        if started.returncode is None:
            started.kill()
        await started.communicate()
        raise


async def line_of(source: Process) -> str:
    assert source.stdout is not None
    return (await asyncio.wait_for(source.stdout.readline(), PATIENCE)).decode().rstrip("\n")


async def relay(stage: Stage, client: Process, expected: int) -> None:
    """Show the steps that a client tells about, and notice when some are missing."""
    shown = 0
    while line := await line_of(client):
        stage.show(**json.loads(line))
        shown += 1
    code = await asyncio.wait_for(client.wait(), PATIENCE)
    if code != 0 or shown != expected:
        stage.show("a client failed", f"{expected} steps, exit code 0", f"{shown} steps, exit code {code}", good=False)


async def start_server(stack: AsyncExitStack, folder: Path, scratch: Path) -> tuple[Process, str, str]:
    """Start the server and return it with its two URLs; what it logs goes to a file."""
    with (scratch / "log").open("ab") as log:
        server = await stack.enter_async_context(
            process("demo_server.py", str(folder), str(scratch / "socket"), stderr=log)
        )
    return server, await line_of(server), await line_of(server)


async def act_one(stage: Stage, server: Process, tcp: str, unix: str) -> None:
    """All that a session can do, over TCP and then over the Unix socket, while a third process listens."""
    async with process("demo_client.py", "watch", unix) as onlooker:
        await line_of(onlooker)
        for url in (tcp, unix):
            stage.heading(f"A client (another process) on {url}")
            async with process("demo_client.py", "play", url) as client:
                await relay(stage, client, expected=12)
        stage.heading("Meanwhile")
        await relay(stage, onlooker, expected=1)


def show_log(stage: Stage, log: Path) -> None:
    """What the callers were not told stands in the server's log, with its traceback."""
    last = log.read_text(encoding="utf-8").strip().splitlines()[-1:] or [""]
    stage.show("the server's log", "the failing handler's own error", last[0], good=last[0].startswith("IndexError"))


async def act_two(stage: Stage, server: Process, tcp: str, unix: str) -> None:
    """The server is killed while both clients wait for an answer."""
    stage.heading("The server is killed (SIGKILL) while two clients wait for an answer")
    async with process("demo_client.py", "hang", tcp) as one, process("demo_client.py", "hang", unix) as two:
        for client in (one, two):
            await line_of(client)
        killed = time.monotonic()  # one clock for all processes of the machine
        server.kill()
        for client, name in ((one, "over TCP"), (two, "over Unix")):
            facts: dict[str, Any] = {"done": "call", "seen": "nothing", "good": False, "at": killed}
            facts.update(json.loads(await line_of(client) or "{}"))
            ms = (facts["at"] - killed) * 1000
            stage.show(f"killed, {name}", facts["done"], facts["seen"], facts["good"] and ms < 500, ms)


async def act_three(stage: Stage, folder: Path, scratch: Path) -> None:
    """A new server takes the place of the dead one, and ends as one should."""
    stage.heading("A new server takes over the socket file that the dead one left, and is told to end (SIGTERM)")
    async with AsyncExitStack() as stack:
        server, _tcp, unix = await start_server(stack, folder, scratch)
        async with process("demo_client.py", "last", unix) as client:
            await line_of(client)
            server.terminate()
            await relay(stage, client, expected=1)
        code = await asyncio.wait_for(server.wait(), PATIENCE)
        left = (scratch / "socket").exists()
        seen = f"exit code {code}, the socket file is {'still there' if left else 'gone'}"
        stage.show("ended in order", "the server", seen, code == 0 and not left)


async def main(folder: Path) -> int:
    stage = Stage()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tieline-demo-") as scratch_name:
        scratch = Path(scratch_name)
        try:
            async with AsyncExitStack() as stack:
                server, tcp, unix = await start_server(stack, folder, scratch)
                stage.heading(f"A server (process {server.pid}) indexes the text files of {folder}")
                await act_one(stage, server, tcp, unix)
                show_log(stage, scratch / "log")
                await act_two(stage, server, tcp, unix)
            await act_three(stage, folder, scratch)
        except Exception as exc:
            stage.show("the demo failed", "all of it", f"{type(exc).__name__}: {exc}", good=False)
            stage.console.print((scratch / "log").read_text(encoding="utf-8"), markup=False, style="dim")
    seconds = time.monotonic() - start
    if stage.failures:
        stage.console.print(f"\n[bold red]{stage.failures} of {stage.steps} steps went wrong[/] ({seconds:.1f} s)")
        return 1
    stage.console.print(f"\n[bold green]All {stage.steps} steps went as they should[/] ({seconds:.1f} s)")
    return 0


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent).resolve()
    raise SystemExit(asyncio.run(main(folder)))
