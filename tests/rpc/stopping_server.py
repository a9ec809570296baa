# SPDX-License-Identifier: MIT
"""A server process that is told to stop: `python -m tests.rpc.stopping_server LOOP HOW [GRACE]`.

It prints its URL, then one line for each handler that begins or is cancelled. Handlers end when standard input does.
"""

import asyncio
import signal
import sys
from typing import Any

import tieline

methods = tieline.Methods()


def say(word: str) -> None:
    print(word, flush=True)


async def main(how: str, grace: float | None) -> None:
    released = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), released.set)

    @methods.method
    async def wait(number: int) -> int:
        say("begun")
        try:
            await released.wait()
        except asyncio.CancelledError:
            say("cancelled")
            raise
        return number

    @methods.method
    async def ignore() -> None:
        say("begun")
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                say("cancelled")

    server = tieline.serve(methods, "tcp://127.0.0.1:0")
    if how == "own handler":
        signal.signal(signal.SIGTERM, lambda *_: say("own handler"))
    if how == "context":
        async with server:
            say(server.url)
            await server.serve_forever(grace=grace)
    elif how == "two":
        second = tieline.serve(methods, "tcp://127.0.0.1:0")
        await server.listen()
        await second.listen()
        say(f"{server.url} {second.url}")
        await asyncio.gather(server.serve_forever(), second.serve_forever())
    else:
        await server.listen()
        say(server.url)
        await server.serve_forever(grace=grace)
    loop.remove_reader(sys.stdin.fileno())
    if how != "own handler":
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    released.set()  # whoever ignores being cancelled


if __name__ == "__main__":
    factory: Any = asyncio.new_event_loop
    if sys.argv[1] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else None))
