# SPDX-License-Identifier: MIT
"""A server on standard input and output, on the runtime that its first argument names, which prints what it should not.

It tells the end of its life on standard output again, behind the protocol.
"""

import ctypes
import os
import signal
import sys

import tieline

methods = tieline.Methods()


@methods.method
def add(a: int, b: int) -> int:
    print("adding")
    return a + b


@methods.method
def noise(lines: int) -> int:
    """Print by Python, by the system, and by the C library, with its buffer and without."""
    library = ctypes.CDLL(None)
    for number in range(lines):
        print("noise", number)
    for _ in range(100):
        os.write(1, b"noise by the system\n")
        library.write(1, b"noise by C\n", 11)
        library.puts(b"noise by stdio")
    library.fflush(None)
    return lines


@methods.method
def read_input() -> str:
    return sys.stdin.read() + os.read(0, 10).decode()


@methods.method
def big(size: int) -> str:
    return "x" * size


@methods.method
async def ask(session: tieline.SessionBase, name: str) -> str:
    answer: str = await session.call("who", name)
    return answer


@methods.method
def watches_signals() -> bool:
    """Whether SIGTERM is handled by now: a server in blocking code answers before its program says serve_forever."""
    return signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL


@methods.method
def note(text: str) -> None:
    print(text, flush=True)


@methods.method
async def hang() -> None:
    print("hangs", flush=True)
    if sys.argv[1] == "trio":
        import trio

        await trio.sleep_forever()
    else:
        import asyncio

        await asyncio.Event().wait()


@methods.method
def leave() -> None:
    raise tieline.ReplyAndDisconnect("bye")


@methods.method
def start_tls(certificate: str) -> None:
    raise tieline.ReplyAndStartTLS("go ahead", tieline.TLS(certificate=certificate))


def main(runtime: str, framing: str) -> None:
    framer = tieline.ContentLengthFramer if framing == "content-length" else tieline.NewlineFramer
    print("before", end="")  # which stays in the buffer until then
    if runtime == "blocking":
        from tieline import blocking

        with blocking.serve(methods, "stdio:", framer=framer) as running:
            running.serve_forever()
    else:
        server = tieline.serve(methods, tieline.Stdio(), framer=framer)
        if runtime == "trio":
            import trio

            trio.run(server.serve_forever)
        elif runtime == "uvloop":
            import uvloop

            uvloop.run(server.serve_forever())
        else:
            import asyncio

            asyncio.run(server.serve_forever())
    if framing != "content-length":
        print("after", flush=True)
    if framing == "read-on":
        print("then", input(), flush=True)


main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
