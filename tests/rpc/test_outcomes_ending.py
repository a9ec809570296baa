# SPDX-License-Identifier: MIT
"""A handler that raises what ends the program: all sessions are closed in order, and it comes out of the loop."""

import subprocess
import sys
import textwrap
from itertools import product

import pytest

KINDS = ["plain", "ready", "slow", "group", "hook", "factory", "taken_back"]
LOOPS = ["asyncio", "uvloop", "trio"]
CASES = [*product(KINDS, LOOPS), ("nursery", "trio")]  # asyncio lets it out of the loop where a task raises it

PROGRAM = """
    import anyio, asyncio, contextlib, functools, sys, time
    import tieline

    methods = tieline.Methods()
    raised = {error}

    @methods.method
    def plain():
        raise raised

    @methods.method
    async def ready():
        raise raised

    @methods.method
    async def slow():
        await anyio.sleep(0)
        raise raised

    @methods.method
    async def group():
        raise BaseExceptionGroup("both", [ValueError(), BaseExceptionGroup("inner", [raised])])

    @methods.method
    async def taken_back():
        begun.append(None)
        try:
            await anyio.Event().wait()
        finally:
            raise raised

    @methods.method
    async def nursery():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ready)
            await anyio.sleep(30)

    class Told(tieline.Hooks):
        def call_started(self, session, method):
            if method == "hook":
                raise raised

    @methods.method
    async def hang(session: tieline.ServerSession):
        try:
            await anyio.Event().wait()
        finally:
            print("handler ended", flush=True)

    class Session(tieline.ServerSession):
        async def connection_lost(self):
            print("told", flush=True)

    made = []
    begun = []
    dialect = "lsp" if "{kind}" == "taken_back" else None

    def new_session():
        if "{kind}" == "factory" and len(made) == 2:
            raise raised
        made.append(Session(methods=methods, dialect=dialect))
        return made[-1]

    async def main():
        hooks = Told() if "{kind}" == "hook" else None
        try:
            async with tieline.serve(new_session, "tcp://127.0.0.1:0", hooks=hooks) as server:
                connect = functools.partial(tieline.connect, server.url, dialect=dialect)
                async with connect() as client, connect() as other:
                    try:
                        await other.call("plain", 1)
                    except tieline.RPCError:
                        pass
                    waiting = other.send_request("hang")
                    waiting.add_done_callback(lambda done: done.cancelled() or print(type(done.exception()).__name__))
                    failing = client.send_request("{kind}")
                    failing.add_done_callback(lambda done: done.cancelled() or print(done.exception()))
                    if "{kind}" == "taken_back":
                        while not begun:
                            await anyio.sleep(0)
                        failing.cancel()
                    if "{kind}" == "factory":
                        with contextlib.suppress(tieline.ConnectionLost):
                            async with connect() as third:
                                await third.call("plain")
                    await anyio.sleep(30)
        finally:
            print("closed", server.sessions, flush=True)

    def run():
        if "{loop}" == "uvloop":
            import uvloop
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        elif "{loop}" == "trio":
            import trio
            trio.run(main)
        else:
            asyncio.run(main())

    started = time.monotonic()
    try:
        run()
    except BaseException as exc:
        print("ended by", type(exc).__name__, "in time" if time.monotonic() - started < 4 else "late", flush=True)
"""


@pytest.mark.row("S5", "H58")
@pytest.mark.parametrize(("kind", "loop"), CASES)
@pytest.mark.parametrize("error", ["KeyboardInterrupt()", "SystemExit(3)"])
def test_what_ends_the_program_ends_it_in_order(error: str, kind: str, loop: str):
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    source = textwrap.dedent(PROGRAM).format(error=error, kind=kind, loop=loop)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=50, check=False)
    lines = done.stdout.splitlines()
    assert f"ended by {error.partition('(')[0]} in time" in lines, done
    assert "closed set()" in lines, done
    assert lines.count("told") == 2, done
    assert "handler ended" in lines, done
    assert done.returncode == 0
