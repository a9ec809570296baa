# SPDX-License-Identifier: MIT
"""One program on three event loops: `python any_loop.py [asyncio | uvloop | trio]`.

Everything above the last lines is the same on all of them: tieline detects where it runs. no_loop.py is its twin
without `async`.
"""

import sys

import tieline

methods = tieline.Methods()
answers = tieline.Methods()


@methods.method
def divide(a: float, b: float) -> float:
    return a / b


@methods.method
async def greet(session: tieline.ServerSession) -> str:
    """Ask the caller for its name before it is greeted."""
    name = await session.call("your_name")
    await session.notify("greeting", name)
    return f"hello {name}"


@methods.method
def half(number: int) -> int:
    if number % 2:
        raise tieline.RPCError(1, f"{number} is odd", data=number)
    return number // 2


@answers.method
def your_name() -> str:
    return "Ann"


@answers.method
def greeting(name: str) -> None:
    print("about to be greeted:", name)


async def main() -> None:
    async with (
        tieline.serve(methods, "tcp://127.0.0.1:0") as server,
        tieline.connect(server.url, answers) as session,
    ):
        print("7 / 2 is", await session.call("divide", 7, 2, timeout=10))
        print(await session.call("greet"))
        try:
            await session.call("half", 3)
        except tieline.RPCError as exc:
            print("no half:", exc)
        async with session.batch() as batch:
            for number in (2, 4, 6):
                batch.add_request("half", [number])
        print("halves:", batch.results)
    try:
        await session.call("half", 8)
    except tieline.ClosedError:
        print("closed, as the `async with` has ended")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["trio"]:
            import trio

            trio.run(main)
        case ["uvloop"]:
            import uvloop

            uvloop.run(main())
        case [] | ["asyncio"]:
            import asyncio

            asyncio.run(main())
        case _:
            sys.exit("asyncio, uvloop or trio?")
