# SPDX-License-Identifier: MIT
"""The twin of any_loop.py without `async`: the same names, the same order, in blocking code.

The server runs in its own thread, and its handlers in a pool of threads.
"""

import tieline
import tieline.blocking

methods = tieline.Methods()
answers = tieline.Methods()


@methods.method
def divide(a: float, b: float) -> float:
    return a / b


@methods.method
def greet(session: tieline.blocking.ServerSession) -> str:
    """Ask the caller for its name before it is greeted."""
    name = session.call("your_name")
    session.notify("greeting", name)
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


def main() -> None:
    with (
        tieline.blocking.serve(methods, "tcp://127.0.0.1:0") as server,
        tieline.blocking.connect(server.url, answers) as session,
    ):
        print("7 / 2 is", session.call("divide", 7, 2, timeout=10))
        print(session.call("greet"))
        try:
            session.call("half", 3)
        except tieline.RPCError as exc:
            print("no half:", exc)
        with session.batch() as batch:
            for number in (2, 4, 6):
                batch.add_request("half", [number])
        print("halves:", batch.results)
    try:
        session.call("half", 8)
    except tieline.ClosedError:
        print("closed, as the `with` has ended")


if __name__ == "__main__":
    main()
