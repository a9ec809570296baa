# SPDX-License-Identifier: MIT
"""Dialling when the process has no descriptor to spare: what is not loaded by then cannot be."""

import subprocess
import sys

import pytest

PROGRAM = """
import errno, os, resource, socket, sys
import tieline
import tieline.blocking
from tieline.transports import Protocol
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
unused = socket.socket()
unused.bind(("127.0.0.1", 0))
closed = unused.getsockname()[1]

def use_up(spare):
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass
    for _ in range(spare):
        os.close(held.pop())
    return held

async def play(dial):
    await told(dial("127.0.0.1", closed))
    held = use_up(1)
    transport = await told(dial("127.0.0.1", port))
    transport.abort()
    for fd in held:
        os.close(fd)
    held = use_up(0)
    error = await told(dial("localhost", port))
    for fd in held:
        os.close(fd)
    listener.close()
    unused.close()
    print(transport is not None, type(error).__name__, error)

async def told(dialling):
    try:
        return (await dialling)[0]
    except OSError as exc:
        return exc
"""

RUNS = {
    "asyncio": """
import asyncio
asyncio.run(play(lambda *where: tieline.create_connection(Protocol, *where)))
""",
    "uvloop": """
import uvloop
uvloop.run(play(lambda *where: tieline.create_connection(Protocol, *where)))
""",
    "trio": """
import trio
async def main():
    async with trio.open_nursery() as nursery:
        await play(lambda *where: tieline.create_connection(Protocol, *where, nursery=nursery))
trio.run(main)
""",
    "blocking": """
async def dial(*where):
    return tieline.blocking.create_connection(Protocol, *where)
try:
    play(dial).send(None)
except StopIteration:
    pass
""",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of Linux")
@pytest.mark.row("D3")
@pytest.mark.parametrize("run", RUNS)
def test_who_dials_with_one_descriptor_connects_and_without_one_is_told_whom_it_was_about(run: str) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM + RUNS[run]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("True OSError [Errno 24] cannot resolve host 'localhost': "), done.stdout
