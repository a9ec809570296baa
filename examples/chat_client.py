# SPDX-License-Identifier: MIT
r"""Chat: `python chat_client.py NAME [URL]`, while chat_server.py runs there. Each line you type is said.

Shows: notifications from the server, and a program that waits for two things, a line and the end of the connection.
Lines may also come from a pipe: `printf 'hello\n' | python chat_client.py robot`.
"""

import asyncio
import contextlib
import sys
import threading

import tieline

methods = tieline.Methods()

# The typed lines; None after the last one, and when the connection is gone.
lines = asyncio.Queue[str | None]()


def show(text: str) -> None:
    """Print what others wrote, without control characters for the terminal."""
    print("".join(character if character.isprintable() else "?" for character in text), flush=True)


@methods.method
def joined(name: str) -> None:
    show(f"* {name} came in")


@methods.method
def left(name: str) -> None:
    show(f"* {name} left")


@methods.method
def said(name: str, text: str) -> None:
    show(f"{name}: {text}")


class Talk(tieline.ClientSession):
    async def connection_lost(self) -> None:
        lines.put_nowait(None)


def read_lines(loop: asyncio.AbstractEventLoop) -> None:
    """Read standard input, in a thread for which the program does not wait when the server is gone."""
    with contextlib.suppress(RuntimeError):  # the loop is closed
        with open(0, "rb", buffering=0, closefd=False) as stdin:  # not sys.stdin, which would hold up the end
            for line in stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line.decode(errors="replace").rstrip("\r\n"))
        loop.call_soon_threadsafe(lines.put_nowait, None)


async def main(name: str, url: str) -> None:
    async with tieline.connect(url, methods, session_factory=Talk) as session:
        others = await session.call("join", name)
        show(f"here: {', '.join(others) or 'nobody yet'}")
        threading.Thread(target=read_lines, args=(asyncio.get_running_loop(),), daemon=True).start()
        while (line := await lines.get()) is not None:
            # A call, not a notification: when it returns, everybody has been told, even if this client leaves now.
            await session.call("say", line)
        if session.is_closing():
            raise tieline.ConnectionLost(str(session.close_reason))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "tcp://127.0.0.1:4001"))
    except tieline.RPCError as exc:
        sys.exit(f"the server says: {exc}")
    except tieline.ConnectionLost as exc:
        sys.exit(f"the server is gone: {exc}")
    except KeyboardInterrupt:
        print("bye")
