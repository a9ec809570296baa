# SPDX-License-Identifier: MIT
"""A server process that is told to stop: `python -m tests.rpc.stopping_server LOOP HOW [GRACE]`.

It prints its URL, then one line for each handler that begins or is cancelled. Handlers end when standard input does.
"""

import asyncio
import signal
import sys
from typing import Any

import trio

import tieline
from tests import aio

methods = tieline.Methods()


def say(word: str) -> None:
    print(word, flush=True)


async def standard_input_ends(released: aio.Event) -> None:
    if aio.on_trio():
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        released.set()
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), released.set)
    try:
        await aio.Event().wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())


async def main(how: str, grace: float | None) -> None:
    released = aio.Event()
    watching = aio.create_task(standard_input_ends(released))

    @methods.method
    async def wait(number: int) -> int:
        say("begun")
        try:
            await released.wait()
        except aio.Cancelled:
            say("cancelled")
            raise
        return number

    @methods.method
    async def ignore() -> None:
        say("begun")
        while not released.is_set():
            try:
                await released.wait()
            except aio.Cancelled:
                say("cancelled")
                if aio.on_trio():  # where it would be cancelled again and again
                    with trio.CancelScope(shield=True):
                        await released.wait()

    server = tieline.serve(methods, "tcp://127.0.0.1:0")
    if how == "own handler":
        signal.signal(signal.SIGTERM, lambda *_: say("own handler"))
    if how == "context":
        async with server:
            say(server.url)
            await server.serve_forever(grace=grace)
    elif how == "two":
        second = tieline.serve(methods, "tcp://127.0.0.1:0")
        await server.listen(nursery=aio.nursery())
        await second.listen(nursery=aio.nursery())
        say(f"{server.url} {second.url}")
        await aio.gather(server.serve_forever(), second.serve_forever())
    else:
        await server.listen(nursery=aio.nursery())
        say(server.url)
        await server.serve_forever(grace=grace)
    watching.cancel()
    if how != "own handler":
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    released.set()  # whoever ignores being cancelled


async def main_on_trio(how: str, grace: float | None) -> None:
    async with trio.open_nursery() as nursery:
        aio.tasks_of_test.set(aio.TestTasks(nursery))
        await main(how, grace)


if __name__ == "__main__":
    how, grace = sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else None
    if sys.argv[1] == "trio":
        try:
            trio.run(main_on_trio, how, grace)
        except BaseExceptionGroup as group:  # a nursery wraps whatever it is given
            raise group.exceptions[0] from None
        sys.exit()
    factory: Any = asyncio.new_event_loop
    if sys.argv[1] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(how, grace))
