# SPDX-License-Identifier: MIT
"""Long messages leave their memory for the next ones: pages that have been faulted in once are not faulted in again."""

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ECHO = """
import asyncio, json, resource, socket, sys
import tieline

methods = tieline.Methods()

@methods.method
def echo(text: str) -> str:
    return text

@methods.method
def size(text: str) -> int:
    return len(text)

@methods.method
def make(size: int) -> str:
    return "x" * size

def ask(client: socket.socket, request: bytes, buffer: bytearray) -> None:
    # A client that takes no memory of its own: only the server's is counted.
    client.sendall(request)
    while buffer[client.recv_into(buffer) - 1] != 10:
        pass

async def main(method: str) -> None:
    args = [1_000_000] if method == "make" else ["x" * 1_000_000]
    request = json.dumps({"jsonrpc": "2.0", "method": method, "params": args, "id": 1}).encode() + b"\\n"
    buffer = bytearray(65536)
    async with tieline.serve(methods, "tcp://127.0.0.1:0") as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
            for count in (5, 20):
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                for _ in range(count):
                    await asyncio.to_thread(ask, client, request, buffer)
                faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(faults / count)

loop, method = sys.argv[1:]
factory = asyncio.new_event_loop
if loop == "uvloop":
    import uvloop
    factory = uvloop.new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main(method))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have rules of their own")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("method", ["echo", "size", "make"])
def test_the_pages_of_long_messages_are_kept(loop: str, method: str, need: Callable[[str, str], Path]) -> None:
    need(loop, "pip install uvloop")
    # In a process of its own: what this one has allocated before would decide the outcome.
    argv = [sys.executable, "-c", ECHO, loop, method]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) < 100  # 700 to 1000 where they are not: 1 MB is 244 pages
