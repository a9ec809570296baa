# SPDX-License-Identifier: MIT
"""A process without a free descriptor cannot load a module any more: ends, failures and full windows need none."""

from __future__ import annotations

import subprocess
import sys

import pytest

USED_UP = """
import json, os, resource, socket, sys, threading
import tieline
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
methods = tieline.Methods()

@methods.method
def use_up():
    while True:
        try:
            os.open("/dev/null", os.O_RDONLY)
        except OSError:
            return

@methods.method
def echo(value):
    return value

@methods.method
def fail():
    raise ValueError("not for the peer")

def line(method, number, params=()):
    request = {"jsonrpc": "2.0", "method": method, "params": params, "id": number}
    return json.dumps(request).encode() + b"\\n"

def answers(sock, count):
    return [json.loads(sock.readline()) for _ in range(count)]
"""

SERVED = """
turn = None

@methods.method
async def slow(value):
    await turn()
    return value

def peer(port):
    def connected():
        sock = socket.create_connection(("127.0.0.1", port), 30)
        sock.sendall(line("echo", 0, [0]))
        file = sock.makefile("rb")
        answers(file, 1)
        return sock, file
    (busy, busy_file), (faulty, faulty_file), (broken, broken_file) = (connected() for _ in range(3))
    busy.sendall(line("use_up", 1))
    answers(busy_file, 1)
    busy.sendall(b"".join(line("slow", number, [number]) for number in range(200)))
    told = answers(busy_file, 200)
    assert sorted(one["result"] for one in told) == list(range(200))
    faulty.sendall(line("fail", 1) + line("nothing", 2) + line("echo", 3))
    assert [one["error"]["code"] for one in answers(faulty_file, 3)] == [-32603, -32601, -32602]
    broken.sendall(b"x" * 30_000)
    assert answers(broken_file, 1)[0]["error"]["code"] == -32600
    assert broken_file.readline() == b""
    busy.sendall(line("echo", 2, [2]))
    assert answers(busy_file, 1)[0]["result"] == 2
"""

ON_ASYNCIO = """
import asyncio
turn = lambda: asyncio.sleep(0)
async def main():
    limits = tieline.Limits(max_message=20_000)
    async with tieline.serve(methods, "tcp://127.0.0.1:0", limits=limits) as server:
        async with tieline.connect(server.url, limits=tieline.Limits(max_calls=2)) as session:
            await session.call("echo", 0)
            await asyncio.to_thread(peer, int(server.url.rsplit(":", 1)[1]))
            calls = [asyncio.ensure_future(session.call("echo", number)) for number in range(50)]
            assert await asyncio.gather(*calls) == list(range(50))
asyncio.run(main())
print("all is answered")
"""

ON_TRIO = """
import trio
turn = lambda: trio.lowlevel.checkpoint()
async def main():
    limits = tieline.Limits(max_message=20_000)
    async with tieline.serve(methods, "tcp://127.0.0.1:0", limits=limits) as server:
        async with tieline.connect(server.url, limits=tieline.Limits(max_calls=2)) as session:
            await session.call("echo", 0)
            await trio.to_thread.run_sync(peer, int(server.url.rsplit(":", 1)[1]))
            told = []
            async def one(number):
                told.append(await session.call("echo", number))
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(one, number)
            assert sorted(told) == list(range(50))
trio.run(main)
print("all is answered")
"""

BLOCKING = """
import tieline.blocking
told = []

def answer():
    sock, _ = listener.accept()
    file = sock.makefile("rb")
    for request in iter(file.readline, b""):
        message = json.loads(request)
        if message["method"] == "ask_back":
            sock.sendall(line("fail", 1))
            told.append(json.loads(file.readline())["error"]["code"])
        # Whoever waits again when a handler has run would have a descriptor for that.
        sock.sendall(json.dumps({"jsonrpc": "2.0", "result": 1, "id": message["id"]}).encode() + b"\\n")

listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=answer, daemon=True).start()
with tieline.blocking.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}", methods=methods) as session:
    assert session.call("first") == 1
    assert "logging" not in sys.modules
    methods.get("use_up").function()
    assert session.call("ask_back") == 1
    several = [threading.Thread(target=session.call, args=("from a thread",)) for _ in range(4)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert session.call("last") == 1
    assert told == [-32603]
print("all is answered")
"""


def run(program: str) -> str:
    """Return what *program* prints, run by an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="limits of descriptors")
@pytest.mark.parametrize(
    "program", [SERVED + ON_ASYNCIO, SERVED + ON_TRIO, BLOCKING], ids=["asyncio", "trio", "blocking"]
)
def test_all_is_answered_without_a_free_descriptor(program: str) -> None:
    assert run(USED_UP + program) == "all is answered\n"
