# SPDX-License-Identifier: MIT
"""A server process that is told to stop: `python -m tests.rpc.stopping_server LOOP HOW [GRACE]`.

It prints its URL, then one line for each handler that begins or is cancelled. Handlers end when standard input does.
"""

import signal
import sys

import trio

import tieline
from tests import aio

methods = tieline.Methods()


def say(word: str) -> None:
    print(word, flush=True)


async def main(how: str, grace: float | None) -> None:
    released = aio.Event()
    async with aio.when_readable(sys.stdin.fileno(), released.set):
        await serve(released, how, grace)
    if how != "own handler":
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    released.set()  # whoever ignores being cancelled


async def serve(released: aio.Event, how: str, grace: float | None) -> None:
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


if __name__ == "__main__":
    aio.run(main, sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else None, loop=sys.argv[1])
